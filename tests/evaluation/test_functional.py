"""Metrics against second, direct computations and known values."""

import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import visual_information_fidelity as torchmetrics_vif

from mmfusion.evaluation.functional import feature, feature_information, information, perception, structure
from mmfusion.evaluation.functional.filters import (
    _filter_by_products,
    filter_valid,
    gaussian_window,
    halve,
    local_moments,
)
from mmfusion.evaluation.functional.kernels.feature_information import window_sum
from mmfusion.evaluation.functional.kernels.histograms import joint_counts
from mmfusion.evaluation.functional.memo import Shared, each


class In255:
    """Metrics of a module on floating-point images in 0–255."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name)
        ranged = inspect.isfunction(found) and 'data_range' in inspect.signature(found).parameters
        return partial(found, data_range=255) if ranged else found


feature, feature_information, information, perception, structure = map(
    In255, (feature, feature_information, information, perception, structure)
)


def _plane(x, i=0):
    return x[i, 0].numpy()


def _joint_entropy(*images):
    _, counts = np.unique(np.stack([x.ravel() for x in images]), axis=1, return_counts=True)
    p = counts / counts.sum()
    return -(p * np.log2(p)).sum()


def test_joint_counts_compiled_against_tensors():
    a, b = torch.rand(2, 40, 77, dtype=torch.float64) * 259 - 2  # beyond 0 and 255, which count as these
    a[0, :4] = torch.tensor([0.5, 1.5, 254.5, 255.5])
    counts = torch.from_numpy(joint_counts(a.numpy(), b.numpy(), information.LEVELS))
    assert torch.equal(counts, information._joint_counts(a, b))
    assert counts.sum() == a.numel()


def test_mutual_information_by_counting(triple):
    f, a, b = (_plane(x) for x in triple)
    f = f.copy()
    f[:9] = 254 + (a[:9] > np.median(a[:9]))  # the levels that the public code lets fall together
    direct = sum(_joint_entropy(f) + _joint_entropy(s) - _joint_entropy(f, s) for s in (a, b))
    images = [torch.from_numpy(x)[None, None] for x in (f, a, b)]
    nats = information.mutual_information(*images, protocol='vifb').item()
    assert nats == pytest.approx(direct * math.log(2), rel=1e-12)
    saturated = sum(
        _joint_entropy(f) + _joint_entropy(s) - _joint_entropy(np.minimum(f, 254), np.minimum(s, 254)) for s in (a, b)
    )
    assert information.mutual_information(*images).item() == pytest.approx(saturated, rel=1e-12)
    assert saturated != pytest.approx(direct, rel=1e-6)
    nmi = sum(
        2 * (_joint_entropy(f) + _joint_entropy(s) - _joint_entropy(f, s)) / (_joint_entropy(f) + _joint_entropy(s))
        for s in (a, b)
    )
    assert information.normalized_mutual_information(*images).item() == pytest.approx(nmi, rel=1e-12)


def test_information_of_equal_images(triple):
    f = triple[0][:1]
    h = information.entropy(f).item()
    assert information.normalized_mutual_information(f, f, f).item() == pytest.approx(2)
    assert information.mutual_information(f, f, f).item() == pytest.approx(2 * h)
    assert information.cross_entropy(f, f, f).item() == 0
    # I_q of an image with itself: (1 − Σ p^(2−q)) / (1 − q).
    p = np.unique(f.numpy(), return_counts=True)[1] / f.numel()
    assert information.tsallis_entropy(f, f, f).item() == pytest.approx(2 * (1 - (p ** (2 - 1.85)).sum()) / (1 - 1.85))


def test_tsallis_limit_is_mutual_information(triple):
    near = information.tsallis_entropy(*triple, q=1 + 1e-6)
    torch.testing.assert_close(near, information.mutual_information(*triple, protocol='vifb'), rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match='q must not be 1'):
        information.tsallis_entropy(*triple, q=1)


def test_qncie_bounds():
    flat = [torch.full((1, 1, 4, 4), v) for v in (1.0, 2.0, 3.0)]
    # Nothing is correlated: three equal eigenvalues, 1 + log256(1/3).
    assert information.qncie(*flat).item() == pytest.approx(1 - math.log(3, 256))


def test_vif_equals_torchmetrics(triple):
    f, a, b = triple
    both = torchmetrics_vif(f, a, reduction='none') + torchmetrics_vif(f, b, reduction='none')
    torch.testing.assert_close(perception.visual_information_fidelity(f, a, b), both.double(), rtol=1e-6, atol=0)


def _viff_information(source, fused):
    """Gain, kept and whole information of a source at each of VIFF's scales, each window of each pixel written out."""
    for scale in range(4):
        side = 2 ** (4 - scale) + 1
        x = np.arange(side) - (side - 1) / 2
        window = np.exp(-(x[:, None] ** 2 + x**2) / (2 * (side / 5) ** 2))
        window /= window.sum()

        def mean(image, window=window):
            return np.einsum('hwij,ij->hw', np.lib.stride_tricks.sliding_window_view(image, window.shape), window)

        if scale:
            source, fused = mean(source)[::2, ::2], mean(fused)[::2, ::2]
        var_s, var_f = (np.maximum(mean(i * i) - mean(i) ** 2, 0) for i in (source, fused))
        cov = mean(source * fused) - mean(source) * mean(fused)
        gain = np.where((var_s < 1e-10) | (var_f < 1e-10), 0, np.maximum(cov / (var_s + 1e-10), 0))
        residual = np.maximum(np.where(var_f < 1e-10, 0, var_f - gain * cov), 1e-10)
        noise = 0.005 * 255**2
        yield gain, np.log10(1 + gain**2 * var_s / (residual + noise)), np.log10(1 + var_s / noise)


