"""A recognition worker as the server sees it: its process, and how it is asked.

    worker = WorkerProcess(settings, hot_words, number=1)
    worker.wait_ready()                       # until its models are loaded
    worker.ask("accept", call, (pcm,))        # any thread: waits for the answer

    worker.attach(asyncio.get_running_loop())
    await worker.ask_soon("accept", call, (pcm,))     # on the loop: no thread waits

Attached to an event loop, its socket is read and written there: an answer costs one wake-up of the
loop and no thread, where threads that hand each block on fight for Python's lock. Other threads may
ask too, through the loop. What is told (:meth:`WorkerProcess.tell`) is not answered; what is asked
and told is done in order.

A worker whose process ends is lost: whoever waits for it gets a :class:`~ivr.errors.ModelError`. So
is one that hangs: that has answered nobody for :data:`PATIENCE_S` while somebody waits, or leaves a
question unanswered for :data:`OVERDUE_S`. That others are answered meanwhile shows that it has much
to do.
"""

from __future__ import annotations

import asyncio
import ctypes.util
import itertools
import logging
import math
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import ivr
from ivr.asr.worker import READY
from ivr.errors import ModelError
from ivr.settings import Settings

__all__ = ["OVERDUE_S", "PATIENCE_S", "WorkerProcess"]

_log = logging.getLogger(__name__)

#: A worker for whose answer somebody waits, and that has answered nobody for so long, is taken for
#: dead, seconds.
PATIENCE_S = 20.0
#: ... and one that leaves a question unanswered for so long, whoever else is answered, seconds: one
#: of its two threads hangs.
OVERDUE_S = 60.0
#: A model of a gigabyte is read from a slow disk.
_START_S: Final = 300.0
#: How often it is looked whether somebody has waited too long, seconds.
_LOOK_S: Final = 0.5
_END_S: Final = 2.0
_READ_BYTES: Final = 262_144
#: As :class:`multiprocessing.connection.Connection`, the other end, frames its messages.
_LENGTH: Final = struct.Struct("!i")


