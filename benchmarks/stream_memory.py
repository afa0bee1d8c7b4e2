"""Fuse a stream of 2,000 frames of 320×240, and tell how the memory of the process goes.

    python benchmarks/stream_memory.py [--frames 2000] [--model METHOD] [--fps 30]

Two videos are made, played in real time, again and again, and fused into a third. A line for each tenth gives the resident
memory; the exit code is 1 if it grows by more than 5 % from the second tenth on.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from mmfusion.apis import FusionInferencer
from mmfusion.apis.stream import fuse_stream
from mmfusion.utils import keep_freed_memory

SIZE = (240, 320)


def resident():
    """Resident memory of this process, in MiB."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096 / 2**20


def write_video(path, frames, fps, seed):
    """A bright square that moves over noise."""
    noise = np.random.default_rng(seed).integers(60, 120, (*SIZE, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, SIZE[::-1])
    for k in range(frames):
        image = np.roll(noise, k, 1)
        image[80:160, k % 240 : k % 240 + 80] = 220
        writer.write(image)
    writer.release()


def main():
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=2000, help='to fuse; default: %(default)s')
    parser.add_argument('--model', help='a method, with random weights; default: the average of both images')
    parser.add_argument('--fps', type=float, default=30, help='of the sources; default: %(default)s')
    args = parser.parse_args()
    keep_freed_memory()  # as `mmfusion video` does
    average = Config(dict(model=dict(type='ImageFuser', network=dict(type='AverageNetwork'))))
    fuse = FusionInferencer(args.model or average, 'random', 'cpu', show_progress=False)
    levels, done = [], 0

    def watched(vi, ir, batch_size):
        nonlocal done
        images = fuse(vi, ir, batch_size=batch_size)
        done += 1
        if done % max(1, args.frames // 10) == 0:
            levels.append(resident())
            print(f'{done} frames: {levels[-1]:.1f} MiB', flush=True)
        return images

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for seed, name in enumerate(('vi.avi', 'ir.avi')):
            write_video(folder / name, 600, args.fps, seed)
        print(f'begin: {resident():.1f} MiB', flush=True)
        while done < args.frames:
            left = args.frames - done
            summary = fuse_stream(watched, folder / 'vi.avi', folder / 'ir.avi', folder / 'out.avi', max_frames=left)
    growth = levels[-1] / levels[1] - 1
    print(f'{summary}; memory grew by {growth:.2%} from the second tenth on')
    return int(growth > 0.05)


if __name__ == '__main__':
    sys.exit(main())
