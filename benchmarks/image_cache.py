"""What `LoadImagePair(cache_gb=…)` saves: milliseconds of a training pair, read each time or kept in memory.

    python benchmarks/image_cache.py [CONFIG] [--pairs 200]

Both pipelines load the same pairs of the config's training set in turn, in one process and after a first pass.
"""

import argparse
import time

import numpy as np
from mmengine.config import Config

from mmfusion.apis import find_config
from mmfusion.registry import DATASETS


def dataset(cfg: Config, cache_gb: float):
    """The config's training set, whose loaders keep so much."""
    spec = cfg.train_dataloader.dataset.to_dict()
    for part in spec.get('datasets', [spec]):
        part['pipeline'][0]['cache_gb'] = cache_gb
    return DATASETS.build(spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default='lite')
    parser.add_argument('--pairs', type=int, default=200)
    args = parser.parse_args()
    cfg = Config.fromfile(find_config(args.config))
    sets = {name: dataset(cfg, gigabytes) for name, gigabytes in (('read', 0.0), ('kept', 2.0))}
    picks = np.random.default_rng(0).permutation(len(sets['read']))[: args.pairs]
    seconds = dict.fromkeys(sets, 0.0)
    for index in picks:
        sets['kept'][index]  # the first pass
    for index in picks:
        for name, pairs in sets.items():
            start = time.perf_counter()
            pairs[index]
            seconds[name] += time.perf_counter() - start
    read, kept = (1000 * seconds[name] / len(picks) for name in ('read', 'kept'))
    print(f'{len(picks)} pairs of {args.config}: read {read:.1f} ms, kept {kept:.1f} ms, {read / kept:.1f} times')


if __name__ == '__main__':
    main()
