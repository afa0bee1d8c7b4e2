"""Fusing images by a trained model: paths, folders or arrays in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmfusion.datasets.transforms.loading import LoadImagePair, stack_pair
from mmfusion.export import ExportedModel
from mmfusion.models.hub import RANDOM, build_model, compile_network, find_device, init_model, load_model_config
from mmfusion.registry import INFERENCERS, TRANSFORMS, is_a
from mmfusion.structures import FusionDataSample
from mmfusion.utils import (
    CameraPair,
    camera_pair,
    check_reading,
    given_reading,
    image_size,
    infrared_array,
    pair_images,
    read_four_channels,
    read_infrared,
    read_visible,
    refuse_same,
    rgbt_array,
    to_bgr,
    track,
    values_reading,
    visible_array,
    write_image,
)
from mmfusion.utils.alignment_search import find_shift
from mmfusion.utils.checkpoint import read_checkpoint
from mmfusion.utils.configs import is_exported, walk
from mmfusion.utils.log import log_warning
from mmfusion.utils.memory import is_out_of_memory

from .task_results import TaskResults

Image = str | Path | np.ndarray
# Pixels below which no shift is told.
_SMALLEST_CHECKED = 64


@INFERENCERS.register_module()
class FusionInferencer:
    """Fuse visible and infrared images by a trained model.

    Args:
        model: Name of one of mmfusion's configs (``'occo_fmb'``; see :func:`list_models`), path of a config, or a
            config; or a file of ``mmfusion export``, which holds its weights and is run by ONNX Runtime (``.onnx``),
            OpenVINO (``.xml``) or TorchScript (``.torchscript``).
        weights: Checkpoint; the authors' own files; the word ``'random'``, which is said in the log; or None for the
            published weights of a method: see :func:`~mmfusion.models.hub.init_model`. A checkpoint of another network
            is an error.
        device: By default a GPU where there is one.
        cfg_options: Overrides of the config, such as those that the model was trained with.
        tile: Fuse window by window of this height and width, for images that do not fit the memory.
        depth16: How files of more than 8 bits become 8: ``'full'`` or ``'stretch'`` (raw thermal data); see
            :class:`LoadImagePair`. By default as the config's test dataloader says, otherwise ``'full'``.
        ir_range: Infrared values that become 0 and 255, in the files' unit, or percentiles of each image (``'1%'``);
            :func:`mmfusion.utils.sequence_range` takes those of all images of a sequence.
        ir_colormap: Palette of infrared images in colours, such as ``'inferno'``; both as
            :func:`mmfusion.utils.check_reading` says, by default as the config's.
        show_progress: Whether to draw a progress bar.
        task: ``'seg'`` or ``'det'``, for the config of a cascade: what it finds is drawn on the fused images
            (:meth:`predict` gives it as data). By default a cascade only fuses.
        score_thr: With ``'det'``: boxes of a lower score are not drawn.
        compile: Whether torch.compile speeds up the network. Compiling takes up to minutes, at the first image and at the
            first of another size, and needs a C++ compiler on a CPU; docs/speed.md says for which methods it pays.
        align: File of ``mmfusion align``: infrared images, of any size, are warped into the visible ones; where the infrared
            camera does not see, the result is the visible image.

    Raises:
        FileNotFoundError: If there is no such config.
        CheckpointError: If the checkpoint cannot be read, or does not belong to the config.
        ValueError: If ``task`` is not one of the config's model.
        RuntimeError: If, with ``compile``, there is no C++ compiler, or the network cannot be compiled.

    Examples:
        >>> import numpy as np
        >>> options = {'model.network.channels': (4, 4, 4, 4)}
        >>> inferencer = FusionInferencer('occo_fmb', 'random', 'cpu', options, show_progress=False)
        >>> vi, ir = np.zeros((16, 24, 3), np.uint8), np.zeros((16, 24), np.uint8)
        >>> inferencer(vi, ir).shape
        (16, 24, 3)
    """

    load_config = staticmethod(load_model_config)

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | None = None,
        cfg_options: dict | None = None,
        tile: tuple[int, int] | None = None,
        depth16: str | None = None,
        show_progress: bool = True,
        task: str | None = None,
        score_thr: float = 0.3,
        ir_range: Sequence[float | str] | None = None,
        ir_colormap: str | None = None,
        compile: bool = False,
        align: str | Path | CameraPair | None = None,
    ) -> None:
        exported = is_exported(model)
        given = given_reading(dict(depth16=depth16, ir_range=ir_range, ir_colormap=ir_colormap, align=align))
        if exported:
            options = dict(weights=weights, cfg_options=cfg_options, tile=tile, task=task, compile=compile or None)
            _refuse_with_exported(model, [name for name, value in options.items() if value is not None])
            graph = ExportedModel(model, find_device(device))
            given.setdefault('depth16', graph.info['depth16'])
        self.cfg = Config() if exported else load_model_config(model, cfg_options, tile, task)
        self.reading = check_reading(**{**reading_of(self.cfg), **given})
        meta = None
        if task and weights is not None and str(weights) != RANDOM:
            meta = read_checkpoint(weights)[1].get('dataset_meta')
        self.task_results = TaskResults(self.cfg, task, meta, score_thr) if task else None
        self.device = str(find_device(device))
        self.model = graph if exported else init_model(self.cfg, weights, device)
        self.compile = compile
        if compile:
            compile_network(self.model)
        self.show_progress = show_progress

    @property
    def align(self) -> CameraPair | None:
        """Give where the infrared camera looks; None for registered pairs."""
        return camera_pair(self.reading['align']) if 'align' in self.reading else None

    @property
    def depth16(self) -> str:
        """Give how files of more than 8 bits become 8."""
        return self.reading['depth16']

    def __getstate__(self) -> dict[str, Any]:
        """Hand on config and parameters: not every network can be pickled."""
        if isinstance(self.model, ExportedModel):
            return self.__dict__
        parameters = {name: value.cpu() for name, value in self.model.state_dict().items()}
        return {**self.__dict__, 'model': parameters}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the model again, on a device of the same name."""
        self.__dict__.update(state)
        if isinstance(self.model, ExportedModel):
            return
        self.model = build_model(self.cfg)
        self.model.load_state_dict(state['model'])
        self.model.to(find_device(self.device)).eval()
        if self.compile:
            compile_network(self.model)

    def __call__(
        self,
        vi: Image | Sequence[Image],
        ir: Image | Sequence[Image] | None = None,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        suffix: str = '.png',
        vi_pattern: str | None = None,
        ir_pattern: str | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Fuse.

        Args:
            vi: Visible: a file, an array (H×W×3, B, G, R, or H×W grey), a folder, or a sequence of files and arrays. An
                array is uint8, uint16 or floating point in [0, 1]; with ``depth16='stretch'`` of any range.
            ir: Infrared, of the same kind; an array is H×W. Folders are paired by name
                (:func:`mmfusion.utils.pair_images`), sequences by position. Without ``ir``, each of ``vi`` is a pair in
                four channels: files of R, G, B and thermal, arrays H×W×4 of B, G, R, IR.
            batch_size: Pairs that go to the model together; of these, those of one size share a pass.
            out_dir: Where to write the fused images, under the names of the visible ones; arrays are numbered by their
                position.
            suffix: Format of the written images.
            vi_pattern, ir_pattern: How names in folders pair where they differ, such as ``'{name}_VIS'`` and
                ``'{name}_IR'``.

        Returns:
            H×W×3 uint8, B, G, R, at the size of the input; a list, in the order of the
            input, where the input is a folder or a sequence. For more images than fit the memory use :meth:`fuse_pairs`.

        Raises:
            ValueError: If inputs do not pair by name or number, a pair has two sizes, or an array is of another kind.
            ImageReadError: If a file is missing or damaged.
            FileNotFoundError: If a folder does not exist, or holds no image.
        """
        pairs, names, single = collect_pairs(vi, ir, vi_pattern, ir_pattern)
        targets = None if out_dir is None else _targets(pairs, names, Path(out_dir), suffix)
        fused = [None] * len(pairs)
        for index, image in self.fuse_pairs(pairs, batch_size):
            fused[index] = image
            if targets is not None:
                write_image(targets[index], image)
        return fused[0] if single else fused

    def fuse_pairs(
        self, pairs: Sequence[tuple[Image, Image | None]], batch_size: int = 1
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Fuse many pairs, and hand each on when it is done.

        Args:
            pairs: (visible, infrared) of each pair, files or arrays; (pair, None) of one in four channels.
            batch_size: As in :meth:`__call__`. With more than one, pairs are taken in the order of their size, so that
                equal sizes meet.

        Yields:
            Position in ``pairs``, and the fused image as H×W×3 uint8, B, G, R.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        order = range(len(pairs))
        if batch_size > 1:
            sizes = [vi.shape[:2] if isinstance(vi, np.ndarray) else image_size(vi) for vi, _ in pairs]
            order = sorted(order, key=sizes.__getitem__)
        # Of files alone: frames of a video come here batch by batch, and would be looked at each time.
        if len(pairs) > 1 and not self.align and not isinstance(pairs[0][0], np.ndarray):
            self._warn_of_shift(pairs)
        with track(None, 'fusing', 'pair', len(pairs), self.show_progress) as bar:
            for start in range(0, len(pairs), batch_size):
                index = order[start : start + batch_size]
                for i, image in zip(index, self._fuse_batch([pairs[i] for i in index], index), strict=True):
                    yield i, image
                    bar.update()

    def _warn_of_shift(self, pairs: Sequence[tuple[Image, Image | None]]) -> None:
        """Say it when first and last pair are certainly not aligned."""
        for position in (0, len(pairs) - 1):
            try:
                pair = self._load(*pairs[position], position)
            except (ValueError, OSError):  # said when its turn comes
                return
            if min(pair.shape[:2]) < _SMALLEST_CHECKED:
                return
            shift = find_shift(pair[..., :3], pair[..., 3])
            if not shift.visible:
                return
        name = _name(pairs[0][0], 'the first pair')
        log_warning(
            f'{name}: the infrared image is not aligned with the visible one: {shift}. Fused images will show things twice; '
            '`mmfusion align --check` tells more, and --align FILE (align=) brings them together.'
        )

    def fuse_stacked(self, pair: np.ndarray, name: str = 'the pair') -> np.ndarray:
        """Fuse one pair that is H×W×4 uint8 already (B, G, R, IR).

        Gives H×W×3 uint8, B, G, R; bit for bit what the same images give as files.
        """
        return self._fuse_stacked([pair], [name])[0]

    def _fuse_batch(self, pairs: Sequence[tuple[Image, Image | None]], index: Sequence[int]) -> list[np.ndarray]:
        """Load and fuse one batch; a list of H×W×3 uint8."""
        names = [_name(vi, f'pair {i}') for (vi, _), i in zip(pairs, index, strict=True)]
        with self._memory(names):
            loaded = [self._load(*pair, i) for pair, i in zip(pairs, index, strict=True)]
        return self._fuse_stacked(loaded, names)

    def predict(self, vi: Image, ir: Image | None = None) -> FusionDataSample:
        """Find in one pair what a cascade is trained to find.

        Gives ``fused`` and, with a ``task``, ``pred_sem_seg`` or ``pred_instances`` at the size of the source; files or
        arrays are as in :meth:`__call__`.
        """
        return self._samples([self._load(vi, ir, 0)], [_name(vi, 'the pair')])[0]

    def _fuse_stacked(self, pairs: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Fuse pairs H×W×4 uint8 to H×W×3, with findings drawn on them."""
        samples = self._samples(pairs, names)
        with self._memory(names):
            if self.task_results:
                return [self.task_results.draw(sample) for sample in samples]
            return [to_bgr(sample.fused.data) for sample in samples]

    @torch.no_grad()
    def _samples(self, pairs: Sequence[np.ndarray], names: Sequence[str]) -> list[FusionDataSample]:
        """Run the model on pairs H×W×4 uint8; a list of data samples."""
        if self.task_results:
            packed = [self.task_results.prepare(*pair) for pair in zip(pairs, names, strict=True)]
        else:
            packed = [dict(inputs=torch.from_numpy(np.ascontiguousarray(pair.transpose(2, 0, 1)))) for pair in pairs]
        inputs = [item['inputs'] for item in packed]
        height, width = inputs[0].shape[1:]
        try:
            with self._memory(names, f'{width}×{height}, '):
                data = self.model.data_preprocessor(pseudo_collate(packed), False)
                samples = self.model(**data, mode='predict')
        except ValueError as e:  # such as an image too small for the network, which knows no file names
            raise ValueError(f'{", ".join(names)}: {e}') from e
        except RuntimeError as e:
            if not self.compile or not type(e).__module__.startswith(('torch._dynamo', 'torch._inductor')):
                raise
            reason = str(e).strip().partition('\n')[0]
            raise RuntimeError(
                f'compile=True (--compile): torch.compile cannot compile this network here ({reason}). Leave compile out.'
            ) from e
        if self.align:
            for pair, sample in zip(pairs, samples, strict=True):
                self._keep_visible(pair, sample)
        for name, sample in zip(names, samples, strict=True):
            if not torch.isfinite(sample.fused.data).all():
                raise ValueError(f'{name}: the fused image holds NaN or infinite values. Did the training diverge?')
        return samples

    def _keep_visible(self, pair: np.ndarray, sample: FusionDataSample) -> None:
        """Keep the visible image where the infrared camera does not see."""
        visible = torch.from_numpy(np.ascontiguousarray(pair[..., 2::-1].transpose(2, 0, 1)))
        sample.fused.data = self.align.keep_visible(sample.fused.data, visible.to(sample.fused.data) / 255)

    @contextmanager
    def _memory(self, names: Sequence[str], size: str = '') -> Iterator[None]:
        """Say which images did not fit the memory, and what to do."""
        try:
            yield
        except (RuntimeError, MemoryError, cv2.error) as e:
            if not is_out_of_memory(e):
                raise
            fuser = getattr(self.model, 'fuser', self.model)
            tile = (getattr(fuser, 'test_cfg', None) or {}).get('crop_size')
            cure = f'windows smaller than {tuple(tile)} (tile, --tile)' if tile else 'tile=(512, 512) (--tile 512 512)'
            cure = f'a smaller batch_size (--batch-size), or {cure}' if len(names) > 1 else cure
            raise RuntimeError(
                f'out of memory at {", ".join(names)} ({size}batch_size {len(names)}): use {cure}.'
            ) from e

    def _load(self, vi: Image, ir: Image | None, position: int) -> np.ndarray:
        """One pair as H×W×4 uint8 (B, G, R, IR)."""
        if ir is None:
            if isinstance(vi, np.ndarray):
                pair = rgbt_array(vi, f'array {position}', self.depth16, self.reading.get('ir_range'))
            else:
                pair = read_four_channels(vi, self.depth16, self.reading.get('ir_range'))
            if self.align:
                pair = stack_pair(pair[..., :3], self.align.bring(pair[..., :3], pair[..., 3]))
            return pair
        vi_name, ir_name = _name(vi, f'visible array {position}'), _name(ir, f'infrared array {position}')
        if not isinstance(vi, np.ndarray) and not isinstance(ir, np.ndarray):
            refuse_same(vi, ir)
        vi = visible_array(vi, vi_name, self.depth16) if isinstance(vi, np.ndarray) else read_visible(vi, self.depth16)
        if isinstance(ir, np.ndarray):
            ir = infrared_array(ir, ir_name, self.depth16, self.reading.get('ir_range'))
        else:
            ir = read_infrared(ir, **values_reading(self.reading))
        if self.align:
            ir = self.align.bring(vi, ir, ir_name)
        return stack_pair(vi, ir, vi_name, ir_name)


def _refuse_with_exported(file: str | Path, given: Sequence[str]) -> None:
    """Refuse options of a config, which an exported file would leave aside."""
    if given:
        raise ValueError(
            f'{file}: got {", ".join(given)}, and an exported file is complete. Leave them out, or give them to '
            '`mmfusion export`.'
        )


def collect_pairs(
    vi: Image | Sequence[Image],
    ir: Image | Sequence[Image] | None = None,
    vi_pattern: str | None = None,
    ir_pattern: str | None = None,
) -> tuple[list[tuple[Image, Image | None]], list[str], bool]:
    """Bring the inputs of :class:`FusionInferencer` to one form.

    Returns:
        (visible, infrared) of each pair, files or arrays, (pair, None) in four channels; their names; and whether a single
        pair was given by itself.

    Raises:
        ValueError: If the two inputs are of different kinds, differ in number, or folders hold unpaired images, by name.
        FileNotFoundError: If a folder holds no image.
        TypeError: If an input is of another kind.
    """
    kinds = _kind(vi, 'vi'), _kind(vi if ir is None else ir, 'ir')
    if kinds[0] != kinds[1]:
        raise ValueError(
            f'vi is {kinds[0]} but ir is {kinds[1]}. Give two files or arrays, two folders, or two sequences.'
        )
    if kinds[0] == 'a folder':
        found = pair_images(vi, ir, vi_pattern, ir_pattern)
        return [(v, None if ir is None else i) for _, v, i in found], [name for name, *_ in found], False
    if vi_pattern or ir_pattern:
        raise ValueError(f'vi is {kinds[0]}: vi_pattern and ir_pattern say how the names of two folders pair.')
    if kinds[0] == 'a sequence':
        ir = [None] * len(vi) if ir is None else ir
        if len(vi) != len(ir):
            raise ValueError(
                f'{len(vi)} visible but {len(ir)} infrared images: sequences are paired by position and must be of one '
                'length.'
            )
        for name, items in (('vi', vi), ('ir', ir)):
            for k, item in enumerate(items):
                if item is not None and _kind(item, f'{name}[{k}]') != 'an image':
                    raise ValueError(
                        f'{name}[{k}] is {_kind(item, name)}: a sequence holds files and arrays. Give folders by '
                        'themselves, one pair of folders a call.'
                    )
        return list(zip(vi, ir, strict=True)), _stems(vi), False
    return [(vi, ir)], _stems([vi]), True


def _kind(item: Any, name: str) -> str:
    if isinstance(item, np.ndarray):
        return 'an image'
    if isinstance(item, (str, Path)):
        return 'a folder' if Path(item).is_dir() else 'an image'
    if isinstance(item, (list, tuple)):
        return 'a sequence'
    raise TypeError(f'{name}: expected a path, a NumPy array, or a list of these, got {type(item).__name__}')


def _name(item: Image, otherwise: str) -> str:
    return otherwise if isinstance(item, np.ndarray) else str(item)


def _stems(items: Sequence[Image]) -> list[str]:
    """Name a sequence's images: files by their names, arrays by position."""
    return [f'{i:06d}' if isinstance(item, np.ndarray) else Path(item).stem for i, item in enumerate(items)]


def _targets(
    pairs: Sequence[tuple[Image, Image | None]], stems: Sequence[str], out_dir: Path, suffix: str
) -> list[Path]:
    """File to write for each pair."""
    twice = sorted({stem for stem in stems if stems.count(stem) > 1}) if len(set(stems)) < len(stems) else []
    if twice:
        raise ValueError(
            f'{out_dir}: several visible images are called {", ".join(twice[:5])}; fuse them in several calls'
        )
    targets = [out_dir / f'{stem}{suffix}' for stem in stems]
    sources = {Path(item).resolve() for pair in pairs for item in pair if isinstance(item, (str, Path))}
    for target in targets:
        if target.resolve() in sources:
            raise ValueError(f'{target}: the fused image would overwrite its source. Choose another out_dir.')
    return targets


def reading_of(cfg: Config) -> dict[str, Any]:
    """Find the options of LoadImagePair in a config's test dataloader."""
    for _, part in walk(cfg.get('test_dataloader')):
        if isinstance(part, dict) and is_a(part, TRANSFORMS, LoadImagePair):
            return dict(depth16='full') | given_reading(part)
    return {}
