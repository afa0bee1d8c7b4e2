"""Time methods on a pair of 640×480 in PyTorch, and in ONNX Runtime where it is installed; ratios to the first method.

    python benchmarks/realtime.py lite seafusion --threads 2

What is timed in PyTorch is the network alone; in ONNX Runtime the whole exported graph, from uint8 images to a uint8 image,
with colours. The least of the runs counts, after two that do not.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from export_methods import load

from mmfusion.export import export
from mmfusion.export.runtime import open_graph


def least(run, repeats):
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds[2:])


def in_pytorch(model, size, repeats):
    """Seconds of the network."""
    pair = dict(vi=torch.rand(1, 1, *size), ir=torch.rand(1, 1, *size))
    with torch.inference_mode():
        return least(lambda: model.network(**pair), repeats)


def in_onnx_runtime(model, name, size, repeats):
    """Seconds of the exported graph; None where ONNX Runtime is not installed."""
    random = np.random.default_rng(0)
    vi, ir = (random.integers(0, 256, (1, channels, *size), np.uint8) for channels in (3, 1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f'{name}.onnx'
        try:
            export(model, file, name)
        except ImportError:
            return None
        run, _ = open_graph(file)
        return least(lambda: run(vi, ir), repeats)


def main(argv=None):
    """Print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('methods', nargs='+', help='names of configs')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=10)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    first = None
    for name in args.methods:
        model, _ = load(name)  # with random weights where others are not at hand: the time is the same
        seconds = in_pytorch(model, args.size, args.repeats)
        graph = in_onnx_runtime(model, name, args.size, args.repeats)
        first = first or (seconds, graph)
        line = f'{name}: PyTorch {1e3 * seconds:.1f} ms ({seconds / first[0]:.1f}×)'
        if graph:
            line += f', ONNX Runtime {1e3 * graph:.1f} ms' + (f' ({graph / first[1]:.1f}×)' if first[1] else '')
        print(line, flush=True)


if __name__ == '__main__':
    main()
