"""Label maps from boxes (GFFusion, Fig. 5): both PCAs against a second computation, objects that are known, bad boxes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmfusion.masks.box_pca import (
    UNCLEAR,
    BoxLabeller,
    centrality,
    centre_sign,
    object_tokens,
    pixel_box,
    to_picture,
)
from mmfusion.models.priors import FeaturePrior, PriorFeatures

pytestmark = pytest.mark.usefixtures('one_thread')


class ColourPrior(FeaturePrior):
    """Mean colours of patches of 8×8 pixels, for boxes of which one can say what comes out."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def extract(self, images):
        self.sizes.append(tuple(images.shape))
        return PriorFeatures((torch.zeros(len(images), 3, 1, 1), F.avg_pool2d(images, 8)))

    def settings(self):
        return dict(patch=8)


def direct_first_component(points, central):
    """The first principal component in [0, 1], higher where ``central`` is, by the covariance matrix."""
    mean = points.mean(0)
    covariance = sum(np.outer(p - mean, p - mean) for p in points) / len(points)
    values = (points - mean) @ np.linalg.eigh(covariance)[1][:, -1]
    if np.cov(values, central)[0, 1] < 0:
        values = -values
    return (values - values.min()) / (values.max() - values.min())


def direct_object(features, threshold, object_threshold):
    """Fig. 5 token by token."""
    c, h, w = features.shape
    tokens = [(y, x) for y in range(h) for x in range(w)]
    points = np.array([[features[k, y, x] for k in range(c)] for y, x in tokens], np.float64)
    central = np.array([np.sin((y + 0.5) * np.pi / h) * np.sin((x + 0.5) * np.pi / w) for y, x in tokens])
    first = direct_first_component(points, central)
    kept = [k for k in range(len(tokens)) if first[k] > threshold]
    second = direct_first_component(points[kept], central[kept])
    mask = np.zeros((h, w), bool)
    for k, value in zip(kept, second, strict=True):
        mask[tokens[k]] = value >= object_threshold
    return mask


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('thresholds', [(0.5, 0.25), (0.3, 0.6), (0.5, 0.0)])
def test_both_pcas_against_direct(seed, thresholds):
    features = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(seed))
    found = object_tokens(features, *thresholds)
    assert found.numpy().tolist() == direct_object(features.numpy(), *thresholds).tolist()
    assert 0 < found.sum() < 42


def test_a_known_object():
    """An object in the middle of its box whose features differ from the rest, with a part unlike its other parts."""
    features = torch.zeros(3, 8, 8)
    features[0] = 1  # background
    features[:, 2:6, 2:6] = torch.tensor([-9.0, 0.0, 0.0]).view(3, 1, 1)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = True
    assert object_tokens(features).equal(expected)
    features[1, 2, 2:6] = 4  # the second PCA: a row at the object's edge is something else
    assert object_tokens(features, object_threshold=0).equal(expected)
    expected[2] = False
    assert object_tokens(features).equal(expected)


def test_sign_does_not_matter():
    features = torch.randn(4, 5, 5)
    assert object_tokens(features).equal(object_tokens(-features))


def test_equal_features_have_no_object():
    assert not object_tokens(torch.full((4, 3, 3), 2.5)).any()


def test_object_of_one_token():
    features = torch.zeros(2, 3, 3)
    features[0, 1, 1] = 1
    assert object_tokens(features).nonzero().tolist() == [[1, 1]]


def test_centrality_and_sign():
    c = centrality(3, 5).view(3, 5)
    assert c.argmax() == 7
    assert c[1, 2].item() == pytest.approx(1)
    assert c.equal(c.flip(0))
    assert centre_sign(c.flatten(), c.flatten()) == 1
    assert centre_sign(-c.flatten(), c.flatten()) == -1
    assert centre_sign(torch.ones(15).double(), c.flatten()) == 1


# Boxes


@pytest.mark.parametrize(
    ('box', 'pixels'),
    [
        ((2, 3, 10, 12), (2, 3, 10, 12)),
        ((2.4, 3.6, 9.2, 11.1), (2, 3, 10, 12)),
        ((-5, -1, 4, 100), (0, 0, 4, 30)),
        ((39.5, 29.5, 50, 40), (39, 29, 40, 30)),
    ],
)
def test_boxes_are_cut_to_the_image(box, pixels):
    assert pixel_box(box, (30, 40)) == pixels


@pytest.mark.parametrize('box', [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (5, 5, float('nan'), 9)])
def test_boxes_without_area(box):
    with pytest.raises(ValueError, match=r'a\.png: box .* has no area'):
        pixel_box(box, (30, 40), 'a.png')


