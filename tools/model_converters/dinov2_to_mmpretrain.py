"""Turn the original weights of DINOv2 into those of mmpretrain's VisionTransformer, or back.

    python tools/model_converters/dinov2_to_mmpretrain.py dinov2_vitb14_pretrain.pth dinov2_vitb14.pth
    python tools/model_converters/dinov2_to_mmpretrain.py --to-original dinov2_vitb14.pth dinov2_vitb14_back.pth

The result loads by `init_cfg=dict(type='Pretrained', checkpoint=...)` in a stock config. mmfusion's own FrozenBackbone and
DINOv2Prior read both forms. Back, the mask token is missing, which only pre-training uses.
"""

import argparse
import sys
from pathlib import Path

from mmfusion.cli.errors import ERRORS, message_of, report
from mmfusion.models.checkpoint import save_checkpoint
from mmfusion.models.priors.dinov2 import from_original, to_original
from mmfusion.utils.checkpoint import read_checkpoint

HEADS = ('dino_head.', 'ibot_head.')  # of a training checkpoint's teacher


def convert(src, dst, back=False, overwrite=False):
    """Convert a file.

    Args:
        src, dst (str | Path): Files.
        back (bool): From mmpretrain's names to the original ones.
        overwrite (bool): Whether ``dst`` may exist.

    Returns:
        tuple[int, int, int]: Width, blocks, and patch size.

    Raises:
        FileExistsError: ``dst`` exists.
        CheckpointError, ValueError: ``src`` cannot be read, or is not DINOv2.
    """
    dst = Path(dst)
    if dst.exists() and not overwrite:
        raise FileExistsError(f'{dst} exists; say --overwrite to replace it')
    state, _ = read_checkpoint(src)
    if any(name.startswith('teacher.') for name in state):  # of a training run, beside the student
        state = {k.removeprefix('teacher.'): v for k, v in state.items() if k.startswith('teacher.')}
    state = {name: value for name, value in state.items() if not name.startswith(HEADS)}
    ours = {k.removeprefix('backbone.'): v for k, v in state.items()} if back else from_original(state)
    save_checkpoint(dst, to_original(ours) if back else ours, None if back else dict(converted_from=Path(src).name))
    width, _, patch, _ = ours['patch_embed.projection.weight'].shape
    return width, 1 + max(int(n.split('.')[1]) for n in ours if n.startswith('layers.')), patch


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='weights to read')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--to-original', action='store_true', help="from mmpretrain's names to the original ones")
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')
    return parser.parse_args(argv)


def run(args):
    """Convert, and say what was written; an error names the file."""
    try:
        width, depth, patch = convert(args.src, args.dst, args.to_original, args.overwrite)
    except ERRORS as e:
        text = message_of(e)
        raise ValueError(text if args.src in text else f'{args.src}: {text}') from e
    return f'{args.dst}: written; {depth} blocks of width {width}, patches of {patch}×{patch}'


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
