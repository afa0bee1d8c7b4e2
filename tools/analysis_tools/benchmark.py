"""Measure how fast a model fuses, and with how much memory.

Timed is the model alone, from float images on the device to fused colour images there: no reading, no writing.
"""

import argparse
import contextlib
import sys
import time

import numpy as np
import torch

from mmfusion.apis import init_model, load_model_config
from mmfusion.cli.arguments import Overrides, at_least
from mmfusion.cli.errors import report


def peak_memory(device):
    """Highest memory so far in MiB: torch's allocations on a GPU, otherwise the resident set of this process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on Windows, where a GPU can be measured all the same

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10  # bytes there, KiB elsewhere


def measure(model, shape, batch_size=1, iterations=20, warmup=3, amp=False):
    """Time a fuser on random images.

    Args:
        model (nn.Module): From :func:`mmfusion.apis.init_model`.
        shape (tuple[int, int]): Height and width.
        batch_size (int): Pairs a pass.
        iterations, warmup (int): Passes that are timed, and passes before them that are not.
        amp (bool): Autocast: float16 on a GPU, bfloat16 on a CPU.

    Returns:
        dict[str, float]: ``images_per_second``; ``latency_mean``, ``latency_p50``, ``latency_p90``, ``latency_p99`` in
        milliseconds a pass; ``memory_peak`` and ``memory_before`` (with the model, before its first pass) in MiB.

    Raises:
        ValueError: A number is not positive.
    """
    if min(batch_size, iterations, *shape) < 1 or warmup < 0:
        raise ValueError(
            'shape, batch size and iterations must be at least 1 and warmup at least 0, got '
            f'{tuple(shape)}, {batch_size}, {iterations}, {warmup}'
        )
    device = next(model.parameters()).device
    inputs = dict(
        vi=torch.rand(batch_size, 3, *shape, device=device), ir=torch.rand(batch_size, 1, *shape, device=device)
    )
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == 'cuda' else (lambda: None)
    cast = torch.autocast(device.type) if amp else contextlib.nullcontext()
    before, seconds = peak_memory(device), []
    with torch.no_grad(), cast:
        for i in range(warmup + iterations):
            wait()
            start = time.perf_counter()
            model(inputs, mode='tensor')
            wait()
            if i >= warmup:
                seconds.append(time.perf_counter() - start)
    result = {f'latency_p{p}': float(np.percentile(seconds, p)) * 1e3 for p in (50, 90, 99)}
    return dict(
        images_per_second=batch_size * len(seconds) / sum(seconds),
        latency_mean=float(np.mean(seconds)) * 1e3,
        **result,
        memory_peak=peak_memory(device),
        memory_before=before,
    )


def measurements(result, device):
    """The measurements as text."""
    what = 'allocated on the GPU' if device.type == 'cuda' else 'resident in this process'
    latency = ', '.join(f'{name} {result[f"latency_{name}"]:.1f}' for name in ('mean', 'p50', 'p90', 'p99'))
    return (
        f'images a second  {result["images_per_second"]:.3f}\n'
        f'latency (ms)     {latency}\n'
        f'peak memory      {result["memory_peak"]:.0f} MiB {what}, {result["memory_before"]:.0f} before the first pass'
    )


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument('--checkpoint', default='random', help='weights; default: random ones, which are as fast')
    parser.add_argument(
        '--shape', nargs=2, type=at_least(1), default=(480, 640), metavar=('H', 'W'), help='default: 480 640'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='default: %(default)s')
    parser.add_argument('--iterations', type=at_least(1), default=20, help='timed passes; default: %(default)s')
    parser.add_argument('--warmup', type=at_least(0), default=3, help='passes before them; default: %(default)s')
    parser.add_argument('--tile', nargs=2, type=int, metavar=('H', 'W'), help='fuse window by window')
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser.parse_args(argv)


def run(args):
    """Measure; returns the measurements as text."""
    model = init_model(load_model_config(args.config, args.cfg_options, args.tile), args.checkpoint, args.device)
    result = measure(model, args.shape, args.batch_size, args.iterations, args.warmup, args.amp)
    device = next(model.parameters()).device
    precision = 'AMP' if args.amp else 'float32'
    return (
        f'{args.config}: {args.batch_size}×{args.shape[0]}×{args.shape[1]} on {device} ({torch.get_num_threads()} CPU '
        f'threads), {precision}, {args.iterations} passes\n'
        f'{measurements(result, device)}'
    )


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
