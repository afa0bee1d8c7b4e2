"""Losses on pixels: known values, second implementations, the public code's numbers."""

import cv2
import numpy as np
import pytest
import torch

from mmfusion.evaluation.functional.structure import sum_of_correlations_of_differences
from mmfusion.models.losses import (
    DifferenceCorrelationLoss,
    MaskedIntensityLoss,
    MaxIntensityLoss,
    SSIMLoss,
    TextureLoss,
    UndershootLoss,
)
from mmfusion.registry import MODELS

IMAGE_LOSSES = [
    SSIMLoss(),
    SSIMLoss(padding=False),
    MaskedIntensityLoss(),
    TextureLoss(),
    TextureLoss(separate=False, padding_mode='replicate'),
    TextureLoss(separate=False, norm=2),
    MaxIntensityLoss(),
    UndershootLoss(radius=1),
]
IDS = [
    'ssim',
    'ssim-valid',
    'intensity',
    'texture',
    'texture-joint',
    'texture-euclidean',
    'max-intensity',
    'undershoot',
]


def images(n=2, h=13, w=14, dtype=torch.float32):
    return [torch.rand(n, 1, h, w, dtype=dtype) for _ in range(3)]


@pytest.mark.parametrize('loss', IMAGE_LOSSES, ids=IDS)
class TestEveryImageLoss:
    def test_batch_is_the_mean_of_singles(self, loss):
        batch = images(3)
        single = torch.stack([loss(*(x[i : i + 1] for x in batch)) for i in range(3)])
        torch.testing.assert_close(loss(*batch), single.mean())

    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_dtype(self, loss, dtype):
        value = loss(*images(dtype=dtype))
        assert value.dtype == dtype
        assert value.shape == ()

    def test_gradcheck(self, loss):
        fused, vi, ir = images(1, 12, 12, torch.float64)
        assert torch.autograd.gradcheck(lambda x: loss(x, vi, ir), fused.requires_grad_(), fast_mode=True)

    def test_no_less_than_zero_and_zero_at_agreement(self, loss):
        fused, vi, ir = images()
        assert loss(fused, vi, ir) > 0
        assert loss(vi, vi, vi).item() == pytest.approx(0, abs=1e-6)

    def test_loss_weight(self, loss):
        batch = images()
        options = {
            k: v for k, v in vars(loss).items() if k in ('padding', 'separate', 'padding_mode', 'norm', 'radius')
        }
        torch.testing.assert_close(type(loss)(loss_weight=3.0, **options)(*batch), 3 * loss(*batch))


