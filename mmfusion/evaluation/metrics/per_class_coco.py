"""mmdetection's COCO metric with AP at an IoU of .5 for each class.

This module is not imported with the package, since mmdetection takes seconds to import: a config names it in its
``custom_imports``.
"""

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
        **kwargs: Those of ``mmdet.CocoMetric`` but ``metric``, ``classwise`` and ``iou_thrs``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs, metric='bbox', classwise=True)

    def compute_metrics(self, results):
        """As the stock metric, and ``<class>_precision_50``."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        if not any(len(prediction['labels']) for _, prediction in results):
            return self._nothing_found()
        thresholds = self.iou_thrs
        self.iou_thrs = np.full(6, 0.5)  # the stock metric's table by class looks at the first and the sixth
        try:
            at_50 = super().compute_metrics(results)
        finally:
            self.iou_thrs = thresholds
        for label in self.dataset_meta['classes']:
            metrics[f'{label}_precision_50'] = at_50[f'{label}_precision']
        return metrics

    def _nothing_found(self):
        by_class = {}
        for label, cat_id in zip(self.dataset_meta['classes'], self.cat_ids, strict=True):
            value = 0.0 if self._coco_api.get_ann_ids(cat_ids=[cat_id], iscrowd=False) else float('nan')
            by_class.update({f'{label}_precision': value, f'{label}_precision_50': value})
        mean = 0.0 if 0.0 in by_class.values() else -1.0
        return {**by_class, 'bbox_mAP': mean, 'bbox_mAP_50': mean}
