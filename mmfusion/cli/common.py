"""Arguments, configs and errors that the command-line tools share.

Nothing here imports torch at its top, nor do the verbs: a wrong argument is said in less than a second, where torch and
the libraries of models take several.
"""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger, print_log

from mmfusion.registry import MODELS
from mmfusion.utils import DEPTH16, check_reading, near_files, sequence_range
from mmfusion.utils.configs import OPTION_ERRORS, find_config, is_exported, override, read_config
from mmfusion.utils.metric_names import METRIC_NAMES, metric_names
from mmfusion.utils.outputs import is_write_error, system_sentence

from .setup_errors import check_numbers, check_phases, setup_message

_STOCK_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


# What each launcher tells its processes, and the command that starts them.
_LAUNCHERS = {
    'pytorch': ('RANK', 'torchrun'),
    'slurm': ('SLURM_PROCID', 'srun'),
    'mpi': ('OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun'),
}
# What a user can mend.
ERRORS = (ValueError, OSError, RuntimeError, KeyError, MemoryError, ImportError)
# Exit code of a shell for a program that Ctrl-C ended, and one whose reader ended, such as ``head``.
_INTERRUPTED, _READER_ENDED = 130, 141
# What a class raises that a config gives a value of another type.
_OF_VALUES = (TypeError, AttributeError, AssertionError, IndexError, ArithmeticError)
_PACKAGE = Path(__file__).resolve().parents[1]


