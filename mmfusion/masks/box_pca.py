"""Label maps from boxes by two PCAs of DINOv2's features.

GFFusion, section IV-A.1, Fig. 5.

The paper says: a PCA, whose first component, thresholded, gives the foreground; based on the foreground's features a
second PCA, which gives the object. Ours are: that both are taken inside each box, the thresholds, and which side of a
component is which (:func:`centre_sign`).
"""

import math
from itertools import compress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from mmfusion.datasets.boxes import boxes_inside
from mmfusion.models.layers import rescale
from mmfusion.models.priors.features import resize

from .feature_pca import fit_pca, to_points

UNCLEAR = 255
"""Value of label maps where a box gave no object, and on objects that the annotation marks to be ignored."""


def centre_sign(values, centrality):
    """Choose a component's sign, 1 or −1: higher in the box's middle.

    The sign of a principal component means nothing by itself. An object fills the middle of its box.

    Args:
        values, centrality (Tensor): A component, and how central its tokens are; N each.

    Returns:
        float: Sign of their covariance; 1 if there is none.
    """
    covariance = (values - values.mean()) @ (centrality - centrality.mean())
    return -1.0 if covariance < 0 else 1.0


def centrality(height, width):
    """Compute how central each token of a grid is, 0 to 1."""
    arches = [torch.sin((torch.arange(n, dtype=torch.float64) + 0.5) * math.pi / n) for n in (height, width)]
    return (arches[0][:, None] * arches[1]).flatten()


def _alike(points):
    """Tell whether N×C points are equal but for rounding."""
    return bool((points - points.mean(0)).abs().max() <= 1e-5 * points.abs().max())


def _scaled_component(points, central):
    """The first principal component, turned by :func:`centre_sign`, in [0, 1]; N."""
    values = fit_pca(points, 1).project(points)[:, 0]
    values = values * centre_sign(values, central)
    return rescale(values, values.min(), values.max())


def object_tokens(features, threshold=0.5, object_threshold=0.25):
    """Find the tokens of a box that show its object (Fig. 5).

    1. Foreground: the first principal component of all tokens, in [0, 1], is above ``threshold``.
    2. Object: the first principal component of the foreground's tokens alone, in [0, 1], is at least
       ``object_threshold``; with 0 this step changes nothing.

    Args:
        features (Tensor): Of the box, C×h×w.
        threshold, object_threshold (float): See above.

    Returns:
        Tensor: h×w bool; empty where all features are equal but for rounding.
    """
    points, central = to_points(features.detach().cpu()), centrality(*features.shape[1:])
    if _alike(points):
        return torch.zeros(features.shape[1:], dtype=torch.bool)
    foreground = _scaled_component(points, central) > threshold
    kept, inside = points[foreground], central[foreground]
    if len(kept) > 1 and not _alike(kept):
        foreground[foreground.clone()] = _scaled_component(kept, inside) >= object_threshold
    return foreground.view(features.shape[1:])


