"""A dataset of fused images, laid out for mmseg's or mmdet's classes."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmfusion.datasets import to_coco
from mmfusion.datasets.fusion_dataset import FusionDataset
from mmfusion.datasets.transforms import LoadSegLabels
from mmfusion.utils import IMG_SUFFIXES, only_writer, remove_unfinished, track, write_bytes, write_image
from mmfusion.utils.run_record import (
    CURE,
    RECORD,
    changed_sources,
    check_record,
    plain,
    read_record,
    signature,
    write_record,
)

from .parts import DatasetPart

# Folder of the images of a part, and the snippet for a stock config, by task.
IMAGES = dict(seg='img_dir', det='images')
SNIPPETS = dict(seg='dataset_mmseg.py', det='dataset_mmdet.py')


class FusedDataset:
    """Writes a dataset of single images, with its annotations, below one folder.

    - ``'seg'``: ``img_dir/PART/NAME.png``, ``ann_dir/PART/NAME.*`` (the label files as they are, byte for byte), and
      ``dataset_mmseg.py``;
    - ``'det'``: ``images/PART/NAME.png``, ``annotations/PART.json`` (COCO), and ``dataset_mmdet.py``.

    Each file is written under a temporary name and renamed; images that are there are kept, so that a stopped run goes on.
    How they were made is in ``fuse.json``.

    Args:
        out: The folder.
        task: ``'seg'`` or ``'det'``.
        parts: By name, such as ``train`` and ``test``.
        settings: How the images are made.
        overwrite: Make images again that are there.

    Raises:
        ValueError: If ``out`` would overwrite what is read, or images are there that were made in another way, or do not
            belong to the dataset.
    """

    def __init__(
        self, out: str | Path, task: str, parts: Mapping[str, DatasetPart], settings: dict, overwrite: bool = False
    ) -> None:
        self.out, self.task, self.parts, self.overwrite = Path(out), task, parts, overwrite
        self.settings = plain(dict(settings, task=task, parts={name: part.settings for name, part in parts.items()}))
        self.infos = {name: _infos(part.dataset) for name, part in parts.items()}
        self.targets = {
            name: {info['img_id']: self.out / IMAGES[task] / name / f'{info["img_id"]}.png' for info in infos}
            for name, infos in self.infos.items()
        }
        if task == 'seg':
            self.label_suffixes = {name: self._label_suffix(name) for name in parts}
        self._refuse_sources()
        self._refuse_others()

    def _refuse_sources(self):
        for name, part in self.parts.items():
            root = part.dataset.data_root
            sources = {Path(info[key]).resolve() for info in self.infos[name] for key in ('img_path', 'ir_path')}
            same = root and Path(root).resolve() == self.out.resolve()
            if same or not sources.isdisjoint(file.resolve() for file in self.targets[name].values()):
                raise ValueError(f'--out {self.out} is the folder of the source images; choose another one')

    def _refuse_others(self):
        there = [f for kind in IMAGES.values() for f in sorted((self.out / kind).rglob('[!.]*'))]
        there = [f for f in there if f.suffix.lower() in IMG_SUFFIXES]
        mine = {file for targets in self.targets.values() for file in targets.values()}
        kept = [f for f in there if f not in mine] if self.overwrite else there
        if kept:
            check_record(self.out / RECORD, self.settings, kept, CURE)
        others = [f for f in there if f not in mine]
        if others:
            raise ValueError(
                f'{self.out}: {len(others)} images there do not belong to the dataset (any more), and would be read with '
                f'it: {", ".join(f.name for f in others[:10])}. Move them away, or choose another --out.'
            )

    def todo(self) -> list[tuple[str, dict]]:
        """List part and sample of each image still to be made.

        Those whose sources changed are made again.
        """
        before = None if self.overwrite else read_record(self.out / RECORD, CURE)
        changed = changed_sources(before, self._signatures(), self.out)
        return [
            (name, info)
            for name, infos in self.infos.items()
            for info in infos
            if self.overwrite
            or f'{name}/{info["img_id"]}' in changed
            or not self.targets[name][info['img_id']].is_file()
        ]

    def _signatures(self) -> dict[str, list[int]]:
        """Signatures of the sources, by part and name; synthetic images have none."""
        return {
            f'{name}/{info["img_id"]}': signature(info[key] for key in ('img_path', 'ir_path'))
            for name, infos in self.infos.items()
            for info in infos
            if 'synthetic' not in info
        }

    def write(self, make: Callable[[np.ndarray, str], np.ndarray], show_progress: bool = True) -> tuple[int, int]:
        """Make and write what is not there; count it, and the rest.

        ``make`` turns a pair, H×W×4 uint8, and its name into H×W×3 uint8.
        """
        with only_writer(self.out):
            self._refuse_others()  # another process may have written there since
            return self._write(make, show_progress)

    def _write(self, make: Callable[[np.ndarray, str], np.ndarray], show_progress: bool) -> tuple[int, int]:
        todo = self.todo()
        if todo:
            (self.out / SNIPPETS[self.task]).unlink(missing_ok=True)  # it comes back when all is there
        for name, info in todo:  # before the record changes: what is there must always be what it says
            self.targets[name][info['img_id']].unlink(missing_ok=True)
        remove_unfinished(self.out)
        write_record(self.out / RECORD, self.settings, sources=self._signatures())
        self._copy_labels()
        for name, info in track(todo, 'fusing', 'image', show=show_progress):
            results = self._load(name, info)
            if self.task == 'seg' and 'synthetic' in info:
                write_image(self._label_file(name, info), results['gt_seg_map'])
            write_image(self.targets[name][info['img_id']], make(results['img'], info['img_path']))
        if self.task == 'seg':
            text = self._mmseg()
        else:
            for name, part in self.parts.items():
                coco = to_coco(part.dataset, lambda info: f'{info["img_id"]}.png')
                write_bytes(self.out / 'annotations' / f'{name}.json', json.dumps(coco).encode())
            text = self._mmdet()
        write_bytes(self.out / SNIPPETS[self.task], text.encode())
        return len(todo), sum(map(len, self.infos.values())) - len(todo)

    def _load(self, name: str, info: dict) -> dict:
        """A sample with its image, and with labels that were checked."""
        results = copy.deepcopy(info)
        if 'synthetic' in info:
            results['reduce_zero_label'] = False  # files hold the labels before any of them is ignored
        results = self.parts[name].load(results)
        if 'seg_map_path' in info:
            results['num_classes'] = len(self.parts[name].dataset.metainfo['classes'])
            LoadSegLabels()(copy.copy(results))
        return results

    def _label_file(self, name: str, info: dict) -> Path:
        suffix = Path(info.get('seg_map_path', '.png')).suffix or '.png'
        return self.out / 'ann_dir' / name / f'{info["img_id"]}{suffix}'

    def _label_suffix(self, name: str) -> str:
        """The one suffix of a part's label files, which mmseg's class wants."""
        suffixes = sorted({self._label_file(name, info).suffix for info in self.infos[name]})
        if len(suffixes) > 1:
            raise ValueError(
                f'{name}: label maps of several formats ({", ".join(suffixes)}); mmseg reads one. Convert them.'
            )
        return suffixes[0]

    def _copy_labels(self):
        for name, infos in self.infos.items():
            for info in infos:
                if 'seg_map_path' in info:
                    data, target = Path(info['seg_map_path']).read_bytes(), self._label_file(name, info)
                    if not target.is_file() or target.read_bytes() != data:
                        write_bytes(target, data)

    def _head(self, library: str, what: str) -> tuple[FusionDataset, list[str]]:
        """First lines of a snippet."""
        dataset = next(iter(self.parts.values())).dataset
        classes, palette = dataset.metainfo['classes'], [list(c) for c in dataset.metainfo.get('palette') or []]
        made = self.settings['source'] + (f', {self.settings["config"]}' if 'config' in self.settings else '')
        lines = [
            f"# {type(dataset).__name__} as single images ({made}), for {library}'s {what}: mmfusion is not needed.",
            f"# Paste this below _base_ = ['{library}::...'] of a config: what is not said here stays as it is there.",
            '# Where its dataset is wrapped (RepeatDataset; YOLOX: MultiImageMixDataset), write dataset=dict(dataset=...).',
            f'data_root = {str(self.out.resolve())!r}',
            f'metainfo = dict(classes={tuple(classes)!r}, palette={palette!r})',
        ]
        return dataset, lines

    def _tail(self, lines: list[str], evaluator: Callable[[str], str]) -> str:
        """The dataloaders and evaluators of parts, called as in a config."""
        names = list(self.parts)
        val = next((n for n in ('val', 'test') if n in names), None)
        test = next((n for n in ('test', 'val') if n in names), None)
        for role, name in (('train', 'train' if 'train' in names else None), ('val', val), ('test', test)):
            if name:
                lines.append(f'{role}_dataloader = dict(dataset=fused_{name})')
        for role, name in (('val', val), ('test', test)):
            if name:
                lines.append(f'{role}_evaluator = {evaluator(name)}')
        return '\n'.join(lines) + '\n'

    def _mmseg(self):
        dataset, lines = self._head('mmseg', 'BaseSegDataset')
        count = len(dataset.metainfo['classes'])
        zero = 'is ignored; the classes are 1 and up' if dataset.reduce_zero_label else 'is a class like the others'
        lines[3:3] = [
            f'# Set num_classes={count} of decode_head (and auxiliary_head). Label 0 of the files {zero}:',
            f'# reduce_zero_label={dataset.reduce_zero_label}; a LoadAnnotations of the pipeline that says otherwise is '
            'refused by mmseg.',
        ]
        for name in self.parts:
            lines.append(
                f"fused_{name} = dict(type='BaseSegDataset', data_root=data_root, metainfo=metainfo, ann_file='',\n"
                f"    data_prefix=dict(img_path='img_dir/{name}', seg_map_path='ann_dir/{name}'), img_suffix='.png',\n"
                f'    seg_map_suffix={self.label_suffixes[name]!r}, reduce_zero_label={dataset.reduce_zero_label})'
            )
        return self._tail(lines, lambda _: "dict(type='IoUMetric', iou_metrics=['mIoU'])")

    def _mmdet(self):
        dataset, lines = self._head('mmdet', 'CocoDataset')
        lines[3:3] = [
            f'# Set num_classes={len(dataset.metainfo["classes"])} of the head. Images without objects are kept.',
        ]
        for name in self.parts:
            lines.append(
                f"fused_{name} = dict(type='CocoDataset', data_root=data_root, metainfo=metainfo,\n"
                f"    ann_file='annotations/{name}.json', data_prefix=dict(img='images/{name}/'),\n"
                '    filter_cfg=dict(filter_empty_gt=False, min_size=0))'
            )
        metric = "dict(type='CocoMetric', ann_file=data_root + '/annotations/{}.json', metric='bbox')"
        return self._tail(lines, metric.format)


def _infos(dataset: FusionDataset) -> list[dict]:
    return [dataset.get_data_info(k) for k in range(len(dataset))]
