"""From 8-bit pairs to tensors in [0, 1]."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.datasets.transforms import LoadImagePair, PackFusionInputs
from mmfusion.models.data_preprocessors import FusionDataPreprocessor
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import write_image


def pair(h=3, w=4):
    return torch.randint(0, 256, (4, h, w), dtype=torch.uint8)


def test_known_values():
    """B, G, R, IR → R, G, B and infrared, over 255."""
    image = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(4, 1, 1)
    out = FusionDataPreprocessor()(dict(inputs=[image], data_samples=None))
    assert out['data_samples'] is None
    torch.testing.assert_close(out['inputs']['vi'].flatten(), torch.tensor([0.4, 0.2, 0.0]))
    assert out['inputs']['ir'].flatten().tolist() == [1]


@pytest.mark.parametrize('stacked', [True, False])
def test_one_size_is_stacked(stacked):
    images = [pair(), pair()]
    inputs = MODELS.build(dict(type='FusionDataPreprocessor'))(dict(inputs=torch.stack(images) if stacked else images))
    inputs = inputs['inputs']
    assert inputs['vi'].shape == (2, 3, 3, 4)
    assert inputs['ir'].shape == (2, 1, 3, 4)
    assert inputs['vi'].dtype == inputs['ir'].dtype == torch.float32
    assert torch.equal((inputs['vi'][1] * 255).round().byte(), images[1][[2, 1, 0]])
    assert torch.equal((inputs['ir'][1] * 255).round().byte(), images[1][3:])


def test_several_sizes_stay_a_list_without_padding():
    images = [pair(3, 4), pair(5, 2), pair(3, 4)]
    together = FusionDataPreprocessor()(dict(inputs=images))['inputs']
    for i, image in enumerate(images):
        alone = FusionDataPreprocessor()(dict(inputs=[image]))['inputs']
        assert torch.equal(together['vi'][i], alone['vi'][0])
        assert torch.equal(together['ir'][i], alone['ir'][0])


def test_data_samples_pass_through():
    sample = FusionDataSample(metainfo=dict(img_path='a.png'))
    sample.gt_saliency = PixelData(vi=torch.ones(1, 3, 4, dtype=torch.bool), ir=torch.zeros(1, 3, 4, dtype=torch.bool))
    (out,) = FusionDataPreprocessor()(dict(inputs=[pair()], data_samples=[sample]), training=True)['data_samples']
    assert out.img_path == 'a.png'
    assert out.gt_saliency.vi.dtype == torch.bool
    assert out.gt_saliency.vi.all()


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (torch.zeros(2, 5, 6, dtype=torch.uint8), r'inputs must be 4×H×W pairs .* got \(2, 5, 6\)'),
        (torch.zeros(5, 6, dtype=torch.uint8), r'got \(5, 6\). Load with LoadImagePair'),
        (torch.rand(4, 5, 6), r'inputs must be uint8 in 0…255, .*got torch.float32'),
    ],
)
def test_errors(image, message):
    with pytest.raises(ValueError, match=message):
        FusionDataPreprocessor()(dict(inputs=[image]))


def test_stretch_by_the_range_of_the_whole_image(tmp_path):
    """In training (x − min) / (max − min) of the file, over all channels, whatever was cut; an even image is 0."""
    vi, ir = np.full((6, 8, 3), 60, np.uint8), np.full((6, 8), 33, np.uint8)
    vi[0, 0], vi[5, 7] = (10, 50, 90), (210, 70, 100)
    write_image(tmp_path / 'vi.png', vi)
    write_image(tmp_path / 'ir.png', ir)
    results = LoadImagePair(value_range=True)(dict(img_path=tmp_path / 'vi.png', ir_path=tmp_path / 'ir.png'))
    assert results['value_range'] == ((10, 210), (33, 33))
    results['img'] = results['img'][:2, :3]
    packed = PackFusionInputs()(results)
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    preprocess = FusionDataPreprocessor(stretch=True)
    out = preprocess(data, training=True)['inputs']
    torch.testing.assert_close(out['vi'][0, :, 0, 0], torch.tensor([0.4, 0.2, 0.0]))  # R, G, B
    torch.testing.assert_close(out['vi'][0, :, 1, 1], torch.full((3,), 0.25))
    assert (out['ir'] == 0).all()
    torch.testing.assert_close(preprocess(data)['inputs'], FusionDataPreprocessor()(data)['inputs'])  # not in tests
    sample = FusionDataSample(metainfo=dict(img_path='vi.png'))
    with pytest.raises(ValueError, match=r'vi\.png: no value_range.*Set value_range=True in LoadImagePair'):
        preprocess(dict(inputs=[packed['inputs']], data_samples=[sample]), training=True)
