"""The baselines: a source, or the average of both."""

import pytest
import torch

from mmfusion.registry import MODELS


def fuser(source):
    network = dict(type='mmfusion.SourceNetwork', source=source)
    return MODELS.build(dict(type='mmfusion.ImageFuser', network=network, color=dict(type='mmfusion.RGBColor'))).eval()


@pytest.mark.parametrize('source', ['visible', 'infrared', 'average'])
def test_images_are_the_sources(source):
    vi, ir = torch.rand(2, 3, 8, 9), torch.rand(2, 1, 8, 9)
    grey = ir.repeat(1, 3, 1, 1)
    expected = {'visible': vi, 'infrared': grey, 'average': vi / 2 + grey / 2}[source]
    torch.testing.assert_close(fuser(source).fuse(vi, ir), expected)
    mixed = fuser(source).fuse([vi[0], vi[1, :, :5]], [ir[0], ir[1, :, :5]])
    torch.testing.assert_close(mixed[0], expected[0])
    torch.testing.assert_close(mixed[1], expected[1, :, :5])
    samples = fuser(source)(dict(vi=vi, ir=ir), mode='predict')
    torch.testing.assert_close(samples[1].fused.data, expected[1])


def test_it_has_nothing_to_learn():
    assert list(fuser('average').parameters()) == []
    with pytest.raises(ValueError, match="source must be one of visible, infrared, average, got 'thermal'"):
        fuser('thermal')


def test_the_average_networks_luminance():
    vi, ir = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(MODELS.build(dict(type='mmfusion.AverageNetwork'))(vi, ir), 0.5 * vi + 0.5 * ir)
