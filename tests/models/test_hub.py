"""Models by name, and their weights: by file, by the authors' files, by where they are published."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mmfusion.models.checkpoint import check_weights
from mmfusion.models.hub import find_device, find_weights, init_model, load_model_config, local_files
from mmfusion.registry import MODELS
from mmfusion.utils import configs
from mmfusion.utils.checkpoint import CheckpointError
from mmfusion.utils.configs import find_config


@MODELS.register_module()
class TwoParts(nn.Module):
    """A network that its authors publish as two files."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 1, 1)

    def forward(self, vi, ir):
        return self.decoder(self.encoder(torch.cat([vi, ir], 1)))

    @staticmethod
    def from_authors(state):
        return {name.removeprefix('Model_'): value for name, value in state.items() if name.startswith('Model_')}


METAFILE = """
Collections:
  - Name: Two-Parts
    Paper: {{Title: Two parts, Venue: Nowhere, Year: 2020}}
Models:
  - Name: parts_tno
    In Collection: Two-Parts
    Config: configs/parts/parts_tno.py
    Authors Weights:
      License: none stated
      Page: https://example.org/parts
      Files:
        - {{Name: Model_encoder.pkl, Bytes: {bytes_0}, SHA256: {sha_0}{url_0}}}
        - {{Name: Model_decoder.pkl, Bytes: {bytes_1}, SHA256: {sha_1}{url_1}}}
  - Name: parts_msrs
    In Collection: Two-Parts
    Config: configs/parts/parts_msrs.py
"""


@pytest.fixture
def authors(tmp_path):
    """The two files, under other names than published."""
    net = TwoParts()
    files = [tmp_path / 'weights' / name for name in ('z.bin', 'a.bin')]
    files[0].parent.mkdir()
    for file, part in zip(files, (net.encoder, net.decoder), strict=True):
        torch.save({'weight': part.state_dict(), 'epoch': 3}, file)
    return net, files


@pytest.fixture
def metafile(tmp_path, monkeypatch, authors):
    """A folder of configs with this one method; call it with the addresses of the files."""
    folder = tmp_path / 'configs'
    (folder / 'parts').mkdir(parents=True)
    for name in ('parts_tno', 'parts_msrs'):
        text = "model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.TwoParts'))\n"
        (folder / 'parts' / f'{name}.py').write_text(text)
    monkeypatch.setattr(configs, 'config_folder', lambda: folder)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.delenv('MMFUSION_WEIGHTS', raising=False)

    def write(urls=('', '')):
        values = {f'bytes_{k}': file.stat().st_size for k, file in enumerate(authors[1])}
        values |= {f'sha_{k}': hashlib.sha256(file.read_bytes()).hexdigest() for k, file in enumerate(authors[1])}
        values |= {f'url_{k}': f', URL: "{url}"' if url else '' for k, url in enumerate(urls)}
        (folder / 'parts' / 'metafile.yml').write_text(METAFILE.format(**values))
        configs.published.cache_clear()

    write()
    yield write
    configs.published.cache_clear()


def same(model, net):
    return all(torch.equal(a, b) for a, b in zip(model.network.parameters(), net.parameters(), strict=True))


def test_one_file_of_several_is_known(metafile, authors):
    """Its names alone, without the file's, fit no network."""
    (first, _), others = authors[1], 'Model_encoder.pkl, Model_decoder.pkl'
    with pytest.raises(
        CheckpointError, match=f'looks like Model_encoder.pkl of Two-Parts, whose weights are {others} tog'
    ):
        check_weights(init_model(load_model_config('parts_msrs'), 'random', 'cpu'), first)


def test_configs_by_name(metafile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config('parts_msrs').name == 'parts_msrs.py'
    for name in ('Two-Parts', 'twoparts', 'TwoParts'):  # the method's own name: its first config
        assert find_config(name).name == 'parts_tno.py'
    Path('own.yml').write_text('model: {}')
    assert find_config('own.yml') == Path('own.yml')
    with pytest.raises(FileNotFoundError, match=r"'part_msrs' is no config of mmfusion\. Did you mean parts_msrs"):
        find_config('part_msrs')
    with pytest.raises(FileNotFoundError, match=r'Did you mean Two-Parts'):
        find_config('TowParts')


def test_weights_found_or_where_to_get_them(metafile, authors, monkeypatch):
    net, files = authors
    cfg = load_model_config('parts_tno')
    text = (
        r'Fetch Model_encoder\.pkl, Model_decoder\.pkl from https://example\.org/parts \(licence: none stated\), and '
    )
    with pytest.raises(FileNotFoundError, match=text + r'put them into a folder and set MMFUSION_WEIGHTS to that, or'):
        init_model(cfg, device='cpu')
    with pytest.raises(FileNotFoundError, match=r'parts_msrs: give its weights \(--weights FILE\): none are published'):
        init_model(load_model_config('parts_msrs'), device='cpu')
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(files[0].parent))
    assert find_weights(cfg) == {'Model_encoder': files[0], 'Model_decoder': files[1]}
    assert same(init_model(cfg, device='cpu'), net)
    assert list(local_files('parts_tno')) == ['Model_encoder.pkl', 'Model_decoder.pkl']
    files[1].write_bytes(files[1].read_bytes()[:-1] + b'x')
    with pytest.raises(FileNotFoundError, match=rf'Fetch Model_decoder\.pkl from .*put it into {files[0].parent}'):
        init_model(cfg, device='cpu')
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(files[0].parent / 'none'))
    with pytest.raises(FileNotFoundError, match=r"MMFUSION_WEIGHTS='.*none': no such folder"):
        init_model(cfg, device='cpu')


