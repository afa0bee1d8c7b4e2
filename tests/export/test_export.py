"""Exported graphs: what PyTorch computes at every size, from 8 bits to 8 bits; and refusals."""

import importlib.util
import pickle
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.apis import FusionInferencer, init_model, load_model_config
from mmfusion.cli import export as tool
from mmfusion.cli import fuse
from mmfusion.export import ExportedModel, ExportError, FusionGraph, export
from mmfusion.export import write as module
from mmfusion.models.fusers import ImageFuser
from mmfusion.models.fusers.output import PADDINGS, pad_to_multiple
from mmfusion.models.layers import attention, exporting_file, gather_reflected
from mmfusion.registry import MODELS
from mmfusion.utils import read_visible
from mmfusion.utils.checkpoint import CheckpointError

AVERAGE = dict(type='mmfusion.AverageNetwork')
NARROW = {'model.network.channels': (4, 4, 4, 4)}
needs = {
    name: pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in packages),
        reason=f'{" or ".join(packages)} is not installed (pip install "mmfusion[export]")',
    )
    for name, packages in module.PACKAGES.items()
}


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


class _OfOneWidth(nn.Module):
    """A network that decides by the width, which no graph of a free size can hold."""

    def forward(self, vi, ir):
        return vi if vi.shape[-1] == 131 else ir


class _Padded(nn.Module):
    """A network whose sides must be multiples of 8."""

    def forward(self, vi, ir):
        half = F.interpolate(F.avg_pool2d(vi, 8), scale_factor=8)
        return (half + ir) / 2


class _Share(nn.Module):
    """A network with a small number in its denominator, which is all of it for a black pair."""

    def forward(self, vi, ir):
        return (vi.square() + ir.square()) / (vi + ir + 1e-10)


class _Attentive(nn.Module):
    """A network whose rows attend to one another, in three and in four dimensions."""

    def forward(self, vi, ir):
        vi, ir = vi[:, 0], ir[:, 0]
        x = attention(vi, ir, ir, scale=1.0)
        heads = x[:, :, None, :60].unflatten(-1, (6, 10)).squeeze(2).transpose(1, 2)
        rows = attention(heads, heads, heads).transpose(1, 2).flatten(2)
        return (x + rows.mean(-1, keepdim=True))[:, None]


@pytest.fixture(autouse=True)
def _register():
    for network in (_OfOneWidth, _Padded, _Share, _Attentive):
        MODELS.register_module(module=network, force=True)


def occo():
    return init_model(load_model_config('occo_fmb', NARROW), 'random', 'cpu')


def fusers():
    """Cases that differ in what the graph must hold around a network."""
    yield 'average', lambda: ImageFuser(AVERAGE)
    yield 'truncated', lambda: ImageFuser(AVERAGE, test_cfg=dict(rounding='truncate', luminance='round'))
    steps = dict(input_range=(-1, 1), output=[('range', -1, 1), 'min_max'])
    yield 'range', lambda: ImageFuser(AVERAGE, **steps, color=dict(type='mmfusion.WeightedChromaColor'))
    for padding in PADDINGS:
        test_cfg = dict(padding=padding)
        yield f'padded {padding}', lambda c=test_cfg: ImageFuser(dict(type='_Padded'), size_divisor=8, test_cfg=c)
    yield 'occo', occo


FUSERS = dict(fusers())


@pytest.mark.parametrize('eight_bits', [True, False])
@pytest.mark.parametrize('name', [name for name in FUSERS if name != 'occo'])
def test_torchscript_of_a_free_size(name, eight_bits, tmp_path):
    differences = export(FUSERS[name](), tmp_path / 'a.torchscript', name, eight_bits)
    assert len(differences) == 3
    assert max(differences.values()) <= 1e-4 * (255 if eight_bits else 1)


@pytest.mark.parametrize(
    ('name', 'suffix'),
    [
        *(pytest.param(name, '.onnx', marks=needs['onnx']) for name in ('truncated', 'padded center', 'occo')),
        pytest.param('padded reflect', '.xml', marks=needs['openvino']),
    ],
)
def test_other_formats(name, suffix, tmp_path):
    fuser, file = FUSERS[name](), tmp_path / f'a{suffix}'
    assert max(export(fuser, file, name).values()) <= 255e-4
    vi, ir = torch.rand(1, 3, 45, 70), torch.rand(1, 1, 45, 70)
    vi, ir = (255 * vi).round() / 255, (255 * ir).round() / 255
    got = ExportedModel(file)(dict(vi=vi, ir=ir))[0].fused.data
    assert (255 * (got - fuser.fuse(vi, ir)[0])).abs().max() <= (1.001 if name == 'truncated' else 0.53)


