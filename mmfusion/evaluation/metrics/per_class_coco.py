"""mmdetection's COCO metric with AP at an IoU of .5 for each class.

This module is not imported with the package, since mmdetection takes seconds to import: a config names it in its
``custom_imports``.
"""

from collections.abc import Sequence

import numpy as np
from mmdet.evaluation import CocoMetric

from mmfusion.registry import METRICS


@METRICS.register_module()
class PerClassCocoMetric(CocoMetric):
    """``mmdet.CocoMetric`` for boxes, by class, with both AP that papers print.

    Beside the stock metric's results, which by class are ``<class>_precision`` (IoU .5 to .95), there are
    ``<class>_precision_50``. All values are the stock metric's: fractions of three decimals, and −1 or NaN where there is
    nothing to find. A detector that finds nothing in any image, at which the stock metric gives no results, has an AP of 0.

    Args:
        mean_over: Classes whose means ``bbox_mAP`` and ``bbox_mAP_50`` are, as a table may leave classes out; the means
            by IoU of .75 and by size, which are of all classes, are not given then.
        **kwargs: Those of ``mmdet.CocoMetric`` but ``metric``, ``classwise`` and ``iou_thrs``.

    Raises:
        ValueError: If ``mean_over`` names a class that the data do not have.
    """

    def __init__(self, mean_over: Sequence[str] | None = None, **kwargs) -> None:
        super().__init__(**kwargs, metric='bbox', classwise=True)
        self.mean_over = mean_over and tuple(mean_over)

    def compute_metrics(self, results: list[tuple[dict, dict]]) -> dict[str, float]:
        """Compute the stock metric's values, and ``<class>_precision_50``."""
        unknown = set(self.mean_over or ()) - set(self.dataset_meta['classes'])
        if unknown:
            raise ValueError(
                f'PerClassCocoMetric.mean_over names {", ".join(sorted(unknown))}; the data have the classes '
                f'{", ".join(self.dataset_meta["classes"])}.'
            )
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        if not any(len(prediction['labels']) for _, prediction in results):
            return self._mean(self._nothing_found())
        thresholds = self.iou_thrs
        self.iou_thrs = np.full(6, 0.5)  # the stock metric's table by class looks at the first and the sixth
        try:
            at_50 = super().compute_metrics(results)
        finally:
            self.iou_thrs = thresholds
        for label in self.dataset_meta['classes']:
            metrics[f'{label}_precision_50'] = at_50[f'{label}_precision']
        return self._mean(metrics)

    def _mean(self, metrics: dict[str, float]) -> dict[str, float]:
        """Put some classes' means in the place of all classes'."""
        if self.mean_over is None:
            return metrics
        metrics = {k: v for k, v in metrics.items() if not k.startswith('bbox_')}
        for name, by_class in (('bbox_mAP', 'precision'), ('bbox_mAP_50', 'precision_50')):
            values = [float(metrics[f'{label}_{by_class}']) for label in self.mean_over]
            found = [value for value in values if value >= 0]  # NaN and −1: there is nothing to find
            metrics[name] = round(sum(found) / len(found), 3) if found else -1.0
        return metrics

    def _nothing_found(self):
        by_class = {}
        for label, cat_id in zip(self.dataset_meta['classes'], self.cat_ids, strict=True):
            value = 0.0 if self._coco_api.get_ann_ids(cat_ids=[cat_id], iscrowd=False) else float('nan')
            by_class.update({f'{label}_precision': value, f'{label}_precision_50': value})
        mean = 0.0 if 0.0 in by_class.values() else -1.0
        return {**by_class, 'bbox_mAP': mean, 'bbox_mAP_50': mean}