def test_viff_window_by_window(triple):
    """Han's definition, and its weights of the scales."""
    f, a, b = (x[..., :50] for x in triple)
    f = f.clone()
    f[1, 0, :30, :25] = 7  # a flat part of the fused image
    a[1, 0, 20:] = 100  # and of a source
    found = perception.visual_information_fidelity_for_fusion(f, a, b)
    for k in range(2):
        scales = []
        for ir, vi in zip(*(_viff_information(_plane(s, k), _plane(f, k)) for s in (a, b)), strict=True):
            kept, whole = (np.where(ir[0] < vi[0], p, q) for p, q in zip(ir[1:], vi[1:], strict=True))
            scales.append((kept + 1e-7).sum() / (whole + 1e-7).sum())
        assert found[k].item() == pytest.approx((scales[0] + 0.15 * scales[2] + scales[3]) / 2.15, rel=1e-9)


def test_viff_of_known_images(triple):
    f, a, b = triple
    viff = perception.visual_information_fidelity_for_fusion
    assert viff(a, a, a).tolist() == pytest.approx([1, 1], rel=1e-9)
    flat = torch.full_like(a, 90)
    assert viff(flat, a, b).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert viff(f, flat, flat).tolist() == pytest.approx([1, 1], rel=1e-12)
    # The source with the lower gain counts: of a and a with twice its contrast, the latter, of which half is kept.
    assert (viff(a / 2, a / 2, a) < viff(a / 2, a / 2, a / 2)).all()
    assert (viff(a, a / 2, a / 2) > 1).all()


