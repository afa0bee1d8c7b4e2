"""One training step of GFFusion's fusion part: CLIP once for both modalities and all layers, against a call for each.

    python benchmarks/gffusion_step.py [--batch 2] [--size 224] [--steps 1] [--device cpu]

Full widths, CLIP ViT-B/16 with random weights (the time is the same). The naive step asks CLIP anew for each modality and
layer, 22 runs in all, as code does that fetches its features where it needs them. Each way runs in a process of its own,
for its own peak of memory, which is told apart: before the first step (libraries, weights), and what the steps add to it.
Time is the mean over the steps after one warm-up.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ['MMFUSION_CLIP'] = 'random'

import torch
from mmengine.config import Config

import mmfusion  # noqa: F401
from mmfusion.models.priors import PriorFeatures
from mmfusion.registry import MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs/gffusion/gffusion_funet_msrs.py'


def step(model, optimizer, vi, ir, naive):
    """One step."""
    if naive:
        clip, layers = model.prior('prior'), range(len(model.prior('prior').layers))
        images = dict(vi=vi, ir=ir.expand(-1, 3, -1, -1))
        features = {m: PriorFeatures(tuple(clip(x).tokens[k] for k in layers)) for m, x in images.items()}
        batch = model.batch(vi, ir, None)
        out = dict(fused=model.network(batch['vi'], ir, features))
        losses = model.losses_of(model.complete(batch, out))
    else:
        losses = model.loss(dict(vi=vi, ir=ir), None)
    optimizer.zero_grad()
    sum(v for k, v in losses.items() if k.startswith('loss_')).backward()
    optimizer.step()


def peak_memory(device):
    """The most memory that this process ever held, in GB."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(args):
    """Seconds a step, runs of CLIP a step, and peak memory in GB before the steps and in all, of one way."""
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model).to(device).train()
    calls = []
    model.prior('prior').register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    shape = (args.batch, 3, args.size, args.size)
    vi, ir = torch.rand(shape, device=device), torch.rand(shape, device=device)[:, :1]
    seconds, before = [], peak_memory(device)
    for _ in range(args.steps + 1):
        calls.clear()
        start = time.perf_counter()
        step(model, optimizer, vi, ir, args.way == 'naive')
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return dict(
        seconds=sum(seconds[1:]) / args.steps, calls=len(calls), before=before, steps=peak_memory(device) - before
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--steps', type=int, default=1)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--way', choices=('once', 'naive'), help='measure only this one, and print JSON')
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args)))
        return
    print(f'GFFusion, batch {args.batch}, {args.size}×{args.size}, {args.device}, {torch.get_num_threads()} threads')
    found = {}
    for way in ('once', 'naive'):
        command = [sys.executable, __file__, *sys.argv[1:], '--way', way]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[way] = json.loads(output.splitlines()[-1])
        line = '  {:6s} {seconds:7.2f} s a step, {calls:2d} runs of CLIP; peak {before:.2f} GB + {steps:.2f} GB in the steps'
        print(line.format(way, **found[way]))
    seconds, memory = (found['naive'][key] / found['once'][key] for key in ('seconds', 'steps'))
    print(f'  naive / once: time {seconds:.1f}, memory of the steps {memory:.2f}')


if __name__ == '__main__':
    main()
