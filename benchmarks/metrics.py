"""Seconds per metric on one pair, and the whole suite.

    python benchmarks/metrics.py --width 768 --height 576 --threads 2

Wall time is the best of the repetitions; process time is what all threads together took, which tells more on a machine
that has other work to do.
"""

import argparse
import resource
import time

import torch

from mmfusion.evaluation import METRIC_SPECS, PROTOCOLS, resolve_metrics

IVIF_ZOO = [
    'CE',
    'NMI',
    'QNCIE',
    'TE',
    'EI',
    'Qy',
    'Qcb',
    'EN',
    'MI',
    'SF',
    'AG',
    'SD',
    'CC',
    'SCD',
    'VIF',
    'MSE',
    'PSNR',
    'Qabf',
    'Nabf',
    'SSIM',
    'MS_SSIM',
]
"""The 21 metrics of the public Python implementation that the suite is compared with."""


def make_images(height, width, seed=0):
    """fused, ir, vi: 1×1×H×W in 0–255, smooth with texture, like a photograph in what the metrics' time depends on."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 1, max(2, height // 24), max(2, width // 24), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode='bicubic').clamp(0, 1)
    ir, vi = ((smooth + 0.08 * torch.rand(2, 1, height, width, generator=generator)) * 235).round().double().chunk(2)
    return ((ir + vi) / 2).round(), ir, vi


def measure(spec, images, protocol, repetitions):
    """Best wall time and best process time, in seconds."""
    wall, process = [], []
    for _ in range(repetitions):
        start, cpu = time.perf_counter(), time.process_time()
        spec(*images, protocol=protocol)
        wall.append(time.perf_counter() - start)
        process.append(time.process_time() - cpu)
    return min(wall), min(process)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=768)
    parser.add_argument('--height', type=int, default=576)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repetitions', type=int, default=3)
    parser.add_argument('--metrics', default='all')
    parser.add_argument('--protocol', choices=PROTOCOLS, default='tang')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = make_images(args.height, args.width)
    rows = {}
    for spec in resolve_metrics(args.metrics):
        measure(spec, images, args.protocol, 1)
        rows[spec.name] = measure(spec, images, args.protocol, args.repetitions)
    print(f'{args.width}×{args.height}, {args.threads} thread(s), protocol {args.protocol}')
    print(f'{"metric":<12}{"wall [s]":>10}{"process [s]":>13}')
    for name, (wall, process) in sorted(rows.items(), key=lambda item: -item[1][0]):
        print(f'{name:<12}{wall:>10.4f}{process:>13.4f}')
    groups = {'those 21': [n for n in IVIF_ZOO if n in rows], 'all': list(rows)}
    for title, names in groups.items():
        if len(names) > 1:
            print(f'{title:<12}' + ''.join(f'{sum(rows[n][k] for n in names):>{10 + 3 * k}.3f}' for k in (0, 1)))
    print(
        f'peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB ({len(METRIC_SPECS)} metrics known)'
    )


if __name__ == '__main__':
    main()
