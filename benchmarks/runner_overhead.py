"""What the Runner costs over a bare loop of the same steps.

    python benchmarks/runner_overhead.py [--iters 20] [--rounds 3] [--channels 8 12 16 20]

Both train the same network on the same synthetic scenes, loaded by the same dataloader, turn by turn; the ratio of the
medians over the rounds is printed. The smaller the step, the larger the share of the overhead.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ['MMFUSION_VGG19'] = 'random'

import torch
from mmengine.config import Config
from mmengine.runner import Runner

import mmfusion  # noqa: F401
from mmfusion.registry import MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs/occo/occo_synthetic.py'


def config(args, work_dir):
    """The synthetic config, cut down to ``iters`` steps of one epoch without validation and checkpoints."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            'work_dir': work_dir,
            'log_level': 'WARNING',
            'model.network.channels': args.channels,
            'train_cfg.max_epochs': 1,
            'train_dataloader.batch_size': 4,
            'train_dataloader.dataset.num': 4 * args.iters,
            'default_hooks.checkpoint.interval': -1,
        }
    )
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg', 'test_dataloader', 'test_evaluator'):
        cfg[key] = None
    return cfg


def bare_loop(cfg):
    """Seconds of the steps alone."""
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    model = MODELS.build(cfg.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    start = time.perf_counter()
    for data in loader:
        data = model.data_preprocessor(data, True)
        losses = model(**data, mode='loss')
        optimizer.zero_grad()
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        optimizer.step()
    return time.perf_counter() - start


def with_runner(cfg):
    """Seconds of the Runner's train loop."""
    runner = Runner.from_cfg(cfg)
    runner.build_train_loop(cfg.train_cfg)
    start = time.perf_counter()
    runner.train()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iters', type=int, default=20)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--channels', type=int, nargs=4, default=(8, 12, 16, 20))
    args = parser.parse_args()
    bare, runner = [], []
    with tempfile.TemporaryDirectory() as work_dir:
        for _ in range(args.rounds):
            bare.append(bare_loop(config(args, work_dir)))
            runner.append(with_runner(config(args, work_dir)))
    a, b = statistics.median(bare), statistics.median(runner)
    print(f'bare loop {a / args.iters:.3f} s a step, Runner {b / args.iters:.3f} s: {b / a - 1:+.1%}')


if __name__ == '__main__':
    main()