def test_weights_fetched_once(metafile, authors):
    net, files = authors
    metafile([file.as_uri() for file in files])
    cfg = load_model_config('parts_tno')
    assert same(init_model(cfg, device='cpu'), net)
    for file in files:
        file.unlink()
    assert same(init_model(cfg, device='cpu'), net)
    fetched = local_files('parts_tno')['Model_decoder.pkl']
    fetched.write_bytes(b'cut')
    with pytest.raises(CheckpointError, match=r'a\.bin: cannot be fetched.* Or put it into .*, under any name\.'):
        init_model(cfg, device='cpu')


def test_files_given_under_other_names(metafile, authors, tmp_path):
    """By their hash in any order; other trainings of the method by their names, or in the order given."""
    net, files = authors
    cfg = load_model_config('parts_tno')
    for given in (files, files[::-1], files[0].parent):
        assert same(init_model(cfg, given, 'cpu'), net)
    other = TwoParts()
    (tmp_path / 'other').mkdir()
    for names in (['Model_encoder.pkl', 'Model_decoder.pkl'], ['e.pkl', 'd.pkl']):
        given = [tmp_path / 'other' / name for name in names]
        for file, part in zip(given, (other.encoder, other.decoder), strict=True):
            torch.save(part.state_dict(), file)
        if names[0].startswith('Model'):
            given.reverse()
        assert same(init_model(cfg, given, 'cpu'), other)
    with pytest.raises(CheckpointError, match='not a checkpoint of this model'):
        init_model(cfg, files[:1], 'cpu')


def test_a_checkpoint_at_an_address(metafile, tmp_path):
    model = init_model(load_model_config('parts_tno'), 'random', 'cpu')
    file = tmp_path / 'ours.pth'
    torch.save(dict(state_dict={k: v + 1 for k, v in model.state_dict().items()}), file)
    loaded = init_model(load_model_config('parts_tno'), file.as_uri(), 'cpu')
    assert torch.equal(loaded.network.encoder.bias, model.network.encoder.bias + 1)


def test_a_broken_metafile(metafile, tmp_path):
    (tmp_path / 'configs/parts/metafile.yml').write_text('Models: [{Name: x, In Collection: Y}]')
    configs.published.cache_clear()
    with pytest.raises(ValueError, match=r'metafile\.yml: not a metafile as docs/configs\.md describes it'):
        find_config('nothing')


@pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU')
def test_devices():
    assert find_device('cpu') == torch.device('cpu')
    for device in ('cuda', 'cuda:0', '0', 0):
        with pytest.raises(ValueError, match=r"device='cuda.*: this torch sees no GPU\. Use device='cpu'\."):
            find_device(device)
    with pytest.raises(ValueError, match=r"device='tpu0': no such device\. Expected 'cpu', 'cuda'"):
        find_device('tpu0')


def test_every_config_is_made_ready_for_fusing():
    """What only training needs is taken out, and the model is built without it."""
    from mmfusion.registry import MODELS

    for name in ('refusion_msrs', 'tardal_roadscene', 'occo_fmb'):
        cfg = load_model_config(name)
        model = MODELS.build(cfg.model)
        assert not any(list(getattr(model, part, None) or ()) for part in type(model).training_only), name


def test_a_model_by_its_name():
    """As the init functions of mmsegmentation and mmdetection take it; a name was `'str' object has no attribute …`."""
    by_name, by_config = init_model('lite', device='cpu'), init_model(load_model_config('lite'), device='cpu')
    for name, value in by_config.state_dict().items():
        assert torch.equal(by_name.state_dict()[name], value)
    with pytest.raises(FileNotFoundError, match='Did you mean'):
        init_model('lit', device='cpu')
