"""mmsegmentation's IoU metric with the values of single classes among its results."""

from mmseg.evaluation import IoUMetric

from mmfusion.registry import METRICS


@METRICS.register_module()
class PerClassIoUMetric(IoUMetric):
    """``mmseg.IoUMetric``, whose results name each class, too: ``IoU/<class>``, ``Acc/<class>``, …

    The stock metric prints the classes in the log only. All values are percentages; the means are the stock metric's, of
    two decimals, those of classes are not rounded. A class that neither the labels nor the predictions have is NaN, and
    is left out of the mean, unless ``nan_to_num`` says otherwise.

    Args:
        **kwargs: Those of ``mmseg.IoUMetric``.
    """

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Compute the stock metric's values, and those of classes.

        Args:
            results: Of each image, areas of intersection, union, prediction and label by class.

        Returns:
            ``aAcc``, ``mIoU``, ``mAcc``, …, ``IoU/<class>``, ``Acc/<class>``, …
        """
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        totals = [sum(areas) for areas in zip(*results, strict=True)]
        by_class = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        by_class.pop('aAcc')
        for name, values in by_class.items():
            for label, value in zip(self.dataset_meta['classes'], values, strict=True):
                metrics[f'{name}/{label}'] = 100 * float(value)
        return metrics
