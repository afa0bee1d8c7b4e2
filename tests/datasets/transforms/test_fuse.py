"""FuseImages gives the images of tools/fuse.py, in worker processes too, and stock pipelines run on them."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmfusion.apis import FusionInferencer, init_model, load_model_config
from mmfusion.datasets import FusionDataset, MSRSDataset
from mmfusion.datasets.transforms import FuseImages, LoadImagePair
from mmfusion.datasets.transforms.fuse import plain_image
from mmfusion.utils import read_visible, write_image

NARROW = {'model.network.channels': (4, 4, 8, 8)}
SIZES = dict(a=(16, 24), b=(19, 17), c=(33, 40))


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Checkpoint of a narrow FIFN, other than the one that 'random' stands for."""
    model = init_model(load_model_config('occo_fmb', NARROW), 'random', 'cpu')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    file = tmp_path_factory.mktemp('weights') / 'narrow.pth'
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """Folders ``vi`` and ``ir`` of three pairs of several sizes."""
    root, rng = tmp_path_factory.mktemp('pairs'), np.random.default_rng(0)
    for name, size in SIZES.items():
        write_image(root / 'vi' / f'{name}.png', rng.integers(0, 256, (*size, 3), np.uint8))
        write_image(root / 'ir' / f'{name}.bmp', rng.integers(0, 256, size, np.uint8))
    return root


@pytest.fixture(scope='module')
def expected(weights, pairs):
    """What tools/fuse.py's inferencer gives for the files, by name."""
    inferencer = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)
    return {n: inferencer(pairs / 'vi' / f'{n}.png', pairs / 'ir' / f'{n}.bmp') for n in SIZES}


def fuse_images(weights, **kwargs):
    return FuseImages('occo_fmb', str(weights), cfg_options=NARROW, **kwargs)


def dataset(root, *transforms):
    return FusionDataset(data_root=str(root), pipeline=[LoadImagePair(), *transforms])


def first(batch):
    return batch[0]


@pytest.mark.parametrize('where', ['here', 'in workers', 'after pickling'])
def test_the_same_images_as_the_inferencer_bit_for_bit(weights, pairs, expected, where):
    samples = images = dataset(pairs, fuse_images(weights))
    if where == 'in workers':
        samples = list(DataLoader(images, num_workers=2, collate_fn=first, multiprocessing_context='fork'))
    elif where == 'after pickling':  # as a spawned worker gets it: without the model
        assert images[0]['img'].shape == (16, 24, 3)
        samples = pickle.loads(pickle.dumps(images))
        assert samples.pipeline.transforms[1]._inferencer is None
    samples = list(samples)
    assert [s['img_id'] for s in samples] == list(SIZES)
    for sample in samples:
        np.testing.assert_array_equal(sample['img'], expected[sample['img_id']])
        assert sample['img'].flags['C_CONTIGUOUS']
        assert (sample['img_shape'], sample['ori_shape']) == (SIZES[sample['img_id']],) * 2
        assert sample['img_path'].endswith(f'{sample["img_id"]}.png')
        assert sample['ir_path'].endswith(f'{sample["img_id"]}.bmp')
    assert not np.array_equal(expected['a'], read_visible(pairs / 'vi' / 'a.png'))


def test_tiles(weights, pairs):
    inferencer = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, tile=(16, 16), show_progress=False)
    want = inferencer(pairs / 'vi' / 'c.png', pairs / 'ir' / 'c.bmp')
    np.testing.assert_array_equal(dataset(pairs, fuse_images(weights, tile=(16, 16)))[2]['img'], want)


def test_random_weights_are_the_same_everywhere_and_draw_nothing(pairs):
    torch.manual_seed(5)
    alone = torch.rand(3)
    torch.manual_seed(5)
    images = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        images.append(dataset(pairs, fuse_images('random'))[0]['img'])
        if seed == 5:
            assert torch.equal(torch.rand(3), alone)
    np.testing.assert_array_equal(*images)


