"""Fuse folders of visible and infrared images by a trained model.

    mmfusion fuse seafusion --vi VI --ir IR --out OUT [--weights SeAFusion.pth]
    mmfusion fuse seafusion.onnx --vi VI --ir IR --out OUT                       # of mmfusion export

See docs/inference.md.
"""

from pathlib import Path

from mmfusion.utils import WRITE_SUFFIXES, check_writable, given_reading, list_images, pair_images, refuse_same, shorten
from mmfusion.utils.configs import find_config, is_exported
from mmfusion.utils.pairing import pattern_advice, refuse_empty

from .arguments import (
    add_inference_arguments,
    add_source_arguments,
    inference_options,
    new_parser,
    source_folders,
    source_patterns,
)
from .errors import verb


def make_parser(prog=None):
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    add_inference_arguments(parser)
    add_source_arguments(parser)
    parser.add_argument('--out', required=True, help='folder of the fused images; names are kept')
    parser.add_argument('--suffix', default='.png', choices=WRITE_SUFFIXES, help='format; default: %(default)s')
    parser.add_argument('--batch-size', type=int, default=1, help='pairs at a time; default: %(default)s')
    parser.add_argument('--allow-missing', action='store_true', help='leave out images without a counterpart')
    parser.add_argument('--overwrite', action='store_true', help='fuse again what is there already')
    return parser


def find_pairs(vi_dir, ir_dir, allow_missing, vi_pattern=None, ir_pattern=None):
    """Pair two folders by name, and print what ``allow_missing`` leaves out."""
    if ir_dir is None:
        return [(stem, file, None) for stem, file, _ in pair_images(vi_dir, vi_pattern=vi_pattern)]
    if not allow_missing:
        return pair_images(vi_dir, ir_dir, vi_pattern, ir_pattern)
    if vi_pattern == ir_pattern:
        refuse_same(vi_dir, ir_dir)
    vi, ir = list_images(vi_dir, vi_pattern), list_images(ir_dir, ir_pattern)
    refuse_empty((vi, vi_dir, vi_pattern), (ir, ir_dir, ir_pattern))
    stems = [stem for stem in vi if stem in ir]
    if not stems:
        raise FileNotFoundError(
            f'{vi_dir} and {ir_dir}: no image of the one has a counterpart of its name in the other.'
            + pattern_advice((vi_dir, vi_pattern), (ir_dir, ir_pattern))
        )
    for kind, found in (('visible', vi), ('infrared', ir)):
        alone = [stem for stem in found if stem not in stems]
        if alone:
            print(f'left out, as they have no counterpart: {len(alone)} {kind} images: {shorten(alone, 10)}')
    return [(stem, vi[stem], ir[stem]) for stem in stems]


def fuse(args):
    """Fuse what is still to be done; returns a sentence about it."""
    out = Path(args.out)
    vi_dir, ir_dir = source_folders(args)
    for source in filter(None, (vi_dir, ir_dir)):
        if out.resolve() == Path(source).resolve():
            raise ValueError(f'--out {out} is the folder of the source images; choose another one')
    check_writable(args.out)
    if args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}')
    exported = is_exported(args.config)
    config = args.config if exported else find_config(args.config)
    pairs = find_pairs(vi_dir, ir_dir, args.allow_missing, **source_patterns(args))

    from mmfusion.apis import FusionInferencer
    from mmfusion.apis.folder import fuse_folder
    from mmfusion.models.hub import find_weights, load_model_config
    from mmfusion.utils.run_record import model_settings

    options = inference_options(args, lambda: [vi if ir is None else ir for _, vi, ir in pairs])
    if options['weights'] is None and not exported:  # found once: an address is fetched here
        options['weights'] = find_weights(load_model_config(args.config, args.cfg_options))
    weights = args.config if exported else options['weights']
    settings = model_settings(config, weights, args.cfg_options, args.tile, **given_reading(options))
    fused, skipped = fuse_folder(
        pairs, out, settings, lambda: FusionInferencer(**options), args.suffix, args.batch_size, args.overwrite
    )
    if skipped:
        print(f'{skipped} of {len(pairs)} images are finished and skipped (--overwrite fuses them again)')
    return f'{fused} images fused, {skipped} skipped, in {out}'


main = verb(fuse, make_parser)
