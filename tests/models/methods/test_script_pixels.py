"""What authors' test scripts do to pixels around the network, computed here by the libraries that they call."""

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from PIL import Image

from mmfusion.registry import MODELS

from .zoo import ROOT

IMAGES = np.random.RandomState(0)
RGB, IR = IMAGES.randint(0, 256, (150, 170, 3), np.uint8), IMAGES.randint(60, 200, (150, 170), np.uint8)


class WindowMaximum(torch.nn.Module):
    """Fill a window with its infrared maximum."""

    def forward(self, ir):
        return ir.amax((2, 3), keepdim=True).expand_as(ir)


def fuser(config):
    """Build a test config's fuser around a network that averages."""
    model = Config.fromfile(ROOT / 'configs' / config).model
    model.network = dict(type='mmfusion.AverageNetwork')
    return MODELS.build(model).eval()


def tensors():
    return torch.from_numpy(RGB).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(IR)[None, None].float() / 255


def colours(config):
    """Fuse ``RGB`` and ``IR``; H×W×3 in 0…255, not rounded."""
    return fuser(config).run(*tensors())['fused_rgb'][0].permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize('method', ['densefuse', 'datfuse', 'ydtr', 'mufusion', 'res2fusion'])
def test_files_read_in_grey_by_pillow(method):
    """Image.open(…).convert('L'), which is also SciPy's imread(…, mode='L')."""
    y = fuser(f'{method}/{method}_tno.py').batch(*tensors(), None)['vi'][0, 0] * 255
    np.testing.assert_array_equal(y.round().numpy(), np.array(Image.fromarray(RGB).convert('L')))


def test_colours_of_refusion():
    """OpenCV's YCrCb of floats, the fused Y stretched, and the colour image stretched as imageio 2.26.0 writes floats."""
    image = cv2.cvtColor(RGB.astype('float32'), cv2.COLOR_RGB2YCrCb)
    fused = (image[..., 0] + IR) / 2
    fused = (fused - fused.min()) / (fused.max() - fused.min()) * 255
    rgb = cv2.cvtColor(np.concatenate([fused[..., None], image[..., 1:]], 2), cv2.COLOR_YCrCb2RGB).clip(0, 255)
    rgb = (rgb - rgb.min()) / (rgb.max() - rgb.min()) * 255
    np.testing.assert_allclose(colours('refusion/refusion_tno.py'), rgb, rtol=0, atol=0.005)


def test_colours_of_ship():
    """Constants of three digits both ways, Y and then the colours cut."""
    rgb = RGB.astype(np.float64) / 255
    y = rgb @ [0.299, 0.587, 0.114]
    red, blue = 0.713 * (rgb[..., 0] - y), 0.564 * (rgb[..., 2] - y)
    y = ((y + IR / 255) / 2).clip(0, 1)
    expected = np.stack([y + 1.403 * red, y - 0.714 * red - 0.344 * blue, y + 1.773 * blue], 2).clip(0, 1) * 255
    np.testing.assert_allclose(colours('ship/ship_tno.py'), expected, rtol=0, atol=0.005)


def test_colours_of_gifnet():
    """Two matrices that are nearly inverse, Y cut."""
    rgb = RGB.astype(np.float64)
    y = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]  # sums of another order end on other levels
    blue, red = (rgb @ row for row in ([-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]))
    y = (y.astype(np.uint8) / 2 + IR / 2)[..., None]
    expected = y + np.stack([1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue], 2)
    np.testing.assert_allclose(colours('gifnet/gifnet_llvip.py'), expected.clip(0, 255), rtol=0, atol=0.005)


def test_colours_of_sdnet():
    """MATLAB rounds each product of an image of 8 bits; the fused Y is a file between the scripts."""
    rgb = RGB.astype(np.float64)
    y = 16 + sum(np.floor(share * rgb[..., k] + 0.5) for k, share in enumerate((0.257, 0.504, 0.098)))
    y = (y + IR) / 2
    y = np.floor((y - y.min()) / (y.max() - y.min()) * 255 + 0.5)
    blue, red = (rgb @ row for row in ([-0.148, -0.291, 0.439], [0.439, -0.368, -0.071]))
    y = 1.164 * (y - 16)
    expected = np.stack([y + 1.596 * red, y - 0.392 * blue - 0.813 * red, y + 2.017 * blue], 2).clip(0, 255)
    with_matlab = 'sdnet/sdnet-color_tno.py'
    np.testing.assert_allclose(colours(with_matlab), expected, rtol=0, atol=0.005)
    # A grey image does not go through the scripts.
    grey, ir = torch.rand(1, 1, 8, 9), torch.rand(1, 1, 8, 9)
    plain, scripts = (
        fuser(config).run(grey.expand(-1, 3, -1, -1), ir)['fused_rgb'] for config in ('sdnet/sdnet_tno.py', with_matlab)
    )
    torch.testing.assert_close(scripts, plain)
    with pytest.raises(ValueError, match='inverse: expected 3 rows of 2 numbers, got'):
        MODELS.build(dict(type='mmfusion.MatrixColor', chroma=2 * [(0, 0, 0)], inverse=2 * [(0, 0, 0)]))


def test_windows_of_mufusion():
    """The public loops: a grid, and windows at the border, which come twice where the grid ends there by itself."""
    size, step = 8, 5
    for height, width in [(18, 13), (18, 15), (15, 13), (16, 21), (8, 13)]:
        image = IMAGES.rand(height, width)
        rows, columns = range(0, height - size + 1, step), range(0, width - size + 1, step)
        places = [(i, j) for i in rows for j in columns]
        places += [(i, width - size) for i in rows] + [(height - size, j) for j in columns]
        total, count = np.zeros_like(image), np.zeros_like(image)
        for i, j in [*places, (height - size, width - size)]:
            place = slice(i, i + size), slice(j, j + size)
            total[place] += image[place].max()  # a network whose result depends on the window
            count[place] += 1
        model = fuser('mufusion/mufusion_tno.py')
        model.test_cfg.update(crop_size=(size, size), stride=(step, step))
        model.size_divisor, model.test_output = 1, ()
        model.network = WindowMaximum()
        grey = torch.from_numpy(image).float()[None, None]
        model.luminance_levels = None
        fused = model.run(grey.expand(-1, 3, -1, -1), grey)['fused'][0, 0].numpy()
        np.testing.assert_allclose(fused, total / count, rtol=0, atol=1e-6)
