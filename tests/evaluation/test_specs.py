"""Every metric: batches, sizes, constants, ranges, directions, docstrings."""

import math

import numpy as np
import pytest
import torch

from mmfusion.evaluation import METRIC_SPECS, PROTOCOLS, evaluate_images, resolve_metrics
from mmfusion.utils.metric_names import METRIC_NAMES

CASES = [(name, protocol) for name in METRIC_SPECS for protocol in PROTOCOLS]
WANTED = (
    'EN MI NMI CE FMI_pixel FMI_dct FMI_w QNCIE TE SF AG SD EI Qabf Nabf Labf Variance CC SCD SSIM MS_SSIM Qy Qw Qe '
    'PSNR MSE RMSE VIF VIFF Qcb Qcv'
)


def test_suite_is_complete():
    assert set(METRIC_SPECS) == set(WANTED.split())


@pytest.fixture(scope='module')
def large(make_triple):
    return make_triple(2, 176, 180)


@pytest.mark.parametrize(('name', 'protocol'), CASES)
def test_batch_equals_single_images(large, name, protocol):
    spec = METRIC_SPECS[name]
    together = spec(*large, protocol=protocol, data_range=255)
    apart = torch.cat([spec(*(x[i : i + 1] for x in large), protocol=protocol, data_range=255) for i in range(2)])
    assert together.shape == (2,)
    assert together.dtype == torch.float64
    assert together.isfinite().all()
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-9)
    assert together[0] != together[1]


