"""mmsegmentation's IoU for a model of other classes than the data's."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmfusion.registry import METRICS

from .class_map import ThroughClassMap, grouped
from .per_class_iou import PerClassIoUMetric


@METRICS.register_module()
class MappedIoUMetric(ThroughClassMap, PerClassIoUMetric):
    """:class:`PerClassIoUMetric` through a class map, and for groups of images apart.

    Predictions and labels are brought to the common classes; every other class, unlabelled ones too, is ``other``, which is
    in no mean. A pixel that is predicted as a common class and labelled otherwise counts against that class.

    Args:
        class_map: Common class → names that it has in either vocabulary.
        predicted: Classes of the model, or a dataset of its library that has them.
        groups: Name → pattern of image names, whose results are ``<name>/IoU/<class>`` and ``<name>/mIoU``.
        **kwargs: Those of ``mmseg.IoUMetric``.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each image, by common classes."""
        self._prepare('other')
        for sample in data_samples:
            label = self._tables['dataset'][sample['gt_sem_seg']['data'].squeeze().long().cpu()]
            found = self._tables['model'][sample['pred_sem_seg']['data'].squeeze().long().cpu()]
            areas = self.intersect_and_union(found, label, 1 + len(self.class_map), self.ignore_index)
            self.results.append((sample['img_path'], areas))

    def _table(self, classes: Sequence[str], of: str) -> Tensor:
        table = torch.full((256,), self.ignore_index)
        places = super()._table(classes, of)
        table[: len(classes)] = torch.tensor([0 if place is None else 1 + place for place in places])
        return table

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute metrics of all images and each group, over common classes."""
        stems, areas = zip(*results, strict=True)
        metrics = {}
        for prefix, part in grouped(areas, stems, self.groups).items():
            values = super().compute_metrics(part)
            for name in [name for name in values if name.endswith('/other')]:
                del values[name]
            for family in {name.partition('/')[0] for name in values if '/' in name}:
                members = [value for name, value in values.items() if name.startswith(f'{family}/')]
                values[f'm{family}'] = float(np.nanmean(members)) if not np.isnan(members).all() else float('nan')
            metrics.update({prefix + name: value for name, value in values.items()})
        return metrics
