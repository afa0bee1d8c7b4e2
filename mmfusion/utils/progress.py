"""Progress of long work, for people who watch and for logs."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from tqdm import tqdm

# Of logs: the first line comes after so many seconds, and each next one.
_SECONDS = 30
# Of a bar: what is done sooner needs none.
_DELAY = 1


class _Lines:
    """Writes each state of a bar as a line of its own.

    A carriage return would not go back to its start there.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write a state, without what only moves or clears a bar."""
        if text.strip():
            self.stream.write(f'{text.strip()}\n')

    def flush(self) -> None:
        """Hand on."""
        self.stream.flush()


def track(
    items: Iterable | None = None, desc: str = '', unit: str = 'it', total: int | None = None, show: bool = True
) -> tqdm:
    """Show progress: a bar, or in logs a line every half minute.

    Args:
        items: What is worked through. None: call ``update()`` of the result, in a ``with`` statement.
        desc: What is done: ``'fusing'``.
        unit: What is counted: ``'pair'``.
        total: How many there are. Default: the length of ``items``.
        show: Whether to show anything.
    """
    options: dict[str, Any] = dict(desc=desc, unit=unit, total=total, disable=not show, delay=_DELAY)
    if not sys.stderr.isatty():
        options |= dict(file=_Lines(sys.stderr), mininterval=_SECONDS, maxinterval=_SECONDS, delay=_SECONDS)
        counts, times = f'{{n_fmt}} of {{total_fmt}} {unit}s', '{elapsed} passed, {remaining} left'
        options['bar_format'] = f'{{desc}}: {counts}, {times}{{postfix}}'
    return tqdm(items, **options)


def follow(bar: tqdm) -> Callable[[int, int, str], None]:
    """Give a function of (done, total, text) that moves a bar."""

    def move(done, total, text):
        bar.total = total
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)

    return move
