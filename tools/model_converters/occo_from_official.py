"""Turn a checkpoint of OCCO's public implementation into one of mmfusion's ImageFuser, or back.

    python tools/model_converters/occo_from_official.py OCCO.pth occo.pth
    python tools/model_converters/occo_from_official.py --to-official occo.pth OCCO.pth

Weights only, in either direction: no optimizer state, so that the result can be tested, fused with, or trained on from
(`load_from`), but not resumed. The files are read with `weights_only=True`.
"""

import argparse
import io
import sys
from pathlib import Path

import torch

from mmfusion.models.methods.occo.official import from_official, official_names, to_official
from mmfusion.utils import write_bytes
from mmfusion.utils.checkpoint import read_checkpoint
from mmfusion.version import __version__

PREFIX = 'network.'  # FIFN within ImageFuser


def to_ours(state):
    """State dict of the public implementation → of ImageFuser.

    Raises:
        KeyError: A name that the public implementation does not have.
        ValueError: A name is missing.
    """
    converted = from_official(state)
    missing = [theirs for ours, (theirs, _) in official_names().items() if ours not in converted]
    if missing:
        raise ValueError(f'{len(missing)} parameters of OCCO are missing, such as {missing[0]!r}: an incomplete file')
    return {PREFIX + name: value for name, value in converted.items()}


def to_theirs(state):
    """State dict of ImageFuser, or of FIFN alone, → of the public implementation. Weights of losses are left out.

    Raises:
        KeyError: A name that has no counterpart there, or is missing.
    """
    names = [name for name in state if not name.startswith('losses.')]
    return to_official({name.removeprefix(PREFIX): state[name] for name in names})


def convert(src, dst, back=False, overwrite=False):
    """Convert a file.

    Args:
        src, dst (str | Path): Files.
        back (bool): From ours to the public implementation's form.
        overwrite (bool): Whether ``dst`` may exist.

    Returns:
        list[int]: Channels of the four levels.

    Raises:
        FileExistsError: ``dst`` exists.
        CheckpointError, KeyError, ValueError: ``src`` cannot be read, or is of another network.
    """
    dst = Path(dst)
    if dst.exists() and not overwrite:
        raise FileExistsError(f'{dst} exists; say --overwrite to replace it')
    state, _ = read_checkpoint(src)
    if back:
        content = to_theirs(state)
        encoders = [content[f'v{i}.Conv_BN_ReLU_2.0.weight'] for i in range(1, 5)]
    else:
        ours = to_ours(state)
        content = dict(state_dict=ours, meta=dict(mmfusion_version=__version__, converted_from=Path(src).name))
        encoders = [ours[f'{PREFIX}encoder.vi.{i}.0.weight'] for i in range(4)]
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(dst, buffer.getvalue())
    return [weight.shape[0] for weight in encoders]


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument('--to-official', action='store_true', help="from mmfusion's form to the public one")
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')
    args = parser.parse_args(argv)
    try:
        channels = convert(args.src, args.dst, args.to_official, args.overwrite)
    except KeyError as e:
        way = 'without' if args.to_official else 'with'
        print(
            f'error: {args.src}: {e.args[0].rstrip(".")}. Is it the right file? Try {way} --to-official.',
            file=sys.stderr,
        )
        return 1
    except (ValueError, FileExistsError) as e:
        print(f'error: {args.src}: {e}', file=sys.stderr)
        return 1
    print(f'{args.dst}: written; model.network.channels is {tuple(channels)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
