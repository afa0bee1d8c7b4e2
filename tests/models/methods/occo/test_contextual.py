"""Contextual distance against loops over the points of tiny maps."""

import math

import pytest
import torch

from mmfusion.models.methods.occo import contextual_distance, euclidean_distance


def maps(n=2, c=3, h=2, w=3, dtype=torch.float64):
    return torch.rand(2, n, c, h, w, dtype=dtype).unbind()


def points(x):
    return [[image[:, r, c] for r in range(image.shape[1]) for c in range(image.shape[2])] for image in x]


def cosine(a, b):
    return (1 - a @ b / (a.norm() * b.norm())).item()


def similarity(rows, relative):
    """CX from a matrix of distances, row by row."""
    out = []
    for row in rows:
        d = [v / (min(row) + 1e-5) for v in row] if relative else row
        e = [math.exp(1 - v) for v in d]
        out.append([v / sum(e) for v in e])
    return out


def direct(x, y, variant='official', omega3=0.5):
    """One group, by loops."""
    px, py = points(x), points(y)
    whole = torch.stack([p for image in py for p in image]).mean(0)
    per_image = []
    for a, b in zip(px, py, strict=True):
        mean = whole if variant == 'official' else torch.stack(b).mean(0)  # eq. 9: of one map's points
        cos = similarity([[cosine(p - mean, q - mean) for q in b] for p in a], variant == 'official')
        if variant == 'official':
            l2 = similarity([[((p - q) ** 2).sum().item() for p in a] for q in b], True)
            mixed = [
                [(1 - omega3) * u + omega3 * v for u, v in zip(r, s, strict=True)] for r, s in zip(cos, l2, strict=True)
            ]
        else:
            mixed = cos
        per_image.append(sum(max(row) for row in mixed) / len(mixed))
    if variant == 'official':
        return sum(-math.log(s + 1e-5) for s in per_image) / len(per_image)
    # eq. 12, of each pair of maps
    rms = [(a - b).norm().item() / math.sqrt(a.numel()) for a, b in zip(x, y, strict=True)]
    values = [-math.log((s + omega3 * math.exp(-e)) / (1 + omega3)) for s, e in zip(per_image, rms, strict=True)]
    return sum(values) / len(values)


