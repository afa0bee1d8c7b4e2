"""Fuse a folder of visible and a folder of infrared images by a trained model. See docs/inference.md."""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmfusion.apis import FusionInferencer
from mmfusion.utils import IMG_SUFFIXES, list_images, pair_images, write_bytes, write_image

RECORD = 'fuse.json'


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument('checkpoint', help="checkpoint file, or the word 'random' for an untrained model")
    parser.add_argument('--vi', required=True, help='folder of visible images')
    parser.add_argument('--ir', required=True, help='folder of infrared images, of the same names')
    parser.add_argument('--out', required=True, help='folder of the fused images; names are kept')
    parser.add_argument('--suffix', default='.png', choices=IMG_SUFFIXES, help='format; default: %(default)s')
    parser.add_argument('--batch-size', type=int, default=1, help='pairs at a time; default: %(default)s')
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument(
        '--tile',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='fuse window by window: for images too large for the memory',
    )
    parser.add_argument(
        '--depth16', choices=('full', 'stretch'), help='how more than 8 bits become 8; stretch is for raw thermal data'
    )
    parser.add_argument('--allow-missing', action='store_true', help='leave out images without a counterpart')
    parser.add_argument('--overwrite', action='store_true', help='fuse anew what is there already')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    return parser


def find_pairs(vi_dir, ir_dir, allow_missing):
    """Pairs of two folders by stem: [(stem, visible, infrared), …]; says what ``allow_missing`` leaves out."""
    if not allow_missing:
        return pair_images(vi_dir, ir_dir)
    vi, ir = list_images(vi_dir), list_images(ir_dir)
    stems = sorted(vi.keys() & ir.keys())
    if not stems:
        raise FileNotFoundError(
            f'{vi_dir} and {ir_dir}: no image of the one has a counterpart of its name in the other'
        )
    print(f'left out for want of a counterpart: {len(vi) - len(stems)} visible, {len(ir) - len(stems)} infrared images')
    return [(stem, vi[stem], ir[stem]) for stem in stems]


def settings_of(args):
    """What makes two runs give the same images, for the record beside them."""
    checkpoint = Path(args.checkpoint)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest() if checkpoint.is_file() else None
    settings = {
        'config': Path(args.config).stem,
        'checkpoint': checkpoint.name,
        'checkpoint_sha256': digest,
        'cfg_options': args.cfg_options,
        'tile': args.tile,
        'depth16': args.depth16,
    }
    return json.loads(json.dumps(settings, default=str))


def check_record(record, settings, kept):
    """Refuse to go on in a folder in which images stay that were made in another way, or by something else.

    Raises:
        ValueError: With what differs.
    """
    cure = 'Choose another --out, or say --overwrite to fuse images of these names anew (others must be moved away).'
    if not record.is_file():
        raise ValueError(
            f'{record.parent}: {len(kept)} images are there (such as {kept[0].name}), but no {record.name} says how they '
            f'were made. {cure}'
        )
    try:
        before = dict(json.loads(record.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as e:
        raise ValueError(f'{record}: cannot be read ({e}). {cure}') from e
    changed = [
        f'{key} was {before.get(key)!r}, is now {value!r}'
        for key, value in settings.items()
        if before.get(key) != value
    ]
    if changed:
        raise ValueError(
            f'{record}: {len(kept)} images there were fused with other settings: {"; ".join(changed)}. {cure}'
        )


def fuse(args):
    """Fuse what is still to be done; returns a sentence about it."""
    out = Path(args.out)
    for source in (args.vi, args.ir):
        if out.resolve() == Path(source).resolve():
            raise ValueError(f'--out {out} is the folder of the source images; choose another one')
    if args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}')
    pairs = find_pairs(args.vi, args.ir, args.allow_missing)
    targets = [out / f'{stem}{args.suffix}' for stem, _, _ in pairs]
    existing = [] if args.overwrite else [target for target in targets if target.is_file()]
    settings = settings_of(args)
    images = [file for file in sorted(out.glob('[!.]*')) if file.suffix.lower() in IMG_SUFFIXES]
    kept = sorted(set(images) - set(targets)) if args.overwrite else images
    if kept:
        check_record(out / RECORD, settings, kept)
    if existing:
        print(f'{len(existing)} of {len(pairs)} images are finished and skipped (--overwrite fuses them anew)')
    done = set(existing)
    todo = [(target, vi, ir) for target, (_, vi, ir) in zip(targets, pairs, strict=True) if target not in done]
    if todo:
        inferencer = FusionInferencer(
            args.config, args.checkpoint, args.device, args.cfg_options, args.tile, args.depth16
        )
        for target, _, _ in todo:
            target.unlink(missing_ok=True)  # before the record changes: what is there must always be what it says
        write_bytes(out / RECORD, (json.dumps(settings, indent=2) + '\n').encode())
        for i, image in inferencer.fuse_pairs([(vi, ir) for _, vi, ir in todo], args.batch_size):
            write_image(todo[i][0], image)
    return f'{len(todo)} images fused, {len(existing)} skipped, in {out}'


def main(argv=None):
    """Run; returns the exit code."""
    args = make_parser().parse_args(argv)
    try:
        print(fuse(args))
    except (ValueError, FileNotFoundError, RuntimeError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
