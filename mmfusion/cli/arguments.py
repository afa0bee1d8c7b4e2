"""Arguments that the verbs and tools share, and what they mean.

Nothing here imports torch: a wrong argument is said in less than a second, where torch and the libraries of models take
several.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmfusion.utils import DEPTH16, check_reading, given_reading, near_files, sequence_range
from mmfusion.utils.configs import Overrides, is_exported
from mmfusion.utils.metric_names import METRIC_NAMES, metric_names


def new_parser(prog: str | None, text: str) -> argparse.ArgumentParser:
    """Make a verb's parser, whose help keeps its docstring's lines."""
    return argparse.ArgumentParser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``--work-dir``, ``--cfg-options`` and ``--launcher``: how every tool takes a config."""
    parser.add_argument('config', metavar='METHOD', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        help='overrides, such as train_cfg.max_epochs=1 train_dataloader.batch_size=4',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``checkpoint`` and ``--weights``, two ways to give one; see :func:`weights_of`."""
    parser.add_argument(
        'checkpoint', nargs='?', metavar='CHECKPOINT', help="as --weights; the word 'random' is an untrained model"
    )
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='FILE',
        help="checkpoint, or the authors' own file or files. Default: the authors' weights, from the folder "
        'MMFUSION_WEIGHTS or from where they are published',
    )


def weights_of(args: argparse.Namespace) -> str | list[str] | None:
    """Give the weights that :func:`add_weights_arguments` read.

    Returns:
        A file, several files, or None for the published ones.

    Raises:
        ValueError: If they are given twice.
        FileNotFoundError: If there is no such file.
    """
    if args.checkpoint is not None and args.weights:
        raise ValueError(f'{args.checkpoint} and --weights {" ".join(args.weights)}: give the weights once')
    weights = args.weights or args.checkpoint
    if weights is not None:
        refuse_missing_weights(weights)
    return weights[0] if isinstance(weights, list) and len(weights) == 1 else weights


def refuse_missing_weights(weights: str | Sequence[str]) -> None:
    """Refuse weights that are not there, before torch is imported.

    Raises:
        FileNotFoundError: If one is neither a file, a folder, an address, nor the word ``random``.
    """
    for text in [weights] if isinstance(weights, str) else weights:
        file = Path(text).expanduser()
        if not text:
            raise ValueError('weights: an empty path; expected a file, a folder, an address, or the word random.')
        if is_exported(text):
            raise ValueError(
                f'{text}: an exported model, which is complete, and no weights. Give it in place of the method, to '
                'mmfusion fuse or mmfusion video; others need a checkpoint.'
            )
        # Of a TensorFlow checkpoint the prefix is given, which is no file.
        if text != 'random' and '://' not in text and not file.exists() and not Path(f'{file}.index').exists():
            raise FileNotFoundError(
                f'{text}: no such checkpoint.{near_files(file)} Give a file, a folder or an address of weights, the word '
                "random for an untrained model, or nothing for the authors' published weights."
            )


def add_inference_arguments(parser: argparse.ArgumentParser, task: bool = False, sequence: bool = True) -> None:
    """Add the arguments of :class:`~mmfusion.apis.FusionInferencer`; see :func:`inference_options`.

    Args:
        parser: Gets ``config``, weights and options.
        task: Whether findings of a cascade can be drawn.
        sequence: See :func:`add_reading_arguments`.
    """
    parser.add_argument(
        'config',
        metavar='METHOD',
        help='a method (seafusion), the name of a config of mmfusion (occo_fmb), a file of one, or of mmfusion export',
    )
    add_weights_arguments(parser)
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    parser.add_argument(
        '--tile',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='fuse window by window: for images too large for the memory',
    )
    parser.add_argument(
        '--compile', action='store_true', help='speed up the network by torch.compile, which pays for many images'
    )
    add_reading_arguments(parser, sequence)
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    if task:
        parser.add_argument(
            '--task', choices=('seg', 'det'), help="draw what the cascade's segmenter or detector finds"
        )
        parser.add_argument(
            '--score-thr', type=float, default=0.3, help='least score of a drawn box (default: %(default)s)'
        )


def add_reading_arguments(parser: argparse.ArgumentParser, sequence: bool = True, align: bool = True) -> None:
    """Add the options by which images become 8 bits; see :func:`reading_options`.

    Args:
        parser: Gets them.
        sequence: Whether the tool reads many images, of which ``--per-sequence`` takes the percentiles.
        align: Whether infrared images can be warped.
    """
    parser.add_argument(
        '--depth16',
        choices=DEPTH16,
        help='how more than 8 bits become 8: by full scale, or stretched between percentiles of each image',
    )
    parser.add_argument(
        '--ir-range',
        nargs=2,
        metavar=('LO', 'HI'),
        help="infrared values that become black and white, in the files' unit (radiometric JPEG: °C), or percentiles of "
        'each image, such as 1%% 99%%',
    )
    parser.add_argument(
        '--ir-colormap',
        metavar='NAME',
        help='palette of infrared images in colours (inferno, jet, cv_rainbow, or an image of it), turned back into values',
    )
    if align:
        parser.add_argument(
            '--align',
            metavar='FILE',
            help='file of `mmfusion align`: infrared images, of any size, are warped into the visible ones',
        )
    if sequence:
        parser.add_argument(
            '--per-sequence',
            action='store_true',
            help='percentiles of all infrared images together, so that brightness does not flicker',
        )


def reading_options(args: argparse.Namespace, files: Callable[[], Sequence[str | Path]] | None = None) -> dict:
    """Options of :func:`add_reading_arguments` that were given, as :func:`mmfusion.utils.read_pair` takes them.

    Args:
        args: The arguments.
        files: Gives the infrared images, for ``--per-sequence``.

    Raises:
        ValueError: If an option is not of its form.
    """
    given = given_reading({key: value for key, value in vars(args).items() if value})
    found = {key: value for key, value in check_reading(**given).items() if key in given}
    if getattr(args, 'per_sequence', False):
        if getattr(args, 'rgbt', None):
            raise ValueError(
                '--per-sequence needs infrared images in files of their own; with --rgbt give --ir-range LO HI.'
            )
        percentiles = found.get('ir_range', ('0.5%', '99.5%'))
        found['ir_range'] = sequence_range(files(), percentiles, found.get('ir_colormap'))
    return found


def add_entrants_arguments(parser: argparse.ArgumentParser, default: Sequence[str] | None = None) -> None:
    """Add ``--methods`` and the pairs that they fuse, with their patterns.

    Args:
        parser: The parser.
        default: Methods where none are given; without it they are required.
    """
    told = 'see above' if default is None else f'see above; default: {" ".join(default)}'
    parser.add_argument('--methods', nargs='+', required=default is None, default=default, metavar='METHOD', help=told)
    parser.add_argument('--data', help='tno, roadscene, msrs…, or a folder with folders vi and ir in it')
    parser.add_argument('--vi', help='folder of visible images, in the place of --data')
    parser.add_argument('--ir', help='folder of infrared images, of the same names')
    add_pattern_arguments(parser)
    parser.add_argument(
        '--fused-pattern', metavar='PATTERN', help="names of images in the folders of NAME=DIR, such as '{name}_fused'"
    )


def add_source_arguments(
    parser: argparse.ArgumentParser,
    vi: str = 'folder of visible images',
    ir: str = 'folder of infrared images, of the same names',
) -> None:
    """Add ``--vi`` and ``--ir``, or ``--rgbt`` in place of both; see :func:`source_folders`."""
    parser.add_argument('--vi', help=vi)
    parser.add_argument('--ir', help=ir)
    parser.add_argument(
        '--rgbt', metavar='DIR', help='in place of both: folder of files whose four channels are R, G, B and thermal'
    )
    add_pattern_arguments(parser)


def add_pattern_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--vi-pattern`` and ``--ir-pattern``, by which differing names pair."""
    parser.add_argument(
        '--vi-pattern',
        metavar='PATTERN',
        help="names of the visible images, such as '{name}_VIS': {name} is what a pair has in common",
    )
    parser.add_argument('--ir-pattern', metavar='PATTERN', help="names of the infrared images, such as '{name}_IR'")


def add_pair_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, vi: str, ir: str, rgbt: str
) -> None:
    """Add ``vi`` and ``ir`` by position, or ``--rgbt`` in place of both.

    Args:
        parser: Gets the arguments; ``ir`` is None where four channels are given, as ``vi``.
        argv: What will be read, which decides.
        vi, ir, rgbt: Help of each.
    """
    argv = sys.argv[1:] if argv is None else argv
    if any(arg.partition('=')[0] == '--rgbt' for arg in argv):
        parser.set_defaults(ir=None)
    else:
        parser.add_argument('vi', help=vi)
        parser.add_argument('ir', help=ir)
    parser.add_argument(
        '--rgbt', dest='vi', default=argparse.SUPPRESS, metavar='RGBT', help=f'in place of both: {rgbt}'
    )