@pytest.mark.parametrize('name', list(METRIC_SPECS))
def test_unit_range_and_dtype(triple, name):
    """data_range=1 is the same metric; uint8 and float32 images give the value of double ones."""
    spec = METRIC_SPECS[name]
    images = triple if spec.sources else triple[:1]
    options = dict(spec.options)
    value = spec.function(*images, data_range=255, **options)
    unit = spec.function(*(x / 255 for x in images), data_range=1, **options)
    torch.testing.assert_close(unit, value, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(spec.function(*(x.to(torch.uint8) for x in images), **options), value)
    torch.testing.assert_close(spec.function(*(x.float() for x in images), data_range=255, **options), value)


@pytest.mark.parametrize(('name', 'protocol'), CASES)
def test_direction(make_triple, name, protocol):
    """A fusion that keeps both sources is better than one half drowned in noise, where a metric looks at the sources."""
    spec = METRIC_SPECS[name]
    if not spec.sources or name in ('Nabf', 'Labf', 'CE'):
        pytest.skip('does not rank a good fusion over noise: looks at the fused image alone, or at one kind of error')
    fused, ir, vi = make_triple(1, 176, 180)
    noise = torch.rand(fused.shape, generator=torch.Generator().manual_seed(1)).mul(255).double()
    noise = ((fused + noise) / 2).round()
    good, bad = (spec(x, ir, vi, protocol, data_range=255) for x in (fused, noise))
    assert good > bad if spec.higher_is_better else good < bad


@pytest.mark.parametrize(('name', 'protocol'), CASES)
@pytest.mark.parametrize('constant', ['fused', 'ir', 'vi', 'sources', 'all', 'black'])
def test_constant_images_are_defined_or_explained(make_triple, name, protocol, constant):
    fused, ir, vi = (x.to(torch.uint8) for x in make_triple(1, 176, 177))
    flat = torch.full_like(ir, 0 if constant == 'black' else 90)
    fused = flat if constant in ('fused', 'all', 'black') else fused
    ir = flat if constant in ('ir', 'sources', 'all', 'black') else ir
    vi = flat if constant in ('vi', 'sources', 'all', 'black') else vi
    values, reasons = evaluate_images(fused, ir, vi, [name], protocol)
    value = values[name].item()
    assert math.isnan(value) == (name in reasons)
    if math.isnan(value):
        assert METRIC_SPECS[name].undefined
        assert reasons[name] == METRIC_SPECS[name].undefined
    elif math.isinf(value):
        assert name == 'PSNR'
        assert constant in ('all', 'black')


@pytest.mark.parametrize(('name', 'protocol'), CASES)
def test_window_larger_than_image(make_triple, name, protocol):
    """At its declared smallest size a metric has a value; one pixel less gives NaN with the reason."""
    smallest = METRIC_SPECS[name].min_size_under(protocol)
    images = [x.to(torch.uint8) for x in make_triple(1, smallest, max(smallest, 20))]
    values, reasons = evaluate_images(*images, [name], protocol)
    if smallest > 1:
        assert not values[name].isnan()
        small = [x[..., 1:, :] for x in images]
        values, reasons = evaluate_images(*small, [name], protocol)
        assert values[name].isnan()
        assert reasons[name] == f'the image is smaller than {smallest}×{smallest} pixels'
        images = [x.double() for x in small]
        with pytest.raises(ValueError, match='smaller than'):
            METRIC_SPECS[name](*images, protocol, data_range=255)


@pytest.mark.parametrize('spec', METRIC_SPECS.values(), ids=list(METRIC_SPECS))
def test_docstrings_say_what_tables_need(spec):
    text = ' '.join(spec.function.__doc__.split())
    assert ('higher is better' in text.lower()) or ('lower is better' in text.lower())
    assert ('higher is better' in text.lower()) == spec.higher_is_better
    assert any(year in text for year in ('19', '20')), 'no paper'
    assert 'N values' in text


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('order', [1, -1])
def test_values_do_not_depend_on_what_is_computed_with_them(large, protocol, order):
    """All metrics in one go, forwards and backwards, share intermediate results; alone, each computes its own."""
    images = [x.to(torch.uint8) for x in large]
    together, _ = evaluate_images(*images, list(METRIC_SPECS)[::order], protocol)
    for name, spec in METRIC_SPECS.items():
        torch.testing.assert_close(
            together[name], spec(*large, protocol=protocol, data_range=255), rtol=1e-12, atol=1e-14
        )


def test_unknown_metric_names_the_known_ones():
    with pytest.raises(ValueError, match=r"\['Foo'\]; known are EN, MI"):
        resolve_metrics(['EN', 'Foo'])
    with pytest.raises(ValueError, match='unknown protocol'):
        evaluate_images(*[torch.zeros(1, 1, 9, 9, dtype=torch.uint8)] * 3, protocol='matlab')


@pytest.mark.parametrize('name', list(METRIC_SPECS))
def test_the_range_of_numbers_is_not_guessed(triple, name):
    """In [0, 1] by a range of 0–255 entropy would be about 1, and most metrics wrong without a sign."""
    spec = METRIC_SPECS[name]
    unit = [x.float() / 255 for x in triple]
    with pytest.raises(ValueError, match=r'type torch\.float32 without data_range; expected uint8, or data_range=1'):
        spec(*unit)
    with pytest.raises(ValueError, match=r'data_range=255, but an image has values from .*: give data_range=1\.'):
        spec(*unit, data_range=255)
    if spec.sources:  # one of them is enough
        with pytest.raises(ValueError, match='data_range=1, but an image has values from'):
            spec(unit[0], unit[1], triple[2], data_range=1)


@pytest.mark.parametrize(('image', 'data_range', 'message'), [
    (torch.full((1, 1, 9, 9), 0.5).half(), None, 'float16 without data_range'),
    (torch.ones(1, 1, 9, 9, dtype=torch.int32), None, 'int32 without data_range'),
    (torch.ones(1, 1, 9, 9, dtype=torch.bool), 1, 'bool without data_range'),
    (torch.ones(1, 1, 9, 9, dtype=torch.uint8), 1, 'data_range=1, but an image is uint8'),
    (torch.full((1, 1, 9, 9), 300).to(torch.uint16), 255, 'values from 300 to 300. Give the data_range'),
    (np.ones((1, 1, 9, 9), np.uint8), None, 'takes tensors N×1×H×W, got ndarray: use torch.from_numpy'),
    ([[0.5]], 1, 'takes tensors N×1×H×W, got list'),
    (torch.linspace(-1, 1, 81).view(1, 1, 9, 9), 1, 'values from -1 to 1. Give the data_range'),
    (torch.linspace(0, 65535, 81).view(1, 1, 9, 9), 255, 'values from 0 to 65535. Give the data_range'),
    (torch.full((1, 1, 9, 9), torch.nan), 1, 'all must be finite'),
    (torch.full((1, 1, 9, 9), torch.inf), 255, 'all must be finite'),
])  # fmt: skip
def test_suspicious_values_are_refused(image, data_range, message):
    with pytest.raises((ValueError, TypeError), match=message):
        METRIC_SPECS['EN'](image, None, None, data_range=data_range)


def test_dark_images_of_8_bits_are_measured():
    """Grey levels 0 and 1 are no image in [0, 1]."""
    dark = torch.eye(16, dtype=torch.uint8)[None, None]
    assert evaluate_images(dark, dark, dark, ['EN'])[0]['EN'].item() == pytest.approx(0.337290, abs=1e-6)
    slightly_over = torch.linspace(0, 1 + 1e-6, 256).view(1, 1, 16, 16)
    assert METRIC_SPECS['EN'](slightly_over, None, None, data_range=1).item() > 7.9


def test_bad_tensors_are_refused(triple):
    with pytest.raises(ValueError, match=r'N×1×H×W, got a tensor of shape \(2, 3, 64, 72\)'):
        METRIC_SPECS['EN'](triple[0].expand(-1, 3, -1, -1), None, None)
    with pytest.raises(ValueError, match='one size'):
        METRIC_SPECS['CC'](triple[0][..., 1:], triple[1], triple[2])
    with pytest.raises(ValueError, match='data_range must be 255'):
        METRIC_SPECS['EN'].function(triple[0], data_range=100)
    with pytest.raises(ValueError, match='uint8'):
        evaluate_images(*triple)


@pytest.mark.cuda
@pytest.mark.parametrize('name', list(METRIC_SPECS))
def test_cuda(triple, name):
    spec = METRIC_SPECS[name]
    there = spec(*(x.cuda() for x in triple), data_range=255)
    torch.testing.assert_close(there.cpu(), spec(*triple, data_range=255), rtol=1e-6, atol=1e-9)


def test_the_command_line_knows_the_same_names():
    assert tuple(METRIC_SPECS) == METRIC_NAMES