def test_cache(weights, pairs, expected, tmp_path, monkeypatch):
    cached = dataset(pairs, fuse_images(weights, cache_dir=tmp_path / 'cache'))
    for sample in cached:
        np.testing.assert_array_equal(sample['img'], expected[sample['img_id']])
    files = sorted((tmp_path / 'cache').rglob('*.*'))
    assert [file.suffix for file in files] == ['.png'] * 3
    assert len({file.parent for file in files}) == 1
    # Another process finds them, and builds no model.
    with monkeypatch.context() as patch:
        patch.setattr(FuseImages, '_run', None)
        for sample in dataset(pairs, fuse_images(weights, cache_dir=tmp_path / 'cache')):
            np.testing.assert_array_equal(sample['img'], expected[sample['img_id']])
    # Other pixels, another checkpoint under the same name and other windows are other images.
    pair = np.random.default_rng(1).integers(0, 256, (16, 24, 4), np.uint8)
    fuse_images(weights, cache_dir=tmp_path / 'cache')(dict(img=pair))
    assert len(list((tmp_path / 'cache').rglob('*.png'))) == 4
    state = torch.load(weights, weights_only=True)
    other = tmp_path / weights.name
    torch.save({k: v * 0.9 for k, v in state.items()}, other)
    image = fuse_images(other, cache_dir=tmp_path / 'cache')(dict(img=pair))['img']
    np.testing.assert_array_equal(image, fuse_images(other)(dict(img=pair))['img'])
    fuse_images(weights, tile=(16, 16), cache_dir=tmp_path / 'cache')(dict(img=pair))
    assert len(list((tmp_path / 'cache').iterdir())) == 3


def test_plain_images():
    pair = np.array([[[10, 20, 31, 40], [255, 0, 1, 255]]], np.uint8)
    for source, values in dict(
        visible=[[10, 20, 31], [255, 0, 1]],
        infrared=[[40, 40, 40], [255, 255, 255]],
        average=[[25, 30, 36], [255, 128, 128]],
    ).items():
        image = FuseImages(source=source)(dict(img=pair))['img']
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, [values])
    with pytest.raises(ValueError, match='source must be one of visible, infrared, average, got'):
        plain_image(pair, 'fused')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), 'needs a model .* got model=None, weights=None'),
        (dict(model='occo_fmb'), "or the word 'random'"),
        (dict(source='visible', weights='random'), 'needs no model: leave out model'),
        (dict(source='thermal'), "source must be one of fused, visible, infrared, average, got 'thermal'"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FuseImages(**arguments)


def test_refuses_what_is_no_pair():
    for img in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 4), np.float32)):
        with pytest.raises(ValueError, match=r'x\.png came as .*Place it right after mmfusion\.LoadImagePair'):
            FuseImages(source='visible')(dict(img=img, img_path='x.png'))


def test_refuses_a_gpu_in_a_worker(pairs):
    loader = DataLoader(dataset(pairs, fuse_images('random', device='cuda')), num_workers=1, collate_fn=first)
    with pytest.raises(ValueError, match='in a worker process of the dataloader'):
        next(iter(loader))


STOCK = """
_base_ = ['mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py']
custom_imports = dict(imports=['mmfusion'])
norm = dict(type='BN', requires_grad=True)
model = dict(pretrained=None, backbone=dict(base_channels=8, stem_channels=8, norm_cfg=norm),
    data_preprocessor=dict(size=(32, 32)),
    decode_head=dict(in_channels=64, c1_in_channels=8, channels=8, c1_channels=4, num_classes=9, norm_cfg=norm),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=9, norm_cfg=norm))
fuse = [dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.FuseImages', model='occo_fmb', weights={weights!r}, cfg_options={options!r})]
crop = [dict(type='LoadAnnotations'), dict(type='RandomResize', scale=(48, 32), ratio_range=(1., 2.), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(32, 32)), dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(_delete_=True,
    type='mmfusion.MSRSDataset', data_root={root!r}, with_labels=True, pipeline=[*fuse, *crop, dict(type='PackSegInputs')]))
test = dict(num_workers=0, persistent_workers=False, dataset=dict(_delete_=True, type='mmfusion.MSRSDataset',
    data_root={root!r}, split='test', with_labels=True, pipeline=[*fuse, dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]))
val_dataloader = test_dataloader = test
train_cfg = dict(max_iters=1, val_interval=1)
work_dir = {work!r}
"""


def test_a_stock_mmseg_config_trains_and_evaluates_on_fused_images(weights, tmp_path, load_synthetic):
    root = tmp_path / 'MSRS'
    load_synthetic([str(root), '--layout', 'msrs', '--num', '2', '--size', '32', '48'])
    text = STOCK.format(weights=str(weights), options=NARROW, root=str(root), work=str(tmp_path / 'work'))
    (tmp_path / 'config.py').write_text(text)
    runner = Runner.from_cfg(Config.fromfile(tmp_path / 'config.py'))
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    assert any(not torch.equal(v, before[k]) for k, v in runner.model.state_dict().items())
    metrics = runner.val_loop.run()
    assert 0 <= metrics['mIoU'] <= 100
    # What the model saw is the fused image of the file.
    sample = runner.val_dataloader.dataset[0]
    info = MSRSDataset(data_root=str(root), split='test').get_data_info(0)
    fused = FusionInferencer('occo_fmb', weights, 'cpu', NARROW, show_progress=False)(info['img_path'], info['ir_path'])
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), fused)
