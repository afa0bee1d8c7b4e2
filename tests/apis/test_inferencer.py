"""FusionInferencer: forms of input, equality with the model, and refusals."""

import os
import pickle
import shutil
import sys
from functools import partial, partialmethod

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch._inductor.exc import InductorError

from mmfusion.apis import FusionInferencer, find_config, init_model, list_models, load_model_config
from mmfusion.utils import read_visible, write_image
from mmfusion.utils.checkpoint import CheckpointError

NARROW = {'model.network.channels': (4, 4, 8, 8)}
SIZES = ((16, 24), (19, 17), (16, 24), (33, 40))


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A plain state dict of a narrow OCCO."""
    torch.manual_seed(3)
    model = init_model(load_model_config('occo_fmb', NARROW), 'random', 'cpu')
    file = tmp_path_factory.mktemp('weights') / 'narrow.pth'
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture(scope='module')
def inferencer(weights):
    """Built as a user does, with VGG19 weights out of reach: fusing must not ask for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMFUSION_VGG19', '/nowhere/vgg19.pth')
        return FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)


@pytest.fixture
def arrays():
    """Visible and infrared arrays of several sizes."""
    rng = np.random.default_rng(1)
    vi = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    return vi, [rng.integers(0, 256, size, np.uint8) for size in SIZES]


@pytest.fixture
def folders(tmp_path, arrays):
    """The same as files 0.png… and 0.bmp…"""
    for name, images, suffix in (('vi', arrays[0], '.png'), ('ir', arrays[1], '.bmp')):
        for k, image in enumerate(images):
            write_image(tmp_path / name / f'{k}{suffix}', image)
    return tmp_path / 'vi', tmp_path / 'ir'


def close(a, b, levels=1):
    """Equal shapes, and grey levels but for rounding of sums in another order."""
    return a.shape == b.shape and a.dtype == b.dtype and np.abs(a.astype(int) - b).max() <= levels