def test_gradients_of_a_ramp():
    """A plane of slope (3, 4): every gradient is known."""
    x = 3 * torch.arange(16.0)[None, :] + 4 * torch.arange(12.0)[:, None]
    x = x[None, None].double()
    assert feature.spatial_frequency(x).item() == pytest.approx(5)
    assert feature.spatial_frequency(x, protocol='vifb').item() == pytest.approx(math.sqrt(9 * 15 / 16 + 16 * 11 / 12))
    assert feature.average_gradient(x).item() == pytest.approx(math.sqrt(12.5) * 192 / 165)
    inner = 14 * 10 * 8 * 5 + 2 * 10 * 4 * math.hypot(3, 8) + 2 * 14 * 4 * math.hypot(6, 4) + 4 * 4 * 5
    assert feature.edge_intensity(x).item() == pytest.approx(inner / 192)
    assert feature.variance(x).item() == pytest.approx(x.var(correction=0).item())
    assert feature.variance(x, protocol='vifb').item() == pytest.approx(feature.standard_deviation(x).item())


def test_edge_transfer_of_a_copy(triple):
    _, a, _ = triple
    # The second logistic ends at 0.9879 / (1 + e^−4.4) for equal orientations; equal strengths G of at least 1 lose < 0.1 %.
    assert feature.qabf(a, a, a).tolist() == pytest.approx([0.9994 * 0.9879 / (1 + math.exp(-4.4))] * 2, rel=1e-3)
    assert (feature.labf(a, a, a) < 0.01).all()
    assert (feature.nabf(a, a, a, protocol='vifb') == 0).all()


def test_losses_gains_and_artefacts_share_the_whole(triple):
    """Qabf of Petrović + Labf + Nabf = 1: the three parts of all weighted edges."""
    f, a, b = (x[:1] for x in triple)
    padded = [torch.nn.functional.pad(x, (1, 1, 1, 1), mode='reflect') for x in (f, a, b)]
    edges = [feature._edges(x) for x in padded]
    qa, qb = (feature._preservation(edges[0], source) for source in edges[1:])
    wa, wb = (torch.where(g >= 2, g**1.5, 0.001) for g, _ in edges[1:])
    kept = ((qa * wa + qb * wb).sum() / (wa + wb).sum()).item()
    assert kept + feature.labf(f, a, b).item() + feature.nabf(f, a, b, protocol='vifb').item() == pytest.approx(1)


def test_nabf_of_tang_hands_over_the_infrared_image(triple):
    f, a, b = triple
    torch.testing.assert_close(feature.nabf(f, a, b), feature.nabf(a, b, f, protocol='vifb'))


def test_correlations_with_numpy(triple):
    f, a, b = (_plane(x, 1).ravel() for x in triple)
    cc = (np.corrcoef(f, a)[0, 1] + np.corrcoef(f, b)[0, 1]) / 2
    scd = np.corrcoef(f - b, a)[0, 1] + np.corrcoef(f - a, b)[0, 1]
    assert structure.correlation_coefficient(*triple)[1].item() == pytest.approx(cc)
    assert structure.sum_of_correlations_of_differences(*triple)[1].item() == pytest.approx(scd)


def test_errors_of_known_differences():
    f, a, b = (torch.full((1, 1, 6, 10), v).double() for v in (100, 151, 49))
    assert structure.mean_squared_error(f, a, b).item() == pytest.approx(0.04)
    assert structure.root_mean_squared_error(f, a, b).item() == pytest.approx(0.2)
    assert structure.root_mean_squared_error(f, a, b, protocol='vifb').item() == pytest.approx(51 / math.sqrt(60))
    assert structure.peak_signal_to_noise_ratio(f, a, b).item() == pytest.approx(20 * math.log10(255 / 0.2))
    assert structure.peak_signal_to_noise_ratio(f, f, f).item() == math.inf


def test_structure_of_equal_images(triple):
    a = triple[1]
    one, two = torch.ones(2).double(), torch.full((2,), 2.0).double()
    torch.testing.assert_close(structure.ssim(a, a, a), one)
    torch.testing.assert_close(structure.ssim(a, a, a, protocol='vifb'), two)
    for function in (structure.mef_ssim, structure.ms_ssim, structure.qy, structure.qw, structure.qe, perception.qcb):
        torch.testing.assert_close(function(a, a, a), one)
    torch.testing.assert_close(perception.qcv(a, a, a), torch.zeros(2).double())


