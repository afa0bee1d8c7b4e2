"""The evaluator: per-image values, sizes, and no image twice or lost in two processes."""

import csv
import json
import logging
import math
import os
import socket
import subprocess
import sys

import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.evaluation import FusionMetric, evaluate_images
from mmfusion.registry import METRICS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import to_uint8

SIZES = [(24, 30), (24, 30), (18, 40), (24, 30), (18, 40)]


def _sample(index):
    generator = torch.Generator().manual_seed(index)
    height, width = SIZES[index]
    pair = torch.randint(0, 256, (4, height, width), dtype=torch.uint8, generator=generator)
    sample = FusionDataSample(metainfo=dict(img_path=f'{index}.png', img_id=str(index)))
    sample.fused = PixelData(data=torch.rand(3, height, width, generator=generator))
    return pair, sample


def _feed(metric, indices, batch=2):
    for start in range(0, len(indices), batch):
        pairs, samples = zip(*[_sample(i) for i in indices[start : start + batch]], strict=True)
        metric.process(dict(inputs=list(pairs)), [s.to_dict() for s in samples])


def _expected(name):
    values = []
    for index in range(len(SIZES)):
        pair, sample = _sample(index)
        images = to_uint8(sample.fused.data[None]), pair[None, 3:], pair[None, [2, 1, 0]]
        values.append(evaluate_images(*images, [name])[0][name].item())
    return values


def test_built_from_a_config_and_equal_to_single_images(tmp_path):
    file = tmp_path / 'values.csv'
    metric = METRICS.build(dict(type='mmfusion.FusionMetric', metric=['EN', 'CC'], outfile=str(file), method='ours'))
    _feed(metric, range(5), batch=3)
    results = metric.evaluate(5)
    assert set(results) == {'fusion/EN', 'fusion/CC'}
    for name in ('EN', 'CC'):
        assert results[f'fusion/{name}'] == pytest.approx(sum(_expected(name)) / 5)
    with open(file, newline='') as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ['method', 'image', 'metric', 'value']
    assert [float(r['value']) for r in rows if r['metric'] == 'CC'] == pytest.approx(_expected('CC'), rel=1e-12)
    assert [r['image'] for r in rows if r['metric'] == 'CC'] == list('01234')
    assert {r['method'] for r in rows} == {'ours'}


def test_names_of_another_encoding(tmp_path):
    metric = FusionMetric(['EN'], outfile=str(tmp_path / 'values.csv'))
    pair, sample = _sample(0)
    sample.set_metainfo(dict(img_id=os.fsdecode(b'caf\xe9'), img_path=os.fsdecode(b'caf\xe9.png')))
    metric.process(dict(inputs=[pair]), [sample.to_dict()])
    metric.evaluate(1)
    assert b'caf\xe9' in (tmp_path / 'values.csv').read_bytes()


def test_each_dataset_has_its_own_mean():
    metric, (pairs, samples) = FusionMetric(['EN', 'CC']), zip(*[_sample(i) for i in range(5)], strict=True)
    for k, sample in enumerate(samples):
        sample.set_metainfo(dict(dataset='LLVIP' if k < 2 else 'MSRS'))
    metric.process(dict(inputs=list(pairs)), [s.to_dict() for s in samples])
    results = metric.evaluate(5)
    names = ('', 'LLVIP/', 'MSRS/')
    assert set(results) == {f'fusion/{name}{metric}' for name in names for metric in ('EN', 'CC')}
    for name, part in zip(names, (slice(None), slice(2), slice(2, 5)), strict=True):
        values = _expected('CC')[part]
        assert results[f'fusion/{name}CC'] == pytest.approx(sum(values) / len(values), rel=1e-12)
    # One dataset alone is the mean.
    metric.process(dict(inputs=list(pairs[:2])), [s.to_dict() for s in samples[:2]])
    assert set(metric.evaluate(2)) == {'fusion/EN', 'fusion/CC'}


def test_stacked_inputs_and_second_epoch():
    metric = FusionMetric(['EN'], prefix='val')
    for _ in range(2):
        pairs, samples = zip(*[_sample(i) for i in (0, 1, 3)], strict=True)
        metric.process(dict(inputs=torch.stack(pairs)), [s.to_dict() for s in samples])
        assert metric.evaluate(3)['val/EN'] == pytest.approx(sum(_expected('EN')[i] for i in (0, 1, 3)) / 3)


def test_undefined_values_are_left_out_and_explained(caplog):
    metric = FusionMetric(['SCD', 'MS_SSIM'])
    _feed(metric, [0, 1])
    pair, sample = _sample(3)
    pair[3] = 7
    metric.process(dict(inputs=[pair]), [sample.to_dict()])
    with caplog.at_level(logging.WARNING):
        results = metric.evaluate(3)
    assert results['fusion/SCD'] == pytest.approx(sum(_expected('SCD')[:2]) / 2)
    assert math.isnan(results['fusion/MS_SSIM'])
    assert 'constant' in metric.reasons['3', 'SCD']
    assert metric.reasons['0', 'MS_SSIM'] == 'the image is smaller than 44×44 pixels'


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match='unknown metric'):
        FusionMetric(['EM'])
    with pytest.raises(ValueError, match='unknown protocol'):
        FusionMetric(protocol='other')
    metric = FusionMetric(['EN'])
    pair, sample = _sample(0)
    with pytest.raises(ValueError, match=r'0\.png: the fused image is 30×24 .* but its sources 29×24'):
        metric.process(dict(inputs=[pair[..., 1:]]), [sample.to_dict()])
    with pytest.raises(ValueError, match='neither img_path nor img_id'):
        metric.process(dict(inputs=[pair]), [dict(fused=sample.fused)])
    _feed(metric, [0, 1])
    with pytest.raises(RuntimeError, match='2 distinct images were evaluated, but the data set has 3'):
        metric.evaluate(3)


_WORKER = """
import importlib.util, json, sys
import torch
spec = importlib.util.spec_from_file_location('cases', sys.argv[1])
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
rank, port, shares = int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
torch.set_num_threads(1)
torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
found = []
for share in shares:
    metric = cases.FusionMetric(['EN', 'SF'])
    cases._feed(metric, share[rank])
    found.append((metric.evaluate(len(cases.SIZES)), len(metric.per_image)))
print('FOUND', json.dumps(found))
torch.distributed.destroy_process_group()
"""


def test_two_processes_count_every_image_once():
    """Five images on two processes: interleaved and in blocks, the last batch filled up by the sampler or not."""
    shares = [
        ([0, 2, 4], [1, 3, 0]),
        ([0, 1, 2], [3, 4, 0]),
        ([0, 1, 2, 3], [4]),
        ([4, 2, 0, 4], [3, 1, 0, 2]),
    ]
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    command = [sys.executable, '-c', _WORKER, __file__]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(port), json.dumps(shares)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outcomes = []
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        outcomes.append(json.loads(out.split('FOUND ')[1]))
    for rank in range(2):
        for results, _ in outcomes[rank]:
            assert results['fusion/EN'] == pytest.approx(sum(_expected('EN')) / 5, rel=1e-12)
            assert results['fusion/SF'] == pytest.approx(sum(_expected('SF')) / 5, rel=1e-12)
    assert [count for _, count in outcomes[0]] == [10] * len(shares)
