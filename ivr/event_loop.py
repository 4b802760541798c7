"""The event loop that commands run on: uvloop's where it is installed, asyncio's where not.

uvloop (libuv) hands a message on in about half of the time; hundreds of calls are tens of thousands
of small messages a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["new_event_loop", "run"]

T = TypeVar("T")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop of the kind at hand."""
    return _loop_factory()()


def run(main: Coroutine[Any, Any, T]) -> T:
    """As :func:`asyncio.run`, on such a loop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)