def test_mef_ssim_patch_by_patch(triple):
    """The definition, window by window."""
    f, a, b = (_plane(x)[:15, :16] for x in triple)
    taps = gaussian_window(11, 1.5).numpy()
    window, eps, found = np.outer(taps, taps), np.finfo(float).eps, []
    for r in range(5):
        for c in range(6):
            ys, x = [s[r : r + 11, c : c + 11] for s in (a, b)], f[r : r + 11, c : c + 11]
            mean_free = [y - y.mean() for y in ys]
            norms = [np.linalg.norm(y) for y in mean_free]
            consistency = min((np.linalg.norm(sum(mean_free)) + eps) / (sum(norms) + eps), 1 - eps)
            power, contrast = min(math.tan(math.pi / 2 * consistency), 10), [n + 0.001 for n in norms]
            weights = [(k / 11) ** power + eps for k in contrast]
            wanted = sum(w / sum(weights) * y / k for w, y, k in zip(weights, mean_free, contrast, strict=True))
            wanted *= max(contrast) / np.linalg.norm(wanted)
            mu_r, mu_f = (window * wanted).sum(), (window * x).sum()
            cov = (window * (wanted - mu_r) * (x - mu_f)).sum()
            var = (window * (wanted - mu_r) ** 2).sum() + (window * (x - mu_f) ** 2).sum()
            found.append((2 * cov + 7.65**2) / (var + 7.65**2))
    images = [torch.from_numpy(x.copy())[None, None] for x in (f, a, b)]
    assert structure.mef_ssim(*images).item() == pytest.approx(np.mean(found), rel=1e-9)


def _window_fmi(s, f):
    """Fast-FMI of two 3×3 windows, cell by cell."""
    if (s == f).all():
        return 1.0

    def distribution(x):
        x = x.T.ravel()
        x = np.ones(9) if x.max() == x.min() else (x - x.min()) / (x.max() - x.min())
        return x / x.sum()

    def bits(p):
        return -sum(v * math.log2(abs(v)) for v in np.ravel(p) if v)

    p, q = distribution(f), distribution(s)
    p_, q_ = p - p.mean(), q - q.mean()
    flat = [x.max() == x.min() for x in (f, s)]
    if any(flat):
        return float(all(flat))
    c = (p_ * q_).sum() / math.sqrt((p_**2).sum() * (q_**2).sum())
    position = np.arange(1, 10)
    spread = [math.sqrt(max(0, (position**2 * x).sum() - (position * x).sum() ** 2)) for x in (p, q)]
    rows, columns = p.cumsum()[:, None], q.cumsum()[None]
    bound = np.minimum(rows, columns) if c >= 0 else np.maximum(rows + columns - 1, 0)
    share = c / ((bound - rows * columns).sum() / (spread[0] * spread[1])) if spread[0] * spread[1] else 0
    mass = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    joint = share * mass + (1 - share) * np.outer(p, q)
    total = bits(p) + bits(q)
    return 2 * (total - bits(joint)) / total if total else 0.0


@pytest.mark.parametrize('name', ['none', 'gradient', 'dct', 'wavelet', 'edge'])
def test_fmi_cell_by_cell(triple, name):
    images = [x[:1, :, :14, :17] for x in triple]
    maps = [feature_information._FEATURES[name](x[0, 0]).double().numpy() for x in images]
    f, *sources = (np.lib.stride_tricks.sliding_window_view(x, (3, 3)).reshape(-1, 3, 3) for x in maps)
    direct = np.mean([_window_fmi(s, w) for source in sources for s, w in zip(source, f, strict=True)])
    value = feature_information.feature_mutual_information(*images, feature=name).item()
    assert value == pytest.approx(direct, rel=1e-5)


