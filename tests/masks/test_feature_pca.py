"""Principal components against a second computation: eigenvectors of the covariance, written out."""

import numpy as np
import pytest
import torch

from mmfusion.masks.feature_pca import build_prior, fit_pca, pca_colours, to_points

pytestmark = pytest.mark.usefixtures('one_thread')

TINY = dict(
    type='mmfusion.DINOv2Prior',
    backbone=dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28),
    weights='random',
)


def direct_pca(points, num):
    """Mean and components by the covariance matrix; the largest entry of each component positive."""
    points = np.asarray(points, np.float64)
    mean = points.sum(0) / len(points)
    covariance = sum(np.outer(p - mean, p - mean) for p in points) / len(points)
    values, vectors = np.linalg.eigh(covariance)
    components = vectors[:, ::-1][:, :num].T
    signs = [1 if c[np.abs(c).argmax()] > 0 else -1 for c in components]
    return mean, components * np.array(signs)[:, None], values[::-1][:num]


@pytest.mark.parametrize(('n', 'c'), [(40, 6), (7, 7), (5, 12)])
def test_pca_against_covariance(n, c):
    points = torch.randn(n, c, dtype=torch.float64) @ torch.randn(c, c, dtype=torch.float64) + 3
    found, (mean, components, variance) = fit_pca(points, 3), direct_pca(points, 3)
    assert np.abs(found.mean.numpy() - mean).max() < 1e-9
    assert np.abs(found.components.numpy() - components).max() < 1e-5
    assert np.abs(found.variance.numpy() - variance).max() < 1e-5
    projected = found.project(points).numpy()
    assert np.abs(projected - (points.numpy() - mean) @ components.T).max() < 1e-5


def test_pca_of_a_line():
    """All variance lies along it."""
    t = torch.linspace(-1, 1, 11, dtype=torch.float64)[:, None]
    pca = fit_pca(t * torch.tensor([3.0, 4.0]).double() + 1, 2)
    torch.testing.assert_close(pca.components[0], torch.tensor([0.6, 0.8]).double())
    torch.testing.assert_close(pca.project(pca.mean[None] + torch.tensor([[3.0, 4.0]]))[0, 0].item(), 5.0)
    assert pca.variance[1] < 1e-12


def test_pca_errors():
    with pytest.raises(ValueError, match=r'3 principal components need as many points and dimensions, got \(2, 5\)'):
        fit_pca(torch.zeros(2, 5), 3)
    with pytest.raises(ValueError, match='NaN or infinite'):
        fit_pca(torch.tensor([[0.0, float('nan')], [1.0, 2.0]]), 1)


def test_points_are_row_by_row():
    tokens = torch.arange(24.0).view(2, 3, 4)
    points = to_points(tokens)
    assert points.shape == (12, 2)
    assert points[5].tolist() == tokens[:, 1, 1].tolist()


def test_colours_against_direct():
    """Fig. 3: the first three components over all maps, each stretched to [0, 1] over all of them."""
    maps = [torch.randn(5, 3, 4), torch.randn(5, 2, 6) + 1]
    points = np.concatenate([m.flatten(1).T.numpy() for m in maps])
    mean, components, _ = direct_pca(points, 3)
    coordinates = (points - mean) @ components.T
    expected = (coordinates - coordinates.min(0)) / (coordinates.max(0) - coordinates.min(0))
    pictures = pca_colours(maps)
    assert [tuple(p.shape) for p in pictures] == [(3, 3, 4), (3, 2, 6)]
    found = np.concatenate([p.flatten(1).T.numpy() for p in pictures])
    assert np.abs(found - expected).max() < 1e-5


def test_colours_are_brought_to_the_images_size():
    """Fig. 6: bilinear; a map of one row of tokens is a ramp between their centres."""
    maps = [torch.randn(4, 1, 3), torch.randn(4, 2, 2)]
    small, large = pca_colours(maps), pca_colours(maps, [(4, 12), (6, 8)])
    assert [tuple(p.shape) for p in large] == [(3, 4, 12), (3, 6, 8)]
    expected = [np.interp((np.arange(12) + 0.5) / 4 - 0.5, np.arange(3), channel[0]) for channel in small[0].numpy()]
    for row in range(4):
        np.testing.assert_allclose(large[0][:, row].numpy(), expected, atol=1e-6)


def test_prior_is_built_from_a_config_or_its_file(tmp_path):
    file = tmp_path / 'prior.py'
    file.write_text(f'prior = {TINY!r}\n')
    image = torch.rand(1, 3, 28, 42)
    first, second = (build_prior(source)(image).tokens[-1] for source in (TINY, str(file)))
    assert first.equal(second)
    assert first.shape == (1, 16, 2, 3)


def test_errors_of_prior_configs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.py: no such config file of a prior'):
        build_prior('nowhere.py')
    (tmp_path / 'empty.py').write_text('model = dict()\n')
    with pytest.raises(ValueError, match=r'empty.py: expected prior=dict\(type='):
        build_prior(tmp_path / 'empty.py')
    with pytest.raises(ValueError, match='VGGPrior gives no patch tokens'):
        build_prior(dict(type='mmfusion.VGGPrior', weights='random', width=1 / 32))
    clip = dict(embed_dim=8, vision_cfg=dict(image_size=32, patch_size=8, width=16, head_width=8, layers=2))
    with pytest.raises(ValueError, match='CLIPPrior gives no patch tokens'):
        build_prior(dict(type='mmfusion.CLIPPrior', model=clip, pretrained='random', embedding=True))
