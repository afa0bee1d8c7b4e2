"""The base of all datasets of image pairs."""

import json
import os
import random
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmfusion.registry import DATASETS
from mmfusion.utils import IMG_SUFFIXES, NamePattern, list_images, pair_images, read_mask, read_names, read_text
from mmfusion.utils.log import log_warning
from mmfusion.utils.pairing import shorten, with_prefix
from mmfusion.utils.text import composed

# Folders of annotations that have transforms of their own.
_ANNOTATIONS = ('mask_vi_path', 'mask_ir_path', 'seg_map_path')
# Images, and the boxes that subclasses read.
_OWN = ('vi_path', 'ir_path', 'rgbt_path', 'img_path', 'ann_path')


@DATASETS.register_module()
class FusionDataset(BaseDataset):
    """Registered visible and infrared images, paired by name, with optional annotations.

    Folders are given in ``data_prefix``, relative to ``data_root``. Where images lie in subfolders, an image's name has
    these before it, and what belongs to it lies in subfolders of the same names.

    - ``vi_path``, ``ir_path``: the images; or ``rgbt_path``: files whose four channels are R, G, B and thermal;
    - ``mask_vi_path``, ``mask_ir_path``: binary masks of salient objects, ``mask_prefix`` + the image's name;
    - ``seg_map_path``: label maps of the image's stem;
    - boxes are read by subclasses into ``instances``;
    - ``<name>_path`` of any other name: a companion of each image, such as a registered infrared image, flow or weights, for
      ``LoadCompanions``: an image or a ``.npy`` of the image's stem.

    A sample is ``img_path`` (visible), ``ir_path``, ``img_id`` (the stem), ``dataset`` (the class's name without "Dataset")
    and, where the folders are given, ``mask_vi_path``, ``mask_ir_path``, ``seg_map_path``; ``label_map``,
    ``reduce_zero_label`` and ``seg_fields`` are as mmseg's ``LoadAnnotations`` wants them; ``num_classes``, of the label
    files, is for ``LoadSegLabels``; ``companions`` names those that were declared; ``text`` is the image's text.

    Args:
        ann_file: A list of stems, one a line, relative to ``data_root`` or absolute; empty for all pairs.
        data_prefix: Folders, as above.
        mask_prefix: What stands before the stem in a mask's file name; OCCO's public code uses ``'mask_'``.
        reduce_zero_label: As in mmseg: label 0 is ignored, and 1 becomes 0.
        vi_pattern, ir_pattern: How the names of the images pair where they differ, such as ``'{name}_VIS'`` and
            ``'{name}_IR'``; see :func:`mmfusion.utils.pair_images`.
        patterns: The same for other folders, by their key: ``dict(seg_map_path='{name}_mask')``.
        texts: A JSON file of stem → text, relative to ``data_root`` or absolute.
        filter_cfg (dict, optional): ``empty_masks=True`` leaves out, from the start, pairs whose two masks are both empty;
            all masks are read once. With boxes, ``filter_empty_gt`` and ``min_size`` as in mmdet.
        **kwargs: Those of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        FileNotFoundError: If a folder, list or file is missing, or holds nothing.
        ValueError: If images have no counterpart, a name in ``ann_file`` has no images, or ``filter_cfg`` leaves no pair.
    """

    METAINFO = dict(classes=(), palette=[])

    def __init__(
        self,
        ann_file: str = '',
        data_prefix: dict[str, str] | None = None,
        mask_prefix: str = 'mask_',
        reduce_zero_label: bool = False,
        texts: str = '',
        vi_pattern: str | None = None,
        ir_pattern: str | None = None,
        patterns: dict[str, str] | None = None,
        **kwargs,
    ) -> None:
        # (seed, epoch), or −1 before anybody said; in shared memory, so that workers that live on see the new epoch.
        self._epoch = torch.full((2,), -1, dtype=torch.int64).share_memory_()
        self.mask_prefix = mask_prefix
        self.reduce_zero_label = reduce_zero_label
        self.texts = texts
        self.patterns = dict(patterns or {}, vi_path=vi_pattern, ir_path=ir_pattern)
        data_prefix = data_prefix or dict(vi_path='vi', ir_path='ir')
        if not isinstance(data_prefix, Mapping) or not all(isinstance(f, str | None) for f in data_prefix.values()):
            raise ValueError(
                f"data_prefix is {data_prefix!r}; expected a dict of folders, such as dict(vi_path='vi', ir_path='ir')."
            )
        if not isinstance(ann_file, str):
            raise ValueError(f'ann_file is {ann_file!r}; expected the path of a list of names.')
        kwargs['data_root'] = os.path.expanduser(kwargs.get('data_root') or '')
        super().__init__(
            ann_file=os.path.expanduser(ann_file),
            data_prefix={key: folder and os.path.expanduser(folder) for key, folder in data_prefix.items()},
            metainfo=_checked_metainfo(kwargs.pop('metainfo', None)),
            **kwargs,
        )

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Make augmentation a function of (seed, epoch, index); see ``ReproducibleEpochHook``."""
        self._epoch[0], self._epoch[1] = seed, epoch

    def __getitem__(self, idx: int | tuple[int, int]) -> dict:
        """Give a sample with random numbers of its own, after :meth:`set_epoch`.

        ``idx`` is an index, or that and which of its repetitions in an epoch (``PatchSampler``).
        """
        idx, repetition = idx if isinstance(idx, tuple) else (int(idx), 0)
        if self._epoch[1] < 0:
            return super().__getitem__(idx)
        with _seeded(*self._epoch.tolist(), int(idx), *([repetition] if repetition else [])):
            return super().__getitem__(idx)

    def full_init(self) -> None:
        """Find the pairs, and keep those of ``indices``."""
        if self._indices is not None and not self._indices:
            raise ValueError(
                f'{type(self).__name__}: indices={self._indices!r} leaves no image; expected how many of the first, or a '
                'list of numbers, or None for all.'
            )
        try:
            super().full_init()
        except IndexError as e:
            raise ValueError(
                f'{type(self).__name__}: indices={self._indices!r} has a number beyond the {len(self.data_list)} images.'
            ) from e

    def load_data_list(self) -> list[dict]:
        """Find the pairs and what belongs to them."""
        try:
            pairs = self._select(self._pairs())
        except FileNotFoundError as e:
            raise FileNotFoundError(
                f'{e}. Check data_root, data_prefix and ann_file of {type(self).__name__}; where the config reads the '
                'variable MMFUSION_DATA, set it to the folder above the datasets.'
            ) from e
        stems = [stem for stem, *_ in pairs]
        self._refuse_missing(stems)
        self._texts = self._read_texts(stems)
        return [self.parse_pair(stem, vi, ir) for stem, vi, ir in pairs]

    def filter_data(self) -> list[dict]:
        """Leave out pairs as ``filter_cfg`` says."""
        unknown = [key for key in self.filter_cfg or () if key not in ('empty_masks', 'filter_empty_gt', 'min_size')]
        if unknown:
            raise ValueError(
                f'{type(self).__name__}: filter_cfg has {", ".join(unknown)}, which is not read; expected empty_masks, or '
                "mmdet's filter_empty_gt and min_size."
            )
        self.data_list = [info for info in self.data_list if self._is_kept(info)]
        if not self.data_list:
            raise ValueError(
                f'{self._images()}: filter_cfg={self.filter_cfg} of {type(self).__name__} leaves no image.'
            )
        if not (self.filter_cfg or {}).get('empty_masks'):
            return self.data_list
        keys = ('mask_vi_path', 'mask_ir_path')
        absent = [key for key in keys if not self.data_prefix.get(key)]
        if absent:
            raise ValueError(
                f'{type(self).__name__}: filter_cfg has empty_masks=True, and data_prefix no {" and no ".join(absent)}. Set '
                'with_masks=True or the folders of the masks.'
            )
        kept = [info for info in self.data_list if any(read_mask(info[key]).any() for key in keys)]
        if not kept:
            raise ValueError(
                f'{self.data_prefix[keys[0]]}: all {len(self.data_list)} pairs have two empty masks, so that filter_cfg '
                'leaves none. Make the masks again with mmfusion masks.'
            )
        print_log(f'{len(self.data_list) - len(kept)} of {len(self.data_list)} pairs have two empty masks.', 'current')
        return kept

    def _is_kept(self, info: dict) -> bool:
        """Tell whether ``filter_empty_gt`` and ``min_size`` keep a sample.

        As in mmdet they hold for training, and for samples with boxes.
        """
        if self.test_mode or 'instances' not in info or not self.filter_cfg:
            return True
        empty = self.filter_cfg.get('filter_empty_gt') and not info['instances']
        return not empty and min(info['height'], info['width']) >= self.filter_cfg.get('min_size', 0)

    def _pairs(self):
        prefix = self.data_prefix
        given = [key for key in ('vi_path', 'ir_path', 'rgbt_path') if prefix.get(key)]
        if given == ['rgbt_path']:
            return pair_images(prefix['rgbt_path'], vi_pattern=self.patterns['vi_path'])
        if given != ['vi_path', 'ir_path']:
            raise ValueError(
                f'data_prefix of {type(self).__name__} has {", ".join(given) or "no images"}; expected vi_path and '
                'ir_path, or rgbt_path (files whose four channels are R, G, B and thermal).'
            )
        patterns = self.patterns['vi_path'], self.patterns['ir_path']
        # Of a list only its names need both images: a folder of fused ones may hold no more.
        return pair_images(prefix['vi_path'], prefix['ir_path'], *patterns, allow_missing=bool(self.ann_file))

    def _images(self):
        """A folder of images, for messages."""
        return next(self.data_prefix[key] for key in ('vi_path', 'rgbt_path', 'img_path') if self.data_prefix.get(key))

    def _select(self, pairs: list[tuple[str, Path, Path]]) -> list[tuple[str, Path, Path]]:
        if not self.ann_file:
            return pairs
        file = Path(self.ann_file)
        if not file.is_file():
            raise FileNotFoundError(f'{file}: no such list of names (ann_file of {type(self).__name__})')
        by_stem = {pair[0]: pair for pair in pairs}
        lines = self._names(file, by_stem)
        names = list(dict.fromkeys(lines))
        if len(names) < len(lines):
            twice = [name for name, count in Counter(lines).items() if count > 1]
            log_warning(
                f'{file}: {len(twice)} names stand there several times ({shorten(twice, 5)}); each image counts once. '
                'Images are repeated by RepeatDataset.'
            )
        if not names:
            raise ValueError(f'{file}: an empty list (ann_file of {type(self).__name__}); expected a name a line.')
        missing = [n for n in names if n not in by_stem]
        if missing:
            raise ValueError(
                f'{file}: {len(missing)} of its {len(names)} names have no pair under {self._images()}: '
                f'{", ".join(missing[:10])}'
            )
        return [by_stem[n] for n in names]

    def _names(self, file: Path, known: Container[str]) -> list[str]:
        """The stems in a list, whose lines may have an image's suffix."""

        def stems(lines: list[Path]) -> list[str]:
            names = (str(line.with_suffix('') if line.suffix.lower() in IMG_SUFFIXES else line) for line in lines)
            return [self._known(name, known) for name in names]

        return stems(read_names(file, lambda lines: all(stem in known for stem in stems(lines))))

    def _known(self, name: str, names: Container[str]) -> str:
        """A list's line as one of ``names``, which folders may precede."""
        last = Path(name).name
        patterns = [NamePattern(self.patterns[key]) for key in ('vi_path', 'ir_path') if self.patterns[key]]
        found = (pattern(line) for line in (name, last) for pattern in patterns)
        return next((n for n in (name, last, *found) if n in names), last)

    def parse_pair(self, stem: str, vi: Path, ir: Path) -> dict:
        """Make the sample of one pair, from its stem and two files."""
        info = dict(
            img_path=str(vi),
            ir_path=str(ir),
            img_id=stem,
            dataset=type(self).__name__.removesuffix('Dataset'),
            label_map=None,
            num_classes=len(self.METAINFO['classes'] or self.metainfo['classes']),
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )
        for key, prefix in self._companions().items():
            info[key] = str(self._listing(key)[with_prefix(prefix, stem)])
        info['companions'] = [key.removesuffix('_path') for key in self._companions() if key not in _ANNOTATIONS]
        if self._texts:
            info['text'] = self._texts[stem]
        return info

    def _companions(self):
        """Key of each companion's folder → what precedes the stem there."""
        keys = [k for k, folder in self.data_prefix.items() if folder and k.endswith('_path') and k not in _OWN]
        return {key: self.mask_prefix if key in ('mask_vi_path', 'mask_ir_path') else '' for key in keys}

    def _read_texts(self, stems: Sequence[str]) -> dict[str, str]:
        """Read the text of each image."""
        if not self.texts:
            return {}
        file = Path(self.data_root or '') / self.texts
        try:
            texts = dict(json.loads(read_text(file)))
        except (OSError, ValueError, TypeError) as e:
            raise ValueError(f'{file}: expected a JSON file of image stem → text ({e})') from e
        missing = [stem for stem in stems if not isinstance(texts.get(stem), str)]
        if missing:
            raise ValueError(f'{file}: {len(missing)} of {len(stems)} images have no text: {", ".join(missing[:10])}')
        return texts

    def _listing(self, key: str) -> dict[str, Path]:
        """The images in folder ``data_prefix[key]`` by stem; read once."""
        if not hasattr(self, '_listings'):
            self._listings = {}
        if key not in self._listings:
            arrays = sorted(Path(self.data_prefix[key]).glob('*.npy')) if key not in _ANNOTATIONS else ()
            self._listings[key] = {composed(f.stem): f for f in arrays} or list_images(
                self.data_prefix[key], self.patterns.get(key)
            )
        return self._listings[key]

    def _refuse_missing(self, stems: Sequence[str]) -> None:
        """Refuse images without label or mask before the first epoch."""
        for key, prefix in self._companions().items():
            try:
                there = self._listing(key)
            except FileNotFoundError as e:
                raise FileNotFoundError(f'{e}. {self._advice(key)}') from e
            self._report_missing(
                key, [with_prefix(prefix, stem) for stem in stems if with_prefix(prefix, stem) not in there], len(stems)
            )

    def _report_missing(self, key: str, missing: Sequence[str], total: int, most: int = 10) -> None:
        if missing:
            more = f' and {len(missing) - most} more' if len(missing) > most else ''
            raise FileNotFoundError(
                f'{self.data_prefix[key]}: {len(missing)} of {total} images have no file there ({key} of '
                f'{type(self).__name__}): {", ".join(missing[:most])}{more}. {self._advice(key)}'
            )

    def _advice(self, key: str) -> str:
        """What to do where files are missing."""
        return 'Add them, or name in a list (ann_file) the images that have one.'


