"""A training step of methods as they are, in mixed precision, channels last, and compiled: seconds, memory, losses.

    python benchmarks/training_step.py [CONFIG …] [--device cuda] [--batch 8] [--size 96] [--steps 5] [--compile]

Each way has the same weights and the same random pairs (masks in which each region is present). Printed are the seconds of a
step (the least of --steps, forward and backward), the peak memory of a GPU, and how far the sum of the losses is from that
of float32. Mixed precision is float16 with scaled losses on a GPU, bfloat16 on a CPU. Priors have random weights: the time
is the same.
"""

import argparse
import copy
import os
import time

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from occo_step import random_batch

import mmfusion  # noqa: F401
from mmfusion.engine.hooks import to_channels_last
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.configs import find_config, read_config

CONFIGS = (
    'lite',
    'seafusion_public-pairs',
    'gffusion_wo-prior',
    'mgfusion_wo-prior',
    'occo_fmb',
)


def loaded_batch(num, size):
    """A batch as a dataloader gives it: pairs of bytes, with masks of a shared and two unique regions."""
    vi, ir, *masks = random_batch(num, size, torch.device('cpu'))
    samples = []
    for k, (mask_vi, mask_ir) in enumerate(zip(*masks, strict=True)):
        sample = FusionDataSample(metainfo=dict(img_path=f'{k}.png', img_shape=(size, size), ori_shape=(size, size)))
        sample.gt_saliency = PixelData(vi=mask_vi, ir=mask_ir)
        samples.append(sample)
    return dict(inputs=list((torch.cat([vi, ir], 1) * 255).byte()), data_samples=samples)


def measure(model, batch, device, steps, amp=False):
    """Seconds of a step, the peak memory in MiB (0 on a CPU), and the sum of the losses."""
    scale = 128.0 if amp and device.type == 'cuda' else 1.0
    cast = torch.autocast(device.type, torch.float16 if device.type == 'cuda' else torch.bfloat16, enabled=amp)
    wait = torch.cuda.synchronize if device.type == 'cuda' else (lambda: None)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(steps + 1):
        model.zero_grad(set_to_none=True)
        wait()
        start = time.perf_counter()
        with cast:
            total, _ = model.parse_losses(model(**model.data_preprocessor(copy.copy(batch), True), mode='loss'))
        (total * scale).backward()
        wait()
        seconds.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.type == 'cuda' else 0.0
    return min(seconds[1:]), memory, total.item()


def compare(config, batch, device, steps, compiled):
    """Rows of a method: the way, seconds, ratio to float32, memory, and the relative difference of the losses."""
    cfg = read_config(find_config(config))
    rows, expected = [], None
    ways = ['float32', 'AMP', 'channels last', 'AMP, channels last', *(['compiled'] if compiled else [])]
    for way in ways:
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).to(device).train()
        if 'channels last' in way:
            to_channels_last(model)
        if way == 'compiled':
            model.network.compile()
        seconds, memory, loss = measure(model, batch, device, steps, 'AMP' in way)
        expected = expected or (seconds, loss)
        difference = abs(loss - expected[1]) / abs(expected[1])
        rows.append(
            [config, way, f'{seconds:.3f}', f'{expected[0] / seconds:.2f}', f'{memory:.0f}', f'{difference:.1e}']
        )
    return rows


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', default=CONFIGS, metavar='CONFIG')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=96)
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='the network under torch.compile, too')
    args = parser.parse_args(argv)
    for name in ('MMFUSION_VGG19', 'MMFUSION_CLIP'):
        os.environ.setdefault(name, 'random')
    init_default_scope('mmfusion')
    torch.set_flush_denormal(True)
    device = torch.device(args.device)
    print(f'{args.batch} pairs of {args.size}×{args.size} on {args.device}, {torch.get_num_threads()} threads')
    batch = loaded_batch(args.batch, args.size)
    for config in args.configs:
        for row in compare(config, batch, device, args.steps, args.compile):
            print('{:<32} {:<20} {:>8} s {:>6}× {:>7} MiB {:>9}'.format(*row), flush=True)


if __name__ == '__main__':
    main()
