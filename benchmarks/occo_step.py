"""One training step of OCCO, in parts: seconds and peak memory.

    python benchmarks/occo_step.py [--batch 4] [--size 256] [--steps 2] [--device cpu]

Full widths, VGG19 with random weights (the time is the same), masks in which every region is present in every image, so
that no term is left out. Time of a part is the mean over the steps after one warm-up.
"""

import argparse
import os
import resource
import time
from collections import defaultdict
from pathlib import Path

os.environ['MMFUSION_VGG19'] = 'random'

import torch
from mmengine.config import Config

import mmfusion  # noqa: F401
from mmfusion.models.fusers import take
from mmfusion.registry import MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs/occo/occo_fmb.py'


def random_batch(n, size, device):
    """Images and masks; the masks' quarters give a shared, two unique and a background region."""
    vi, ir = torch.rand(n, 3, size, size, device=device), torch.rand(n, 1, size, size, device=device)
    mask_vi, mask_ir = torch.zeros(2, n, 1, size, size, dtype=torch.bool, device=device)
    half, third = size // 2, size // 3
    mask_vi[..., third:half, third:] = True
    mask_ir[..., third:, third:half] = True
    return vi, ir, mask_vi, mask_ir


def peak_memory(device):
    """Peak memory of the process (CPU) or of the device, GB."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class Parts:
    """Adds up the seconds of named parts."""

    def __init__(self, device):
        self.device, self.seconds, self.last = device, defaultdict(float), None

    def start(self):
        self._wait()
        self.last = time.perf_counter()

    def stop(self, name):
        self._wait()
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now

    def _wait(self):
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def step(model, optimizer, batch, parts):
    """One step, timed."""
    vi, ir, mask_vi, mask_ir = batch
    parts.start()
    given = model.run(vi, ir)
    given.update(mask_vi=mask_vi, mask_ir=mask_ir)
    parts.stop('network forward and colours')
    total = 0.0
    for name, loss in model.losses.items():
        value = loss(**take(loss, given))
        total = total + (value[0] if isinstance(value, tuple) else value)
        parts.stop(f'loss {name}')
    optimizer.zero_grad()
    total.backward()
    parts.stop('backward')
    optimizer.step()
    parts.stop('optimizer')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--steps', type=int, default=2)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    before = peak_memory(device)
    model = MODELS.build(Config.fromfile(CONFIG).model).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch = random_batch(args.batch, args.size, device)
    step(model, optimizer, batch, Parts(device))
    parts = Parts(device)
    for _ in range(args.steps):
        step(model, optimizer, batch, parts)
    total = sum(parts.seconds.values())
    print(f'OCCO, batch {args.batch}, {args.size}×{args.size}, {device}, {torch.get_num_threads()} threads')
    for name, seconds in parts.seconds.items():
        print(f'  {name:24s} {seconds / args.steps:7.2f} s  {seconds / total:4.0%}')
    print(f'  {"step":24s} {total / args.steps:7.2f} s')
    print(f'  peak memory {peak_memory(device):.2f} GB (before the model was built: {before:.2f} GB)')


if __name__ == '__main__':
    main()