@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('omega3', [0.0, 0.3, 1.0])
def test_against_loops(variant, omega3):
    x, y = maps()
    value = contextual_distance(x, y, variant, omega3)
    assert value.item() == pytest.approx(direct(x, y, variant, omega3), rel=1e-9)


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_groups_are_independent(variant):
    """Groups in one batch give what each gives alone: batch versus single."""
    x, y = maps(6)
    together = contextual_distance(x, y, variant, groups=3)
    alone = [contextual_distance(x[k : k + 2], y[k : k + 2], variant) for k in (0, 2, 4)]
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize('omega3', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('chunk', [1, 5, 16, 20])
def test_chunked_equals_whole(variant, chunk, omega3):
    """20 points by any number of rows at a time: value and gradients."""
    results = []
    x, y = (t.requires_grad_() for t in maps(2, 3, 4, 5))
    for size in (10**6, chunk):
        value = contextual_distance(x, y, variant, omega3, chunk=size)
        results.append((value, *torch.autograd.grad(value, (x, y))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_papers_form_falls_as_the_maps_agree():
    """From a random map towards y: ever nearer."""
    x, y = maps(2, 8, 4, 4)
    values = [contextual_distance(y + t * (x - y), y, 'paper').item() for t in (0, 0.25, 0.5, 1)]
    assert values == sorted(values)
    assert values[0] > 0


def test_official_falls_as_the_maps_agree():
    x, y = maps(2, 8, 4, 4)
    values = [contextual_distance(y + t * (x - y), y).item() for t in (0, 0.05, 0.2, 1)]
    assert values == sorted(values)
    # At agreement each point has distance 0 to itself, so that exp(1 − d̃) leaves only itself.
    assert values[0] == pytest.approx(-math.log(1 + 1e-5), abs=1e-4)


def test_points_have_no_order():
    """The contextual part compares sets: moving the points of both maps alike changes nothing; of one, only its l2 part."""
    x, y = maps(1, 4, 3, 4)
    index = torch.randperm(12)

    def move(t):
        return t.flatten(2)[..., index].view_as(t)

    for variant in ('official', 'paper'):
        torch.testing.assert_close(
            contextual_distance(move(x), move(y), variant), contextual_distance(x, y, variant), rtol=1e-10, atol=0
        )
        torch.testing.assert_close(
            contextual_distance(x, move(y), variant, 0.0), contextual_distance(x, y, variant, 0.0), rtol=1e-10, atol=0
        )


def test_papers_distance_is_that_of_each_pair():
    """The distance of several pairs is the mean of theirs; the public code shifts by the mean of all."""
    x, y = maps(3)
    alone = [contextual_distance(a[None], b[None], 'paper') for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(contextual_distance(x, y, 'paper'), torch.stack(alone).mean(0))
    alone = [contextual_distance(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    assert (contextual_distance(x, y) - torch.stack(alone).mean(0)).abs() > 1e-3


def test_euclidean_distance_is_symmetric_and_per_group():
    x, y = maps(4)
    for variant in ('official', 'paper'):
        torch.testing.assert_close(euclidean_distance(x, y, variant, 2), euclidean_distance(y, x, variant, 2))
    squared = ((x - y) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(euclidean_distance(x, y, groups=2), squared.view(2, 2).mean(1))
    torch.testing.assert_close(euclidean_distance(x, y, 'paper', 2), squared.sqrt().view(2, 2).mean(1))


def test_max_points():
    """Enough points are all of them; fewer are the same random ones of both maps, and follow the seed."""
    x, y = maps(2, 4, 4, 5)
    torch.testing.assert_close(contextual_distance(x, y, max_points=20), contextual_distance(x, y))
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(contextual_distance(x, y, max_points=6).item())
    assert values[0] == values[1] != values[2]
    # Points that are the same at the same places stay so: the distance of a map to itself is still 0.
    assert contextual_distance(x, x, max_points=6).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_gradcheck(variant):
    x, y = (t.requires_grad_() for t in maps(1, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda a, b: contextual_distance(a, b, variant), (x, y), fast_mode=True)


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_equal_maps_have_finite_gradient(variant):
    x = maps()[0].requires_grad_()
    (grad,) = torch.autograd.grad(contextual_distance(x, x.detach(), variant), x)
    assert grad.isfinite().all()


def test_dtype():
    """Half precision is computed in float32; float32 and float64 stay."""
    x, y = maps(dtype=torch.float32)
    for dtype, expected in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert contextual_distance(x.to(dtype), y.to(dtype)).dtype == expected
        assert euclidean_distance(x.to(dtype), y.to(dtype)).dtype == expected
    # The squared norm of (100, 100, …) over 64 channels is 640,000: beyond half precision's range.
    far = contextual_distance((100 + x).half().repeat(1, 64, 1, 1), (y * 0).half().repeat(1, 64, 1, 1) - 100)
    assert far.isfinite().all()


def test_errors():
    x, y = maps()
    with pytest.raises(ValueError, match=r"variant must be 'official' or 'paper', got 'public'"):
        contextual_distance(x, y, 'public')
    with pytest.raises(ValueError, match=r"variant must be 'official' or 'paper', got 'public'"):
        euclidean_distance(x, y, 'public')


@pytest.mark.data
def test_parity_with_public_implementation(data_dir):
    """Relative error ≤ 1e-5, with and without the l2 half."""
    case = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)['contextual']
    assert contextual_distance(case['x'], case['y']).item() == pytest.approx(case['loss'].item(), rel=1e-5)
    alone = contextual_distance(case['x'], case['y'], omega3=0.0).item()
    assert alone == pytest.approx(case['contextual_only'].item(), rel=1e-5)
