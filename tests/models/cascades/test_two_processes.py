"""A joint config in stages under tools/dist_train.sh: two processes train, and evaluate as one process does."""

import json
import os
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.cli.running import without_sync_bn

pytestmark = pytest.mark.usefixtures('one_thread')
ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'configs/seafusion/seafusion_synthetic.py'
OPTIONS = {
    'model.fuser.network.channels': (4, 5, 6),
    'model.fuser.network.decoder_channels': (6, 5, 4),
    'train_cfg.max_epochs': 3,  # two of the fuser, one of the segmenter
    'train_cfg.val_interval': 3,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.num': 8,
    'train_dataloader.dataset.size': (48, 64),
    'val_dataloader.batch_size': 1,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'val_dataloader.dataset.num': 3,  # not a multiple of two: one process sees an image twice
    'val_dataloader.dataset.size': (48, 64),
    'val_evaluator.1.metric': ['EN', 'SF'],
    'model.segmentor.data_preprocessor.size': (48, 64),
    'default_hooks.checkpoint.max_keep_ckpts': 3,
    'default_hooks.panels.num': 0,
}


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    """The work dir of a training in two processes."""
    folder = tmp_path_factory.mktemp('two')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    env = dict(os.environ, PORT=port, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    env['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{env["PATH"]}'
    given = [f'{k}={v}'.replace(' ', '').replace("'", '') for k, v in OPTIONS.items()]
    command = [ROOT / 'tools/dist_train.sh', CONFIG, '2', '--work-dir', folder, '--cfg-options', *given]
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def state(folder, epoch):
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=True)['state_dict']


def changed(before, after, part):
    return any(not torch.equal(v, after[k]) for k, v in before.items() if k.startswith(part))


def test_stages(two_processes):
    """Each stage trains its part; what is frozen is bit-equal, also after buffers were averaged over the processes."""
    states = [state(two_processes, epoch) for epoch in (1, 2, 3)]
    moved = [(changed(a, b, 'fuser.'), changed(a, b, 'segmentor.')) for a, b in pairwise(states)]
    assert moved == [(True, False), (False, True)]


def test_metric_of_one_process(two_processes, tmp_path):
    """What two processes measured after training is what one process measures with their checkpoint."""
    (scalars,) = two_processes.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    together = next(line for line in lines if 'mIoU' in line)
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(OPTIONS)
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.merge_from_dict(dict(work_dir=str(tmp_path), load_from=str(two_processes / 'epoch_3.pth'), log_level='WARNING'))
    without_sync_bn(cfg.model)
    alone = Runner.from_cfg(cfg).test()
    for name in ('mIoU', 'aAcc', 'fusion/EN', 'fusion/SF'):
        assert together[name] == pytest.approx(alone[name], rel=1e-6), name