def source_folders(args: argparse.Namespace) -> tuple[str, str | None]:
    """Folders of :func:`add_source_arguments`: visible and infrared; or four channels and None.

    Raises:
        ValueError: If neither both nor ``--rgbt`` alone are given.
    """
    given = [f'--{name}' for name in ('vi', 'ir', 'rgbt') if getattr(args, name)]
    if given not in (['--vi', '--ir'], ['--rgbt']):
        raise ValueError(f'got {", ".join(given) or "no images"}; expected --vi DIR and --ir DIR, or --rgbt DIR.')
    return (args.rgbt, None) if args.rgbt else (args.vi, args.ir)


class _MetricNames(argparse.Action):
    """Read metrics' names, by spaces or commas; ``all`` stands alone."""

    def __call__(self, parser, namespace, values, option_string=None):
        names = [name.strip() for part in values for name in part.split(',') if name.strip()]
        if not names:
            parser.error(f"{option_string}: no name in {' '.join(values)!r}; expected 'all', or names such as EN,SSIM")
        if 'all' in names and len(names) > 1:
            parser.error(f"{option_string}: 'all' stands alone, got {' '.join(values)!r}")
        try:
            found = metric_names('all' if names == ['all'] else names)
        except ValueError as e:
            parser.error(f'{option_string}: {e}')
        setattr(namespace, self.dest, 'all' if names == ['all'] else found)