@pytest.mark.parametrize('box', [(40, 5, 50, 9), (-9, 5, 0, 9), (5, 30, 9, 35), (5, -9, 9, -1)])
def test_boxes_outside(box):
    with pytest.raises(ValueError, match=r'a\.png: box .* lies outside of its image of 40×30 \(width×height\)'):
        pixel_box(box, (30, 40), 'a.png')


# Label maps


def scene():
    """A red square and a green one on grey, 64×80; and boxes about twice as large as they are."""
    image = torch.full((3, 64, 80), 0.5)
    for colour, (x1, y1, x2, y2) in (((1, 0, 0), (8, 16, 24, 32)), ((0, 1, 0), (48, 24, 64, 56))):
        image[:, y1:y2, x1:x2] = torch.tensor(colour).view(3, 1, 1)
    return image, [(0, 8, 32, 40), (40, 16, 72, 64)]


def test_label_map_of_known_objects():
    image, boxes = scene()
    prior = ColourPrior()
    labels, unclear = BoxLabeller(prior, crop_size=64, object_threshold=0)([image], boxes, [0, 4])
    assert unclear == 0
    assert labels.dtype == np.uint8
    for value, (x1, y1, x2, y2) in ((1, (8, 16, 24, 32)), (5, (48, 24, 64, 56))):
        expected = np.zeros((64, 80), bool)
        expected[y1:y2, x1:x2] = True
        overlap = ((labels == value) & expected).sum() / ((labels == value) | expected).sum()
        assert overlap > 0.85
    assert prior.sizes == [(2, 3, 64, 64)]


def test_batches_do_not_matter():
    image, boxes = scene()
    runs = [BoxLabeller(ColourPrior(), 64, batch=n)([image, image.flip(0)], boxes, [0, 1])[0] for n in (1, 3, 16)]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()


def test_features_of_both_images_are_joined():
    image, boxes = scene()
    labeller = BoxLabeller(ColourPrior(), 64)
    vi, ir, both = (labeller.features(p, boxes) for p in ([image], [1 - image], [image, 1 - image]))
    for k in range(2):
        torch.testing.assert_close(both[k], torch.cat([vi[k], ir[k]]), rtol=0, atol=0)


def test_smaller_boxes_are_in_front(monkeypatch):
    """Where objects overlap, whichever comes first in the annotation."""
    image, _ = scene()
    labeller = BoxLabeller(ColourPrior(), 64)
    monkeypatch.setattr(labeller, 'mask', lambda features, size: torch.ones(size, dtype=torch.bool))
    boxes = [(0, 0, 80, 64), (4, 12, 28, 36)]
    expected = np.ones((64, 80))
    expected[12:36, 4:28] = 2
    for order in (1, -1):
        labels, _ = labeller([image], boxes[::order], [0, 1][::order])
        assert (labels == expected).all()


def test_ignored_and_unclear_boxes():
    """An ignored object is 255 where it is; a box in which all looks alike is 255 as a whole, and counted."""
    image, boxes = scene()
    labels, unclear = BoxLabeller(ColourPrior(), 64)(
        [image], [*boxes, (0, 48, 16, 64)], [0, 1, 2], [True, False, False]
    )
    assert unclear == 1
    assert (labels[48:64, :16] == UNCLEAR).all()
    assert labels[24, 16] == UNCLEAR
    assert labels[10, 2] == 0
    assert 1 not in labels
    assert 2 in labels


def test_no_boxes():
    image, _ = scene()
    prior = ColourPrior()
    labels, unclear = BoxLabeller(prior)([image], [], [])
    assert labels.shape == (64, 80)
    assert not labels.any()
    assert unclear == 0
    assert prior.sizes == []


def test_bad_box_and_class_name_the_image():
    image, boxes = scene()
    labeller = BoxLabeller(ColourPrior(), 64)
    with pytest.raises(ValueError, match=r'b\.png: box .* lies outside'):
        labeller([image], [(100, 0, 110, 9)], [2], name='b.png')
    found, _ = labeller([image], [(100, 0, 110, 9), *boxes], [2, 0, 1], [True, False, False], 'b.png')
    np.testing.assert_array_equal(found, labeller([image], boxes, [0, 1])[0])  # left out, as the datasets do
    with pytest.raises(ValueError, match=r'b\.png: class 254 has no place'):
        labeller([image], boxes, [0, 254], name='b.png')


def test_pictures():
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[0, 1] = 10, 20, 255  # B, G, R
    picture = to_picture(colour)
    assert (picture[:, 0, 1] * 255).tolist() == [255, 20, 10]
    grey = to_picture(np.full((2, 3), 51, np.uint8))
    torch.testing.assert_close(grey, torch.full((3, 2, 3), 0.2))
