import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.sage import SAGEColor, SAGESemanticLoss
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, build

TINY = dict(weights='random', width=1 / 96)


class TestSAGE(PublishedMethod):
    name = 'sage'
    config = 'sage/sage_fmb.py'
    train = 'sage/sage_fmb_distill.py'
    weights = 'SAGE/checkpoints.pt'
    narrow = {
        'network.channels': 4,
        **{f'losses.semantic.prior.{key}': value for key, value in TINY.items()},
    }

    def samples(self):
        samples = [FusionDataSample(), FusionDataSample()]
        for sample in samples:
            sample.set_field(PixelData(data=torch.rand(1, self.size, self.size)), 'reference')
            for name in ('masks_vi', 'masks_ir'):
                sample.set_field(PixelData(data=(torch.rand(2, self.size, self.size) > 0.5).float()), name)
        return samples

    def test_least_size(self):
        fuser, _ = build(self.config, **{'network.channels': 4})
        fuser.eval()
        assert fuser.fuse(torch.rand(1, 3, 4, 5), torch.rand(1, 1, 4, 5)).shape == (1, 3, 4, 5)
        with pytest.raises(ValueError, match='SAGE needs images of at least 4×4 pixels, got 3×9'):
            fuser.fuse(torch.rand(1, 3, 3, 9), torch.rand(1, 1, 3, 9))


def test_chroma_is_that_of_opencv_at_8_bits():
    rgb = np.random.RandomState(0).randint(0, 256, (16, 17, 3), np.uint8)
    y, cr, cb = torch.from_numpy(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)).permute(2, 0, 1).float() / 255
    expected = torch.stack(
        [y + 1.403 * (cr - 0.5), y - 0.714 * (cr - 0.5) - 0.344 * (cb - 0.5), y + 1.773 * (cb - 0.5)]
    )
    vi = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(SAGEColor()(y[None, None], vi), expected[None].clamp(0, 1), rtol=0, atol=1e-6)


def test_semantic_loss():
    """0 at the reference, large at the source, and silent about masks that are empty."""
    loss = SAGESemanticLoss(TINY, loss_weight=1.0)
    vi, ir, reference = torch.rand(3, 2, 1, 32, 32)
    masks = torch.zeros(2, 2, 32, 32)
    assert loss(ir, vi, ir, reference, masks, masks) == 0
    masks[:, 0, :16] = 1
    assert loss(reference, vi, ir, reference, masks, masks) < 1e-3
    assert loss((vi + reference) / 2, vi, ir, reference, masks, 0 * masks) < loss(
        vi, vi, ir, reference, masks, 0 * masks
    )


def test_missing_sam():
    with pytest.raises(FileNotFoundError, match=r"SAGESemanticLoss: 'nowhere.pth' is no file"):
        SAGESemanticLoss(dict(weights='nowhere.pth'))


def test_an_optional_package_is_asked_for_when_the_loss_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, 'segment_anything', None)
    monkeypatch.setitem(sys.modules, 'segment_anything.modeling', None)
    with pytest.raises(ImportError, match=r'SAGESemanticLoss needs segment-anything: pip install segment-anything'):
        SAGESemanticLoss(TINY)