def add_metrics_arguments(parser: argparse.ArgumentParser, default: str | Sequence[str]) -> None:
    """Add ``--metrics``, ``--protocol`` and ``--workers``."""
    shown = default if isinstance(default, str) else ' '.join(default)
    parser.add_argument(
        '--metrics',
        nargs='+',
        action=_MetricNames,
        default=default,
        help="'all', or names of: " + ', '.join(METRIC_NAMES) + f'; with spaces or commas (default: {shown})',
    )
    parser.add_argument('--protocol', choices=('tang', 'vifb'), default='tang', help='default: %(default)s')
    parser.add_argument(
        '--workers', type=at_least(1), default=os.cpu_count(), help='processes that evaluate (default: one a core)'
    )


def at_least(least: int) -> Callable[[str], int]:
    """Give a reader of whole numbers for ``add_argument(type=…)``, which refuses smaller ones."""

    def read(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f'expected a whole number of at least {least}, got {text!r}')
        return value

    return read


def source_patterns(args: argparse.Namespace) -> dict[str, str | None]:
    """Give ``vi_pattern`` and ``ir_pattern`` of :func:`add_pattern_arguments`."""
    return dict(vi_pattern=args.vi_pattern, ir_pattern=args.ir_pattern)


def inference_options(args: argparse.Namespace, files: Callable[[], Sequence[str | Path]] | None = None) -> dict:
    """Keyword arguments of :class:`~mmfusion.apis.FusionInferencer` from those of :func:`add_inference_arguments`.

    Args:
        args: The arguments.
        files: See :func:`reading_options`.
    """
    keys = ('device', 'tile', 'cfg_options', 'task', 'score_thr', 'compile')
    given = {key: getattr(args, key) for key in keys if key in args}
    return dict(model=args.config, weights=weights_of(args), **given, **reading_options(args, files))
