"""The authors' weights to checkpoints, and OCCO's back to its public form."""

import hashlib

import pytest
import torch

from mmfusion.cli.convert import main
from mmfusion.models.checkpoint import load_weights
from mmfusion.models.layers.min_max import min_max_normalize
from mmfusion.models.methods.occo import FIFN
from mmfusion.models.methods.occo.official import to_official

NARROW = ['--cfg-options', 'model.network.channels=(4,4,8,8)']


def convert(src, dst, *args, options=NARROW):
    return main(['occo', str(src), str(dst), *args, *options])


def random_state(channels=(4, 4, 8, 8)):
    """State of FIFN with every value random, counters included."""
    state = FIFN(channels=channels).state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else torch.randint_like(v, 1, 99) for k, v in state.items()}


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.mark.parametrize('form', ['plain', 'data_parallel', 'nested'])
def test_round_trip_of_random_weights(tmp_path, form, capfd):
    ours = random_state()
    public = to_official(ours)
    content = {f'module.{k}': v for k, v in public.items()} if form == 'data_parallel' else public
    torch.save({'state_dict': content} if form == 'nested' else content, tmp_path / 'public.pth')
    assert convert(tmp_path / 'public.pth', tmp_path / 'ours.pth') == 0
    converted = torch.load(tmp_path / 'ours.pth', weights_only=True)
    digest = hashlib.sha256((tmp_path / 'public.pth').read_bytes()).hexdigest()
    assert converted['meta']['converted_from'] == {'public.pth': digest}
    assert converted['meta']['config'] == 'occo_fmb'
    assert {k: v.tolist() for k, v in converted['state_dict'].items()} == {
        f'network.{k}': v.tolist() for k, v in ours.items()
    }
    assert convert(tmp_path / 'ours.pth', tmp_path / 'back.pth', '--to-authors') == 0
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert back.keys() == public.keys()
    assert same({k: back[k] for k in public}, public)
    assert 'RANDOM' not in ''.join(capfd.readouterr())


@pytest.mark.data
def test_public_weights_give_the_public_output(data_dir, tmp_path):
    parity = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)
    torch.save(parity['state_dict'], tmp_path / 'public.pth')
    options = ['--cfg-options', f'model.network.channels={",".join(map(str, parity["channels"]))}']
    assert convert(tmp_path / 'public.pth', tmp_path / 'ours.pth', options=options) == 0
    assert convert(tmp_path / 'ours.pth', tmp_path / 'back.pth', '--to-authors', options=options) == 0
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


def test_refusals(tmp_path, capsys):
    src, dst = tmp_path / 'src.pth', tmp_path / 'dst.pth'
    ours = {f'network.{name}': value for name, value in random_state().items()}
    public = to_official(random_state())

    def refused(content, *args, method='occo', options=NARROW):
        torch.save(content, src)
        assert main([method, str(src), str(dst), *args, *options]) == 1
        assert not dst.exists()
        return capsys.readouterr().err

    assert 'src.pth: mmfusion has these weights in this form already. Use the file as it is.' in refused(ours)
    name = 'fusion2.cross.norm1.bias'
    assert 'Give all files that its authors publish.' in refused({k: v for k, v in public.items() if k != name})
    assert "src.pth: not the authors' weights of occo_fmb (FIFN) as it is configured." in refused(
        public, options=[]
    )  # narrower than configured
    whole = to_official(FIFN().state_dict())
    err = refused(whole, method='u2fusion', options=[])
    assert "weights of u2fusion_tno (U2Fusion) as it is configured. It looks like the authors' weights of occo" in err
    assert 'not a checkpoint of this model. Missing in the file: network.final.bias' in refused(
        {k: v for k, v in ours.items() if k != 'network.final.bias'}, '--to-authors'
    )
    paper = [*NARROW, 'model.network.variant=paper']
    state = {f'network.{k}': v for k, v in FIFN((4, 4, 8, 8), variant='paper').state_dict().items()}
    assert "public implementation are not in this state dict. Only FIFN with variant='off" in refused(
        state, '--to-authors', options=paper
    )
    assert "U2Fusion says no way to its authors' form" in refused(ours, '--to-authors', method='u2fusion', options=[])
    assert convert(tmp_path / 'none.pth', dst) == 1
    assert 'none.pth: no such checkpoint' in capsys.readouterr().err


def test_existing_files_stay(tmp_path, capsys):
    torch.save(to_official(random_state()), tmp_path / 'src.pth')
    before = (tmp_path / 'src.pth').read_bytes()
    assert convert(tmp_path / 'src.pth', tmp_path / 'src.pth') == 1
    assert 'src.pth exists; say --overwrite' in capsys.readouterr().err
    assert (tmp_path / 'src.pth').read_bytes() == before
    (tmp_path / 'dst.pth').write_bytes(b'old')
    assert convert(tmp_path / 'src.pth', tmp_path / 'dst.pth', '--overwrite') == 0
    assert 'dst.pth: written; 298 tensors' in capsys.readouterr().out
    assert [file.name for file in sorted(tmp_path.iterdir())] == ['dst.pth', 'src.pth']


@pytest.mark.data
def test_files_of_tensorflow(data_dir, tmp_path):
    """Of a TensorFlow checkpoint either file is enough; both are recorded."""
    index = data_dir / 'zoo' / 'PMGI' / 'CGAN.model-1.index'
    assert main(['pmgi', str(index), str(tmp_path / 'pmgi.pth')]) == 0
    meta = torch.load(tmp_path / 'pmgi.pth', weights_only=True)['meta']
    assert list(meta['converted_from']) == ['CGAN.model-1.index', 'CGAN.model-1.data-00000-of-00001']
    assert meta['license'] == 'MIT'
