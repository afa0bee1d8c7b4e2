"""From 8-bit pairs to tensors in [0, 1]."""

import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.data_preprocessors import FusionDataPreprocessor
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample


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
