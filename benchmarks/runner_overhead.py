"""What the Runner costs over a bare loop of the same steps.

    python benchmarks/runner_overhead.py [--iters 20] [--channels 8 12 16 20] [--vgg-width 0.25]

A bare loop waits for data, prepares it, runs the model, and calls backward, step and zero_grad. The same calls are timed
inside the Runner's own training loop; what remains of each step (hooks, log, loss parsing, the optimizer's wrapper) is the
overhead. Timing two loops one after the other instead gives noise larger than what is to be measured: a step depends on its
masks and on what else the machine does. The smaller the step, the larger the overhead's share: narrow networks make it
larger than it is in a real training.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import mmfusion  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


class Account(Hook):
    """Adds up, step by step, the time in the calls of a bare loop and the time in all."""

    def __init__(self):
        self.inside, self.steps, self.last = 0.0, [], None

    def before_train(self, runner):
        model, optim = runner.model, runner.optim_wrapper
        for owner, name in (
            (model.data_preprocessor, 'forward'),
            (model, 'forward'),
            (optim, 'backward'),
            (optim.optimizer, 'step'),
            (optim.optimizer, 'zero_grad'),
        ):
            setattr(owner, name, self.timed(getattr(owner, name)))
        runner.train_loop.dataloader = Timed(runner.train_dataloader, self)

    def timed(self, call):
        """``call``, with its time added to the account."""

        def run(*args, **kwargs):
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.inside += time.perf_counter() - start

        return run

    def close_step(self):
        """Enter a step: (seconds in the bare loop's calls, seconds in all)."""
        now = time.perf_counter()
        if self.last is not None:
            self.steps.append((self.inside, now - self.last))
        self.inside, self.last = 0.0, now


class Timed:
    """A dataloader that accounts for the wait, and closes a step before each batch."""

    def __init__(self, loader, account):
        self.loader, self.account = loader, account

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        batches = iter(self.loader)
        wait = self.account.timed(lambda: next(batches, None))
        while True:
            self.account.close_step()
            batch = wait()
            if batch is None:
                return
            yield batch


def config(args, work_dir):
    """OCCO on FMB's layout, cut down to ``iters`` steps of one epoch without validation and checkpoints."""
    cfg = Config.fromfile(ROOT / 'configs/occo/occo_fmb.py')
    cfg.merge_from_dict(
        {
            'work_dir': work_dir,
            'log_level': 'WARNING',
            'model.network.channels': args.channels,
            'model.losses.contrastive.prior.width': args.vgg_width,
            'train_cfg.max_epochs': 1,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 1,
            'default_hooks.checkpoint.interval': -1,
        }
    )
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg', 'test_dataloader', 'test_evaluator'):
        cfg[key] = None
    return cfg


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iters', type=int, default=20)
    parser.add_argument('--channels', type=int, nargs=4, default=(8, 12, 16, 20))
    parser.add_argument('--vgg-width', type=float, default=0.25)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work_dir:
        os.environ.update(MMFUSION_VGG19='random', MMFUSION_DATA=work_dir)
        tool = ROOT / 'tools/dataset_converters/synthetic.py'
        pairs = str(4 * args.iters)
        subprocess.run([sys.executable, tool, f'{work_dir}/FMB', '--layout', 'fmb', '--num', pairs], check=True)
        runner = Runner.from_cfg(config(args, work_dir))
        account = Account()
        runner.register_hook(account, priority='LOWEST')
        runner.train()
    inside, total = (sum(column) / len(account.steps) for column in zip(*account.steps, strict=True))
    print(
        f'{len(account.steps)} steps: {total:.3f} s a step, of which {inside:.3f} s in the calls of a bare loop: '
        f'overhead {1e3 * (total - inside):.1f} ms, {total / inside - 1:+.2%}'
    )


if __name__ == '__main__':
    main()
