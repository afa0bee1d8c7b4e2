"""What the datasets with a published folder layout share."""

from pathlib import Path

from mmfusion.utils import read_size

from .boxes import read_voc, read_yolo
from .fusion_dataset import FusionDataset

_READERS = {'.xml': read_voc, '.txt': read_yolo}


class LayoutDataset(FusionDataset):
    """A dataset whose folders are known from the way in which it is distributed.

    Classes left out by ``metainfo=dict(classes=...)`` become 255 in label maps, and their boxes are left out.

    A subclass states ``METAINFO``, ``SPLITS`` and ``FOLDERS``: key → folder below ``data_root``, where ``{split}`` is
    replaced. The keys are those of :class:`FusionDataset`, and ``ann_path`` for box annotations, one file an image,
    of the suffix ``BOX_SUFFIX`` (``.xml``: Pascal VOC; ``.txt``: YOLO).

    Labels, boxes and masks are looked for only when asked, so that a folder that holds images alone can be used.
    Masks of salient objects belong to no distributed dataset; they are expected in ``mask_vi`` and ``mask_ir`` beside
    the images, where ``mmfusion masks`` can write them (see ``docs/datasets.md``).

    Args:
        split (str): One of ``SPLITS``.
        with_masks (bool): Give ``mask_vi_path`` and ``mask_ir_path``.
        with_labels (bool): Give ``seg_map_path``.
        with_boxes (bool): Give ``instances``, each a dict of ``bbox`` (x1, y1, x2, y2), ``bbox_label`` (index into the
            classes) and ``ignore_flag``, as mmdet's ``LoadAnnotations`` wants them, and the image's ``height``
            and ``width``.
        data_prefix (dict, optional): Folders that differ from the layout, by key.
        box_suffix (str, optional): Annotations of boxes in another form than the dataset's own: ``.xml`` or ``.txt``.
        **kwargs: Those of :class:`FusionDataset`.

    Raises:
        ValueError: An unknown split; something is asked for that the dataset or the split has not; an annotation with
            a class that is not among the dataset's.
        FileNotFoundError: A folder, an image or an annotation is missing.
    """

    SPLITS = ('train', 'test')
    FOLDERS = {}
    BOX_SUFFIX = '.xml'

    def __init__(
        self,
        split=None,
        with_masks=False,
        with_labels=False,
        with_boxes=False,
        data_prefix=None,
        box_suffix=None,
        **kwargs,
    ):
        self.split = split or self.SPLITS[0]
        if self.split not in self.SPLITS:
            raise ValueError(f'{type(self).__name__} has no split {split!r}; its splits are {", ".join(self.SPLITS)}')
        self.box_suffix = box_suffix or self.BOX_SUFFIX
        if self.box_suffix not in _READERS:
            raise ValueError(
                f'{type(self).__name__}: box_suffix is {box_suffix!r}; expected one of {", ".join(_READERS)}'
            )
        folders = self.folders()
        if (data_prefix or {}).get('rgbt_path'):
            folders = {key: folder for key, folder in folders.items() if key not in ('vi_path', 'ir_path')}
        folders |= dict(data_prefix or {})
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

    def _refuse_unknown_classes(self):
        unknown = [name for name in self.metainfo['classes'] if name not in self.METAINFO['classes']]
        if unknown and self.METAINFO['classes']:  # a layout without classes of its own takes the user's
            raise ValueError(
                f'metainfo asks for the classes {", ".join(unknown)}, which {type(self).__name__} has not; it has '
                f'{", ".join(self.METAINFO["classes"]) or "none"}'
            )

    def folders(self):
        """Folders of the split by key, relative to ``data_root``."""
        return {key: folder.format(split=self.split) for key, folder in self.FOLDERS.items()}

    def _refuse_missing(self, stems):
        super()._refuse_missing(stems)
        folder = self.data_prefix.get('ann_path')
        if folder:
            there = {file.name for file in Path(folder).glob(f'*{self.box_suffix}')}
            names = [f'{stem}{self.box_suffix}' for stem in stems]
            self._report_missing('ann_path', [name for name in names if name not in there], len(stems))

    def parse_pair(self, stem, vi, ir):
        """As in the base class, with ``instances`` where boxes were asked for."""
        info = super().parse_pair(stem, vi, ir)
        info['label_map'] = self._label_map()
        folder = self.data_prefix.get('ann_path')
        if folder:
            info['instances'] = self._read_boxes(Path(folder) / f'{stem}{self.box_suffix}', vi)
            info['height'], info['width'] = read_size(vi)  # mmdet's AspectRatioBatchSampler sorts by them
        return info

    def _label_map(self):
        """Index in the dataset's classes → index in those of the user's ``metainfo``, or 255; None where they agree."""
        known, wanted = list(self.METAINFO['classes']), list(self.metainfo['classes'])
        if known == wanted or not known:
            return None
        return {k: wanted.index(name) if name in wanted else 255 for k, name in enumerate(known)}

    def _read_boxes(self, file, image):
        known, wanted = self.METAINFO['classes'], list(self.metainfo['classes'])
        boxes = _READERS[self.box_suffix](file, known, image)
        # Classes left out by the user's metainfo are not annotated for him; unknown ones were refused above.
        return [
            dict(bbox=bbox, bbox_label=wanted.index(name), ignore_flag=int(ignore))
            for name, bbox, ignore in boxes
            if name in wanted
        ]
