"""A recognition worker: a process that recognises the calls it is given, one step at a time.

Started by :mod:`ivr.asr.workers` as ``python -m ivr.asr.worker DESCRIPTOR``, where the descriptor
is one end of a socket pair. Over it come pickled ``(number, method, call, arguments)``, answered by
``(number, value)`` or ``(number, exception)``; where the number is None nobody waits for an answer.
It ends when the other end is closed.

It decodes in one thread, with the allocator and the matrix library set for that. Where utterances
are heard again once they are over, a second thread ends them: nobody else's audio waits for that.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["READY", "serve"]

#: Number of the message that says that the models are loaded, or why they are not.
READY = -1
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
    for message in _in_order(connection):
        if aside is not None and message[1] == "finish":
            aside.submit(answer, *message)
        else:
            answer(*message)


def _in_order(connection: Connection) -> Iterator[tuple[int | None, str, int, Any]]:
    """What is asked: the end of an utterance before audio, for which no caller waits so hard.

    Of one call nothing overtakes anything: it asks for one step at a time.
    """
    first: deque[Any] = deque()
    audio: deque[Any] = deque()
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while True:
        while poll.poll(0 if first or audio else None):
            message = connection.recv()
            (audio if message[1] == "accept" else first).append(message)
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
