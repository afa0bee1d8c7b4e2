"""Pictures of features and masks, as the papers print them."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import rescale
from mmfusion.models.methods.occo.regions import split_masks
from mmfusion.models.priors import VGGPrior
from mmfusion.registry import MODELS, is_a
from mmfusion.utils import to_bgr, to_uint8

from .defaults import DRAWING_WAYS
from .feature_pca import build_prior, pca_colours, to_points

REGION_COLOURS = dict(shared=(0, 220, 255), unique_vi=(80, 200, 60), unique_ir=(60, 60, 240))
"""Of OCCO's regions, B, G, R: yellow where both modalities show an object, green the visible one alone, red the infrared."""
MASK_COLOURS = dict(vi=REGION_COLOURS['unique_vi'], ir=REGION_COLOURS['unique_ir'])


def build_extractor(source: dict | str, device: str = 'cpu'):
    """Build a VGG or a prior with patch tokens.

    Args:
        source: Its config, or a config file with ``prior = dict(type=…)`` in it.
        device: Where to.

    Raises:
        ValueError: If it gives neither layers nor patch tokens.
    """
    if isinstance(source, dict) and is_a(source, MODELS, VGGPrior):
        return MODELS.build(source).to(device)
    return build_prior(source, device)


@torch.inference_mode()
def feature_map(prior, image: Tensor) -> Tensor:
    """Compute a prior's last layer of 3×H×W, C×h×w, on the CPU."""
    found = prior(image[None])
    last = list(found.values())[-1] if isinstance(found, dict) else found.tokens[-1]
    return last[0].float().cpu()


