"""Write the weights of a checkpoint as a small file to be passed on.

python tools/model_converters/publish_model.py lite work_dirs/lite/epoch_60.pth configs/lite/lite.safetensors

Optimizer, losses, discriminators and frozen priors are left out; numbers are kept in half precision (``--full`` keeps them
as they are). The file is safetensors, which holds nothing but tensors and a few words about them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save

from mmfusion.cli.errors import report
from mmfusion.models.checkpoint import check_weights, compare
from mmfusion.models.hub import build_model, load_model_config
from mmfusion.utils import check_writable, write_bytes
from mmfusion.version import __version__


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='METHOD', help='name of a config, or a file')
    parser.add_argument('checkpoint', help='of a training')
    parser.add_argument('out', help='file to write, .safetensors')
    parser.add_argument('--full', action='store_true', help='keep the precision')
    return parser


def publish(config: str | Path, checkpoint: str | Path, out: str | Path, full: bool = False) -> int:
    """Write the weights; arguments as on the command line.

    Returns:
        Number of bytes written.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or is one of another model.
    """
    model = build_model(load_model_config(config))
    state, meta = check_weights(model, checkpoint)
    kept = {name: state[name].contiguous() for name in compare(model, state).fitting}
    if not full:
        kept = {name: value.half() if value.is_floating_point() else value for name, value in kept.items()}
    about = {'mmfusion_version': __version__, 'config': Path(str(config)).stem, 'epoch': str(meta.get('epoch', ''))}
    content = save(kept, metadata=about)
    write_bytes(out, content)
    return len(content)


def run(args: argparse.Namespace) -> str:
    """Publish, and say what was written."""
    check_writable(args.out, 'OUT', folder=False)
    return f'{args.out}: {publish(args.config, args.checkpoint, args.out, args.full):,} bytes'


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    return report(run, make_parser().parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
