"""A recognition worker: a process that recognises the calls it is given, one step at a time.

Started by :mod:`ivr.asr.workers` as ``python -m ivr.asr.worker DESCRIPTOR``, where the descriptor
is one end of a socket pair. Over it come pickled ``(number, method, call, arguments)``, answered by
``(number, value)`` or ``(number, exception)``; where the number is None nobody waits for an answer.
It ends when the other end is closed.

It decodes in one thread, with the allocator and the matrix library set for that. Where utterances
are heard again once they are over, a second thread ends them: nobody else's audio waits for that.
While it is busy, or the first one is too, utterances end as the first pass heard them: where many
call, they are answered as soon as ever, and understood a little worse.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["MOST_BUSY", "READY", "Idle", "serve"]

#: Number of the message that says that the models are loaded, or why they are not.
READY = -1
#: Utterances are heard again where the thread that decodes has as much to do at most.
MOST_BUSY = 0.4
#: Arguments of :meth:`ivr.asr.bilingual.BilingualRecogniser.finish`.
_NOT_AGAIN = (False,)
#: glibc, malloc.h: the largest block kept in bins that are merged at every large release.
_M_MXFAST = 1


def _set_up_process() -> None:
    """Before NumPy and Vosk are loaded: how this process uses its core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its workers in order
    with suppress(OSError, AttributeError):
        # Kaldi's decoder frees and takes millions of small blocks; merging them costs a tenth.
        ctypes.CDLL(None).mallopt(_M_MXFAST, 0)
    with suppress(OSError):
        os.nice(5)  # who reads the sockets comes first


def serve(connection: Connection) -> None:
    """Load what the first message names, then do what is asked until the end."""
    from ivr.asr.factory import load_speech

    settings, hot_words = connection.recv()
    try:
        speech = load_speech(settings, hot_words=hot_words)
    except Exception as error:
        connection.send((READY, error))
        return
    connection.send((READY, (speech.rate_hz, speech.rules)))
    gc.collect()
    gc.freeze()  # what was loaded stays: collections need not look through it again and again
    calls: dict[int, Any] = {}
    sending = threading.Lock()

    def answer(number: int | None, method: str, call: int, given: Any) -> None:
        try:
            value = _do(calls, method, call, given, speech.call)
        except Exception as error:
            value = error
        if number is not None:
            with sending, suppress(ConnectionError):  # the other end is closed: so ends the loop
                connection.send((number, value))

    aside = ThreadPoolExecutor(1) if speech.hears_again else None
    ending: Future[None] | None = None
    idle = Idle()
    for number, method, call, given in _in_order(connection, idle):
        if aside is None or method != "finish" or given == _NOT_AGAIN:
            answer(number, method, call, given)
        elif (ending is None or ending.done()) and idle.busy() < MOST_BUSY:
            ending = aside.submit(answer, number, method, call, given)
        else:
            answer(number, method, call, _NOT_AGAIN)


class Idle:
    """How busy a thread is: the share of the time, over some two seconds, that it does not wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at, self._waited_s, self._busy = clock(), 0.0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The thread waits inside."""
        begun_s = self._clock()
        yield
        self._waited_s += self._clock() - begun_s

    def busy(self) -> float:
        """0 to 1."""
        passed_s = self._clock() - self._at
        if passed_s > 0:
            kept = math.exp(-passed_s / 2)
            self._busy = kept * self._busy + (1 - kept) * (1 - self._waited_s / passed_s)
            self._at, self._waited_s = self._clock(), 0.0
        return self._busy


def _in_order(connection: Connection, idle: Idle) -> Iterator[tuple[int | None, str, int, Any]]:
    """What is asked: the end of an utterance before audio, for which no caller waits so hard.

    Of one call nothing overtakes anything: it asks for one step at a time.
    """
    first: deque[Any] = deque()
    audio: deque[Any] = deque()
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while True:
        if not first and not audio:
            with idle.waiting():
                poll.poll(None)
        while poll.poll(0):
            message = connection.recv()
            (audio if message[1] in ("take", "accept") else first).append(message)
        yield (first or audio).popleft()


def _do(calls: dict[int, Any], method: str, call: int, given: Any, new: Callable[..., Any]) -> Any:
    if method == "end":
        calls.pop(call, None)
        return None
    if method == "new":
        calls[call] = new(**given[0])
        return None
    recogniser = calls[call]
    if method == "rules":
        recogniser.rules = given[0]
        return None
    return getattr(recogniser, method)(*given)


def main() -> None:
    """Entry point of ``python -m ivr.asr.worker DESCRIPTOR``."""
    _set_up_process()
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError, ConnectionError):
        serve(connection)
    os._exit(0)  # nothing is to be saved, and freeing the models takes a second


if __name__ == "__main__":
    main()