class Overrides(DictAction):
    """Read ``KEY=VALUE …`` of the command line, and name what is written otherwise."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Read the values; ends the program if one has no ``=``."""
        for value in values:
            if not value.partition('=')[0] or '=' not in value:
                parser.error(
                    f'{option_string}: {value!r} is no override; expected KEY=VALUE, such as model.size_divisor=8'
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as e:  # brackets that are not closed
            parser.error(f'{option_string} {" ".join(values)}: {str(e)[:1].lower()}{str(e)[1:]}; correct the value')


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
    """Add ``checkpoint``, which may be left out, and ``--weights``, which is the same; see :func:`weights_of`."""
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
    """The weights that :func:`add_weights_arguments` were given.

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
    """Refuse weights that are not there, before anything is imported that could read them.

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
    given = {
        key: getattr(args, key) for key in ('depth16', 'ir_range', 'ir_colormap', 'align') if getattr(args, key, None)
    }
    found = {key: value for key, value in check_reading(**given).items() if key in given}
    if getattr(args, 'per_sequence', False):
        if getattr(args, 'rgbt', None):
            raise ValueError(
                '--per-sequence needs infrared images in files of their own; with --rgbt give --ir-range LO HI.'
            )
        percentiles = found.get('ir_range', ('0.5%', '99.5%'))
        found['ir_range'] = sequence_range(files(), percentiles, found.get('ir_colormap'))
    return found


def reading_in(options: dict) -> dict:
    """The options of reading among others."""
    return {
        key: options[key] for key in ('depth16', 'ir_range', 'ir_colormap', 'align') if options.get(key) is not None
    }


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
    """Add ``--vi-pattern`` and ``--ir-pattern``: how the names of images pair where they differ."""
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
    """Read names of metrics, separated by spaces or commas; ``all`` alone is that word."""

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
    """``vi_pattern`` and ``ir_pattern`` of :func:`add_pattern_arguments`, as functions that pair images take them."""
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


def report(run: Callable[..., str | None], *args) -> int:
    """Run a tool: print the sentence that it returns, or its error.

    Args:
        run: The tool.
        *args: What it takes.

    Returns:
        The exit code: 1 after an error that a user can mend, 130 after Ctrl-C.
    """
    try:
        text = run(*args)
        if text is not None:
            print(text, flush=True)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _reader_ended()
    except ERRORS as e:
        print(f'error: {message_of(e)}', file=sys.stderr)
        return 1
    except _OF_VALUES as e:
        return _report_overrides(args, e)
    return 0


def report_own(run: Callable[..., object], *args) -> int:
    """Run a tool that runs much code of others: print the errors that mmfusion raises, and let the others through.

    An error in setting up a Runner is the config's, and is told with the key: see :func:`setup_message`.

    Returns:
        The exit code.
    """
    try:
        run(*args)
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as e:
        chain = list(_chain(e))
        own = next((message_of(error) for error in chain if is_write_error(error)), None)
        own = own or next(filter(None, map(_package_message, chain)), None)
        own = own or setup_message(e, chain) or next(filter(None, map(_stock_message, chain)), None)
        if own is None and isinstance(e, (*ERRORS, *_OF_VALUES)):
            return _report_overrides(args, e)
        if own is None:
            raise
        print(f'error: {own}', file=sys.stderr)
        return 1
    return 0


def _interrupted() -> int:
    print('interrupted', file=sys.stderr)
    return _INTERRUPTED


def _reader_ended() -> int:
    """Let the rest of the output go: Python would write it at its end, and say that it cannot."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _READER_ENDED


def _report_overrides(args: tuple, error: Exception) -> int:
    """Say an error that a value of ``--cfg-options`` may have led to, in whatever class; raise it where none were given."""
    options = getattr(args[0], 'cfg_options', None) if args else None
    if not options:
        raise error
    given = ' '.join(f'{name}={value}' for name, value in options.items())
    print(
        f'error: --cfg-options {given}: does not work ({type(error).__name__}: {error}). Correct it.', file=sys.stderr
    )
    return 1


def message_of(error: BaseException) -> str:
    """The text of an error for users: without a KeyError's quotation marks or a number of the system."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, MemoryError):
        return f'out of memory ({error or "no more is given"}): use smaller images, a smaller batch, or fewer workers.'
    if isinstance(error, OSError) and error.strerror:
        return system_sentence(error)
    return str(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those in whose handling it was raised: a registry wraps those of a constructor."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _package_message(error: BaseException) -> str | None:
    """The text of an error that mmfusion raises for users, here or in a worker of a dataloader."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not isinstance(error, ERRORS):
        return None
    if Path(frames[-1].filename).is_relative_to(_PACKAGE):
        return message_of(error)
    text = str(error)
    files = re.findall(r'^ *File "(.+?)", line \d+', text, re.MULTILINE)
    if 'Original Traceback' in text and files and Path(files[-1]).is_relative_to(_PACKAGE):
        return re.split(r'^[\w.]+(?:Error|Exception): ', text, flags=re.MULTILINE)[-1].strip()
    return None


def _stock_message(error: BaseException) -> str | None:
    """The text of an error of a registry, or of options that a class does not have."""
    if isinstance(error, TypeError) and OPTION_ERRORS.search(str(error)):
        return f'the config gives an option that a class does not have, or lacks one: {error}. See docs/configs.md.'
    frames = traceback.extract_tb(error.__traceback__)
    registry = bool(frames) and Path(frames[-1].filename).parts[-3:-1] == ('mmengine', 'registry')
    return message_of(error) if registry and isinstance(error, ERRORS) else None


@contextmanager
def log_level(level: int) -> Iterator[None]:
    """Let only messages of this level and above into mmengine's log."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def load_config(args: argparse.Namespace) -> Config:
    """Load the config of :func:`add_config_arguments`, with its overrides, ready for ``Runner.from_cfg``.

    On machines without CUDA a distributed run uses gloo, with a wrapper that asks for no device. Stock models are
    written for several GPUs: in one process, or without CUDA, their ``SyncBN`` is read as ``BN``, and without CUDA their
    ``AmpOptimWrapper`` as ``OptimWrapper``, which the log says.

    Raises:
        FileNotFoundError: If there is no such config; near names are proposed.
        ValueError: If it cannot be read, or its work dir cannot be made.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    _check_launcher(args.launcher)
    file = find_config(args.config)
    cfg = read_config(file)
    override(cfg, args.cfg_options)
    if not isinstance(cfg.get('model'), dict):
        raise ValueError(f'{file}: model is {cfg.get("model")!r}; expected a dict with a type. See docs/configs.md.')
    check_numbers(cfg)
    check_phases(cfg)
    # A child config takes an inherited hook away by None; mmengine knows that of its own hooks only.
    cfg.default_hooks = {
        k: v for k, v in (cfg.get('default_hooks') or {}).items() if v is not None or k in _STOCK_HOOKS
    }
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / file.stem)
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ValueError(
            f'--work-dir {cfg.work_dir}: cannot be made ({e.strerror}); expected a folder that can be written.'
        ) from e
    import torch

    torch.set_flush_denormal(True)  # numbers below 1e-38, which trained weights may give, slow a CPU down 25 times
    if args.launcher == 'none' or not torch.cuda.is_available():
        without_sync_bn(cfg.get('model'))
    from mmfusion.engine.optim import without_amp

    without_amp(cfg.get('optim_wrapper'))
    if args.launcher == 'none':
        return cfg
    wrapper = getattr(MODELS.get(cfg.model.get('type', '')), 'model_wrapper', 'mmfusion.DataParallel')
    options = dict(broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False))
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine's own launcher sets a CUDA device; it leaves a process group alone that already exists.
        init_processes(args.launcher, args.local_rank)
        options['device_ids'] = None
    cfg.setdefault('model_wrapper_cfg', dict(type=wrapper, **options))
    return cfg


def init_processes(launcher: str, local_rank: int = 0) -> None:
    """Join the processes of a job launcher (torchrun, Slurm, MPI), on machines without CUDA by gloo."""
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    import torch
    from mmengine.dist import init_dist

    if torch.distributed.is_initialized():
        return
    _check_launcher(launcher)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
    else:
        init_dist(launcher)


def _check_launcher(launcher: str) -> None:
    name, command = _LAUNCHERS.get(launcher, (None, None))
    if name and name not in os.environ:
        raise ValueError(f'--launcher {launcher}: the variable {name} is not set; start the command by {command}.')


def leave_processes() -> None:
    """Wait for the other processes, and leave the group: one that ended early would take the others with it."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def without_sync_bn(node: object) -> int:
    """Write ``BN`` for ``SyncBN`` in a model's config, in place; it raises without a process group on GPUs.

    Args:
        node: A config, or part of one.

    Returns:
        How many were replaced; where there are any, the log says so.
    """
    count = _replace_sync_bn(node)
    if count:
        print_log(f'SyncBN stands {count} times in the model and needs several processes on GPUs: using BN.', 'current')
    return count


def _replace_sync_bn(node):
    if isinstance(node, dict):
        own = node.get('type') == 'SyncBN'
        if own:
            node['type'] = 'BN'
        return own + sum(_replace_sync_bn(value) for value in node.values())
    if isinstance(node, list | tuple):
        return sum(_replace_sync_bn(value) for value in node)
    return 0
