"""Principal components of a prior's patch tokens, as colours and masks."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import rescale
from mmfusion.models.priors import FeaturePrior
from mmfusion.registry import MODELS
from mmfusion.utils.configs import read_config


class PCA(NamedTuple):
    """Principal components of points.

    Attributes:
        mean (Tensor): C.
        components (Tensor): K×C, orthonormal rows, by falling variance; the largest entry of each is positive.
        variance (Tensor): K, along each component.
    """

    mean: Tensor
    components: Tensor
    variance: Tensor

    def project(self, points):
        """Compute coordinates N×K of points N×C."""
        return (points.double() - self.mean) @ self.components.T


def fit_pca(points, num):
    """Analyse points by principal components, in float64.

    Args:
        points (Tensor): N×C.
        num (int): K, at most N and C.

    Raises:
        ValueError: If there are fewer points or dimensions than components, or values are not finite.
    """
    if num > min(points.shape):
        raise ValueError(f'{num} principal components need as many points and dimensions, got {tuple(points.shape)}')
    if not torch.isfinite(points).all():
        raise ValueError('features hold NaN or infinite values: there are no principal components of them')
    points = points.double()
    mean = points.mean(0)
    centred = points - mean
    if len(centred) > centred.shape[1]:
        # R has the singular values and right vectors of the whole, in C rows instead of N.
        centred = torch.linalg.qr(centred, mode='r').R
    _, values, components = torch.linalg.svd(centred, full_matrices=False)
    components = components[:num]
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = components * torch.where(largest < 0, -1.0, 1.0)
    return PCA(mean, components, values[:num].square() / len(points))


def to_points(tokens):
    """Turn a map C×h×w into h·w points, row by row."""
    return tokens.flatten(1).T


def pca_colours(maps, size=None):
    """Colour token maps by their common first three principal components.

    Args:
        maps (Sequence[Tensor]): Token maps C×h×w, of any sizes.
        size (Sequence[tuple[int, int]], optional): Height and width of each picture; bilinear between the tokens, as in
            Fig. 6. Default: a pixel a token.

    Returns:
        list[Tensor]: 3×H×W float32 in [0, 1] each: the three components as R, G, B, stretched over all maps.
    """
    points = [to_points(m) for m in maps]
    coordinates = fit_pca(torch.cat(points), 3)
    parts = [coordinates.project(p) for p in points]
    low, high = torch.cat(parts).amin(0), torch.cat(parts).amax(0)
    pictures = []
    for k, (part, tokens) in enumerate(zip(parts, maps, strict=True)):
        picture = rescale(part, low, high).T.unflatten(1, tokens.shape[1:]).float()
        if size is not None:
            picture = F.interpolate(picture[None], tuple(size[k]), mode='bilinear', align_corners=False)[0]
        pictures.append(picture.clamp(0, 1))
    return pictures


def build_prior(source, device='cpu'):
    """Build a prior.

    Args:
        source (dict | str | Path): Its config, or a config file with ``prior = dict(type=…)`` in it.
        device (str): Where to.

    Raises:
        FileNotFoundError: If there is no such config file.
        ValueError: If the file names no prior, or one that gives no patch tokens.
    """
    if not isinstance(source, dict):
        if not Path(source).is_file():
            raise FileNotFoundError(f'{source}: no such config file of a prior')
        config = read_config(source)
        if 'prior' not in config:
            raise ValueError(f"{source}: expected prior=dict(type='mmfusion.DINOv2Prior', …) in it; it has none")
        source = config.prior
    prior = MODELS.build(source)
    if not isinstance(prior, FeaturePrior) or getattr(prior, 'layers', None) == ():
        raise ValueError(
            f'{source["type"]} gives no patch tokens here. Expected a prior with layers, e.g. DINOv2Prior.'
        )
    return prior.to(device)