def pixel_box(box, size, name='the image'):
    """Round a box to whole pixels, cut to its image.

    Args:
        box (Sequence[float]): x1, y1, x2, y2 in pixels.
        size (tuple[int, int]): Height and width of the image.
        name (str): For messages.

    Returns:
        tuple[int, int, int, int]: x1, y1, x2, y2; the last two exclusive.

    Raises:
        ValueError: If the box has no area in the image, or is not finite.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    height, width = size
    if not all(math.isfinite(v) for v in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise ValueError(f'{name}: box {[x1, y1, x2, y2]} (x1, y1, x2, y2) has no area. Correct the annotation.')
    boxes_inside([(x1, y1, x2, y2)], size, name)
    return max(0, math.floor(x1)), max(0, math.floor(y1)), min(width, math.ceil(x2)), min(height, math.ceil(y2))


class BoxLabeller:
    """Turn the boxes of an image into a label map.

    Args:
        prior (FeaturePrior): The feature extractor, such as :class:`DINOv2Prior`; the tokens of its last layer are used.
        crop_size (int): Each box is brought to this square before the prior sees it, so that a small object has as many
            tokens as a large one (224: 16×16 of ViT-B/14).
        threshold, object_threshold (float): See :func:`object_tokens`.
        batch (int): Boxes at a time.
    """

    def __init__(self, prior, crop_size=224, threshold=0.5, object_threshold=0.25, batch=16):
        self.prior, self.crop_size, self.batch = prior, crop_size, batch
        self.threshold, self.object_threshold = threshold, object_threshold

    @property
    def settings(self):
        """Give what the label maps depend on."""
        thresholds = dict(threshold=self.threshold, object_threshold=self.object_threshold)
        return dict(prior=self.prior.identity, layers=self.prior.settings(), crop_size=self.crop_size, **thresholds)

    @torch.inference_mode()
    def features(self, images, boxes):
        """Compute features of boxes.

        Args:
            images (Sequence[Tensor]): Pictures of the same scene, 3×H×W in [0, 1] each.
            boxes (Sequence[tuple[int, int, int, int]]): In pixels.

        Returns:
            list[Tensor]: C×h×w of each box; features of several pictures are concatenated.
        """
        crops = [
            resize(image[None, :, y1:y2, x1:x2], (self.crop_size, self.crop_size)).clamp(0, 1)
            for image in images
            for x1, y1, x2, y2 in boxes
        ]
        parts = [self.prior(torch.cat(crops[k : k + self.batch])) for k in range(0, len(crops), self.batch)]
        tokens = torch.cat([p.tokens[-1] for p in parts])
        return list(torch.cat(tokens.split(len(boxes)), dim=1))

    def mask(self, features, size):
        """Find the object of a box, H×W bool in pixels."""
        tokens = object_tokens(features, self.threshold, self.object_threshold)
        return F.interpolate(tokens[None, None].float(), size, mode='bilinear', align_corners=False)[0, 0] >= 0.5

    def __call__(self, images, boxes, labels, ignore=None, name='the image'):
        """Make the label map of an image.

        Boxes outside of the image are left out: see :func:`~mmfusion.datasets.boxes.boxes_inside`. Where objects overlap,
        the one with the smaller box is in front.

        Args:
            images (Sequence[Tensor]): Visible image, infrared image, or both: 3×H×W in [0, 1] each.
            boxes (Sequence[Sequence[float]]): x1, y1, x2, y2 in pixels.
            labels (Sequence[int]): Class of each, from 0.
            ignore (Sequence[bool], optional): Objects to be marked :data:`UNCLEAR`.
            name (str): For messages.

        Returns:
            tuple[np.ndarray, int]: H×W uint8, 0 where there is no object and 1 + class on an object; and in how many boxes
            none was found, which are :data:`UNCLEAR`.

        Raises:
            ValueError: If a box has no area, all lie outside of the image, or a class does not fit into 8 bits.
        """
        size = tuple(images[0].shape[1:])
        inside = boxes_inside(boxes, size, name) if len(boxes) else []
        boxes, labels = list(compress(boxes, inside)), list(compress(labels, inside))
        ignore = None if ignore is None else list(compress(ignore, inside))
        places = [pixel_box(box, size, name) for box in boxes]
        wrong = [label for label in labels if not 0 <= label < UNCLEAR - 1]
        if wrong:
            raise ValueError(f'{name}: class {wrong[0]} has no place in a label map of 8 bits (0 … {UNCLEAR - 2})')
        out, unclear = np.zeros(size, np.uint8), 0
        if not places:
            return out, unclear
        area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in places]
        features = self.features(images, places)
        for k in sorted(range(len(places)), key=lambda i: -area[i]):
            x1, y1, x2, y2 = places[k]
            mask = self.mask(features[k], (y2 - y1, x2 - x1)).numpy()
            if not mask.any():
                unclear += 1
                out[y1:y2, x1:x2] = UNCLEAR
            else:
                out[y1:y2, x1:x2][mask] = UNCLEAR if ignore is not None and ignore[k] else 1 + labels[k]
        return out, unclear


def to_picture(image, device='cpu'):
    """Turn uint8 H×W or H×W×3 (B, G, R) into 3×H×W in [0, 1]."""
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1).float() / 255


def label_files(out, stems):
    """Name the label maps of images: stem → file in ``out``."""
    return {stem: Path(out) / f'{stem}.png' for stem in stems}
