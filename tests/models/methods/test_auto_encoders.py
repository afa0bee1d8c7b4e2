"""DenseFuse, IFCNN, DIDFuse, AUIF: the first of their kinds."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import read_checkpoint

from .zoo import ROOT, PublishedMethod, build, stand_in, to_tensor


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
    """VIFB's images of it are those of images normalised as ImageNet's."""

    name = 'ifcnn'
    config = 'ifcnn/ifcnn_tno.py'
    train = 'ifcnn/ifcnn_roadscene.py'
    weights = 'IFCNN/IFCNN-MAX.pth'
    narrow = {'network.channels': 8}


class TestIFCNNDemo(PublishedMethod):
    name = 'ifcnn_demo'
    config = 'ifcnn/ifcnn-demo_tno.py'
    weights = 'IFCNN/IFCNN-MAX.pth'


@pytest.mark.data
def test_ifcnn_gives_the_images_that_vifb_published(data_dir):
    """To what JPEG leaves of them; without normalisation they are 10 and 15 grey levels away."""
    state = read_checkpoint(data_dir / 'zoo/IFCNN/IFCNN-MAX.pth')[0]
    fuser = TestIFCNN().fuser(state)
    for scene in ('fight', 'walking2'):
        vi, ir, expected = (
            Image.open(data_dir / 'reference_fusions/VIFB' / part / f'{scene}.jpg').convert(mode)
            for part, mode in (('vi', 'RGB'), ('ir', 'L'), ('IFCNN', 'RGB'))
        )
        with torch.no_grad():
            fused = fuser.run(to_tensor(np.asarray(vi)), to_tensor(np.asarray(ir)))['fused_rgb'][0] * 255
        difference = np.abs(fused.permute(1, 2, 0).numpy() - np.asarray(expected)).mean()
        assert difference < 2.5, f'{scene}: mean difference {difference:.2f}'


def test_ifcnn_gives_grey_for_grey():
    """As its authors' script does with grey pairs: OpenCV's grey of colours cut to 8 bits; one image of a batch alone."""
    fuser, _ = build('ifcnn/ifcnn_tno.py')
    vi, ir = torch.rand(2, 3, 12, 10), torch.rand(2, 1, 12, 10)
    vi[0] = vi[0, :1]
    with torch.no_grad():
        fused = fuser.eval().run(vi, ir)['fused_rgb']
        colours = build('ifcnn/ifcnn_tno.py', **{'color.keep_grey': None})[0].eval()
        colours.load_state_dict(fuser.state_dict())
        colours = colours.run(vi, ir)['fused_rgb']
    levels = (colours[0].permute(1, 2, 0) * 255).round().byte().numpy()
    expected = torch.from_numpy(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)).float() / 255
    torch.testing.assert_close(fused[0], expected.expand(3, -1, -1))
    torch.testing.assert_close(fused[1], colours[1], rtol=0, atol=0)
    assert (colours[0] != colours[0, :1]).any()
    with pytest.raises(ValueError, match=r"keep_grey must be one of round, truncate, or None, got 'yes'"):
        build('ifcnn/ifcnn_tno.py', **{'color.keep_grey': 'yes'})
    with pytest.raises(ValueError, match=r'mean and std: expected three numbers each, std above 0'):
        build('ifcnn/ifcnn_tno.py', **{'network.std': (1, 0, 1)})


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
    fuser, _ = build('ifcnn/ifcnn_tno.py', color=dict(_delete_=True, type='mmfusion.LuminanceColor'))
    with pytest.raises(ValueError, match=r'IFCNN gave a fused image of 3 channels.*RGBColor'):
        fuser.eval().run(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
