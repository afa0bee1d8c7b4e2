"""Checkpoints of OCCO's public implementation, there and back."""

import pytest
import torch

from mmfusion.models.checkpoint import load_weights
from mmfusion.models.layers.min_max import min_max_normalize
from mmfusion.models.methods.occo import FIFN
from mmfusion.models.methods.occo.official import to_official


@pytest.fixture
def tool(load_tool):
    """The converter."""
    return load_tool('tools/model_converters/occo_from_official.py')


def random_state(channels=(4, 4, 8, 8)):
    """State of FIFN with every value random, counters included."""
    state = FIFN(channels=channels).state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else torch.randint_like(v, 1, 99) for k, v in state.items()}


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.mark.parametrize('form', ['plain', 'data_parallel', 'nested'])
def test_round_trip_of_random_weights(tool, tmp_path, form):
    ours = random_state()
    public = to_official(ours)
    content = {f'module.{k}': v for k, v in public.items()} if form == 'data_parallel' else public
    torch.save({'state_dict': content} if form == 'nested' else content, tmp_path / 'public.pth')
    assert tool.main([str(tmp_path / 'public.pth'), str(tmp_path / 'ours.pth')]) == 0
    converted = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert converted['meta']['converted_from'] == 'public.pth'
    assert {k: v.tolist() for k, v in converted['state_dict'].items()} == {
        f'network.{k}': v.tolist() for k, v in ours.items()
    }
    assert tool.main([str(tmp_path / 'ours.pth'), str(tmp_path / 'back.pth'), '--to-official']) == 0
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert back.keys() == public.keys()
    assert same({k: back[k] for k in public}, public)
    torch.save(ours, tmp_path / 'bare.pth')  # FIFN alone, without ImageFuser's prefix
    assert tool.main([str(tmp_path / 'bare.pth'), str(tmp_path / 'bare_back.pth'), '--to-official']) == 0
    assert torch.load(tmp_path / 'bare_back.pth', weights_only=True).keys() == public.keys()


@pytest.mark.data
def test_public_weights_give_the_public_output(tool, data_dir, tmp_path):
    parity = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)
    torch.save(parity['state_dict'], tmp_path / 'public.pth')
    tool.convert(tmp_path / 'public.pth', tmp_path / 'ours.pth')
    tool.convert(tmp_path / 'ours.pth', tmp_path / 'back.pth', back=True)
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert back.keys() == parity['state_dict'].keys()
    assert same({k: back[k] for k in parity['state_dict']}, dict(parity['state_dict']))
    model = torch.nn.Module()
    model.network = FIFN(channels=parity['channels'])
    load_weights(model, tmp_path / 'ours.pth')
    model.eval()
    case = parity['net'][0]
    with torch.no_grad():
        fused = model.network(case['vi'], case['ir'])
    assert (fused - min_max_normalize(case['raw'], per_image=True)).abs().max() < 1e-4


def test_refusals(tool, tmp_path, capsys):
    src, dst = str(tmp_path / 'src.pth'), tmp_path / 'dst.pth'
    ours, public = random_state(), to_official(random_state())

    def refused(content, *args):
        torch.save(content, src)
        assert tool.main([src, str(dst), *args]) == 1
        assert not dst.exists()
        return capsys.readouterr().err

    assert "'encoder.vi.0.0.weight' is no parameter of OCCO's" in (err := refused(ours))
    assert 'Try with --to-official' in err
    err = refused(public, '--to-official')
    assert "parameters of OCCO's public implementation are not in this state dict. Only FIFN with variant='off" in err
    assert 'Try without --to-official' in err
    name = 'fusion2.cross.norm1.bias'
    err = refused({k: v for k, v in public.items() if k != name})
    assert f'1 parameters of OCCO are missing, such as {name!r}' in err
    err = refused({k: v for k, v in ours.items() if k != 'final.bias'}, '--to-official')
    assert "final.bias: 1 parameters of OCCO's public implementation are not in this state dict" in err
    extra = {**ours, 'head.weight': ours['final.weight']}
    assert "'head.weight' has no counterpart in OCCO's public implementation" in refused(extra, '--to-official')
    assert 'are not in this state dict' in refused(FIFN((4, 4, 8, 8), variant='paper').state_dict(), '--to-official')
    assert tool.main([str(tmp_path / 'none.pth'), str(dst)]) == 1
    assert 'none.pth: no such checkpoint' in capsys.readouterr().err


def test_existing_files_stay(tool, tmp_path, capsys):
    torch.save(to_official(random_state()), tmp_path / 'src.pth')
    before = (tmp_path / 'src.pth').read_bytes()
    assert tool.main([str(tmp_path / 'src.pth')] * 2) == 1
    assert 'src.pth exists; say --overwrite' in capsys.readouterr().err
    assert (tmp_path / 'src.pth').read_bytes() == before
    (tmp_path / 'dst.pth').write_bytes(b'old')
    assert tool.main([str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth'), '--overwrite']) == 0
    assert 'model.network.channels is (4, 4, 8, 8)' in capsys.readouterr().out
    assert [file.name for file in sorted(tmp_path.iterdir())] == ['dst.pth', 'src.pth']
