"""Runs that are killed at any moment leave no half of a file, and a second call goes on."""

import json
import os
import signal
import time
from threading import RLock

import numpy as np
import pytest
from tqdm import tqdm

from mmfusion.apis import init_model, load_model_config
from mmfusion.apis.folder import fuse_folder
from mmfusion.cli.align import main as align_verb
from mmfusion.comparison.entrants import Entrant, open_data
from mmfusion.comparison.methods import Comparison
from mmfusion.datasets import MSRSDetectionDataset
from mmfusion.datasets.export.fused_dataset import FusedDataset
from mmfusion.datasets.export.parts import DatasetPart
from mmfusion.datasets.transforms import LoadImagePair
from mmfusion.evaluation.report import evaluate_folders
from mmfusion.export import ExportedModel
from mmfusion.export import export as write_export
from mmfusion.utils import CameraPair, list_images, pair_images, read_visible, write_image

COUNT = 24


def killed_after(seconds, run):
    """Run in a process of its own, and kill it."""
    process = os.fork()
    if process == 0:
        tqdm.set_lock(RLock())  # tqdm's own is shared with this process, which would wait for the killed one for ever
        try:
            run()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        for kind in ('vi', 'ir'):
            write_image(tmp_path / 'detection' / kind / f'{k}.png', rng.integers(0, 256, (48, 64), np.uint8))
        (tmp_path / 'detection' / 'labels').mkdir(exist_ok=True)
        (tmp_path / 'detection' / 'labels' / f'{k}.txt').write_text('0 0.5 0.5 0.5 0.5')
    return tmp_path


class Slow:
    """An inferencer that takes a moment, and gives the visible image."""

    def fuse_pairs(self, pairs, batch_size):
        for k, (vi, _) in enumerate(pairs):
            time.sleep(0.002)
            yield k, read_visible(vi)


def fuse(data):
    pairs = pair_images(data / 'detection' / 'vi', data / 'detection' / 'ir')
    return fuse_folder(pairs, data / 'out', dict(config='slow'), Slow)


def export(data):
    dataset = MSRSDetectionDataset(data_root=str(data), pipeline=[], serialize_data=False)
    writer = FusedDataset(
        data / 'out', 'det', dict(train=DatasetPart(dataset, LoadImagePair(), {})), dict(source='slow')
    )

    def make(pair, name):
        time.sleep(0.002)
        return np.ascontiguousarray(pair[..., :3])

    return writer.write(make, show_progress=False)


def evaluate(data):
    folders = dict(a=data / 'detection' / 'vi')
    return evaluate_folders(
        data / 'detection' / 'ir', data / 'detection' / 'vi', folders, ['EN', 'SF'], out_dir=data / 'out'
    )


def compare(data):
    """Fused by a method, measured, and written as tables and a report."""
    config = data / 'average.py'
    config.write_text("model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.AverageNetwork'))")
    pairs = open_data(vi=data / 'detection' / 'vi', ir=data / 'detection' / 'ir')
    comparison = Comparison([Entrant('average', str(config), 'random')], pairs, data / 'out', 'cpu', lambda text: None)
    comparison.fuse(None)
    return comparison.write(comparison.evaluate(['EN', 'SF'], workers=1), 2)


def export_model(data):
    config = data / 'average.py'
    config.write_text("model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.AverageNetwork'))")
    fuser = init_model(load_model_config(str(config)), 'random', 'cpu')
    return write_export(fuser, data / 'out' / 'average.torchscript', 'average')


def align(data):
    """Cameras by listed points, with pictures of the pairs."""
    points = data / 'points.txt'
    points.write_text('\n'.join(f'{x} {y} {x} {y}' for x, y in ((0, 0), (60, 0), (0, 40), (60, 40))))
    out = data / 'out' / 'pair.json'
    given = ['--points', points, '--out', out, '--overwrite', '--panels', data / 'panels']
    assert (
        align_verb(list(map(str, ['--vi', data / 'detection' / 'vi', '--ir', data / 'detection' / 'ir', *given]))) == 0
    )
    return CameraPair.load(out)


@pytest.mark.parametrize(('run', 'files'), [(compare, 6 + COUNT), (export_model, 1), (align, 1)])
def test_comparison_export_and_alignment_killed_at_any_moment(data, run, files, one_thread):
    """What has its name is whole; a second call ends with what an uninterrupted one writes."""
    for seconds in (0.02, 0.05, 0.1, 0.2, 0.4):
        killed_after(seconds, lambda: run(data))
        for file in (data / 'out').rglob('[!.]*.*'):
            if file.suffix == '.png':
                assert read_visible(file).shape == (48, 64, 3)
            elif file.suffix == '.json':
                assert json.loads(file.read_text())
            elif file.suffix == '.torchscript':
                assert ExportedModel(file).info
    assert run(data)
    written = [file for file in (data / 'out').rglob('*') if file.is_file() and file.name[0] != '.']
    assert len(written) == files, written


@pytest.mark.parametrize('run', [fuse, export, evaluate])
def test_killed_at_any_moment(data, run, one_thread):
    for seconds in (0.01, 0.03, 0.05, 0.08, 0.12):
        killed_after(seconds, lambda: run(data))
        if run is not evaluate and (data / 'out').is_dir():
            for file in list_images(data / 'out').values():
                assert read_visible(file).shape == (48, 64, 3)  # whole, or not there
    (data / 'out').mkdir(exist_ok=True)
    (data / 'out' / '.7.png.ab12cd_9.tmp').write_bytes(b'half')
    if run is evaluate:
        assert len(run(data)[0].images) == COUNT
    else:
        done, kept = run(data)
        assert done + kept == COUNT
        assert len(list_images(data / 'out')) == COUNT
    assert list((data / 'out').rglob('.*')) == []


def test_killed_while_its_progress_is_drawn():
    """The processes that these tests kill hold nothing that this one needs."""
    tqdm(disable=False, leave=False).close()  # makes the lock, as any bar does
    killed_after(0.2, lambda: (tqdm.get_lock().acquire(), time.sleep(60)))
    assert all(lock.acquire(True, 1) for lock in tqdm.get_lock().locks)
    tqdm.get_lock().release()
