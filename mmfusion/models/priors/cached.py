"""Features of a frozen prior, kept on disk."""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmfusion.registry import MODELS
from mmfusion.utils import to_uint8, write_bytes

from .features import FeaturePrior, PriorFeatures


@MODELS.register_module()
class CachedPrior(FeaturePrior):
    """Keep another prior's features on disk, computed once an image.

    For training on whole images, which come again in every epoch. An entry is found by the SHA-256 of the image's pixels
    as the prior gets them, so that file and transforms are right by construction whatever the pipeline does to the image,
    and lies in a folder of its own for each weights' hash and each setting of the prior. Entries are written under a
    temporary name and renamed: several workers and processes may share the folder.

    Images that are cropped or altered at random never come twice; they would fill the disk and be no faster. They are
    refused as soon as a file has shown more than ``max_versions`` contents.

    Args:
        prior: Config of the prior; it cannot have ``grad=True``.
        cache_dir: Folder of the cache; it may be deleted at any time when nothing runs.
        half: Whether to keep the features in half precision: half the disk, and features rounded to 11 bits. They are
            given as float32 in either case.
        max_versions: Contents a file may come with in one process: 2 allow for a flip, 4 for flips both ways.

    Raises:
        TypeError: If the prior gives no :class:`PriorFeatures`.
        ValueError: If the prior is differentiable.
    """

    def __init__(self, prior: dict, cache_dir: str | Path, half: bool = False, max_versions: int = 2) -> None:
        super().__init__()
        self.inner = MODELS.build(prior)
        if not isinstance(self.inner, FeaturePrior):
            raise TypeError(f'CachedPrior: {type(self.inner).__name__} gives no PriorFeatures')
        if self.inner.grad:
            raise ValueError('CachedPrior: features from disk have no gradient; remove grad=True from the prior')
        if max_versions < 1:
            raise ValueError(f'CachedPrior: max_versions must be at least 1, got {max_versions}')
        self.half, self.max_versions = half, max_versions
        settings = json.dumps(dict(prior=self.inner.label, **self.inner.settings()), sort_keys=True)
        kind = hashlib.sha256(f'{self.weights_hash} {settings} {half}'.encode()).hexdigest()
        name = re.sub(r'[^\w.-]+', '_', self.inner.label).strip('_')
        self.folder = Path(cache_dir) / f'{name}-{kind[:16]}'
        if not (self.folder / 'settings.json').is_file():
            described = dict(weights_sha256=self.weights_hash, settings=json.loads(settings), half=half)
            write_bytes(self.folder / 'settings.json', json.dumps(described, indent=2).encode())
        self._seen = {}
        self.freeze()

    @property
    def weights_hash(self) -> str:
        """Give the hash of the prior inside."""
        return self.inner.weights_hash

    @property
    def label(self) -> str:
        """Give the label of the prior inside, whatever the cache."""
        return self.inner.label

    def settings(self) -> dict[str, Any]:
        """Give the settings of the prior inside, and the precision."""
        return dict(self.inner.settings(), half=self.half)

    def forward(self, images: Tensor, names: Sequence[str | None] | None = None) -> PriorFeatures:
        """Compute features of a batch, or read them from disk.

        Args:
            images: N×3×H×W, R, G, B in [0, 1].
            names: Where each image comes from. Without names, images that are altered at random cannot be recognised.

        Returns:
            Of the N images, float32, without graph.

        Raises:
            ValueError: If a file comes with more contents than ``max_versions``.
            RuntimeError: If an entry is damaged.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f'CachedPrior: images must be N×3×H×W (R, G, B), got {tuple(images.shape)}')
        keys = pixel_keys(images)
        self._check_versions(keys, names)
        entries = {key: self._read(key) for key in dict.fromkeys(keys)}
        missing = [key for key, entry in entries.items() if entry is None]
        if missing:
            index = [keys.index(key) for key in missing]
            # What is kept must not depend on the precision that one run trains with.
            with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
                computed = self.inner(images[index].float()).map(self._rounded)
            for i, key in enumerate(missing):
                entries[key] = computed[i : i + 1].map(torch.clone)
                self._write(key, entries[key])
        features = PriorFeatures.cat([entries[key] for key in keys])
        return features.map(lambda t: t.to(images.device, torch.float32))

    def extract(self, images: Tensor) -> PriorFeatures:
        """Compute or read features, as :meth:`forward` does."""
        return self.forward(images)

    def _rounded(self, tensor: Tensor) -> Tensor:
        return tensor.detach().cpu().to(torch.float16 if self.half else torch.float32)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f'{key}.pt'

    def _read(self, key: str) -> PriorFeatures | None:
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            content = torch.load(path, map_location='cpu', weights_only=True)
            return PriorFeatures(tuple(content['tokens']), content['embedding'])
        except Exception as e:  # whatever unpickling raises for a damaged file
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise RuntimeError(f'{path}: a damaged entry of the cache ({reason}). Delete it and start again.') from e

    def _write(self, key: str, features: PriorFeatures) -> None:
        buffer = io.BytesIO()
        torch.save(dict(tokens=list(features.tokens), embedding=features.embedding), buffer)
        write_bytes(self._path(key), buffer.getvalue())

    def _check_versions(self, keys: Sequence[str], names: Sequence[str | None] | None) -> None:
        for key, name in zip(keys, names or [None] * len(keys), strict=True):
            if name is None:
                continue
            seen = self._seen.setdefault(name, set())
            seen.add(key)
            if len(seen) > self.max_versions:
                raise ValueError(
                    f'CachedPrior: {name} came with {len(seen)} different contents, so it is cropped or altered at random. '
                    'Only images that come again can be cached: resize instead of cropping, drop random photometric '
                    'transforms, allow for flips by max_versions (4 for both directions), or use the prior without '
                    f'CachedPrior. Cache: {self.folder}.'
                )


def pixel_keys(images: Tensor) -> list[str]:
    """Compute each image's SHA-256, of a batch N×C×H×W in [0, 1].

    Images of 8-bit files are hashed as 8 bits, a quarter of the bytes; others by their float32 values.
    """
    images = images.detach().float()
    codes = to_uint8(images)
    exact = ((codes.float() / 255) == images).flatten(1).all(1).tolist()
    keys = []
    for image, code, is_exact in zip(images, codes.cpu(), exact, strict=True):
        content = code if is_exact else image.cpu()
        digest = hashlib.sha256(f'{content.dtype} {tuple(content.shape)}\n'.encode())
        digest.update(content.contiguous().reshape(-1).view(torch.uint8).numpy())
        keys.append(digest.hexdigest())
    return keys