@pytest.mark.parametrize('padding', PADDINGS)
def test_padding_without_branches(padding, monkeypatch):
    x = torch.rand(1, 2, 13, 18)
    expected = pad_to_multiple(x, 8, padding)
    monkeypatch.setattr('mmfusion.models.fusers.output.exporting', lambda: True)
    assert torch.equal(pad_to_multiple(x, 8, padding), expected)
    assert torch.equal(gather_reflected(x, (2, 3), (12, 0)), F.pad(x, (3, 0, 2, 12), mode='reflect'))


def test_files_that_compute_something_else_are_refused(tmp_path):
    fuser, file = ImageFuser(dict(type='_OfOneWidth')), tmp_path / 'a.torchscript'
    with pytest.raises(ExportError, match=r'(?s)mine cannot be exported as one of a free size: .*differs.*--size'):
        export(fuser, file, 'mine')
    assert not list(tmp_path.iterdir())
    export(fuser, file, 'mine', size=(40, 131))
    with pytest.raises(ValueError, match='alone, got 40×130'):
        ExportedModel(file).fuse(torch.rand(1, 3, 40, 130), torch.rand(1, 1, 40, 130))


@needs['onnx']
def test_small_numbers_that_exporters_drop(tmp_path):
    """Files of LUT-Fuse and Res2Fusion gave NaN where a network divides 0 by such a number."""
    export(ImageFuser(dict(type='_Share')), tmp_path / 'a.onnx', eight_bits=False)
    black = torch.zeros(1, 3, 32, 40), torch.zeros(1, 1, 32, 40)
    assert (ExportedModel(tmp_path / 'a.onnx').fuse(*black)[0] == 0).all()


@needs['onnx']
@pytest.mark.parametrize('levels', ['round', 'pillow', 'truncate', 'ycbcr', 'studio'])
def test_luminance_of_every_level(levels, tmp_path):
    """Numbers in float32 cut sums that are whole levels to those below: GIFNet's file was up to 0.7 levels from it."""
    fuser, file = ImageFuser(AVERAGE, test_cfg=dict(luminance=levels)), tmp_path / 'a.onnx'
    export(fuser, file, eight_bits=False)
    colours = torch.randint(256, (1, 3, 256, 256), generator=torch.Generator().manual_seed(0)) / 255
    colours[:, :, :, 0] = torch.arange(256) / 255  # grey
    got = ExportedModel(file)(dict(vi=colours, ir=torch.zeros(1, 1, 256, 256)))[0].fused.data
    torch.testing.assert_close(got, fuser.fuse(colours, torch.zeros(1, 1, 256, 256))[0], rtol=0, atol=2e-6)


@needs['onnx']
@pytest.mark.parametrize('network', ['_Attentive', 'mmfusion.Res2Fusion'])
def test_attention(network, tmp_path):
    """The kernel of attention, and parts by memory, were in no graph."""
    options = dict(channels=(4, 8, 8), widths=(2, 2)) if 'Res2' in network else {}
    fuser = ImageFuser(dict(type=network, **options), output=['min_max'])
    assert max(export(fuser, tmp_path / 'a.onnx', eight_bits=False).values()) <= 1e-4


def test_what_files_lack_is_not_left_out_by_compile():
    """Under --compile Res2Fusion would keep all its energies, 6 GB at 640×480."""

    class Net(nn.Module):
        def forward(self, x):
            return x + (1 if exporting_file() else 2)

    x = torch.zeros(2)
    assert torch.export.export(Net(), (x,), strict=False).module()(x).tolist() == [1, 1]
    assert torch.jit.trace(Net(), x)(x).tolist() == [1, 1]
    if hasattr(torch.compiler, 'is_exporting'):
        assert torch.compile(Net(), backend='eager')(x).tolist() == [2, 2]
    assert Net()(x).tolist() == [2, 2]


def test_attention_is_the_kernels(monkeypatch):
    q, k, v = torch.rand(3, 2, 3, 7, 4)
    bias = torch.rand(1, 3, 7, 7)
    for options in ({}, dict(bias=bias), dict(scale=1.0)):
        expected = attention(q, k, v, **options)
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules['mmfusion.models.layers.attention'], 'exporting_file', lambda: True)
            torch.testing.assert_close(attention(q, k, v, **options), expected)


