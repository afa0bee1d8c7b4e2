r"""Write the two lists of names of a split, for datasets that come without an official one.

Names come from a folder of images, or, where the data is not at hand, from a range of numbers. They are sorted before
they are divided, so that the same command gives the same lists everywhere.

Examples (these made the lists in configs/_base_/datasets/splits, by --out):
    python tools/dataset_converters/make_split.py roadscene --images data/RoadScene/cropinfrared --every 10
    python tools/dataset_converters/make_split.py m3fd --numbers 4200 --digits 5 --share 0.2 --seed 0
    python tools/dataset_converters/make_split.py m3fd_unseen --numbers 4200 --digits 5 --share 0.2 --seed 0 \
        --without configs/_base_/datasets/splits/m3fd_fusion.txt
    python tools/dataset_converters/make_split.py unified_roadscene --images data/RoadScene/cropinfrared --num 200 20
    python tools/dataset_converters/make_split.py msrs_detection --images data/MSRS/detection/vi --share 0.2 --seed 0
"""

import argparse
import random
import sys
from pathlib import Path

from mmfusion.cli.arguments import at_least
from mmfusion.cli.errors import report
from mmfusion.utils import check_writable, list_images, read_names, write_bytes
from mmfusion.utils.text import to_bytes


def split_every(names, every):
    """Sorted names; every ``every``-th one (the 10th, the 20th, …) is for validation.

    Returns:
        tuple[list, list]: Names for training and for validation.
    """
    names = sorted(names)
    held = names[every - 1 :: every]
    return sorted(set(names) - set(held)), held


def split_random(names, share, seed):
    """A random ``share`` of the sorted names is for validation; the same names, share and seed give the same lists.

    Returns:
        tuple[list, list]: Names for training and for validation, each sorted.
    """
    names = sorted(names)
    held = sorted(random.Random(seed).sample(names, round(share * len(names))))
    return sorted(set(names) - set(held)), held


def split_counted(names, num_train, num_val, seed):
    """``num_train`` and ``num_val`` of the sorted names, at random and disjoint; what is left over is in neither list.

    Returns:
        tuple[list, list]: Names for training and for validation, each sorted.

    Raises:
        ValueError: There are not so many names.
    """
    names = sorted(names)
    if num_train + num_val > len(names):
        raise ValueError(f'{num_train} + {num_val} names were asked for, there are {len(names)}')
    drawn = random.Random(seed).sample(names, num_train + num_val)
    return sorted(drawn[:num_train]), sorted(drawn[num_train:])


def _without(names, file):
    """The names that a list does not have; a list that has none of them is another dataset's."""
    if not file.is_file():
        raise ValueError(f'--without {file}: no such list. Check the path.')
    left_out = {line.name for line in read_names(file, lambda lines: any(line.name in names for line in lines))}
    kept = [name for name in names if name not in left_out]
    if len(kept) == len(names):
        raise ValueError(f'--without {file}: none of the {len(names)} names is in it. Is it of another dataset?')
    return kept


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', help='what the lists are called: NAME_train.txt and NAME_val.txt')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--images', type=Path, help='folder of images')
    source.add_argument('--numbers', type=at_least(1), help='names are the numbers 0 … NUMBERS-1')
    parser.add_argument('--digits', type=at_least(1), default=5, help='digits of such a number (default: 5)')
    parser.add_argument('--without', type=Path, metavar='LIST', help='names that stay out of both lists')
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument('--every', type=int, help='every EVERY-th name is for validation')
    rule.add_argument('--share', type=float, help='a random share in (0, 1) is for validation')
    rule.add_argument(
        '--num', type=int, nargs=2, metavar=('TRAIN', 'VAL'), help='so many random names for training and validation'
    )
    parser.add_argument('--seed', type=int, default=0, help='of random lists (default: 0)')
    parser.add_argument('--out', type=Path, default=Path(), help='folder of the lists (default: the current one)')
    return parser.parse_args(argv)


def write_lists(args):
    """Write NAME_train.txt and NAME_val.txt; returns a line about each.

    Raises:
        ValueError: If the names cannot be divided as asked for.
    """
    if args.name != Path(args.name).name or args.name in ('', '.', '..'):
        raise ValueError(f'{args.name!r}: expected the name of a list without folders; --out is its folder.')
    check_writable(args.out)
    names = list(list_images(args.images)) if args.images else [f'{k:0{args.digits}d}' for k in range(args.numbers)]
    if not names:
        raise ValueError(f'{args.images}: no image in this folder.')
    if args.without:
        names = _without(names, args.without)
    if args.every is not None and not 2 <= args.every <= len(names):
        raise ValueError(f'--every must be between 2 and the number of names ({len(names)}), got {args.every}')
    if args.share is not None and not 0 < args.share < 1:
        raise ValueError(f'--share must be between 0 and 1, got {args.share}')
    if args.num and (min(args.num) < 1 or sum(args.num) > len(names)):
        raise ValueError(f'--num must be two numbers from 1 on with a sum of at most {len(names)}, got {args.num}')
    if args.every:
        train, val = split_every(names, args.every)
    elif args.num:
        train, val = split_counted(names, *args.num, args.seed)
    else:
        train, val = split_random(names, args.share, args.seed)
    written = []
    for part, lines in (('train', train), ('val', val)):
        file = args.out / f'{args.name}_{part}.txt'
        write_bytes(file, to_bytes(''.join(f'{line}\n' for line in lines)))
        written.append(f'{file}: {len(lines)} names')
    return '\n'.join(written)


def main(argv=None):
    """Run; returns the exit code."""
    return report(write_lists, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
