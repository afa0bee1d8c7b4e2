"""Time methods with glibc's own allocation, and with freed memory kept, as the tools have it.

    python benchmarks/kept_memory.py lite seafusion ifcnn_tno [--shape 480 640] [--rounds 4] [--threads 1]

Each is a process of its own, since an allocator's setting cannot be taken back. Printed are the least processor seconds of a
pair, reading and writing of files left out, the peak of the resident memory, and the ratio of the seconds. Weights are
random where the authors' are not at hand.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import numpy as np


def measure(method, shape, rounds, threads, keep):
    """Fuse a random pair several times; seconds, and MiB."""
    import torch

    from mmfusion.apis import FusionInferencer
    from mmfusion.utils import keep_freed_memory
    from mmfusion.utils.checkpoint import CheckpointError

    torch.set_num_threads(threads)
    if keep and not keep_freed_memory():
        sys.exit('this allocator takes no such setting')
    try:
        fuse = FusionInferencer(method)
    except (FileNotFoundError, CheckpointError):
        fuse = FusionInferencer(method, 'random')
    vi = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    seconds = []
    for _ in range(rounds + 1):
        start = time.process_time()
        fuse(vi, vi[..., 0].copy())
        seconds.append(time.process_time() - start)
    return min(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('methods', nargs='+')
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--case', choices=['as it is', 'kept'], help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.case:
        print(*measure(args.methods[0], args.shape, args.rounds, args.threads, args.case == 'kept'))
        return
    env = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    print('method | s | s, kept | ratio | peak, MiB | peak, kept')
    for method in args.methods:
        (first, peak), (second, kept) = (
            map(float, subprocess.run(
                [sys.executable, __file__, method, '--shape', *map(str, args.shape), '--rounds', str(args.rounds),
                 '--threads', str(args.threads), '--case', case],
                env=env, stdout=subprocess.PIPE, text=True, check=True,
            ).stdout.split()[-2:])
            for case in ('as it is', 'kept')
        )  # fmt: skip
        print(f'{method} | {first:.3f} | {second:.3f} | {second / first:.2f} | {peak:.0f} | {kept:.0f}', flush=True)


if __name__ == '__main__':
    main()
