"""Progress bars: on a terminal only, and only for what takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

__all__ = ["PATIENCE_S", "Advance", "progress"]

PATIENCE_S = 2.0


class Advance:
    """Moves a bar on: ``advance(amount)``. Safe to be used from several threads."""

    def __init__(self, bar: Progress, shown: Callable[[], None]) -> None:
        self._bar, self._shown = bar, shown

    def __call__(self, amount: float) -> None:
        """So much more is done."""
        self._bar.advance(self._bar.task_ids[0], amount)
        self._shown()

    def say_total(self, total: float) -> None:
        """There is so much in all, as is known only now."""
        self._bar.update(self._bar.task_ids[0], total=total)


@contextmanager
def progress(
    description: str,
    total: float | None,
    *,
    is_bytes: bool = False,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """A bar on standard error, gone when it is done; yields ``advance(amount)``.

    Args:
        total: the sum of all amounts; None where it is not known (see :meth:`Advance.say_total`).
        is_bytes: amounts are bytes, shown as such with their speed.
        clock: seconds.
    """
    console = console or Console(stderr=True)
    amounts = (DownloadColumn(), TransferSpeedColumn()) if is_bytes else (TaskProgressColumn(),)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else lines meant for a pipe would end up here
    )
    bar.add_task(description, total=total)
    shown_from = clock() + PATIENCE_S

    def shown() -> None:
        if console.is_terminal and not bar.live.is_started and clock() >= shown_from:
            bar.start()

    try:
        yield Advance(bar, shown)
    finally:
        if bar.live.is_started:  # stopping a bar never shown prints an empty line
            bar.stop()
