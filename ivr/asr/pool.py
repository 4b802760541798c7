"""Recognition off the event loop: a bounded pool of threads, one job of a call at a time.

Engines release the interpreter lock while they decode, so threads use all cores. Each call has a
:class:`Lane`: its jobs run one after the other, in the order in which they were asked for, never
two at once, because a recogniser is used from one thread at a time.

Back-pressure is by water marks, as in websockets: once ``high_water`` jobs are running or waiting,
new ones wait outside until no more than ``low_water`` are left. The gap between the two keeps the
pool from waking every caller for each job that ends. A caller that waits is not reading from its
socket, so TCP passes the pressure on to the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from ivr.errors import ServerError

__all__ = ["Lane", "RecognitionPool"]

P = ParamSpec("P")
T = TypeVar("T")


class RecognitionPool:
    """At most ``workers`` jobs at once, at most ``high_water`` running or waiting.

    Belongs to one event loop. Use it as ``async with``, or call :meth:`aclose`.

    Args:
        workers: threads; as many as there are cores is enough.
        high_water: jobs from which on new ones wait outside; by default 8 a worker.
        low_water: jobs at which they are let in again; by default half of ``high_water``.
    """

    def __init__(
        self, *, workers: int, high_water: int | None = None, low_water: int | None = None
    ) -> None:
        high = 8 * workers if high_water is None else high_water
        low = high // 2 if low_water is None else low_water
        if workers < 1 or not 0 <= low < high or high < workers:
            raise ValueError(
                f"workers={workers}, high_water={high}, low_water={low}: "
                "need 1 <= workers <= high_water and 0 <= low_water < high_water"
            )
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="recognition")
        self._high, self._low = high, low
        self._jobs = 0
        self._turns = 0  # of lanes, on the loop: they wait for another process
        self._closed = False
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def jobs(self) -> int:
        """Jobs running or waiting for a thread, and turns under way."""
        return self._jobs + self._turns

    @property
    def full(self) -> bool:
        """True from the high-water mark until the low-water mark is reached again."""
        return not self._room.is_set()

    def lane(self) -> Lane:
        """A lane for a new call."""
        return Lane(self)

    async def aclose(self) -> None:
        """Refuse new jobs, wait for those under way, and end the threads."""
        self._closed = True
        self._room.set()  # those who wait outside are refused now
        await self._idle.wait()
        self._executor.shutdown(wait=False)

    async def __aenter__(self) -> RecognitionPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _admit(self, *, wait: bool) -> None:
        while self.full and not self._closed:
            if not wait:
                raise ServerError(
                    f"recognition is at its limit of {self._high} jobs: try again later, "
                    "or raise recognition.workers in config/kapok.yaml"
                )
            await self._room.wait()
        if self._closed:
            raise ServerError("the recognition pool is closed: the server is shutting down")

    def _submit(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        self._jobs += 1
        self._idle.clear()
        if self._jobs >= self._high:
            self._room.clear()
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: function(*args, **kwargs)
        )
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: asyncio.Future[T]) -> None:
        self._jobs -= 1
        if self._jobs <= self._low:
            self._room.set()
        if not self._jobs:
            self._idle.set()


class Lane:
    """The jobs of one call, one after the other."""

    def __init__(self, pool: RecognitionPool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in the pool and return what it returns; waits while the pool is full.

        Cancelling the caller does not stop a job that has started; the lane then stays busy until
        it has ended.

        Raises:
            ServerError: the pool is closed.
        """
        return await self._run(True, function, *args, **kwargs)

    async def run_nowait(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`run`, but refuses at once where the pool is full.

        Raises:
            ServerError: the pool is full or closed.
        """
        return await self._run(False, function, *args, **kwargs)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A job of this call on the event loop, for what computes elsewhere and is awaited here.

        It counts in :attr:`RecognitionPool.jobs` and takes no thread, so the marks do not hold it
        back: there is one at most for each call.

        Raises:
            ServerError: the pool is closed.
        """
        async with self._turn:
            if self._pool._closed:
                raise ServerError("the recognition pool is closed: the server is shutting down")
            self._pool._turns += 1
            try:
                yield
            finally:
                self._pool._turns -= 1

    async def _run(
        self, wait: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        await self._turn.acquire()
        try:
            await self._pool._admit(wait=wait)
            future = self._pool._submit(function, *args, **kwargs)
        except BaseException:
            self._turn.release()
            raise
        future.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(future)
