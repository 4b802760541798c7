"""Progress bars: on a terminal only, and only for what takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["PATIENCE_S", "progress"]

PATIENCE_S = 2.0


@contextmanager
def progress(
    description: str,
    total: float,
    *,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, gone when it is done; yields ``advance(amount)``.

    Safe to be advanced from several threads.
    """
    console = console or Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else lines meant for a pipe would end up here
    )
    task = bar.add_task(description, total=total)
    shown_from = clock() + PATIENCE_S

    def advance(amount: float) -> None:
        bar.advance(task, amount)
        if console.is_terminal and not bar.live.is_started and clock() >= shown_from:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:  # stopping a bar never shown prints an empty line
            bar.stop()
