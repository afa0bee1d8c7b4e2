"""From colour images to grey or to channels."""

import pytest
import torch

from mmfusion.evaluation import METRIC_SPECS, evaluate_images, rgb_to_grey


def _colour(seed):
    return torch.randint(0, 256, (2, 3, 24, 26), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_grey_is_matlabs():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30], [7, 7, 7], [255, 255, 255]])
    grey = rgb_to_grey(colours.to(torch.uint8)[:, :, None, None])
    assert grey.flatten().tolist() == [76, 150, 29, 18, 7, 255]


def test_equal_channels_stay_themselves():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(rgb_to_grey(x.expand(-1, 3, -1, -1)), x)


def test_tang_is_the_metric_of_grey_images():
    f, a, b = _colour(0), _colour(1)[:, :1], _colour(2)
    values, _ = evaluate_images(f, a, b, ['EN', 'CC'])
    grey = [rgb_to_grey(x).double() for x in (f, a, b)]
    torch.testing.assert_close(values['CC'], METRIC_SPECS['CC'](*grey, data_range=255))
    torch.testing.assert_close(values['EN'], METRIC_SPECS['EN'](*grey, data_range=255))


def test_vifb_is_the_mean_over_channels():
    f, a, b = _colour(0), _colour(1)[:, :1], _colour(2)
    values, _ = evaluate_images(f, a, b, ['MI', 'SSIM', 'SF'], 'vifb')
    for name in ('MI', 'SSIM'):
        single = [
            METRIC_SPECS[name](*(x[:, k : k + 1].double() for x in (f, a.expand_as(f), b)), 'vifb', data_range=255)
            for k in range(3)
        ]
        torch.testing.assert_close(values[name], sum(single) / 3)
    wide = torch.cat(f.split(1, 1), dim=-1).double()
    torch.testing.assert_close(values['SF'], METRIC_SPECS['SF'](wide, None, None, 'vifb', data_range=255))


def test_vifb_with_a_grey_fused_image_makes_the_sources_grey():
    f, a, b = _colour(0)[:, :1], _colour(1), _colour(2)
    values, _ = evaluate_images(f, a, b, ['CE'], 'vifb')
    expected, _ = evaluate_images(f, rgb_to_grey(a), rgb_to_grey(b), ['CE'], 'vifb')
    torch.testing.assert_close(values['CE'], expected['CE'])


def test_sizes_are_named():
    with pytest.raises(ValueError, match=r'visible image is 25×24 but the fused image 26×24'):
        evaluate_images(_colour(0), _colour(1), _colour(2)[..., 1:])
