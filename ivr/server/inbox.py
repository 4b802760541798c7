"""What a call has sent and nobody has recognised yet: bounded by high and low water marks.

Measured in seconds of audio, because that is what the caller waits for, however the gateway cuts
it into messages. From the high-water mark on, putting waits until the low-water mark is reached:
the server then does not read the socket, and TCP makes the gateway wait. The gap between the
marks keeps reader and recogniser from waking each other for every message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")

#: What a message counts for at least, seconds: empty messages must not pile up either.
_LEAST_S = 0.02


class Inbox(Generic[T]):
    """Messages of one call, from one reader to one worker."""

    def __init__(self, *, high_water_s: float, low_water_s: float) -> None:
        if not 0 <= low_water_s < high_water_s:
            raise ValueError(f"need 0 <= low_water_s={low_water_s} < high_water_s={high_water_s}")
        self._high_s, self._low_s = high_water_s, low_water_s
        self._waiting: deque[tuple[T, float]] = deque()
        self._waiting_s = 0.0
        self._closed = False
        self._working = False
        self._room, self._some = asyncio.Event(), asyncio.Event()
        self._room.set()

    @property
    def waiting_s(self) -> float:
        """Audio waiting, seconds."""
        return self._waiting_s

    @property
    def full(self) -> bool:
        """True from the high-water mark until the low-water mark."""
        return not self._room.is_set()

    @property
    def busy(self) -> bool:
        """Whether something waits, or what was taken last is still being worked on."""
        return self._working or bool(self._waiting)

    async def put(self, message: T, seconds: float) -> None:
        """Add a message; returns once there is room for the next, or the inbox is closed.

        Once it is closed, nothing is kept: a gateway may go on sending while the line closes.
        """
        if self._closed:
            return
        cost_s = max(seconds, _LEAST_S)
        self._waiting.append((message, cost_s))
        self._waiting_s += cost_s
        self._some.set()
        if self._waiting_s >= self._high_s:
            self._room.clear()
        await self._room.wait()

    async def get(self) -> T | None:
        """The next message; None once the inbox is closed. Asking means the last one is done."""
        self._working = False
        while not self._waiting and not self._closed:
            self._some.clear()
            await self._some.wait()
        if self._closed:
            return None
        message, cost_s = self._waiting.popleft()
        self._working = True
        self._waiting_s = self._waiting_s - cost_s if self._waiting else 0.0
        if self._waiting_s <= self._low_s:
            self._room.set()
        return message

    def close(self) -> None:
        """Nobody reads replies any more: drop what waits, and wake both sides."""
        self._closed = True
        self._waiting.clear()
        self._waiting_s = 0.0
        self._some.set()
        self._room.set()