def _environment() -> dict[str, str]:
    """This process's, with this very package first, and one thread a matrix product.

    Where jemalloc is installed it takes malloc's place: Kaldi's decoder makes and drops millions
    of small objects, and a tenth of its time goes less.
    """
    package = str(Path(ivr.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    allocator = _jemalloc()
    if allocator:
        preloaded = filter(None, [os.environ.get("LD_PRELOAD"), allocator])
        environment["LD_PRELOAD"] = " ".join(preloaded)
        environment.setdefault("MALLOC_CONF", "narenas:1,tcache_max:32768")
    return environment


@lru_cache(maxsize=1)
def _jemalloc() -> str | None:
    return ctypes.util.find_library("jemalloc") if sys.platform == "linux" else None


class WorkerProcess:
    """One process, and who waits for it."""

    def __init__(self, settings: Settings, hot_words: Sequence[str], *, number: int) -> None:
        self.number = number
        self.calls = 0  # counted by who gives it calls
        self._why_lost: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attached = 0  # times; several servers may share it
        self._watch: asyncio.TimerHandle | None = None
        # Over the socket while no loop has it; nothing that a destructor may call takes it.
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        # Of what was asked and not answered, the oldest first: who waits, since when.
        self._waiting: dict[int, tuple[Future[Any] | asyncio.Future[Any], float]] = {}
        self._answered_s = -math.inf  # when it last answered anybody on the loop
        self._forgotten: deque[int] = deque()  # calls that are over, not told yet
        self._read = bytearray()  # less than a message
        self._unsent = bytearray()  # at most a block of each call
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ivr.asr.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                start_new_session=False,
            )
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket = ours
        with suppress(ModelError):  # it is found out when it is waited for
            self._send_now(_framed((settings, tuple(hot_words))))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def lost(self) -> str | None:
        """Why it is dead; None while it lives."""
        if self._why_lost is None and self._loop is None and self._process.poll() is not None:
            self._lose("its process ended")
        return self._why_lost

    @property
    def waiting(self) -> int:
        """Steps asked for and not answered."""
        return len(self._waiting)

    def wait_ready(self) -> Any:
        """Wait until it has loaded its models; what it says of them, or the exception why not."""
        with self._lock:
            return self._answer(READY, _START_S)

    # --- asking --------------------------------------------------------------------------

    def ask(self, method: str, call: int, given: tuple[Any, ...] = ()) -> Any:
        """Have a step of a call done; waits for it, so never on the event loop.

        Raises:
            ModelError: the worker is dead.
            Exception: whatever the step raised.
        """
        with self._lock:
            if self._loop is None:
                return _value(self._ask_here(method, call, given))
            loop = self._loop
        if _running_on(loop):
            raise RuntimeError("ask() would stop the event loop: use ask_soon()")
        future: Future[Any] = Future()
        loop.call_soon_threadsafe(self._begin, future, method, call, given)
        try:
            # The loop itself loses patience with the worker; here it is the loop that may be gone.
            return _value(future.result(timeout=OVERDUE_S + PATIENCE_S))
        except TimeoutError:
            raise ModelError(self._lose(f"no answer for {OVERDUE_S:g} s")) from None

    async def ask_soon(self, method: str, call: int, given: tuple[Any, ...] = ()) -> Any:
        """As :meth:`ask`, on the loop that the worker is attached to."""
        future = asyncio.get_running_loop().create_future()
        self._begin(future, method, call, given)
        return _value(await future)

    def tell(self, method: str, call: int, given: tuple[Any, ...] = ()) -> None:
        """Have a step of a call done that nobody waits for. A dead worker does nothing."""
        message = _framed((None, method, call, given))
        with self._lock:
            loop = self._loop
            if loop is None:
                with suppress(ModelError):
                    self._send_now(self._of_forgotten() + message)
                return
        if _running_on(loop):
            self._send(message)
        else:
            loop.call_soon_threadsafe(self._send, message)

    def forget(self, call: int) -> None:
        """A call is over. It may be a destructor that says so: no lock is taken."""
        self.calls -= 1
        self._forgotten.append(call)
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody will ask for more
                loop.call_soon_threadsafe(self._send, b"")

    def _of_forgotten(self) -> bytes:
        messages = []
        with suppress(IndexError):
            while True:
                messages.append(_framed((None, "end", self._forgotten.popleft(), ())))
        return b"".join(messages)

    # --- without a loop: one who asks at a time -------------------------------------------

    def _ask_here(self, method: str, call: int, given: tuple[Any, ...]) -> Any:
        if self.lost is not None:
            raise ModelError(self._why_lost)
        number = next(self._numbers)
        message = _framed((number, method, call, given))
        self._send_now(self._of_forgotten() + message)
        return self._answer(number, PATIENCE_S)

    def _send_now(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                self._until(select.POLLOUT, time.monotonic() + PATIENCE_S)
            except OSError:
                raise ModelError(self._lose("its process ended")) from None

    def _answer(self, number: int, within_s: float) -> Any:
        ends_s = time.monotonic() + within_s
        while True:
            for answered, value in self._messages():
                if answered == number:
                    return value
            self._until(select.POLLIN, ends_s)
            if not self._receive():
                raise ModelError(self._why_lost)

    def _until(self, event: int, ends_s: float) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        if not poll.poll(max(0.0, 1000.0 * (ends_s - time.monotonic()))):
            self.kill()
            raise ModelError(self._lose(f"no answer for {PATIENCE_S:g} s"))

    # --- on a loop -------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be read and written by this loop, which runs this very method, until :meth:`detach`."""
        with self._lock:
            if self._loop is loop:
                self._attached += 1
            elif self._loop is None and self.lost is None:  # else ask() goes through the other's
                self._loop, self._attached = loop, 1
                loop.add_reader(self._socket, self._on_readable)
                self._look()

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop, which runs this very method, lets go; who still waits is told."""
        if self._loop is not loop:
            return
        self._attached -= 1
        if self._attached <= 0:
            self._leave_loop()
            self._tell_waiting("the server is shutting down")

    def on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it is attached to this loop."""
        return self._loop is loop

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if self._watch is not None:
            self._watch.cancel()
        if loop is not None:
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
        if self._unsent and self._why_lost is None:
            with suppress(ModelError):
                self._send_now(bytes(self._unsent))
        self._unsent.clear()

    def _begin(
        self,
        future: Future[Any] | asyncio.Future[Any],
        method: str,
        call: int,
        given: tuple[Any, ...],
    ) -> None:
        if self._why_lost is not None or self._loop is None:
            why = self._why_lost or "the server is shutting down"
            future.set_result(ModelError(why))
            return
        number = next(self._numbers)
        self._waiting[number] = (future, time.monotonic())
        self._send(_framed((number, method, call, given)))

    def _send(self, message: bytes) -> None:
        data = self._of_forgotten() + message if self._forgotten else message
        if self._loop is None or self._why_lost is not None:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._sent(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.add_writer(self._socket, self._on_writable)

    def _sent(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # it is read to its end, which says the same
            return len(data)

    def _on_writable(self) -> None:
        del self._unsent[: self._sent(self._unsent)]
        if not self._unsent and self._loop is not None:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        alive = self._receive()
        for number, value in self._messages():
            waiting, _ = self._waiting.pop(number, (None, 0.0))
            self._answered_s = time.monotonic()
            if waiting is not None and not waiting.done():
                waiting.set_result(value)
        if not alive:
            self._leave_loop()
            self._tell_waiting(self._why_lost or "its process ended")

    def _tell_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_result(ModelError(why))

    def _look(self) -> None:
        """Whether it hangs; again and again."""
        silent_s = self._silent_s()
        if silent_s is not None:
            self._lose(f"no answer for {silent_s:g} s")
            self.kill()  # the end of its socket tells those who wait
        elif self._loop is not None:
            self._watch = self._loop.call_later(min(_LOOK_S, PATIENCE_S / 4), self._look)

    def _silent_s(self) -> float | None:
        """The limit that it has exceeded by not answering, seconds; None for none."""
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None:
            return None
        now_s, (_, asked_s) = time.monotonic(), oldest
        if now_s - max(asked_s, self._answered_s) > PATIENCE_S:
            return PATIENCE_S
        return OVERDUE_S if now_s - asked_s > OVERDUE_S else None

    # --- both ------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Read what there is; False where the worker is lost."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self._lose("its process ended")
            return False
        self._read += data
        return True

    def _messages(self) -> Iterator[tuple[int, Any]]:
        """The whole messages read; they are taken out."""
        try:
            while len(self._read) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._read)
                end = _LENGTH.size + length
                if len(self._read) < end:
                    return
                message = bytes(self._read[_LENGTH.size : end])
                del self._read[:end]
                yield pickle.loads(message)
        except Exception:  # what it sent cannot be read: no answer of it can be trusted
            _log.exception("recognition worker %d sends what cannot be read", self.number)
            self._read.clear()
            self.kill()

    def _lose(self, why: str) -> str:
        if self._why_lost is None:
            self._why_lost = f"the recognition worker of this call was lost ({why})"
        return self._why_lost

    def kill(self) -> None:
        """End the process at once; the end of its socket is seen."""
        self._process.kill()

    def close(self) -> None:
        """No call needs it any more; waits for its end."""
        self._why_lost = self._why_lost or "the server is shutting down"
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        loop = self._loop
        if loop is None or loop.is_closed():
            self._socket.close()
        elif not _running_on(loop):
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._close_socket)
        else:
            self._close_socket()

    def _close_socket(self) -> None:
        if self._loop is not None:
            self._leave_loop()
            self._tell_waiting(self._why_lost or "the server is shutting down")
        self._socket.close()


def _framed(message: Any) -> bytes:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _value(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _running_on(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
