"""From a pair to one colour image, before the stock transforms."""

import hashlib
import json
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from torch.utils.data import get_worker_info

from mmfusion.registry import INFERENCERS, TRANSFORMS
from mmfusion.utils import camera_pair, read_visible, write_image
from mmfusion.utils.run_record import model_settings, plain

SOURCES = ('fused', 'visible', 'infrared', 'average')


def plain_image(pair: np.ndarray, source: str) -> np.ndarray:
    """Make H×W×3 uint8 from a pair, H×W×4, without a model.

    ``source`` is ``'visible'``; ``'infrared'``, repeated to three channels; or ``'average'``, the mean of each colour
    channel and the infrared one, halves rounded up; channels are B, G, R and IR.

    Raises:
        ValueError: If ``source`` is none of these.
    """
    visible, infrared = pair[..., :3], np.repeat(pair[..., 3:], 3, axis=2)
    if source == 'visible':
        return np.ascontiguousarray(visible)
    if source == 'infrared':
        return infrared
    if source == 'average':
        return ((visible.astype(np.uint16) + infrared + 1) // 2).astype(np.uint8)
    raise ValueError(f'source must be one of {", ".join(SOURCES[1:])}, got {source!r}')


@TRANSFORMS.register_module()
class FuseImages(BaseTransform):
    """Turn a pair into the 8-bit image that ``mmfusion fuse`` writes.

    It stands after ``LoadImagePair`` and before the stock transforms, which then see the image of a stock dataset. The
    model is built when the first image comes, once in each worker process (use ``persistent_workers=True``), and draws
    nothing from the random numbers of the augmentation. A worker runs it on one thread, as PyTorch sets it.

    The model runs again in every epoch. ``cache_dir`` keeps the images; where the dataset is used more than once,
    ``tools/fuse_dataset.py`` writes it as a fused one.

    Required keys: ``img`` (H×W×4 uint8: B, G, R, IR). Changed keys: ``img`` (H×W×3 uint8: B, G, R). All others stay, so
    that ``img_path`` and ``ir_path`` still tell which files were fused. Where ``LoadImagePair(align=…)`` found that the
    infrared camera does not see, the image is the visible one.

    Args:
        model: As :class:`~mmfusion.apis.FusionInferencer` takes it: ``'occo_fmb'``, or the path of a config.
        weights: Checkpoint, or the word ``'random'``.
        source: ``'fused'``, or, without a model, ``'visible'``, ``'infrared'`` or ``'average'``: see
            :func:`plain_image`.
        device: Where the model runs. A GPU needs a dataloader without workers.
        tile: Fuse window by window of this height and width.
        cfg_options: Overrides of the config.
        cache_dir: Folder in which fused images are kept, under a digest of the pair's pixels and of the model (its
            config and weights), so that a change of either is never met by an old image.

    Raises:
        ValueError: If something is missing or too much for this ``source``, the image is no pair, or a GPU was asked for
            in a worker process.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        weights: str | Path | None = None,
        source: str = 'fused',
        device: str = 'cpu',
        tile: tuple[int, int] | None = None,
        cfg_options: dict | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        if source not in SOURCES:
            raise ValueError(f'source must be one of {", ".join(SOURCES)}, got {source!r}')
        if source == 'fused' and (model is None or weights is None):
            raise ValueError(
                "FuseImages needs a model (a config, such as 'occo_fmb') and its weights (a checkpoint, or the word "
                f"'random'), got model={model!r}, weights={weights!r}"
            )
        if source != 'fused' and not (model is weights is tile is cfg_options is cache_dir is None):
            raise ValueError(
                f'source={source!r} needs no model: leave out model, weights, tile, cfg_options, cache_dir'
            )
        self.model, self.weights, self.source, self.device = model, weights, source, device
        self.tile, self.cfg_options, self.cache_dir = tile, cfg_options, cache_dir
        self._inferencer = self._cache = None

    def transform(self, results: dict) -> dict:
        """Replace ``img``."""
        pair, name = results['img'], str(results.get('img_path', 'the pair'))
        if pair.ndim != 3 or pair.shape[2] != 4 or pair.dtype != np.uint8:
            raise ValueError(
                f'FuseImages: {name} came as {pair.dtype} of shape {pair.shape}; expected H×W×4 uint8 (B, G, R, IR). Place '
                'it right after mmfusion.LoadImagePair.'
            )
        results['img'] = self._fuse(pair, name) if self.source == 'fused' else plain_image(pair, self.source)
        if self.source == 'fused' and results.get('align') and results.get('ori_shape') == pair.shape[:2]:
            seen = camera_pair(results['align']).seen(pair.shape[:2])[..., None]
            results['img'] = np.where(seen, results['img'], pair[..., :3])
        return results

    def _fuse(self, pair: np.ndarray, name: str) -> np.ndarray:
        if self.cache_dir is None:
            return self._run(pair, name)
        digest = hashlib.sha256(f'{pair.shape}'.encode() + pair.tobytes()).hexdigest()
        file = self._cache_folder() / f'{digest}.png'
        if file.is_file():
            return read_visible(file)
        image = self._run(pair, name)
        write_image(file, image)
        return image

    def _run(self, pair: np.ndarray, name: str) -> np.ndarray:
        """The model on one pair; builds it first."""
        if self._inferencer is None:
            if get_worker_info() is not None and not str(self.device).startswith('cpu'):
                raise ValueError(
                    f"FuseImages: device={self.device!r} in a worker process of the dataloader. Use device='cpu', or "
                    'num_workers=0, or fuse the dataset once by tools/fuse_dataset.py.'
                )
            self._inferencer = INFERENCERS.get('mmfusion.FusionInferencer')(
                self.model, self.weights, self.device, self.cfg_options, self.tile, show_progress=False
            )
        return self._inferencer.fuse_stacked(pair, name)

    def _cache_folder(self):
        """Folder of this model's images below ``cache_dir``."""
        if self._cache is None:
            cfg = INFERENCERS.get('mmfusion.FusionInferencer').load_config(self.model, self.cfg_options, self.tile)
            network = plain(cfg.model.to_dict())
            weights = model_settings('', self.weights)
            text = json.dumps([network, weights['checkpoint_sha256'] or str(self.weights)], sort_keys=True)
            self._cache = Path(self.cache_dir) / hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._cache

    def __getstate__(self) -> dict:
        """Without the model: each process builds its own."""
        return {**self.__dict__, '_inferencer': None}

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(model={self.model!r}, weights={self.weights!r}, source={self.source!r}, '
            f'device={self.device!r}, tile={self.tile}, cfg_options={self.cfg_options}, cache_dir={self.cache_dir!r})'
        )
