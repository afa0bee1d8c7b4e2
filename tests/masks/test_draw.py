"""Colours of features and masks where they are known."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmfusion.masks.draw import (
    REGION_COLOURS,
    build_extractor,
    draw_features,
    draw_labels,
    draw_mask,
    draw_regions,
    heat_maps,
    tsne_colours,
)
from mmfusion.models.priors import VGGPrior


def test_heat_is_the_norm_over_all_maps():
    """Red where the features are strongest, blue where they are weakest; one map's strongest is the other's middle."""
    maps = [torch.zeros(2, 1, 3), torch.zeros(2, 1, 3)]
    maps[0][:, 0, 2] = torch.tensor([3.0, -4.0])  # norm 5
    maps[1][0, 0, 0] = -2.5
    first, second = (m[:, 0] for m in heat_maps(maps, [(1, 3), (1, 3)]))
    assert first[:, 2].tolist() == pytest.approx([0.5, 0, 0], abs=0.01)  # B, G, R of jet's ends: dark red and dark blue
    assert first[:, 0].tolist() == pytest.approx([0, 0, 0.5], abs=0.01)
    assert second[1, 0] > 0.95  # the middle is green
    assert [tuple(m.shape) for m in heat_maps(maps, [(4, 6), (2, 9)])] == [(3, 4, 6), (3, 2, 9)]


class OwnVGG(VGGPrior):
    """A user's subclass, which counts as the class it inherits."""


@pytest.mark.parametrize('kind', ['mmfusion.VGGPrior', OwnVGG])
def test_features_of_vgg_on_the_image(kind):
    prior = build_extractor(dict(type=kind, weights='random', width=1 / 32, layers=('relu2_2',)))
    picture = torch.rand(3, 20, 30)
    colours, image = (draw_features(prior, [picture], opacity=o)[0].astype(float) for o in (1, 0))
    assert colours.shape == (20, 30, 3)
    assert np.array_equal(image, (picture.permute(1, 2, 0).flip(2) * 255).round().numpy())
    assert np.abs(draw_features(prior, [picture], opacity=0.5)[0] - (colours + image) / 2).max() <= 1
    with pytest.raises(ValueError, match=r'unknown way of drawing .*expected one of heat, pca, tsne'):
        draw_features(prior, [picture], 'umap')


def test_tsne(monkeypatch):
    maps = [torch.randn(5, 2, 3), torch.randn(5, 1, 2)]

    class Linear:
        def __init__(self, n_components, perplexity, **_):
            assert (n_components, perplexity) == (3, 7 / 3)

        def fit_transform(self, points):
            return points[:, :3]

    monkeypatch.setitem(sys.modules, 'sklearn', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', SimpleNamespace(TSNE=Linear))
    points = torch.cat([m.flatten(1).T for m in maps])[:, :3]
    expected = (points - points.amin(0)) / (points.amax(0) - points.amin(0))
    drawn = tsne_colours(maps, [(2, 3), (1, 2)])
    torch.testing.assert_close(torch.cat([d.flatten(1).T for d in drawn]), expected)


def test_regions_are_those_of_figure_5():
    grey = np.full((30, 40), 100, np.uint8)
    vi, ir = np.zeros((2, 30, 40), bool)
    vi[5:25, 5:25] = True
    ir[5:25, 15:35] = True
    drawn = draw_regions(grey, vi, ir, opacity=0.5)
    for name, x in (('unique_vi', 10), ('shared', 20), ('unique_ir', 30)):
        assert drawn[15, x].tolist() == [round(50 + c / 2) for c in REGION_COLOURS[name]], name
    assert drawn[15, 5].tolist() == list(REGION_COLOURS['unique_vi'])  # the outline
    assert (drawn[:4] == 100).all()
    assert (grey == 100).all()
    with pytest.raises(ValueError, match=r'the mask is 20×30 but its image 40×30 \(width×height\)'):
        draw_mask(grey, vi[:, :20], (0, 0, 255))


def test_labels_of_classes():
    labels = np.zeros((12, 30), np.uint8)
    labels[2:10, 2:8], labels[2:10, 12:18], labels[2:10, 22:28] = 1, 2, 255
    drawn = draw_labels(np.full((12, 30, 3), 80, np.uint8), labels)
    assert len({tuple(drawn[5, x]) for x in (0, 5, 15)}) == 3
    assert drawn[5, 25].tolist() == [80, 80, 80]
