"""Errors of the verbs and tools, in one sentence each."""

import argparse
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmfusion.utils import keep_freed_memory
from mmfusion.utils.configs import OPTION_ERRORS, OptionError
from mmfusion.utils.outputs import is_write_error, system_sentence

from .setup_errors import setup_message

# What a user can mend.
ERRORS = (ValueError, OSError, RuntimeError, KeyError, MemoryError, ImportError)
# Exit code of a shell for a program that Ctrl-C ended, one that was told to end, and one whose reader ended, such as
# ``head``.
_INTERRUPTED, _TERMINATED, _READER_ENDED = 130, 143, 141
# What a class raises that a config gives a value of another type.
_OF_VALUES = (TypeError, AttributeError, AssertionError, IndexError, ArithmeticError)
_PACKAGE = Path(__file__).resolve().parents[1]


class Terminated(KeyboardInterrupt):
    """SIGTERM, of ``kill``, ``timeout``, Docker and Slurm: ends as Ctrl-C does."""


def print_any_text() -> None:
    """Print what an encoding lacks as ``?``.

    Such as ``↑`` on Windows, or bytes of names that are no UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='replace')


def report(run: Callable[..., str | None], *args) -> int:
    """Run a tool: print the sentence that it returns, or its error.

    Args:
        run: The tool.
        *args: What it takes.

    Returns:
        The exit code: 1 after an error that a user can mend, 130 after Ctrl-C, 143 after SIGTERM.
    """
    _prepare(args)
    try:
        with _terminable(args):
            text = run(*args)
        if text is not None:
            print(text, flush=True)
    except KeyboardInterrupt as e:
        return interrupted(e)
    except BrokenPipeError:
        return _reader_ended()
    except ERRORS as e:
        given = _overrides(args) if isinstance(e, OptionError) else ''
        print(f'error: {f"--cfg-options {given}: does not work: " if given else ""}{message_of(e)}', file=sys.stderr)
        return 1
    except _OF_VALUES as e:
        return _report_overrides(args, e)
    return 0


def report_own(run: Callable[..., object], *args) -> int:
    """Run a tool, and print the errors that mmfusion raises alone.

    An error in setting up a Runner is the config's, and is told with the key: see :func:`setup_message`.
    """
    _prepare(args)
    try:
        with _terminable(args):
            run(*args)
    except KeyboardInterrupt as e:
        return interrupted(e)
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


def verb(
    run: Callable[[argparse.Namespace], object],
    make_parser: Callable[[str | None], argparse.ArgumentParser],
    report: Callable[..., int] = report,
) -> Callable[..., int]:
    """Make the function ``main(argv, prog) -> exit code`` of a verb.

    Args:
        run: What the verb does, of its arguments.
        make_parser: From the program's name to its parser.
        report: :func:`report` or :func:`report_own`.
    """

    def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
        return report(run, make_parser(prog).parse_args(argv))

    return main


def _prepare(args: tuple) -> None:
    print_any_text()
    keep_freed_memory()
    _expand_home(args)


def _expand_home(args: tuple) -> None:
    """Write the home for ``~`` in arguments, in place.

    Most shells leave it in ``--vi=~/vi`` and ``NAME=~/dir``.
    """
    for namespace in args:
        if isinstance(namespace, argparse.Namespace):
            vars(namespace).update({name: _with_home(value) for name, value in vars(namespace).items()})


def _with_home(value: object) -> object:
    if isinstance(value, str):
        return re.sub(r'(^|[=:])(~)(?=/|$)', lambda found: found[1] + os.path.expanduser(found[2]), value)
    if isinstance(value, Path):
        return Path(_with_home(str(value)))
    if isinstance(value, dict):
        return type(value)({key: _with_home(item) for key, item in value.items()})
    return type(value)(map(_with_home, value)) if type(value) in (list, tuple) else value


@contextmanager
def _terminable(args: tuple) -> Iterator[None]:
    """Raise :class:`Terminated` at SIGTERM, so that nothing half-written stays.

    A second one ends the process at once. Processes of a launcher end as it tells them.
    """
    launched = getattr(args[0], 'launcher', 'none') != 'none' if args else False
    if launched or threading.current_thread() is not threading.main_thread():
        with _interruptions():
            yield
        return
    owner = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != owner:  # a worker, which inherits this
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise Terminated

    def repeat(ignored: 'sys.UnraisableHookArgs') -> None:
        """Send a signal again that was ignored, as in ``__del__``."""
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            hook(ignored)
            return
        number = signal.SIGINT
        if issubclass(ignored.exc_type, Terminated):
            number = signal.SIGTERM
            signal.signal(signal.SIGTERM, end)
        timer = threading.Timer(0.1, os.kill, (owner, number))
        timer.daemon = True
        timer.start()

    before, hook = signal.signal(signal.SIGTERM, end), sys.unraisablehook
    sys.unraisablehook = repeat
    try:
        with _interruptions():
            yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def _interruptions() -> Iterator[None]:
    """Raise interruptions again that a library took for errors.

    As mmengine does, whose ``except:`` says that a config could not be formatted. That the rest could not be written, with
    a full disk, is an error of its own.
    """
    try:
        yield
    except Exception as e:
        found = next((error for error in _chain(e) if isinstance(error, KeyboardInterrupt)), None)
        if found is None or is_write_error(e):
            raise
        raise found from None


def interrupted(error: KeyboardInterrupt) -> int:
    """Say that a command was interrupted, and give its exit code."""
    terminated = isinstance(error, Terminated)
    print('terminated' if terminated else 'interrupted', file=sys.stderr)
    return _TERMINATED if terminated else _INTERRUPTED


def _reader_ended() -> int:
    """Let output without reader go, before Python tries to write it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _READER_ENDED


def _report_overrides(args: tuple, error: Exception) -> int:
    """Say an error that ``--cfg-options`` may have caused, or raise it."""
    given = _overrides(args)
    if not given:
        raise error
    print(
        f'error: --cfg-options {given}: does not work ({type(error).__name__}: {error}). Correct it.', file=sys.stderr
    )
    return 1


def _overrides(args: tuple) -> str:
    """What was given by ``--cfg-options``."""
    options = getattr(args[0], 'cfg_options', None) if args else None
    return ' '.join(f'{name}={value}' for name, value in (options or {}).items())


def message_of(error: BaseException) -> str:
    """Give an error's text without quotation marks or a system's number."""
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
        return text if ' ' in text.strip() else f'no {text!r} where one is looked up{_place(error)}'
    if isinstance(error, MemoryError):
        return f'out of memory ({error or "no more is given"}): use smaller images, a smaller batch, or fewer workers.'
    if isinstance(error, OSError) and error.strerror:
        return system_sentence(error)
    return str(error)


def _place(error: BaseException) -> str:
    """Where an error without a sentence was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ''
    return (
        f' ({Path(*Path(frames[-1].filename).parts[-2:])}, line {frames[-1].lineno}). Check the config and its files.'
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those in whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _package_message(error: BaseException) -> str | None:
    """The text of mmfusion's own error, here or in a worker."""
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
    """The text of a registry's error, or of unknown options."""
    if isinstance(error, TypeError) and OPTION_ERRORS.search(str(error)):
        return f'the config gives an option that a class does not have, or lacks one: {error}. See docs/configs.md.'
    frames = traceback.extract_tb(error.__traceback__)
    registry = bool(frames) and Path(frames[-1].filename).parts[-3:-1] == ('mmengine', 'registry')
    return message_of(error) if registry and isinstance(error, ERRORS) else None
