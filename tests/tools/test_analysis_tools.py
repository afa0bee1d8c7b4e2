"""get_flops.py against counts by hand; benchmark.py's figures agree with each other; fusion_gap.py where gaps are known."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmfusion.apis import init_model, load_model_config

WIDTHS = (4, 4, 8, 8)


class Products(nn.Module):
    """Every kind of product that FIFN uses, in place and not."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 5)
        self.conv = nn.Conv2d(2, 6, 3, padding=1, groups=2)

    def forward(self, x, image):
        y = self.linear(x)  # 4×7 by 7×5
        y.addmm_(x, torch.ones(7, 5))  # the same
        batch = torch.zeros(3, 4, 5).baddbmm_(torch.ones(3, 4, 2), torch.ones(3, 2, 5))  # 3 of 4×2 by 2×5
        batch = torch.baddbmm(batch, batch, torch.ones(3, 5, 5))  # 3 of 4×5 by 5×5
        return self.conv(image), batch, y @ y.t()  # 6×8×9 outputs of 9 products; 4×5 by 5×4


def test_products_are_counted_by_hand(load_tool):
    tool = load_tool('tools/analysis_tools/get_flops.py')
    counts = tool.count_flops(Products().eval(), torch.ones(4, 7), torch.ones(1, 2, 8, 9))
    macs = dict(linear=4 * 7 * 5, conv=6 * 8 * 9 * 9)
    assert counts['linear'] == 2 * macs['linear']
    assert counts['conv'] == 2 * macs['conv']
    rest = 4 * 7 * 5 + 3 * 4 * 2 * 5 + 3 * 4 * 5 * 5 + 4 * 5 * 4
    assert counts[''] == 2 * (sum(macs.values()) + rest)