@pytest.mark.parametrize('values', ['any', 'few', 'rare', 'equal', 'flat'])
def test_fmi_compiled_against_tensors(values):
    """The two ways of computing it, on windows that are flat, equal, or hold a single value that is not zero, too."""
    maps = torch.randn(3, 6, 300, dtype=torch.float64)  # wider than what is computed at a time
    if values == 'few':
        maps = maps.round()
    elif values == 'rare':
        maps = (maps > 1.5).double()
    elif values == 'equal':
        maps[1, :, :150] = maps[0, :, :150]
    elif values == 'flat':
        maps[1:, :, :200] = 7
    direct = feature_information._window_sum(maps).item()
    for threads in (1, 3, 5):
        assert window_sum(maps.numpy(), threads) == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize('name', ['dct', 'wavelet'])
def test_fmi_does_not_depend_on_rounding(triple, monkeypatch, name):
    """Where images are flat the features are zero up to rounding, which is no structure.

    Taken for one, it moves these values by a third. What is left are windows where a feature is about as small as what
    it is rounded to.
    """
    images = [x[:1, :, :40, :60].clone() for x in triple]
    for x in images:
        x[..., 10:] = 255  # as in a saturated sky
    feature_of = feature_information._FEATURES[name]
    value = feature_information.feature_mutual_information(*images, feature=name).item()
    noisy = {name: lambda x: feature_of(x) + 1e-13 * torch.randn(feature_of(x).shape)}
    monkeypatch.setattr(feature_information, '_FEATURES', noisy)
    again = feature_information.feature_mutual_information(*images, feature=name).item()
    assert again == pytest.approx(value, rel=1e-3)


def test_fmi_of_unknown_feature(triple):
    with pytest.raises(ValueError, match="unknown feature 'sift'; known are edge"):
        feature_information.feature_mutual_information(*triple, feature='sift')


@pytest.mark.parametrize('shape', [(8, 9), (13, 6)])
def test_dct_is_the_orthonormal_one(shape):
    x = torch.rand(shape, dtype=torch.float64)

    def matrix(n):
        k, i = np.mgrid[:n, :n]
        return np.where(k == 0, math.sqrt(1 / n), math.sqrt(2 / n)) * np.cos(math.pi * (2 * i + 1) * k / (2 * n))

    direct = matrix(shape[0]) @ x.numpy() @ matrix(shape[1]).T
    np.testing.assert_allclose(feature_information._dct(x).numpy(), direct, atol=1e-12)


def test_wavelet_against_pywavelets():
    pywt = pytest.importorskip('pywt')
    x = torch.rand(21, 70, dtype=torch.float64)
    a, (h, v, d) = pywt.dwt2(x.numpy(), 'dmey', mode='symmetric')
    np.testing.assert_allclose(feature_information._wavelet(x).numpy(), np.block([[a, h], [v, d]]), atol=1e-9)


def test_wavelet_of_a_constant_and_energy():
    bands = feature_information._wavelet(torch.full((20, 24), 3.0, dtype=torch.float64))
    assert bands.shape == (80, 84)
    np.testing.assert_allclose(bands[:40, :42].numpy(), 6, rtol=1e-5)  # cA: the low-pass taps sum to √2 each way
    np.testing.assert_allclose(bands[40:, 42:].numpy(), 0, atol=1e-5)


def test_wavelet_bands_lie_where_matlab_puts_them():
    """Rows that alternate have detail down the columns: cH, right of cA. Columns that alternate have cV, below it."""
    x = torch.arange(24.0, dtype=torch.float64)[:, None].remainder(2).expand(24, 30)
    for image, band in ((x, 1), (x.mT, 2)):
        top, bottom = feature_information._wavelet(image).chunk(2)
        energy = [part.square().sum().item() for half in (top, bottom) for part in half.chunk(2, dim=1)]
        # The tabulated filter lets a thousandth of a constant through its high band.
        assert all(energy[k] < 1e-4 * energy[band] for k in {1, 2, 3} - {band}), energy


