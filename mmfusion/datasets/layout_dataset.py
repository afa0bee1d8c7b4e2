"""What the datasets with a published folder layout share."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

from mmfusion.utils import ImageReadError, read_size

from .boxes import BoxSource, boxes_inside
from .fusion_dataset import FusionDataset


class LayoutDataset(FusionDataset):
    """Base class of datasets whose folders are known.

    Classes left out by ``metainfo=dict(classes=...)`` become 255 in label maps, and their boxes are left out.

    A subclass states ``METAINFO``, ``SPLITS`` and ``FOLDERS``: key → folder below ``data_root``, where ``{split}`` is
    replaced. The keys are those of :class:`FusionDataset`, and ``ann_path`` for box annotations: a folder of Pascal VOC or
    YOLO files, one an image, or a COCO file (``.json``); ``BOX_SUFFIX`` says which are meant where a folder has both. Where
    the infrared images have annotations of their own, ``ann_ir_path`` names them. ``PATTERNS`` says how names pair (key →
    pattern), ``ALIASES`` which class a name in the files means (None: a box that is left out), ``DIFFICULT`` which of these
    names mark boxes to be ignored.

    Labels, boxes and masks are looked for only when asked, so that a folder that holds images alone can be used.
    Masks of salient objects belong to no distributed dataset; they are expected in the folders that ``MASKS`` names, where
    ``mmfusion masks`` can write them (see ``docs/datasets.md``).

    Args:
        split: One of ``SPLITS``.
        with_masks: Give ``mask_vi_path`` and ``mask_ir_path``.
        with_labels: Give ``seg_map_path``.
        with_boxes: Give ``instances``, each a dict of ``bbox`` (x1, y1, x2, y2), ``bbox_label`` (index into the
            classes) and ``ignore_flag``, as mmdet's ``LoadAnnotations`` wants them, and the image's ``height`` and
            ``width``.
        data_prefix: Folders that differ from the layout, by key.
        boxes_of: ``'vi'`` or ``'ir'``: whose annotations, where either modality has its own.
        missing_boxes: What an image without annotation is: an ``'error'``, or ``'empty'``, without objects.
        class_map: Class of the dataset → what it is called here, such as ``dict(person='pedestrian')``; several may
            become one.
        **kwargs: Those of :class:`FusionDataset`.

    Raises:
        ValueError: If the split is unknown, the dataset or split lacks what is asked for, or an annotation has a
            class that is not among the dataset's.
        FileNotFoundError: If a folder, an image or an annotation is missing.
    """

    SPLITS = ('train', 'test')
    FOLDERS = {}
    MASKS = 'mask_{modality}'
    BOX_SUFFIX = '.xml'
    PATTERNS = {}
    ALIASES = {}
    DIFFICULT = ()
    BOXES_OF = 'vi'

    def __init__(
        self,
        split: str | None = None,
        with_masks: bool = False,
        with_labels: bool = False,
        with_boxes: bool = False,
        data_prefix: dict[str, str] | None = None,
        boxes_of: str | None = None,
        missing_boxes: str = 'error',
        class_map: dict[str, str] | None = None,
        **kwargs,
    ) -> None:
        self.split = split or self.SPLITS[0]
        if self.split not in self.SPLITS:
            raise ValueError(f'{type(self).__name__} has no split {split!r}; its splits are {", ".join(self.SPLITS)}')
        folders = self.folders()
        if (data_prefix or {}).get('rgbt_path'):
            folders = {key: folder for key, folder in folders.items() if key not in ('vi_path', 'ir_path')}
        folders |= dict(data_prefix or {})
        boxes_of = boxes_of or self.BOXES_OF
        if boxes_of not in ('vi', 'ir') or missing_boxes not in ('error', 'empty'):
            raise ValueError(
                f"boxes_of={boxes_of!r}, missing_boxes={missing_boxes!r}: expected 'vi' or 'ir', and 'error' or 'empty'."
            )
        infrared = folders.pop('ann_ir_path', None)
        if boxes_of == 'ir' and infrared and 'ann_path' not in (data_prefix or {}):
            folders['ann_path'] = infrared
        self.missing_boxes, self.class_map = missing_boxes, dict(class_map or {})
        kwargs = self._with_classes(self._with_patterns(kwargs))
        for asked, option, keys in (
            (with_masks, 'with_masks', ('mask_vi_path', 'mask_ir_path')),
            (with_labels, 'with_labels', ('seg_map_path',)),
            (with_boxes, 'with_boxes', ('ann_path',)),
        ):
            for key in keys:
                if not asked:
                    folders.pop(key, None)
                elif not folders.get(key):
                    raise ValueError(
                        f'{type(self).__name__} ({self.split}) holds nothing for {option}=True. Leave it out, or give '
                        f'the folder as data_prefix=dict({key}=...).'
                    )
        super().__init__(data_prefix=folders, **kwargs)
        self._refuse_unknown_classes()

    def _with_patterns(self, kwargs: dict) -> dict:
        given = {'vi_path': kwargs.pop('vi_pattern', None), 'ir_path': kwargs.pop('ir_pattern', None)}
        patterns = {**self.PATTERNS, **(kwargs.pop('patterns', None) or {}), **{k: v for k, v in given.items() if v}}
        vi, ir = (patterns.pop(key, None) for key in ('vi_path', 'ir_path'))
        return dict(kwargs, vi_pattern=vi, ir_pattern=ir, patterns=patterns)

    def _with_classes(self, kwargs: dict) -> dict:
        """Name classes as ``class_map`` does, unless ``metainfo`` chooses them."""
        known, metainfo = self.METAINFO['classes'], dict(kwargs.get('metainfo') or {})
        wrong = [name for name in self.class_map if known and name not in known]
        if wrong:
            raise ValueError(
                f'class_map names {", ".join(wrong)}, which {type(self).__name__} has not; it has {", ".join(known)}.'
            )
        if not self.class_map or not known or 'classes' in metainfo:
            return kwargs
        colours = {}
        for name, colour in zip(known, self.METAINFO['palette'], strict=True):
            colours.setdefault(self.class_map.get(name, name), colour)
        metainfo = dict(dict(palette=list(colours.values())), **metainfo, classes=tuple(colours))
        return dict(kwargs, metainfo=metainfo)

    def _refuse_unknown_classes(self):
        known = [self.class_map.get(name, name) for name in self.METAINFO['classes']]
        unknown = [name for name in self.metainfo['classes'] if name not in known]
        if unknown and known:  # a layout without classes of its own takes the user's
            raise ValueError(
                f'metainfo asks for the classes {", ".join(unknown)}, which {type(self).__name__} has not; it has '
                f'{", ".join(known)}. Other names are given by class_map=dict({known[0]}={unknown[0]!r}).'
            )

    def folders(self) -> dict[str, str]:
        """Give the folders of the split by key, relative to ``data_root``."""
        masks = {f'mask_{m}_path': self.MASKS.replace('{modality}', m) for m in ('vi', 'ir')}
        return {key: folder.format(split=self.split) for key, folder in {**masks, **self.FOLDERS}.items()}

    def _refuse_missing(self, stems: Sequence[str]) -> None:
        super()._refuse_missing(stems)
        folder = self.data_prefix.get('ann_path')
        if folder:
            self._boxes = BoxSource(folder, self.BOX_SUFFIX, self.patterns.get('ann_path'))
            if self.missing_boxes == 'error':
                suffix = '' if self._boxes.suffix == '.json' else self._boxes.suffix
                absent = [f'{stem}{suffix}' for stem in stems if not self._boxes.has(stem)]
                self._report_missing('ann_path', absent, len(stems))

    def _advice(self, key: str) -> str:
        if key == 'ann_path':
            return (
                'Add them, name in a list (ann_file) the images that have one, or, where no file means no object, set '
                "missing_boxes='empty'."
            )
        return super()._advice(key)

    def parse_pair(self, stem: str, vi: Path, ir: Path) -> dict:
        """Make the sample of one pair, with ``instances`` if asked for."""
        info = super().parse_pair(stem, vi, ir)
        info['label_map'] = self._label_map()
        if self.data_prefix.get('ann_path'):
            info['instances'] = self._read_boxes(stem, vi)
            info['height'], info['width'] = self._size(vi, ir)  # mmdet's AspectRatioBatchSampler sorts by them
            self._leave_out_outside(stem, info)
        return info

    def _leave_out_outside(self, stem: str, info: dict) -> None:
        """Leave out boxes outside of the image; refuse it if all are."""
        boxes = info['instances']
        if boxes:
            size, name = (info['height'], info['width']), f'{self._boxes.file(stem)}, image {stem}'
            info['instances'] = list(compress(boxes, boxes_inside([box['bbox'] for box in boxes], size, name)))

    @staticmethod
    def _size(vi: Path, ir: Path) -> tuple[int, int]:
        """Height and width, by the infrared image where the visible is damaged."""
        try:
            return read_size(vi)
        except ImageReadError:
            return read_size(ir)

    def _label_map(self):
        """Index in the dataset's classes → in the user's, or 255."""
        known, wanted = list(self.METAINFO['classes']), list(self.metainfo['classes'])
        names = [self.class_map.get(name, name) for name in known]
        if names == wanted or not known:
            return None
        return {k: wanted.index(name) if name in wanted else 255 for k, name in enumerate(names)}

    def _read_boxes(self, stem: str, image: Path) -> list[dict]:
        wanted = list(self.metainfo['classes'])
        known = list(self.METAINFO['classes']) or [*self.class_map, *wanted]
        if not self._boxes.has(stem):
            return []  # missing_boxes='empty'
        instances = []
        for k, (written, bbox, ignore) in enumerate(self._boxes.read(stem, known, image), 1):
            name = self.ALIASES.get(written, written)
            if name is None:
                continue
            if name not in known:
                raise ValueError(
                    f'{self._boxes.file(stem)}: object {k} of {stem} is of class {written!r}, which is not among the '
                    f'classes of the dataset ({", ".join(known)}). Correct the file, or use a dataset class whose METAINFO '
                    'lists it.'
                )
            name = self.class_map.get(name, name)
            # Classes left out by the user's metainfo are not annotated for him; unknown ones were refused above.
            if name in wanted:
                ignored = int(ignore or written in self.DIFFICULT)
                instances.append(dict(bbox=bbox, bbox_label=wanted.index(name), ignore_flag=ignored))
        return instances
