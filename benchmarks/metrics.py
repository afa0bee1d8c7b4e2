"""Seconds per metric on one pair, and the whole suite.

    python benchmarks/metrics.py --width 768 --height 576 --threads 2

Wall time is the best of the repetitions; process time is what all threads together took, which tells more on a machine
that has other work to do. Each metric is measured alone; "together" is ``evaluate_images``, which computes once what
metrics have in common. ``--together`` leaves the single ones out, for large images.
"""

import argparse
import resource
import time

import torch

from mmfusion.evaluation import METRIC_SPECS, PROTOCOLS, evaluate_images, resolve_metrics

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


def measure(function, repetitions):
    """Best wall time and best process time, in seconds, of ``function()``."""
    wall, process = [], []
    for _ in range(repetitions):
        start, cpu = time.perf_counter(), time.process_time()
        function()
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
    parser.add_argument('--together', action='store_true', help='all metrics in one go only')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = make_images(args.height, args.width)
    specs = resolve_metrics(args.metrics)
    before = peak_memory()
    print(f'{args.width}×{args.height}, {args.threads} thread(s), protocol {args.protocol}')
    print(f'{"metric":<18}{"wall [s]":>10}{"process [s]":>13}')
    if not args.together:
        rows = {}
        for spec in specs:
            spec(*images, protocol=args.protocol, data_range=255)
            rows[spec.name] = measure(
                lambda s=spec: s(*images, protocol=args.protocol, data_range=255), args.repetitions
            )
        for name, row in sorted(rows.items(), key=lambda item: -item[1][0]):
            print_row(name, row)
    eight_bit = [image.to(torch.uint8) for image in images]
    for title, known in {'those 21': IVIF_ZOO, 'all': METRIC_SPECS}.items():
        names = [spec.name for spec in specs if spec.name in known]
        if len(names) == len(known):
            if not args.together:
                print_row(f'{title}, alone', [sum(rows[name][k] for name in names) for k in (0, 1)])
            suite = measure(lambda n=names: evaluate_images(*eight_bit, n, args.protocol), args.repetitions)
            print_row(f'{title}, together', suite)
    print(f'peak memory {peak_memory():.0f} MB, of which {before:.0f} MB before the first metric')


def print_row(name, row):
    """One line of the table."""
    print(f'{name:<18}{row[0]:>10.4f}{row[1]:>13.4f}')


def peak_memory():
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == '__main__':
    main()