def direct_ssim(a, b, padding):
    """SSIM of Wang et al. from window to window."""
    a, b = (np.pad(x, 5) if padding else x for x in (a, b))
    g = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    g = np.outer(g, g) / g.sum() ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            p, q = (x[top : top + 11, left : left + 11] for x in (a, b))
            mp, mq = (g * p).sum(), (g * q).sum()
            vp, vq, c = (g * p * p).sum() - mp**2, (g * q * q).sum() - mq**2, (g * p * q).sum() - mp * mq
            values.append((2 * mp * mq + 1e-4) * (2 * c + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return np.mean(values)


@pytest.mark.parametrize('padding', [True, False])
def test_ssim_against_direct(padding):
    fused, vi, ir = images(1, 14, 12, torch.float64)
    a, b, c = (x[0, 0].numpy() for x in (fused, vi, ir))
    expected = 2 - direct_ssim(a, b, padding) - direct_ssim(a, c, padding)
    assert SSIMLoss(padding=padding)(fused, vi, ir).item() == pytest.approx(expected, rel=1e-6)


def test_ssim_small_images():
    """With padding any size works; without, the window must fit."""
    x = torch.rand(1, 1, 10, 30)
    assert SSIMLoss()(x, x, x).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r'images of \(10, 30\) are smaller than its 11×11 window; use padding=True'):
        SSIMLoss(padding=False)(x, x, x)


def test_intensity_known_value():
    """(f − vi)² everywhere, |f − ir| only where the infrared image is strictly brighter."""
    fused = torch.tensor([0.5, 0.5, 0.5, 0.5]).view(1, 1, 2, 2)
    vi = torch.tensor([0.1, 0.5, 0.9, 0.7]).view(1, 1, 2, 2)
    ir = torch.tensor([0.9, 0.5, 0.2, 0.8]).view(1, 1, 2, 2)
    expected = (0.16 + 0 + 0.16 + 0.04) / 4 + (0.4 + 0 + 0 + 0.3) / 4
    assert MaskedIntensityLoss()(fused, vi, ir).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('separate', [True, False])
def test_texture_against_opencv(separate):
    batch = [x[0, 0].numpy() for x in images(1, 9, 11, torch.float64)]
    dx, dy = ([np.abs(cv2.Sobel(x, -1, *d, borderType=cv2.BORDER_CONSTANT)) for x in batch] for d in ((1, 0), (0, 1)))
    if separate:
        expected = sum(np.abs(d[0] - np.maximum(d[1], d[2])).mean() for d in (dx, dy))
    else:
        d = [a + b for a, b in zip(dx, dy, strict=True)]
        expected = np.abs(d[0] - np.maximum(d[1], d[2])).mean()
    tensors = [torch.from_numpy(x)[None, None] for x in batch]
    assert TextureLoss(separate=separate)(*tensors).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('norm', [1, 2])
def test_gradient_loss_of_mgfusion_by_loops(norm):
    """MGFusion, section 3.3: ℓ_g = mean | |∇f| − max(|∇ir|, |∇vi|) | on magnitudes, zero padding."""
    taps = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)

    def magnitude(x):
        x, out = np.pad(x, 1), np.empty(x.shape)
        for i, j in np.ndindex(out.shape):
            window = x[i : i + 3, j : j + 3]
            d = np.abs([(taps * window).sum(), (taps.T * window).sum()])
            out[i, j] = d.sum() if norm == 1 else np.sqrt((d**2).sum())
        return out

    fused, vi, ir = images(2, 7, 9)
    expected = np.mean(
        [
            np.abs(magnitude(f) - np.maximum(magnitude(a), magnitude(b))).mean()
            for f, a, b in zip(*(x[:, 0].double().numpy() for x in (fused, vi, ir)), strict=True)
        ]
    )
    assert TextureLoss(separate=False, norm=norm)(fused, vi, ir).item() == pytest.approx(expected, abs=1e-5)


def test_texture_norm_error():
    with pytest.raises(ValueError, match=r'norm must be 1 or 2, got 3'):
        TextureLoss(norm=3)


def test_max_intensity_of_mgfusion_by_loops():
    """MGFusion, section 3.3: ℓ_i = ‖I_f − max(I_i, I_v)‖₁ / (HW)."""
    fused, vi, ir = images(2, 5, 6)
    expected = [abs(f - max(a, b)) for f, a, b in zip(*(x.flatten().tolist() for x in (fused, vi, ir)), strict=True)]
    assert MaxIntensityLoss()(fused, vi, ir).item() == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize('beta', [1.0, 10.0])
def test_structure_and_texture_loss_of_gffusion_eq_10(beta):
    """((1 − SSIM(f, rgb)) + (1 − SSIM(f, ir))) / 2 + β / (HW) · ‖ |∇f| − max(|∇ir|, |∇rgb|) ‖₁, by its two parts."""
    fused, vi, ir = (x[0, 0].numpy() for x in images(1, 13, 12, torch.float64))
    gradient = [
        sum(np.abs(cv2.Sobel(x, -1, *d, borderType=cv2.BORDER_CONSTANT)) for d in ((1, 0), (0, 1)))
        for x in (fused, vi, ir)
    ]
    expected = (1 - direct_ssim(fused, vi, True)) / 2 + (1 - direct_ssim(fused, ir, True)) / 2
    expected += beta / fused.size * np.abs(gradient[0] - np.maximum(gradient[2], gradient[1])).sum()
    parts = [
        dict(type='SSIMLoss', loss_weight=0.5),
        dict(type='TextureLoss', separate=False, loss_weight=beta),
    ]
    tensors = [torch.from_numpy(x)[None, None] for x in (fused, vi, ir)]
    assert sum(MODELS.build(p)(*tensors).item() for p in parts) == pytest.approx(expected, abs=1e-5)


