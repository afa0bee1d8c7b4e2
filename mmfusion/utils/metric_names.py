"""Names of the metrics, without the seconds that importing them takes."""

from collections.abc import Iterable

# In the order of tables; :data:`mmfusion.evaluation.METRIC_SPECS` says what each is.
METRIC_NAMES = (
    'EN', 'MI', 'NMI', 'CE', 'QNCIE', 'TE', 'FMI_pixel', 'FMI_dct', 'FMI_w', 'SF', 'AG', 'SD', 'Variance', 'EI',
    'Qabf', 'Nabf', 'Labf', 'CC', 'SCD', 'SSIM', 'MS_SSIM', 'Qy', 'Qw', 'Qe', 'PSNR', 'MSE', 'RMSE', 'VIF', 'VIFF',
    'Qcb', 'Qcv',
)  # fmt: skip


def metric_names(names: str | Iterable[str]) -> list[str]:
    """Find metrics by name, without regard to case, ``-`` and ``_``.

    ``'all'``, names separated by commas, or a list give names of :data:`METRIC_NAMES`, once each, in the order asked for.

    Raises:
        ValueError: If a name is unknown, or none is given; the known ones are listed.
    """
    if isinstance(names, str):
        names = METRIC_NAMES if names == 'all' else names.split(',')
    names, by_key = list(names), {_key(name): name for name in METRIC_NAMES}
    unknown = [name for name in names if _key(name) not in by_key]
    if unknown or not names:
        raise ValueError(f"unknown metric(s) {unknown}; known are {', '.join(METRIC_NAMES)}, or 'all'")
    return list(dict.fromkeys(by_key[_key(name)] for name in names))


def _key(name):
    return name.strip().lower().replace('-', '').replace('_', '')