@pytest.mark.parametrize('count', [1, 7, 8, 83])
def test_log_of_products(count):
    x = torch.linspace(1, 1e30, count, dtype=torch.float64)
    assert perception._log2_sum(x.clone()).item() == pytest.approx(sum(math.log2(v) for v in x.tolist()), rel=1e-14)


def test_edge_of_a_step():
    x = torch.zeros(9, 12, dtype=torch.float64)
    x[:, 6:] = 100
    edge = feature_information._edge(x)
    assert edge.any(1).all()
    assert edge.sum() == 9  # one pixel wide
    assert edge[:, 5:7].sum() == 9


@pytest.mark.parametrize('size', [3, 4, 7])
def test_filters_against_conv2d(size):
    x, taps = torch.rand(2, 1, 12, 75, dtype=torch.float64), torch.rand(size, dtype=torch.float64)
    for weights in (taps, taps + taps.flip(0)):
        direct = torch.nn.functional.conv2d(x, torch.outer(weights, weights)[None, None])
        for function in (filter_valid, _filter_by_products):
            torch.testing.assert_close(function(x, weights), direct)
            torch.testing.assert_close(function(x, weights, step=2), direct[..., ::2, ::2])


def test_local_moments_by_their_definition():
    images, taps = torch.rand(2, 1, 1, 20, 31, dtype=torch.float64), gaussian_window(7, 1.5)
    weights = torch.outer(taps, taps)
    a, b = (x[0, 0].unfold(0, 7, 1).unfold(1, 7, 1) for x in images)
    mu, cov = local_moments(images, taps)
    means = [(x * weights).sum((2, 3), keepdim=True) for x in (a, b)]
    torch.testing.assert_close(mu[1][0, 0], means[1][..., 0, 0])
    torch.testing.assert_close(cov(0, 1)[0, 0], ((a - means[0]) * (b - means[1]) * weights).sum((2, 3)))
    torch.testing.assert_close(cov(1, 1)[0, 0], ((b - means[1]) ** 2 * weights).sum((2, 3)))


def test_halve_repeats_the_last_row():
    assert halve(torch.tensor([[[[1.0, 3.0], [5.0, 7.0], [2.0, 4.0]]]])).flatten().tolist() == [4.0, 3.0]


def test_qcv_weights_regions_by_saliency():
    """An error counts where the source has edges, and not where it is flat."""
    rng = torch.Generator().manual_seed(0)
    source = torch.full((1, 1, 32, 64), 100.0, dtype=torch.float64)
    source[..., :32] = torch.rand(32, 32, generator=rng).mul(255).round()
    left, right = source.clone(), source.clone()
    left[..., 4:28, 4:28] = left[..., 4:28, 4:28].flip(-1)
    right[..., 4:28, 36:60] = source[..., 4:28, 4:28].flip(-1)
    assert perception.qcv(left, source, source) > 20 * perception.qcv(right, source, source)


def test_shared_results_are_computed_once_and_never_confused():
    calls, shared = [], Shared()

    def total(shared, *images):
        calls.append(len(images))
        return sum(x.sum() for x in images)

    a, b = torch.ones(2), torch.zeros(2)
    assert [shared(total, a), shared(total, a), shared(total, b), shared(total, a, b)] == [2, 2, 0, 2]
    assert calls == [1, 1, 2]
    # A tensor that is gone cannot hand its id, and so its result, to another one.
    assert [shared(total, torch.full((2,), float(k))).item() for k in range(50)] == [2 * k for k in range(50)]


def test_each_shares_only_within_one_image(triple):
    shared = Shared()
    one = each(lambda s, x: s(lambda _, y: y.sum(), x), [triple[0][:1]], shared)
    assert one.shape == (1,)
    assert shared._results
    seen = []
    each(lambda s, x: seen.append(s) or x.sum(), [triple[0]], shared)
    assert shared not in seen
    assert len(set(map(id, seen))) == 2