def heat_maps(maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Colour feature maps by their strength, blue to red.

    The strength of a point is the Euclidean norm of its C features; it is stretched over all maps together, so that
    pictures of several networks can be compared.

    Args:
        maps: C×h×w each.
        sizes: Height and width of each picture; bilinear between the points.

    Returns:
        3×H×W (R, G, B) float32 in [0, 1] each.
    """
    strengths = [m.double().norm(dim=0) for m in maps]
    values = torch.cat([s.flatten() for s in strengths])
    low, high = values.min(), values.max()
    pictures = []
    for strength, size in zip(strengths, sizes, strict=True):
        plane = F.interpolate(rescale(strength, low, high)[None, None], tuple(size), mode='bilinear')[0, 0]
        colours = cv2.applyColorMap(to_uint8(plane).numpy(), cv2.COLORMAP_JET)[..., ::-1]
        pictures.append(torch.from_numpy(np.ascontiguousarray(colours)).permute(2, 0, 1).float() / 255)
    return pictures


def tsne_colours(maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]], seed: int = 0) -> list[Tensor]:
    """Colour feature maps by one t-SNE to three dimensions.

    Args:
        maps: C×h×w each.
        sizes: Height and width of each picture; bilinear between the points.
        seed: Of the embedding.

    Returns:
        3×H×W (R, G, B) float32 in [0, 1] each.
    """
    from sklearn.manifold import TSNE

    points = torch.cat([to_points(m) for m in maps]).numpy()
    perplexity = min(30.0, (len(points) - 1) / 3)
    embedded = TSNE(3, perplexity=perplexity, init='pca', random_state=seed).fit_transform(points)
    placed = torch.from_numpy(np.ascontiguousarray(embedded, np.float32))
    placed = rescale(placed, placed.amin(0), placed.amax(0))
    pictures = []
    for part, tokens, size in zip(placed.split([m[0].numel() for m in maps]), maps, sizes, strict=True):
        picture = part.T.unflatten(1, tokens.shape[1:])[None]
        pictures.append(F.interpolate(picture, tuple(size), mode='bilinear')[0].clamp(0, 1))
    return pictures


WAYS = dict(zip(DRAWING_WAYS, (heat_maps, pca_colours, tsne_colours), strict=True))
"""Ways of colouring feature maps: function of the maps and the sizes of their pictures."""


def check_way(how: str) -> None:
    """Refuse a way of drawing that cannot be taken here.

    Raises:
        ValueError: If it is unknown.
        RuntimeError: If a package that it needs is not installed.
    """
    if how not in WAYS:
        raise ValueError(f'unknown way of drawing {how!r}; expected one of {", ".join(WAYS)}.')
    if how == 'tsne':
        try:
            import sklearn.manifold  # noqa: F401
        except ImportError as e:
            raise RuntimeError(
                f"--how tsne: scikit-learn cannot be imported ({e}); pip install 'mmfusion[draw]', or draw by pca."
            ) from e


def draw_features(prior, pictures: Sequence[Tensor], how: str = 'heat', opacity: float = 1.0) -> list[np.ndarray]:
    """Draw what a prior sees in pictures.

    Args:
        prior: As :func:`build_extractor` gives it.
        pictures: 3×H×W (R, G, B) in [0, 1] each.
        how: One of :data:`WAYS`.
        opacity: Of the colours on the pictures, in [0, 1].

    Returns:
        H×W×3 uint8 (B, G, R) each.

    Raises:
        ValueError, RuntimeError: As :func:`check_way`.
    """
    check_way(how)
    sizes = [tuple(p.shape[1:]) for p in pictures]
    colours = WAYS[how]([feature_map(prior, p) for p in pictures], sizes)
    return [to_bgr(opacity * c + (1 - opacity) * p.cpu()) for c, p in zip(colours, pictures, strict=True)]


def draw_mask(image: np.ndarray, mask: np.ndarray, colour: Sequence[int], opacity: float = 0.45) -> np.ndarray:
    """Lay a mask on an image, with its outline.

    Args:
        image: H×W or H×W×3 uint8 (B, G, R).
        mask: H×W boolean.
        colour: B, G, R.
        opacity: Of the colour inside the outline, in [0, 1].

    Returns:
        A new image, H×W×3 uint8.

    Raises:
        ValueError: If the mask has another size than the image.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f'the mask is {mask.shape[1]}×{mask.shape[0]} but its image {image.shape[1]}×{image.shape[0]} (width×height); '
            'expected one size.'
        )
    out = image.copy()
    inside = mask.astype(bool)
    out[inside] = (image[inside] * (1 - opacity) + np.array(colour) * opacity).round().astype(np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(out, outlines, -1, tuple(colour), max(1, round(min(mask.shape) / 300)))


def draw_regions(image: np.ndarray, mask_vi: np.ndarray, mask_ir: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """Draw OCCO's regions (Fig. 5), shared and of one modality; see :data:`REGION_COLOURS`.

    Args:
        image: H×W or H×W×3 uint8 (B, G, R).
        mask_vi, mask_ir: What each modality shows, H×W boolean.
        opacity: As in :func:`draw_mask`.

    Returns:
        A new image, H×W×3 uint8.
    """
    regions = split_masks(torch.from_numpy(mask_vi), torch.from_numpy(mask_ir))
    for name, colour in REGION_COLOURS.items():
        image = draw_mask(image, regions[name].numpy(), colour, opacity)
    return image


def draw_labels(image: np.ndarray, labels: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """Lay a label map on an image, 0 and 255 left out.

    Args:
        image: H×W or H×W×3 uint8 (B, G, R).
        labels: H×W uint8.
        opacity: As in :func:`draw_mask`.

    Returns:
        A new image, H×W×3 uint8.
    """
    classes = [int(c) for c in np.unique(labels) if c not in (0, 255)]
    # Hues far from each other for neighbouring classes.
    hues = np.array([[[(c * 47) % 180, 220, 255] for c in classes]], np.uint8)
    colours = cv2.cvtColor(hues, cv2.COLOR_HSV2BGR)[0].tolist() if classes else []
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    for label, colour in zip(classes, colours, strict=True):
        image = draw_mask(image, labels == label, colour, opacity)
    return image