def test_one_pair_of_arrays_is_the_models_output(inferencer, arrays):
    vi, ir = arrays[0][0], arrays[1][0]
    fused = inferencer(vi, ir)
    rgb = torch.from_numpy(vi[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = inferencer.model.fuse(rgb, torch.from_numpy(ir)[None, None] / 255)[0]
    expected = np.rint(expected.permute(1, 2, 0).numpy()[..., ::-1] * 255)
    assert isinstance(fused, np.ndarray)
    assert fused.dtype == np.uint8
    assert fused.std() > 1
    assert close(fused, expected.astype(np.uint8))
    # Colour is the visible image's: Cr and Cb of a grey one stay neutral.
    grey = inferencer(vi[..., 0], ir)
    assert close(grey[..., 0], grey[..., 2])
    assert close(inferencer(np.repeat(vi[..., :1], 3, 2), ir[..., None]), grey, 0)


def test_lists_folders_and_batches_agree(inferencer, arrays, folders):
    one_by_one = [inferencer(vi, ir) for vi, ir in zip(*arrays, strict=True)]
    assert [image.shape[:2] for image in one_by_one] == list(SIZES)
    assert not close(one_by_one[0], one_by_one[2], 20)
    vi_files, ir_files = (sorted(folder.iterdir()) for folder in folders)
    mixed = [arrays[0][0], *map(str, vi_files[1:])]
    for got in (
        inferencer(*arrays, batch_size=3),
        inferencer(mixed, tuple(ir_files), batch_size=4),
        inferencer(*folders),
        inferencer(*map(str, folders), batch_size=2),
    ):
        assert isinstance(got, list)
        assert all(close(a, b) for a, b in zip(got, one_by_one, strict=True))
    assert close(inferencer(vi_files[1], ir_files[1]), one_by_one[1], 0)


def test_out_dir(inferencer, arrays, folders, tmp_path):
    fused = inferencer(*folders, out_dir=tmp_path / 'out', batch_size=2)
    assert sorted(f.name for f in (tmp_path / 'out').iterdir()) == ['0.png', '1.png', '2.png', '3.png']
    assert all(np.array_equal(read_visible(tmp_path / 'out' / f'{k}.png'), image) for k, image in enumerate(fused))
    inferencer(arrays[0][:2], arrays[1][:2], out_dir=tmp_path / 'numbered', suffix='.bmp')
    assert sorted(f.name for f in (tmp_path / 'numbered').iterdir()) == ['000000.bmp', '000001.bmp']
    before = (folders[0] / '0.png').read_bytes()
    with pytest.raises(ValueError, match=r'0\.png: the fused image would overwrite its source'):
        inferencer(*folders, out_dir=folders[0])
    assert (folders[0] / '0.png').read_bytes() == before
    twice = [folders[0] / '0.png', tmp_path / 'out' / '0.png']
    with pytest.raises(ValueError, match='several visible images are called 0;'):
        inferencer(twice, [arrays[1][0]] * 2, out_dir=tmp_path / 'twice')


def test_unpaired_and_mismatched(inferencer, arrays, folders, tmp_path):
    vi, ir = arrays
    (folders[1] / '2.bmp').rename(folders[1] / 'two.bmp')
    with pytest.raises(ValueError, match=r'1 image\(s\) of .*vi have no counterpart in .*ir: 2; .*: two\.'):
        inferencer(*folders)
    with pytest.raises(ValueError, match='2 visible but 3 infrared images: sequences are paired by position'):
        inferencer(vi[:2], ir[:3])
    with pytest.raises(ValueError, match='vi is a folder but ir is an image'):
        inferencer(folders[0], ir[0])
    with pytest.raises(ValueError, match=r'ir\[1\] is a folder: a sequence holds files and arrays'):
        inferencer(vi[:2], [ir[0], folders[1]])
    with pytest.raises(ValueError, match=r'0\.png is 24×16 but .*1\.bmp is 17×19 \(width×height\)'):
        inferencer(folders[0] / '0.png', folders[1] / '1.bmp')
    with pytest.raises(ValueError, match='visible array 1 is 17×19 but infrared array 1 is 24×16'):
        inferencer(vi[:2], [ir[0], ir[2]])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no image'):
        inferencer(tmp_path / 'empty', tmp_path / 'empty')
    with pytest.raises(ValueError, match=r'gone\.png: no such file'):
        inferencer(tmp_path / 'gone.png', folders[1] / '0.bmp')
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        inferencer(vi, ir, batch_size=0)


def test_arrays_of_another_kind(inferencer, arrays):
    vi, ir = arrays[0][0], arrays[1][0]
    with pytest.raises(ValueError, match=r'visible array 0: floating-point values from 0 to 255 have no full scale'):
        inferencer(vi.astype(np.float32), ir)
    with pytest.raises(ValueError, match=r'visible array 0: expected uint8, uint16 or floating point .* int64'):
        inferencer(vi.astype(np.int64), ir)
    with pytest.raises(ValueError, match=r'visible array 0: expected .* got shape \(16, 24, 4\)'):
        inferencer(np.zeros((16, 24, 4), np.uint8), ir)
    with pytest.raises(ValueError, match=r'infrared array 0: expected H×W, got shape \(16, 24, 3\)'):
        inferencer(vi, vi)
    with pytest.raises(TypeError, match='vi: expected a path, a NumPy array, or a list of these, got Tensor'):
        inferencer(torch.zeros(3), ir)


def test_the_models_own_refusal_names_the_file(inferencer, tmp_path):
    write_image(tmp_path / 'tiny.png', np.zeros((5, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r'tiny\.png: FIFN .*at least 8×8 pixels, got 5×9'):
        inferencer(tmp_path / 'tiny.png', np.zeros((5, 9), np.uint8))


def test_deep_arrays_are_files_of_the_same_values(inferencer, weights, arrays, tmp_path):
    """uint16, floats in [0, 1], and, stretched, any numbers."""
    vi, ir = arrays[0][0], arrays[1][0]
    expected = inferencer(vi, ir)
    assert close(inferencer(vi.astype(np.uint16) * 257, ir.astype('>u2') * 257), expected, 0)
    assert close(inferencer(vi / 255, (ir / 255).astype(np.float32)), expected, 0)
    stretching = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, depth16='stretch', show_progress=False)
    raw = 7000 + ir.astype(np.uint16) * 4
    cv2.imwrite(str(tmp_path / 'raw.tiff'), raw)
    np.save(tmp_path / 'raw.npy', raw)
    for given in (raw, raw.astype(np.int64), raw.astype(np.float64) - 9000, raw[..., None], tmp_path / 'raw.npy'):
        assert close(stretching(vi, given), stretching(vi, tmp_path / 'raw.tiff'), 0)
    with pytest.raises(ValueError, match='infrared array 0: holds NaN'):
        stretching(vi, np.full(ir.shape, np.nan))


def test_pairs_in_four_channels(inferencer, arrays, tmp_path):
    vi, ir = arrays[0][0], arrays[1][0]
    expected = inferencer(vi, ir)
    pair = np.dstack([vi, ir])
    write_image(tmp_path / 'rgbt' / 'a.png', pair)
    file = tmp_path / 'rgbt' / 'a.png'
    assert close(inferencer(pair), expected, 0)
    assert close(inferencer(file), expected, 0)
    for many in (tmp_path / 'rgbt', [str(file)], [pair]):
        [fused] = inferencer(many, out_dir=tmp_path / 'out')
        assert close(fused, expected, 0)
    assert sorted(f.name for f in (tmp_path / 'out').iterdir()) == ['000000.png', 'a.png']
    for given in ((file, file), (tmp_path / 'rgbt', str(tmp_path / 'rgbt')), ([file], [str(file)])):
        with pytest.raises(ValueError, match=r'rgbt.*: given as the visible and as the infrared image.* --rgbt DIR'):
            inferencer(*given)
    with pytest.raises(ValueError, match=r'a\.png: an infrared image with a fourth channel'):
        inferencer(vi, file)
    with pytest.raises(ValueError, match=r'array 0: expected H×W×4 .* got shape \(16, 24, 3\)'):
        inferencer(vi)


@pytest.mark.parametrize('error', [
    torch.OutOfMemoryError('CUDA out of memory'),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError('DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.'),
    MemoryError('Unable to allocate 9. GiB for an array'),
    cv2.error('Failed to allocate 9 bytes in function OutOfMemoryError'),
])  # fmt: skip
def test_out_of_memory_says_what_to_do(inferencer, arrays, monkeypatch, error):
    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(inferencer.model, 'forward', full)
    with pytest.raises(RuntimeError, match=r'out of memory at pair 0 \(24×16, batch_size 1\): use tile=.*--tile'):
        inferencer(arrays[0][0], arrays[1][0])
    with pytest.raises(RuntimeError, match=r'pair 0, pair 2 .*batch_size 2\): use a smaller batch_size .*--tile 512'):
        inferencer(*arrays, batch_size=2)
    monkeypatch.setattr(inferencer.model, 'test_cfg', dict(crop_size=[64, 64]))
    with pytest.raises(RuntimeError, match=r'use windows smaller than \(64, 64\)'):
        inferencer(arrays[0][0], arrays[1][0])


@pytest.mark.parametrize('tile', [(0, 0), (-1, 8), (64,), (64.5, 64)])
def test_tiles_that_are_none(weights, tile):
    with pytest.raises(ValueError, match=r'tile=.* \(--tile\): expected a height and a width above 0'):
        FusionInferencer('occo_fmb', weights, 'cpu', NARROW, tile=tile)


def test_another_error_of_the_model_stays_what_it_is(inferencer, arrays, monkeypatch):
    def wrong(*args, **kwargs):
        raise RuntimeError('size mismatch')

    monkeypatch.setattr(inferencer.model, 'forward', wrong)
    with pytest.raises(RuntimeError, match=r'^size mismatch$'):
        inferencer(arrays[0][0], arrays[1][0])


@pytest.mark.parametrize(
    ('model', 'task'),
    [
        ('occo_fmb', None),
        ('fusiongan_roadscene', None),
        ('gffusion_funet_demo-random-clip', None),
        ('mgfusion_demo-random-clip', None),
        ('occo_deeplabv3plus_synthetic', 'seg'),
    ],
)
def test_pickled(model, task, arrays):
    """For joblib and spawned processes; FusionGAN's parametrized convolutions cannot be pickled as they are, and a prior
    stands outside of the model's parameters.
    """
    options = NARROW if model == 'occo_fmb' else None
    inferencer = FusionInferencer(
        model, 'random', 'cpu', options, tile=(12, 12), task=task, depth16='stretch', show_progress=False
    )
    with torch.no_grad():
        # Its parameters, not those of a new model.
        next(getattr(inferencer.model, 'fuser', inferencer.model).network.parameters()).mul_(2)
    copy = pickle.loads(pickle.dumps(inferencer))
    assert (copy.depth16, copy.show_progress, copy.model.training) == ('stretch', False, False)
    vi, ir = arrays[0][3], arrays[1][3]
    assert close(copy(vi, ir), inferencer(vi, ir), 0)


@pytest.mark.parametrize('backend', ['eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_compiled(backend, arrays, monkeypatch):
    """The same images; a copy of the inferencer is compiled, too."""
    compiler = os.environ.get('CXX') or 'g++'
    if backend == 'inductor' and (sys.platform != 'linux' or shutil.which(compiler) is None):
        pytest.skip(f'torch.compile needs a C++ compiler, and {compiler} is not found')
    monkeypatch.setattr(shutil, 'which', lambda name: name)
    monkeypatch.setattr(nn.Module, 'compile', partialmethod(nn.Module.compile, backend=backend))
    plain, compiled = (
        FusionInferencer('mmdrfuse_llvip', 'random', 'cpu', compile=compile, show_progress=False)
        for compile in (False, True)
    )
    for vi, ir in list(zip(*arrays, strict=True))[: None if backend == 'eager' else 1]:  # each size takes seconds
        assert close(compiled(vi, ir), plain(vi, ir))
    assert pickle.loads(pickle.dumps(compiled)).model.network._compiled_call_impl is not None
    assert plain.model.network._compiled_call_impl is None


def test_compiled_without_a_compiler(arrays, monkeypatch):
    build = partial(FusionInferencer, 'mmdrfuse_llvip', 'random', 'cpu', compile=True, show_progress=False)
    monkeypatch.setenv('CXX', 'no-compiler')
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler, and 'no-compiler' is not found\. Install one"):
        build()
    monkeypatch.delenv('CXX')
    monkeypatch.setattr(shutil, 'which', lambda name: name)

    def fails(*args, **kwargs):
        raise InductorError(RuntimeError('Python.h: No such file\nand much more'), None)

    inferencer = build()
    inferencer.model.network._compiled_call_impl = fails
    with pytest.raises(RuntimeError, match=r'cannot compile this network here \(.*Python.h: No such file\). Leave'):
        inferencer(arrays[0][0], arrays[1][0])


def test_checkpoint_of_nan(weights, arrays, tmp_path):
    state = torch.load(weights, weights_only=True)
    state['network.final.bias'].fill_(float('nan'))
    torch.save(state, tmp_path / 'nan.pth')
    with pytest.raises(
        CheckpointError, match=r'nan\.pth: 1 of its \d+ tensors hold NaN or infinity: network\.final\.bias'
    ):
        FusionInferencer('occo_fmb', tmp_path / 'nan.pth', 'cpu', NARROW, show_progress=False)


def test_a_network_that_gives_nan(weights, arrays):
    broken = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)
    with torch.no_grad():
        broken.model.network.final.bias.fill_(float('nan'))
    with pytest.raises(ValueError, match='pair 0: the fused image holds NaN'):
        broken(arrays[0][0], arrays[1][0])


def test_checkpoint_of_another_network(weights):
    with pytest.raises(CheckpointError, match=r'narrow\.pth: not a checkpoint of this model'):
        FusionInferencer('occo_fmb', weights, 'cpu')


def test_models_by_name_scope_path_and_config(tmp_path):
    models = list_models()
    assert {'occo_fmb', 'occo_msrs'} <= set(models)
    assert all(file.is_file() and '_base_' not in file.parts for file in models.values())
    assert find_config('occo_fmb') == models['occo_fmb'] == find_config('mmfusion::occo/occo_fmb.py')
    assert find_config(str(models['occo_msrs'])) == models['occo_msrs']
    with pytest.raises(FileNotFoundError, match=r"'oco_fmb' is no config of mmfusion\. Did you mean occo_fmb"):
        find_config('oco_fmb')
    with pytest.raises(FileNotFoundError, match=r'nowhere/a\.py: no such config'):
        find_config('nowhere/a.py')
    cfg = Config.fromfile(models['occo_fmb'])
    assert load_model_config(cfg, NARROW).model.losses is None
    assert len(cfg.model.losses) == 4
    cascade = Config(dict(model=dict(type='X', fuser=cfg.model, fuser_checkpoint='gone.pth')))
    assert load_model_config(cascade, task='seg').model == dict(type='X', fuser=dict(cfg.model, losses=None))
    assert load_model_config(cascade).model == dict(cfg.model, losses=None)
    (tmp_path / 'data.py').write_text('a = 1\n')
    with pytest.raises(ValueError, match=r'data\.py: the config has no model'):
        load_model_config(tmp_path / 'data.py')


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is there')
def test_absent_device(weights):
    with pytest.raises(ValueError, match="device='cuda:0': this torch sees no GPU"):
        FusionInferencer('occo_fmb', weights, 'cuda:0', NARROW)


def test_tiles_and_overrides_reach_the_model(weights):
    rng = np.random.default_rng(2)
    vi, ir = rng.integers(0, 256, (64, 72, 3), np.uint8), rng.integers(0, 256, (64, 72), np.uint8)
    whole = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)(vi, ir)
    tiled = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, tile=(32, 32), show_progress=False)
    assert tiled.model.test_cfg == dict(mode='slide', crop_size=(32, 32))
    assert close(tiled(vi, ir), whole, 2)
    options = {**NARROW, 'model.test_cfg': dict(mode='slide', crop_size=(32, 32), exact=False)}
    assert not close(FusionInferencer('occo_fmb', weights, 'cpu', options, show_progress=False)(vi, ir), whole, 2)


def test_deep_files_are_read_as_the_config_says(weights, tmp_path, arrays):
    ir = arrays[1][0]
    raw = 20000 + ir.astype(np.uint16) * 4
    cv2.imwrite(str(tmp_path / 'raw.png'), raw)
    cfg = load_model_config('occo_fmb', NARROW)
    assert FusionInferencer(cfg, weights, 'cpu').depth16 == 'full'
    cfg.merge_from_dict({'test_dataloader.dataset.pipeline.0.depth16': 'stretch'})
    inferencer = FusionInferencer(cfg, weights, 'cpu', show_progress=False)
    low, high = np.percentile(raw, (0.5, 99.5))
    stretched = np.clip(np.round((raw - low) / (high - low) * 255), 0, 255).astype(np.uint8)
    vi = arrays[0][0]
    assert close(inferencer(vi, tmp_path / 'raw.png'), inferencer(vi, stretched))
    assert FusionInferencer(cfg, weights, 'cpu', depth16='full').depth16 == 'full'
    with pytest.raises(ValueError, match="depth16 must be 'full' or 'stretch', got 'raw'"):
        FusionInferencer(cfg, weights, 'cpu', depth16='raw')


@pytest.mark.data
def test_real_pairs(weights, data_dir):
    """Of the 42 TNO pairs, three, in one batch of their own sizes."""
    files = [[data_dir / 'TNO' / m / f'{k:02d}.png' for k in (9, 10, 33)] for m in ('vi', 'ir')]
    inferencer = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)
    fused = inferencer(*files, batch_size=3)
    assert [f.shape for f in fused] == [read_visible(file).shape for file in files[0]]
    assert all(f.std() > 5 for f in fused)


@pytest.mark.cuda
def test_gpu_gives_what_the_cpu_gives(weights, inferencer, arrays):
    gpu = FusionInferencer('occo_fmb', weights, 'cuda', NARROW, show_progress=False)
    for a, b in zip(gpu(*arrays, batch_size=2), inferencer(*arrays), strict=True):
        assert close(a, b, 2)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(tile=5), 'tile=5 .--tile.: expected a height and a width above 0'),
        (dict(weights=5), 'weights=5: expected a file, an address'),
        (dict(cfg_options=['a=1']), r"cfg_options is \['a=1'\]; expected a dict"),
        (dict(ir_colormap=5), r'ir_colormap \(--ir-colormap\) is 5; expected the name of a palette'),
        (dict(align=3), r'align \(--align\) is 3; expected a file of `mmfusion align`'),
    ],
)
def test_options_of_another_type_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        FusionInferencer('lite', device='cpu', **given)