def test_what_no_graph_holds(tmp_path):
    for test_cfg, text in ((dict(mode='slide', crop_size=(8, 8)), 'window'), (dict(resize=(8, 8)), 'Pillow')):
        with pytest.raises(ValueError, match=text):
            FusionGraph(ImageFuser(AVERAGE, test_cfg=test_cfg))
    with pytest.raises(ValueError, match=r"the suffix is '\.pth'; expected \.onnx, \.torchscript, \.xml"):
        export(ImageFuser(AVERAGE), tmp_path / 'a.pth')


def test_inferencer_and_tools(pairs, capsys):
    """Images as from the method itself; the file says what it is; options of a config are refused."""
    file, option = str(pairs / 'a.torchscript'), ['--cfg-options', 'model.size_divisor=4']
    assert tool.main(['mmdrfuse_llvip', file, '--weights', 'random', *option]) == 0
    assert '(grey levels beyond rounding)' in capsys.readouterr().out
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out'), '--device', 'cpu']
    assert fuse.main([file, *folders]) == 0
    options = dict(device='cpu', show_progress=False)
    mine = FusionInferencer(file, **options)
    assert (mine.model.info['method'], mine.model.info['least']) == ('mmdrfuse_llvip', 4)
    theirs = FusionInferencer('mmdrfuse_llvip', 'random', cfg_options={'model.size_divisor': 4}, **options)
    copy = pickle.loads(pickle.dumps(mine))
    for name in 'abc':
        pair = pairs / 'vi' / f'{name}.png', pairs / 'ir' / f'{name}.bmp'
        expected = theirs(*pair).astype(int)
        for got in (mine(*pair), copy(*pair), read_visible(pairs / 'out' / f'{name}.png')):
            assert np.abs(got - expected).max() <= 1
    with pytest.raises(ValueError, match='at least 4×4 pixels, got 3×24'):
        mine(np.zeros((3, 24, 3), np.uint8), np.zeros((3, 24), np.uint8))
    with pytest.raises(ValueError, match='got weights, tile, and an exported file is complete'):
        FusionInferencer(file, 'random', tile=(8, 8), **options)


def test_files_that_are_none(tmp_path):
    with pytest.raises(CheckpointError, match='no such file; `mmfusion export'):
        ExportedModel(tmp_path / 'a.onnx')
    file = tmp_path / 'a.torchscript'
    file.write_bytes(b'nothing')
    with pytest.raises(CheckpointError, match='cannot be opened'):
        ExportedModel(file)
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.rand(1)), file)
    with pytest.raises(CheckpointError, match='not a file of mmfusion export'):
        ExportedModel(file)


def test_a_torchscript_file_is_read_without_warnings(tmp_path, recwarn):
    file = tmp_path / 'a.torchscript'
    export(ImageFuser(AVERAGE), file, 'average')
    recwarn.clear()
    ExportedModel(file)
    assert not recwarn.list
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r'a\.torchscript: cannot be opened\. Export it again\. \(.* \w+,? …\)$'):
        ExportedModel(file)


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_missing_packages_are_named(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, package, None)
    monkeypatch.setitem(module.PACKAGES, 'onnx', (package,))
    with pytest.raises(ImportError, match=rf'{package} is needed and not installed: pip install "mmfusion\[export\]"'):
        export(ImageFuser(AVERAGE), tmp_path / 'a.onnx')
    assert tool.main(['mmdrfuse_llvip', str(tmp_path / 'a.onnx'), '--weights', 'random']) == 1
    assert f'error: {package} is needed and not installed: pip install' in capsys.readouterr().err


@needs['onnx']
def test_int8(pairs, capsys):
    (pairs / 'vi' / 'b.png').unlink()
    (pairs / 'ir' / 'b.bmp').unlink()
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir')]
    file = str(pairs / 'a.onnx')
    assert tool.main(['mmdrfuse_llvip', file, '--weights', 'random', '--int8', *folders]) == 0
    assert 'In int8 it differs from float32 by' in capsys.readouterr().out
    assert ExportedModel(file).info['int8']
    convolutions = [node for node in import_module('onnx').load(file).graph.node if node.op_type == 'Conv']
    in_int8 = [node.input[0].endswith('DequantizeLinear_Output') for node in convolutions]
    assert in_int8 == [True] * (len(convolutions) - 1) + [False]  # the last one makes the image
    assert tool.main(['mmdrfuse_llvip', file, '--weights', 'random', '--int8']) == 1
    assert 'calibration pairs by --vi DIR --ir DIR' in capsys.readouterr().err
