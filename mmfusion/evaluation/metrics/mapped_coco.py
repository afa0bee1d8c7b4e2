"""mmdetection's COCO metric for a detector of other classes.

Like :mod:`.per_class_coco` it is imported by a config, in its ``custom_imports``.
"""

from collections.abc import Sequence

from mmfusion.registry import METRICS

from .class_map import ThroughClassMap, grouped
from .per_class_coco import PerClassCocoMetric


@METRICS.register_module()
class MappedCocoMetric(ThroughClassMap, PerClassCocoMetric):
    """:class:`PerClassCocoMetric` through a class map, and for groups of images apart.

    Boxes of classes that are in no common class are left out, found and annotated ones.

    Args:
        class_map: Common class → names that it has in either vocabulary.
        predicted: Classes of the detector, or a dataset of its library that has them.
        groups: Name → pattern of image names; their results have the name as prefix.
        **kwargs: Those of :class:`PerClassCocoMetric`.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of common classes."""
        self._prepare()
        super().process(data_batch, [self._map(sample) for sample in data_samples])

    def _map(self, sample: dict) -> dict:
        found, table = sample['pred_instances'], self._tables['model']
        labels = [table[k] for k in found['labels'].tolist()]
        kept = [k for k, label in enumerate(labels) if label is not None]
        mapped = {key: value[kept] for key, value in found.items() if key in ('bboxes', 'scores', 'labels')}
        mapped['labels'] = mapped['labels'].new_tensor([labels[k] for k in kept])
        table = self._tables['dataset']
        instances = [
            dict(item, bbox_label=table[item['bbox_label']])
            for item in sample['instances']
            if table[item['bbox_label']] is not None
        ]
        return dict(sample, pred_instances=mapped, instances=instances)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of all images and of each group."""
        metrics = {}
        for prefix, part in grouped(results, [gt['img_id'] for gt, _ in results], self.groups).items():
            self._coco_api = self.cat_ids = self.img_ids = None  # those of the last group
            metrics.update({prefix + name: value for name, value in super().compute_metrics(part).items()})
        return metrics
