"""DenseFuse, IFCNN, DIDFuse, AUIF: the first of their kinds."""

import numpy as np
import pytest
import torch

from mmfusion.registry import MODELS

from .zoo import ROOT, PublishedMethod, build, stand_in


class TestDenseFuse(PublishedMethod):
    name = 'densefuse_pytorch'
    config = 'densefuse/densefuse_tno.py'
    train = 'densefuse/densefuse_coco.py'
    weights = 'DenseFuse/densefuse_gray.model'
    narrow = {'network.channels': 4}
    single_images = True


class TestDenseFuseTensorFlow(PublishedMethod):
    """The weights whose images are published: the TensorFlow code's of λ = 100, which are not in data/zoo."""

    name = 'densefuse'
    config = 'densefuse/densefuse-tensorflow_tno.py'
    tensorflow = True
    tolerance = 1e-4


class TestIFCNN(PublishedMethod):
    name = 'ifcnn'
    config = 'ifcnn/ifcnn_tno.py'
    train = 'ifcnn/ifcnn_roadscene.py'
    weights = 'IFCNN/IFCNN-MAX.pth'
    narrow = {'network.channels': 8}


class TestDIDFuse(PublishedMethod):
    name = 'didfuse'
    config = 'didfuse/didfuse_tno.py'
    train = 'didfuse/didfuse_flir.py'
    weights = 'DIDFuse'
    narrow = {'network.channels': 4}


class TestAUIF(PublishedMethod):
    name = 'auif'
    config = 'auif/auif_tno.py'
    train = 'auif/auif_flir.py'
    weights = 'AUIF'
    narrow = {'network.channels': 4, 'network.num_steps': 2}
    single_images = True


@pytest.mark.parametrize('method', ['DenseFuse', 'IFCNN', 'DIDFuse', 'AUIF'])
def test_unknown_rules_are_refused(method):
    with pytest.raises(ValueError, match=r"rule must be one of .*, got 'magic'"):
        MODELS.build(dict(type=f'mmfusion.{method}', rule='magic'))


def test_both_public_codes_of_densefuse_give_one_network():
    """TensorFlow's concatenations have the newest features first: the same features come out in another order only."""
    net = MODELS.build(dict(type='mmfusion.DenseFuse', rule='addition'))
    with np.load(ROOT / 'tests/data/zoo/densefuse.npz') as file:
        state = stand_in(file['names'], file['shapes'], tensorflow=True)
    net.load_state_dict(net.from_authors(state))
    x = torch.rand(1, 1, 12, 10)
    first = net.first(x)
    kernel = state['encoder/dense_block_conv2/kernel'].permute(3, 2, 0, 1)
    second = net.dense[0](first)
    padded = torch.nn.functional.pad(torch.cat([second, first], 1), (1, 1, 1, 1), mode='reflect')
    expected = torch.nn.functional.conv2d(padded, kernel, state['encoder/dense_block_conv2/bias']).relu()
    torch.testing.assert_close(net.dense[1](torch.cat([first, second], 1)), expected)


def test_grey_method_in_a_colour_place_is_refused():
    fuser, _ = build('ifcnn/ifcnn_tno.py', color=dict(type='mmfusion.LuminanceColor'))
    with pytest.raises(ValueError, match=r'IFCNN gave a fused image of 3 channels.*RGBColor'):
        fuser.eval().run(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