def test_fifn(load_tool, capsys):
    """The parts add up; encoder and decoder, all 3×3 convolutions, equal their formula."""
    tool = load_tool('tools/analysis_tools/get_flops.py')
    cfg = load_model_config('occo_fmb', {'model.network.channels': WIDTHS})
    rows, frozen = tool.analyse(cfg, 32, 48)
    flops = {name: n for name, _, n in rows}
    assert flops['all'] == sum(n for name, n in flops.items() if name != 'all')
    pixels = [32 * 48 // 4**level for level in range(4)]
    convs = zip(pixels, [1, *WIDTHS[:-1]], WIDTHS, strict=True)
    assert flops['network.encoder'] == 2 * 2 * sum(9 * p * (i * o + o * o) for p, i, o in convs)
    convs = zip(pixels, WIDTHS[1:], WIDTHS[:-1], strict=False)
    assert flops['network.decoder'] == 2 * sum(
        9 * p * ((below + skip) * skip + skip * skip) for p, below, skip in convs
    )
    assert flops['network.final'] == 2 * pixels[0] * WIDTHS[0]
    model = init_model(cfg, 'random', 'cpu')
    counts = {name: n for name, n, _ in rows}
    assert counts['all'] == sum(p.numel() for p in model.parameters()) == sum(counts.values()) - counts['all']
    assert frozen == sum(c * c + c + c + 1 for c in WIDTHS)  # the second spatial MLP, which the public code never calls
    # Linear attention: four times the pixels, four times the work but for the C×C maps.
    larger = {name: n for name, _, n in tool.analyse(cfg, 64, 96)[0]}
    assert larger['network.encoder'] == 4 * flops['network.encoder']
    assert 3.5 < larger['network.fifb'] / flops['network.fifb'] <= 4


def test_get_flops_prints(load_tool, narrow, capsys):
    tool = load_tool('tools/analysis_tools/get_flops.py')
    assert tool.main(['occo_fmb', '--shape', '16', '24', *narrow]) == 0
    out = capsys.readouterr().out
    assert 'network.fifb' in out
    assert 'one pair of 16×24' in out
    assert tool.main(['occo_fmbb']) == 1
    assert 'Did you mean occo_fmb' in capsys.readouterr().err


@pytest.mark.parametrize('amp', [False, True])
def test_benchmark_measures(load_tool, amp):
    tool = load_tool('tools/analysis_tools/benchmark.py')
    model = init_model(load_model_config('occo_fmb', {'model.network.channels': WIDTHS}), 'random', 'cpu')
    calls = []
    model.register_forward_hook(lambda *args: calls.append(args[2].shape))
    result = tool.measure(model, (16, 24), batch_size=2, iterations=4, warmup=1, amp=amp)
    assert calls == [(2, 3, 16, 24)] * 5
    assert result['images_per_second'] == pytest.approx(2 * 1e3 / result['latency_mean'])
    assert 0 < result['latency_p50'] <= result['latency_p90'] <= result['latency_p99']
    assert 50 < result['memory_before'] <= result['memory_peak'] < 2**20  # MiB of a process that holds torch
    with pytest.raises(ValueError, match=r'at least 1 .*got \(16, 24\), 0, 20, 3'):
        tool.measure(model, (16, 24), batch_size=0)


def test_benchmark_prints(load_tool, narrow, checkpoint, capsys):
    tool = load_tool('tools/analysis_tools/benchmark.py')
    args = ['occo_fmb', '--shape', '32', '32', '--iterations', '2', '--warmup', '0', '--device', 'cpu']
    assert tool.main([*args, '--checkpoint', str(checkpoint), '--tile', '16', '16', *narrow]) == 0
    out = capsys.readouterr().out
    assert 'occo_fmb: 1×32×32 on cpu' in out
    assert 'images a second' in out
    assert 'MiB resident in this process' in out
    assert tool.main([*args, '--checkpoint', str(checkpoint)]) == 1
    assert 'not a checkpoint of this model' in capsys.readouterr().err


@pytest.mark.cuda
def test_benchmark_on_a_gpu(load_tool, narrow, capsys):
    tool = load_tool('tools/analysis_tools/benchmark.py')
    assert tool.main(['occo_fmb', '--shape', '64', '64', '--amp', '--device', 'cuda', *narrow]) == 0
    assert 'allocated on the GPU' in capsys.readouterr().out


GAP = """
_base_ = ['{base}']
network = dict(type='mmfusion.SourceNetwork', source='{source}')
fuser = dict(type='mmfusion.ImageFuser', network=network, color=dict(type='mmfusion.RGBColor'))
model = dict(fuser=dict(_delete_=True, **fuser))
pipeline = [dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_bbox={det}, with_seg=not {det}),
            dict(type='mmfusion.PackFusionInputs')]
test_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=2,
                       dataset=dict(num=3, size=(64, 96), pipeline=pipeline))
"""


@pytest.mark.parametrize(
    ('name', 'source', 'rounding'),
    [('occo_unet_synthetic', 'visible', '0.000     0.00'), ('occo_yolox_synthetic', 'average', '0.')],
)
def test_gap_of_a_fuser_that_works_pixel_by_pixel(load_tool, tmp_path, capsys, name, source, rounding):
    """Such a fuser does not care whether images are flipped or cropped before or after it; files of 8 bits lose nothing
    of a visible image that came from one, and less than one level of an average."""
    config = tmp_path / 'gap.py'
    base = Path(__file__).parents[2] / f'configs/cascades/{name}.py'
    config.write_text(GAP.format(base=base, source=source, det='yolox' in name))
    tool = load_tool('tools/analysis_tools/fusion_gap.py')
    assert tool.main([str(config), 'random', '--device', 'cpu']) == 0
    lines = {line[2:42].strip(): line[42:].strip() for line in capsys.readouterr().out.splitlines() if '   ' in line}
    assert lines['flip'] == lines['crop of half the size'] == '0.000     0.00'
    assert lines['rounding to 8 bits'].startswith(rounding)
    assert float(lines['rounding to 8 bits'].split()[1]) <= 0.5
    assert float(lines['scale by 0.75'].split()[1]) < 0.01


def test_gap_needs_a_cascade(load_tool, capsys):
    tool = load_tool('tools/analysis_tools/fusion_gap.py')
    assert tool.main(['occo_fmb', 'random']) == 1
    assert 'none of a cascade' in capsys.readouterr().err
