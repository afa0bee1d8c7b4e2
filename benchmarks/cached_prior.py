"""Features of CLIP from the disk against CLIP itself, on whole images: seconds per image, and their ratio.

    python benchmarks/cached_prior.py [--pairs 8] [--size 480 640] [--layers 1 2 … 11] [--half]

open_clip's ViT-B-16 with random weights (the time is the same). Both modalities of a pair go through the prior as one
batch, as in training. The first epoch with the cache computes and writes, later ones read; what the system keeps of the
files in memory helps later epochs, as it does in training. The features read are compared with those of CLIP.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from mmfusion.models.priors import CachedPrior
from mmfusion.models.priors.cached import pixel_keys
from mmfusion.registry import MODELS


def epoch(prior, pairs):
    """Seconds for all pairs, and the features of the last."""
    start = time.perf_counter()
    for pair in pairs:
        features = prior(pair)
    return time.perf_counter() - start, features


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pairs', type=int, default=8)
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--layers', type=int, nargs='*', default=list(range(1, 12)))
    parser.add_argument('--half', action='store_true', help='keep features in half precision')
    parser.add_argument('--cache-dir', help='default: a temporary folder, removed at the end')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.manual_seed(0)
    pairs = [torch.randint(0, 256, (2, 3, *args.size), dtype=torch.uint8).float() / 255 for _ in range(args.pairs)]
    config = dict(
        type='mmfusion.CLIPPrior', model='ViT-B-16', pretrained='random', layers=tuple(args.layers), embedding=True
    )
    plain = MODELS.build(config)
    epoch(plain, pairs[:1])
    direct, expected = epoch(plain, pairs)
    with tempfile.TemporaryDirectory() as temporary:
        cached = CachedPrior(config, args.cache_dir or temporary, half=args.half)
        first, _ = epoch(cached, pairs)
        later, features = epoch(cached, pairs)
        size = sum(f.stat().st_size for f in Path(cached.folder).rglob('*.pt'))
    keys, _ = epoch(pixel_keys, pairs)
    n = 2 * args.pairs
    both = zip((*features.tokens, features.embedding), (*expected.tokens, expected.embedding), strict=True)
    difference = max((a - b).abs().max().item() for a, b in both)
    print(f'ViT-B-16, layers {args.layers}, {args.pairs} pairs of {args.size[1]}×{args.size[0]}, ', end='')
    print(f'{torch.get_num_threads()} threads, {"half" if args.half else "single"} precision on disk')
    print(f'  CLIP itself             {1000 * direct / n:8.1f} ms per image')
    print(f'  first epoch with cache  {1000 * first / n:8.1f} ms per image')
    print(f'  later epochs            {1000 * later / n:8.1f} ms per image, of which the key {1000 * keys / n:.1f} ms')
    print(f'  on disk                 {size / n / 1e6:8.1f} MB per image')
    print(f'  largest difference      {difference:8.1e}')
    print(f'  ratio                   {direct / later:8.1f} × faster from the second epoch on')


if __name__ == '__main__':
    main()
