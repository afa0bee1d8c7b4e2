"""Companions of a pair that a dataset declares: read, moved with the image, taken by name, never dropped in silence."""

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose

from mmfusion.datasets import FusionDataset
from mmfusion.models.fusers import ImageFuser
from mmfusion.registry import MODELS

LOAD, COMPANIONS, PACK = (
    dict(type=f'mmfusion.{name}') for name in ('LoadImagePair', 'LoadCompanions', 'PackFusionInputs')
)
FOLDERS = dict(vi_path='vi', ir_path='ir', registered_path='registered', flow_path='flow')


@pytest.fixture
def folder(tmp_path):
    """Two pairs, each with a registered infrared image and a flow."""
    random = np.random.default_rng(0)
    for name in ('vi', 'ir', 'registered', 'flow'):
        (tmp_path / name).mkdir()
    for stem in 'ab':
        for name, channels in (('vi', 3), ('ir', 1), ('registered', 1)):
            cv2.imwrite(str(tmp_path / name / f'{stem}.png'), random.integers(0, 256, (16, 24, channels), np.uint8))
        np.save(tmp_path / 'flow' / f'{stem}.npy', random.normal(size=(16, 24, 2)))
    return tmp_path


def dataset(folder, *pipeline):
    return FusionDataset(data_root=str(folder), data_prefix=FOLDERS, pipeline=list(pipeline))


def test_read_and_packed_under_their_names(folder):
    sample = dataset(folder, LOAD, COMPANIONS, PACK)[1]['data_samples']
    registered = cv2.imread(str(folder / 'registered' / 'b.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(sample.registered.data.numpy(), np.float32(registered)[None] / 255)
    flow = np.load(folder / 'flow' / 'b.npy').transpose(2, 0, 1)
    np.testing.assert_array_equal(sample.flow.data.numpy(), flow.astype(np.float32))


def test_moved_with_the_image(folder):
    flip = dict(type='mmseg.RandomFlip', prob=1.0)
    plain, flipped = (dataset(folder, LOAD, COMPANIONS, *more, PACK)[0] for more in ((), (flip,)))
    assert torch.equal(flipped['inputs'], plain['inputs'].flip(2))
    for name in ('registered', 'flow'):
        given, turned = (item['data_samples'].get(name).data for item in (plain, flipped))
        assert torch.equal(turned, given.flip(2))


@MODELS.register_module()
class RegisteredLoss(torch.nn.Module):
    """A loss that takes two companions by their names."""

    def forward(self, fused, registered, flow):
        assert flow.shape[1] == 2
        return (fused - registered).abs().mean()


def test_losses_take_them_by_name(folder):
    items = [dataset(folder, LOAD, COMPANIONS, PACK)[k] for k in range(2)]
    data = dict(inputs=[i['inputs'] for i in items], data_samples=[i['data_samples'] for i in items])
    fuser = ImageFuser(dict(type='AverageNetwork'), losses=dict(registered=dict(type='RegisteredLoss')))
    loss = fuser(**fuser.data_preprocessor(data, True), mode='loss')['loss_registered']
    batch = fuser.run(**fuser.data_preprocessor(data, True)['inputs'])
    registered = torch.stack([s.registered.data for s in data['data_samples']])
    torch.testing.assert_close(loss, (batch['fused'] - registered).abs().mean())
    for item in data['data_samples']:
        del item.flow
    with pytest.raises(
        ValueError, match=r"RegisteredLoss asks for 'flow', which this batch does not have. It has, by na"
    ):
        fuser(**fuser.data_preprocessor(data, True), mode='loss')


def test_none_is_dropped_in_silence(folder):
    with pytest.raises(
        ValueError, match=r'a\.png: the dataset declares the companion registered, and it was not loaded'
    ):
        dataset(folder, LOAD, PACK)[0]
    with pytest.raises(KeyError, match=r'a\.png: the dataset declares no companions'):
        FusionDataset(data_root=str(folder), pipeline=[LOAD, COMPANIONS, PACK])[0]
    results = dict(Compose([LOAD])(dataset(folder).get_data_info(0)), depth=np.zeros((16, 24)))
    with pytest.raises(
        ValueError, match=r'a\.png: PackFusionInputs does not pack depth, and does not drop it silently'
    ):
        Compose([PACK])(dict(results, companions=[]))


def test_missing_and_of_another_size(folder):
    cv2.imwrite(str(folder / 'registered' / 'b.png'), np.zeros((16, 20), np.uint8))
    with pytest.raises(ValueError, match=r'b\.png is 20×16 but its image .*b\.png is 24×16 \(width×height\)'):
        dataset(folder, LOAD, COMPANIONS, PACK)[1]
    (folder / 'flow' / 'a.npy').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'flow: 1 of 2 images have no file there \(flow_path of FusionDataset\): a'
    ):
        dataset(folder, LOAD, COMPANIONS, PACK)
