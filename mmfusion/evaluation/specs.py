"""The table of metrics: names, functions, and how to read values.

Direction, range and windows are data, so that metrics, tables and reports read them and none repeats them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from mmfusion.utils.metric_names import metric_names

from .functional import feature, feature_information, information, perception, structure
from .functional.memo import Shared

PROTOCOLS = ('tang', 'vifb')
"""``tang``: Linfeng-Tang/Evaluation-for-Image-Fusion; ``vifb``: the benchmark VIFB."""


@dataclass(frozen=True, eq=False)
class MetricSpec:
    """One metric.

    Attributes:
        name (str): As in tables.
        function (Callable): ``function(fused[, ir, vi][, protocol=])`` of N×1×H×W images in 0–255.
        family (str): ``'information'``, ``'feature'``, ``'structure'`` or ``'perception'``.
        title (str): In words.
        higher_is_better (bool): The direction.
        range (tuple[str, str]): Lowest and highest value under (``tang``, ``vifb``), in words for reports.
        paper (str): Who proposed it.
        sources (bool): Whether the function takes the source images too.
        shares (bool): Whether the function takes ``shared``: it has intermediate results in common with others.
        by_protocol (bool): Whether the function takes ``protocol``: the two public definitions differ.
        published (tuple[str, ...]): The protocols whose public code has this metric.
        min_size (int | dict): The smallest side of an image it is defined for, or that by protocol.
        undefined (str): When the value is NaN; empty where it never is.
        options (tuple[tuple[str, object], ...]): Fixed keyword arguments.
    """

    name: str
    function: Callable
    family: str
    title: str
    higher_is_better: bool
    range: tuple
    paper: str
    sources: bool = True
    shares: bool = False
    by_protocol: bool = False
    published: tuple = ()
    min_size: int | dict = 1
    undefined: str = ''
    options: tuple = ()

    @property
    def arrow(self) -> str:
        """↑ or ↓, as papers print the direction."""
        return '↑' if self.higher_is_better else '↓'

    def min_size_under(self, protocol: str) -> int:
        """Give the smallest side of an image under a protocol."""
        return self.min_size[protocol] if isinstance(self.min_size, dict) else self.min_size

    def __call__(
        self,
        fused: Tensor,
        ir: Tensor | None,
        vi: Tensor | None,
        protocol: str = 'tang',
        shared: Shared | None = None,
        data_range: float | None = None,
    ) -> Tensor:
        """Compute N values (float64) of N images (N×1×H×W).

        ``data_range`` is as in the functions, ``shared`` as in :class:`~.functional.memo.Shared`.
        """
        kwargs = dict(self.options, data_range=data_range)
        if self.by_protocol:
            kwargs['protocol'] = protocol
        if self.shares:
            kwargs['shared'] = shared
        return self.function(fused, ir, vi, **kwargs) if self.sources else self.function(fused, **kwargs)


_CONSTANT_SOURCE = 'a source image is constant'
_SPECS = (
    MetricSpec(
        'EN', information.entropy, 'information', 'entropy', True, ('[0, 8] bit',) * 2, 'Roberts 2008',
        sources=False, published=PROTOCOLS, shares=True,
    ),
    MetricSpec(
        'MI', information.mutual_information, 'information', 'mutual information', True,
        ('[0, 16] bit', '[0, 11.1] nat'), 'Qu 2002', by_protocol=True, published=PROTOCOLS, shares=True,
    ),
    MetricSpec(
        'NMI', information.normalized_mutual_information, 'information', 'normalised mutual information', True,
        ('[0, 2]',) * 2, 'Hossny 2008', undefined='the fused image and a source are both constant', shares=True,
    ),
    MetricSpec(
        'CE', information.cross_entropy, 'information', 'cross entropy', False, ('unbounded, near 0 is best',) * 2,
        'Bulanon 2009', published=('vifb',), shares=True,
    ),
    MetricSpec(
        'QNCIE', information.qncie, 'information', 'nonlinear correlation information entropy', True,
        ('[0.8, 1]',) * 2, 'Wang 2008', shares=True,
    ),
    MetricSpec(
        'TE', information.tsallis_entropy, 'information', 'mutual information of Tsallis entropy', True,
        ('[0, ∞)',) * 2, 'Cvejic 2006', shares=True,
    ),
    MetricSpec(
        'FMI_pixel', feature_information.feature_mutual_information, 'information',
        'feature mutual information (the public code: edges)', True, ('[0, 1]',) * 2, 'Haghighat 2014',
        published=('tang',), min_size=3, options=(('feature', 'edge'),),
    ),
    MetricSpec(
        'FMI_dct', feature_information.feature_mutual_information, 'information',
        'feature mutual information, DCT', True, ('[0, 1]',) * 2, 'Haghighat 2014',
        published=('tang',), min_size=3, options=(('feature', 'dct'),),
    ),
    MetricSpec(
        'FMI_w', feature_information.feature_mutual_information, 'information',
        'feature mutual information, wavelet', True, ('[0, 1]',) * 2, 'Haghighat 2014',
        published=('tang',), min_size=3, options=(('feature', 'wavelet'),),
    ),
    MetricSpec(
        'SF', feature.spatial_frequency, 'feature', 'spatial frequency', True, ('[0, 361]',) * 2, 'Eskicioglu 1995',
        sources=False, by_protocol=True, published=PROTOCOLS, min_size=2,
    ),
    MetricSpec(
        'AG', feature.average_gradient, 'feature', 'average gradient', True, ('[0, 255]',) * 2, 'Cui 2015',
        sources=False, published=PROTOCOLS, min_size=2,
    ),
    MetricSpec(
        'SD', feature.standard_deviation, 'feature', 'standard deviation', True, ('[0, 127.5]',) * 2, 'Rao 1997',
        sources=False, published=('tang',),
    ),
    MetricSpec(
        'Variance', feature.variance, 'feature', 'variance (in VIFB: its root)', True, ('[0, 16256]', '[0, 127.5]'),
        'Rao 1997', sources=False, by_protocol=True, published=('vifb',),
    ),
    MetricSpec(
        'EI', feature.edge_intensity, 'feature', 'edge intensity', True, ('[0, 1140]',) * 2, 'Rajalingam 2018',
        sources=False, published=('vifb',),
    ),
    MetricSpec(
        'Qabf', feature.qabf, 'feature', 'edge information transferred', True, ('[0, 1]',) * 2, 'Xydeas 2000',
        by_protocol=True, published=PROTOCOLS, undefined='both sources are constant',
    ),
    MetricSpec(
        'Nabf', feature.nabf, 'feature', 'fusion artefacts', False, ('[0, 1]',) * 2, 'Shreyamsha Kumar 2013',
        by_protocol=True, published=('tang',), min_size=3, shares=True,
    ),
    MetricSpec(
        'Labf', feature.labf, 'feature', 'fusion loss', False, ('[0, 1]',) * 2, 'Petrović 2005', min_size=3, shares=True,
    ),
    MetricSpec(
        'CC', structure.correlation_coefficient, 'structure', 'correlation coefficient', True, ('[−1, 1]',) * 2,
        'Jagalingam 2015', published=('tang',), undefined='an image is constant',
    ),
    MetricSpec(
        'SCD', structure.sum_of_correlations_of_differences, 'structure', 'sum of correlations of differences', True,
        ('[−2, 2]',) * 2, 'Aslantas 2015', published=('tang',),
        undefined='a source, or the difference of the fused image to a source, is constant',
    ),
    MetricSpec(
        'SSIM', structure.ssim, 'structure', 'structural similarity', True, ('[−1, 1]', '[−2, 2]'), 'Wang 2004',
        by_protocol=True, published=PROTOCOLS, min_size=11,
    ),
    MetricSpec(
        'MS_SSIM', structure.ms_ssim, 'structure', 'multi-scale structural similarity', True, ('[0, 1]', '[0, 2]'),
        'Ma 2015; Wang 2003', by_protocol=True, published=('tang',), min_size=structure.MS_SSIM_MIN_SIZE,
        undefined='the similarity of a scale is negative, and its power not real',
    ),
    MetricSpec(
        'Qy', structure.qy, 'structure', "Yang's similarity metric", True, ('[−1, 1]',) * 2, 'Yang 2008', min_size=7,
    ),
    MetricSpec(
        'Qw', structure.qw, 'structure', "Piella's weighted quality index", True, ('[−1, 1]',) * 2, 'Piella 2003',
        min_size=11, shares=True,
    ),
    MetricSpec(
        'Qe', structure.qe, 'structure', "Piella's edge-dependent quality index", True, ('[−1, 1]',) * 2,
        'Piella 2003', min_size=11, shares=True,
    ),
    MetricSpec(
        'PSNR', structure.peak_signal_to_noise_ratio, 'structure', 'peak signal-to-noise ratio', True,
        ('[48.1, ∞) dB', '(−∞, ∞) dB'), 'Jagalingam 2015', by_protocol=True, published=PROTOCOLS,
    ),
    MetricSpec(
        'MSE', structure.mean_squared_error, 'structure', 'mean squared error', False, ('[0, 1]',) * 2,
        'Jagalingam 2015', published=('tang',),
    ),
    MetricSpec(
        'RMSE', structure.root_mean_squared_error, 'structure', 'root mean squared error', False,
        ('[0, 1]', '[0, 255]'), 'Jagalingam 2015', by_protocol=True, published=('vifb',),
    ),
    MetricSpec(
        'VIF', perception.visual_information_fidelity, 'perception', 'visual information fidelity', True,
        ('[0, 2], more if contrast grows', '[0, 1], more if contrast grows'), 'Sheikh 2006', by_protocol=True,
        published=('tang',), min_size=perception.VIF_MIN_SIZE, undefined=_CONSTANT_SOURCE,
    ),
    MetricSpec(
        'VIFF', perception.visual_information_fidelity_for_fusion, 'perception',
        'visual information fidelity for fusion', True, ('[0, 1], more if contrast grows',) * 2, 'Han 2013',
        min_size=perception.VIF_MIN_SIZE,
    ),
    MetricSpec(
        'Qcb', perception.qcb, 'perception', "Chen–Blum's contrast preservation", True, ('[0, 1]',) * 2, 'Chen 2009',
        published=('vifb',), undefined='an image is constant', shares=True,
    ),
    MetricSpec(
        'Qcv', perception.qcv, 'perception', "Chen–Varshney's visible error", False, ('[0, ∞)',) * 2, 'Chen 2007',
        published=('vifb',), undefined='an image is constant', shares=True,
    ),
)  # fmt: skip

METRIC_SPECS = {spec.name: spec for spec in _SPECS}
"""dict[str, MetricSpec]: every metric by name, in the order of tables."""


def resolve_metrics(metrics: str | Sequence[str]) -> list[MetricSpec]:
    """Find the specs of ``'all'``, one name, or several.

    Names are matched without regard to case, ``-`` and ``_``.

    Returns:
        Without repetitions, in the order asked for.

    Raises:
        ValueError: If a name is unknown; the known ones are listed.

    Examples:
        >>> [spec.name for spec in resolve_metrics('en, ssim')]
        ['EN', 'SSIM']
    """
    return [METRIC_SPECS[name] for name in metric_names(metrics)]
