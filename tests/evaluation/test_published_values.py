"""Equal to what the reference evaluations published."""

import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.evaluation import METRIC_SPECS, evaluate_images
from mmfusion.evaluation.report import load_image
from mmfusion.evaluation.report.tables import rank

TANG = ('EN', 'SF', 'SD', 'PSNR', 'MSE', 'MI', 'VIF', 'AG', 'CC', 'SCD', 'Qabf', 'Nabf', 'MS_SSIM')
VIFB = {
    'Entropy': 'EN',
    'Cross_entropy': 'CE',
    'Mutinf': 'MI',
    'Psnr': 'PSNR',
    'Avg_gradient': 'AG',
    'Edge_intensity': 'EI',
    'Qabf': 'Qabf',
    'Variance': 'Variance',
    'Spatial_frequency': 'SF',
    'Rmse': 'RMSE',
    'Ssim': 'SSIM',
    'Qcb': 'Qcb',
    'Qcv': 'Qcv',
}


def _evaluate(fused, sources, metrics, protocol, name=None):
    name = name or fused.name
    images = [load_image(file) for file in (fused, sources / 'ir' / name, sources / 'vi' / name)]
    values, reasons = evaluate_images(*images, list(metrics), protocol)
    assert not reasons
    return {name: value.item() for name, value in values.items()}


@pytest.mark.data
@pytest.mark.parametrize('method', ['SeAFusion', 'DenseFuse', 'U2Fusion'])
def test_tang_published(data_dir, read_values, method):
    folder = data_dir / 'reference_fusions' / 'TNO'
    published = {k: v for k, v in read_values(folder / 'published_metrics.csv').items() if k[0] == method}
    assert len(published) == 42
    for image in sorted(image for _, image in published)[::5]:
        expected = published[method, image]
        found = _evaluate(folder / method / image, data_dir / 'TNO', expected, 'tang')
        found['SF'] /= 255  # published when the public code still worked on images in [0, 1]
        for name, (value, _) in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), (image, name)


@pytest.mark.data
@pytest.mark.parametrize('method', ['SeAFusion', 'DenseFuse'])
def test_tang_reference_code(data_dir, read_values, method):
    folder = data_dir / 'reference_fusions' / 'TNO'
    published = {k: v for k, v in read_values(folder / 'reference_code_metrics.csv').items() if k[0] == method}
    assert len(published) == 4
    for (_, image), expected in published.items():
        assert set(expected) == set(TANG)
        found = _evaluate(folder / method / image, data_dir / 'TNO', TANG, 'tang')
        for name, (value, _) in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), (image, name)


@pytest.mark.data
@pytest.mark.parametrize('method', ['GFF', 'IFCNN', 'LatLRR', 'U2Fusion'])
def test_vifb(data_dir, read_values, method):
    """Within the five published digits: JPEG decoding differs in none of these images by enough to be seen."""
    folder = data_dir / 'reference_fusions' / 'VIFB'
    published = {k: v for k, v in read_values(folder / 'published_metrics.csv').items() if k[0] == method}
    assert len(published) == 6
    for image in sorted(image for _, image in published)[::3]:
        expected = published[method, image]
        assert set(expected) == set(VIFB)
        found = _evaluate(folder / method / image, folder, VIFB.values(), 'vifb')
        for name, (value, _) in expected.items():
            # Five significant digits: half a unit of the last one is at most 5e-5 of the value.
            assert found[VIFB[name]] == pytest.approx(value, rel=5.1e-5), (image, name)


@pytest.mark.data
def test_lite_is_first_on_vifb(data_dir, read_values, tmp_path):
    """The shipped weights, by mean rank of 13 metrics among the methods whose values the benchmark published."""
    folder = data_dir / 'reference_fusions' / 'VIFB'
    published = read_values(folder / 'published_metrics.csv')
    methods = sorted({method for method, _ in published})
    images = sorted({image for _, image in published})
    FusionInferencer('lite', device='cpu', show_progress=False)(
        folder / 'vi', folder / 'ir', out_dir=tmp_path / 'lite', suffix='.png'
    )
    ours = [
        _evaluate((tmp_path / 'lite' / image).with_suffix('.png'), folder, VIFB.values(), 'vifb', image)
        for image in images
    ]
    ranks = []
    for name, short in VIFB.items():
        means = [np.mean([published[m, image][name][0] for image in images]) for m in methods]
        means.append(np.mean([values[short] for values in ours]))
        ranks.append(rank(means, METRIC_SPECS[short].higher_is_better))
    *others, lite = np.mean(ranks, axis=0)
    assert lite < min(others)