def _checked_metainfo(metainfo: Mapping | None) -> dict:
    """Check a user's classes and colours; classes may be a file's lines."""
    if not isinstance(metainfo, Mapping | None):
        raise ValueError(f'metainfo is {metainfo!r}; expected a dict, such as dict(classes=("car", "person")).')
    metainfo = {key: value for key, value in (metainfo or {}).items() if value is not None}
    capitals = [key for key in metainfo if key != key.lower() and key.lower() in ('classes', 'palette')]
    if capitals:
        raise ValueError(f'metainfo has {capitals[0]}, which is not read; write {capitals[0].lower()}.')
    classes, palette = metainfo.get('classes', ()), metainfo.get('palette', ())
    if isinstance(classes, str):  # a file, or one class: not its letters
        if not Path(classes).is_file() and Path(classes).suffix.lower() in ('.txt', '.names'):
            raise ValueError(f'metainfo.classes is {classes!r}: no such file of names, one a line. Check the path.')
        classes = [str(name) for name in read_names(classes)] if Path(classes).is_file() else [classes]
        metainfo['classes'] = tuple(classes)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f'metainfo.classes is {classes!r}; expected a list of names.')
    twice = [name for name in classes if list(classes).count(name) > 1]
    if twice:
        raise ValueError(f'metainfo.classes has {twice[0]!r} twice; expected each name once.')
    if classes and palette and (not isinstance(palette, list | tuple) or len(palette) != len(classes)):
        raise ValueError(f'metainfo.palette is {palette!r}; expected a list of [R, G, B], one for each of the classes.')
    return metainfo


@contextmanager
def _seeded(*entropy):
    """Seed all generators by some numbers, and set them back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(int(seeds[2]))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
