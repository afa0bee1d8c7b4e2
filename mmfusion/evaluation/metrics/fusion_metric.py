"""Fusion metrics as an mmengine evaluator."""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData
from torch import Tensor

from mmfusion.evaluation.specs import MetricSpec
from mmfusion.registry import METRICS
from mmfusion.utils import to_uint8, write_bytes
from mmfusion.utils.log import log_warning
from mmfusion.utils.text import to_bytes

from ..protocols import evaluate_images
from ..specs import PROTOCOLS, resolve_metrics


@METRICS.register_module()
class FusionMetric(BaseMetric):
    """Fusion metrics of a validation or test set: ``fusion/EN``, ``fusion/VIF``, …

    The fused image is rounded to 8 bits, as a written file would be, and made grey as the protocol does. Every image
    counts once, however samplers pad the last batch and however many processes share the work: values are gathered
    from all of them and told apart by the image, not by their position.

    Where the images come from several datasets (``dataset`` of a sample), each has its own means beside those of all images:
    ``fusion/LLVIP/EN``, ``fusion/MSRS/EN``, … and ``fusion/EN``.

    An image for which a metric is not defined (a constant source, smaller than the window) is left out of that
    metric's mean, with the number of images and the reason in the log and in :attr:`reasons`.

    Args:
        metric: ``'all'`` or names of :data:`mmfusion.evaluation.METRIC_SPECS`.
        protocol: ``'tang'`` or ``'vifb'``.
        outfile: A CSV file for the values of single images: ``method,image,metric,value``.
        method: What stands in the column ``method``.
        collect_device: As in mmengine.
        prefix: Of the results' names; ``'fusion'`` if not given.

    Attributes:
        per_image (list[dict]): After an evaluation, on the main process, ``method``, ``image``, ``metric`` and
            ``value`` of every value, sorted by image.
        reasons (dict[tuple[str, str], str]): (image, metric) → why that value is NaN.

    Raises:
        ValueError: If a metric or the protocol is unknown, or a fused image has another size than its sources.
        RuntimeError: If images of the data set are missing from the gathered results.
    """

    default_prefix = 'fusion'

    def __init__(
        self,
        metric: str | Sequence[str] = ('EN', 'SF', 'AG', 'SD', 'CC', 'SCD', 'MI', 'VIF'),
        protocol: str = 'tang',
        outfile: str | Path | None = None,
        method: str = 'fused',
        collect_device: str = 'cpu',
        prefix: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, **kwargs)
        if protocol not in PROTOCOLS:
            raise ValueError(f'unknown protocol {protocol!r}; known are {", ".join(PROTOCOLS)}')
        self.specs = resolve_metrics(metric)
        self.protocol = protocol
        self.outfile = outfile
        self.method = method
        self.per_image, self.reasons = [], {}
        self._size = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Evaluate one batch.

        Args:
            data_batch: ``inputs``: a list of 4×H×W uint8 pairs (B, G, R, IR), or N×4×H×W.
            data_samples: With ``fused`` (``data``: 3×H×W in [0, 1], R, G, B), ``img_path`` or ``img_id``, and ``ir``
                (``data``: 1×H×W in [0, 1]) of a network that registered the infrared image.
        """
        groups = {}
        for pair, sample in zip(data_batch['inputs'], data_samples, strict=True):
            fused, registered = (_pixels(sample.get(key)) for key in ('fused', 'ir'))
            name = sample.get('img_path', sample.get('img_id'))
            if name is None:
                raise ValueError(
                    'a data sample has neither img_path nor img_id: FusionMetric needs one to count each image once. '
                    'Keep them in meta_keys of PackFusionInputs.'
                )
            if pair.shape[0] != 4 or pair.shape[-2:] != fused.shape[-2:]:
                raise ValueError(
                    f'{name}: the fused image is {fused.shape[-1]}×{fused.shape[-2]} (width×height) but its sources '
                    f'{pair.shape[-1]}×{pair.shape[-2]} with {pair.shape[0]} channels (expected B, G, R, IR). Crop '
                    'padding away in the predictions, and do not resize them.'
                )
            if registered is not None:  # the network moved the infrared image: the fused one is compared with that
                pair = torch.cat([pair[:3].to(registered.device), to_uint8(registered)])
            groups.setdefault(tuple(fused.shape), []).append((sample, name, pair, fused))
        for members in groups.values():
            self._process_group(members)

    def _process_group(self, members: Sequence[tuple[dict, str, Tensor, Tensor]]) -> None:
        """Images of one size, as one batch."""
        samples, names, pairs, fused = zip(*members, strict=True)
        fused = to_uint8(torch.stack(fused))
        pairs = torch.stack(pairs).to(fused.device)
        metrics = [spec.name for spec in self.specs]
        values, reasons = evaluate_images(fused, pairs[:, 3:], pairs[:, [2, 1, 0]], metrics, self.protocol)
        for i, (sample, name) in enumerate(zip(samples, names, strict=True)):
            self.results.append(
                dict(
                    key=(str(name), str(sample.get('img_id')), sample.get('sample_idx')),
                    image=str(sample.get('img_id', name)),
                    dataset=sample.get('dataset'),
                    values={metric: value[i].item() for metric, value in values.items()},
                    reasons=reasons,
                )
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather from all processes and average.

        Args:
            size: Number of images of the data set.

        Returns:
            ``prefix/name`` → mean over the images.
        """
        # mmengine interleaves the processes' lists and cuts at `size`, which is right for one sampler only. Each
        # process hands over its list as one item instead, and compute_metrics counts images by what they are.
        self._size = size
        self.results = [self.results]
        return super().evaluate(get_world_size())

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Average over distinct images.

        Returns:
            Name → mean over all images; of several datasets also ``DATASET/NAME``.
        """
        distinct = {entry['key']: entry for part in results for entry in part}
        if self._size is not None and len(distinct) != self._size:
            raise RuntimeError(
                f'{len(distinct)} distinct images were evaluated, but the data set has {self._size}. Either images '
                'are missing, or two entries share img_path and img_id: then add sample_idx to meta_keys of '
                'PackFusionInputs.'
            )
        entries = sorted(distinct.values(), key=lambda e: e['key'][:2])
        datasets = list(dict.fromkeys(entry['dataset'] for entry in entries if entry['dataset']))
        means = {}
        self.per_image, self.reasons = [], {}
        for spec in self.specs:
            values = [entry['values'][spec.name] for entry in entries]
            means[spec.name] = _mean(values)
            for dataset in datasets if len(datasets) > 1 else ():
                means[f'{dataset}/{spec.name}'] = _mean(
                    [v for v, entry in zip(values, entries, strict=True) if entry['dataset'] == dataset]
                )
            for entry, value in zip(entries, values, strict=True):
                self.per_image.append(dict(method=self.method, image=entry['image'], metric=spec.name, value=value))
                if math.isnan(value):
                    self.reasons[entry['image'], spec.name] = entry['reasons'][spec.name]
            self._log_undefined(spec, len(entries))
        if self.outfile:
            self._write()
        return means

    def _log_undefined(self, spec: MetricSpec, total: int) -> None:
        why = Counter(reason for (_, metric), reason in self.reasons.items() if metric == spec.name)
        for reason, count in why.items():
            log_warning(
                f'{self.prefix}/{spec.name}: not defined for {count} of {total} images ({reason}); left out of the mean'
            )

    def _write(self):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, ['method', 'image', 'metric', 'value'], lineterminator='\n')
        writer.writeheader()
        writer.writerows({**row, 'value': repr(row['value'])} for row in self.per_image)
        write_bytes(self.outfile, to_bytes(buffer.getvalue()))


def _mean(values: Sequence[float]) -> float:
    """Mean of defined values; infinite if one is, else NaN."""
    defined = [v for v in values if not math.isnan(v)]
    if math.inf in defined:
        return math.inf
    return math.fsum(defined) / len(defined) if defined else math.nan


def _pixels(field: PixelData | dict | None) -> Tensor | None:
    """Give a field's tensor, even where it became a dict."""
    return field['data'] if isinstance(field, dict) else getattr(field, 'data', None)