def test_texture_takes_the_stronger_source():
    """A fused image with the visible image's horizontal and the infrared image's vertical edges is not blamed."""
    ramp = torch.linspace(0, 1, 10).repeat(10, 1)[None, None]
    loss = TextureLoss(padding_mode='replicate')
    assert loss(ramp + ramp.mT, ramp, ramp.mT).item() == pytest.approx(0, abs=1e-6)
    assert loss(ramp, ramp, ramp.mT) > 0.1


@pytest.mark.data
@pytest.mark.parametrize(
    ('name', 'loss'), [('ssim', SSIMLoss()), ('intensity', MaskedIntensityLoss()), ('texture', TextureLoss())]
)
def test_parity_with_public_implementation(data_dir, name, loss):
    """Relative error ≤ 1e-5."""
    case = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)['pixel']
    value = loss(case['fused'], case['vi'], case['ir'])
    assert value.item() == pytest.approx(case[name].item(), rel=1e-5)


class TestDifferenceCorrelation:
    def test_it_is_two_less_the_metric(self):
        fused, vi, ir = images(1, 40, 50, torch.float64)
        metric = sum_of_correlations_of_differences(fused, ir, vi, data_range=1)
        assert DifferenceCorrelationLoss()(fused, vi, ir).item() == pytest.approx(2 - metric.item(), abs=1e-3)

    def test_a_sum_gives_both_sources_back(self):
        _, vi, ir = images(3, 40, 50)
        assert DifferenceCorrelationLoss(3.0)(vi + ir, vi, ir).item() == pytest.approx(0, abs=1e-3)
        assert DifferenceCorrelationLoss()(-vi - ir, vi, ir) > 2

    def test_constant_images_have_a_finite_gradient(self):
        fused = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
        DifferenceCorrelationLoss()(fused, torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)).backward()
        assert fused.grad.isfinite().all()


def test_texture_gain_asks_for_stronger_gradients():
    vi = torch.rand(1, 1, 12, 12)
    loss = TextureLoss(gain=1.5, padding_mode='replicate')
    assert loss(1.5 * vi, vi, vi).item() == pytest.approx(0, abs=1e-6)
    plain = TextureLoss(padding_mode='replicate')
    torch.testing.assert_close(loss(vi, vi, vi), 0.5 * plain(0 * vi, vi, vi))


class TestUndershoot:
    def test_it_counts_what_is_below_the_least_of_the_brighter_source_nearby(self):
        fused, vi, ir = images(2, 21, 17)
        erode = [cv2.erode(x[0].numpy(), np.ones((5, 5), np.uint8)) for x in torch.maximum(vi, ir)]
        expected = np.mean([np.clip(e - 0.05 - f[0].numpy(), 0, None) for e, f in zip(erode, fused, strict=True)])
        assert UndershootLoss(2.0, radius=2, tolerance=0.05)(fused, vi, ir).item() == pytest.approx(
            2 * expected, rel=1e-5
        )

    def test_edges_that_oppose_need_no_dark_line_and_lines_of_a_source_are_kept(self):
        vi, ir = torch.zeros(2, 1, 1, 16, 16)
        vi[..., :8], ir[..., 8:] = 0.8, 0.8
        vi[..., 3] = 0.1  # a pole
        top = torch.maximum(vi, ir)
        assert UndershootLoss()(top, vi, ir) == 0
        line = top.clone()
        line[..., 8] = 0.3
        assert UndershootLoss(radius=1)(line, vi, ir).item() == pytest.approx(0.5 / 16)
