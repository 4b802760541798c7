"""Recognition in processes of its own: all cores, and a crash costs no more than its own calls.

    with SpeechWorkers.start(settings, hot_words=()) as speech:
        call = speech.call(rate_hz=8000)     # as ivr.asr.factory.Speech
        heard = call.accept(pcm)             # waits for the worker

Kaldi is C++: a fault in it ends its process. Each worker (:mod:`ivr.asr.worker`) holds the models
once and recognises a share of the calls. Where one dies, or does not answer for
:data:`PATIENCE_S`, its calls get a :class:`ModelError`, by which a conversation hands them to a
person, and another is started in its place; new calls go to the others meanwhile.

Safe to use from several threads; a single call is used from one thread at a time.
"""

from __future__ import annotations

import ctypes.util
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import ivr
from ivr.asr.bilingual import EndpointRules, Heard, Utterance
from ivr.asr.worker import READY
from ivr.errors import ModelError
from ivr.language import Language
from ivr.settings import Settings

__all__ = ["PATIENCE_S", "RemoteRecogniser", "SpeechWorkers"]

_log = logging.getLogger(__name__)

#: A worker that has not answered for so long is taken for dead, seconds.
PATIENCE_S = 20.0
#: A model of a gigabyte is read from a slow disk.
_START_S = 300.0


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


class _Worker:
    """One process, and who waits for it."""

    def __init__(self, settings: Settings, hot_words: Sequence[str], *, number: int) -> None:
        self.number = number
        self.calls = 0
        self.lost: str | None = None  # why it is dead
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
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        self.ready: Future[Any] = Future()
        self._waiting[READY] = self.ready
        self._connection.send((settings, tuple(hot_words)))
        self._reader = threading.Thread(
            target=self._read, name=f"recognition-worker-{number}", daemon=True
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def waiting(self) -> int:
        """Steps asked for and not answered."""
        return len(self._waiting)

    def listen(self) -> None:
        """Begin to read answers."""
        self._reader.start()

    def ask(self, method: str, call: int, given: Any) -> Any:
        """Have a step of a call done.

        Raises:
            ModelError: the worker is dead.
            Exception: whatever the step raised.
        """
        future: Future[Any] = Future()
        with self._sending:
            if self.lost is not None:
                raise ModelError(self.lost)
            number = next(self._numbers)
            self._waiting[number] = future
            try:
                self._connection.send((number, method, call, given))
            except OSError:
                self._waiting.pop(number, None)
                raise ModelError(self._lose("its process ended")) from None
        try:
            value = future.result(timeout=PATIENCE_S)
        except TimeoutError:
            self.kill()
            raise ModelError(self._lose(f"no answer for {PATIENCE_S:.0f} s")) from None
        if isinstance(value, Exception):
            raise value
        return value

    def forget(self, call: int) -> None:
        """The call is over."""
        with self._sending:
            self.calls -= 1
            if self.lost is None:
                with suppress(OSError):
                    self._connection.send((None, "end", call, ()))

    def kill(self) -> None:
        """End the process at once; the reader sees it."""
        self._process.kill()

    def close(self) -> None:
        """No call needs it any more."""
        with self._sending:
            self.lost = self.lost or "the server is shutting down"
            with suppress(OSError):
                socket.socket(fileno=os.dup(self._connection.fileno())).shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        if self._reader.ident is not None:
            self._reader.join(timeout=5.0)

    def _read(self) -> None:
        try:
            while True:
                number, value = self._connection.recv()
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting.set_result(value)
        except (EOFError, OSError):
            pass
        except Exception:  # what it sent cannot be read: no answer of it can be trusted
            _log.exception("recognition worker %d sends what cannot be read", self.number)
            self.kill()
        reason = self._lose("its process ended")
        self._process.wait()
        with self._sending:
            left = [self._waiting.pop(number) for number in list(self._waiting)]
        for future in left:
            future.set_result(ModelError(reason))
        self._connection.close()

    def _lose(self, why: str) -> str:
        self.lost = self.lost or f"the recognition worker of this call was lost ({why})"
        return self.lost


@dataclass(frozen=True)
class _Loaded:
    """What a worker says of its models."""

    rate_hz: int
    rules: EndpointRules


class SpeechWorkers:
    """Recognition by workers; the same as :class:`ivr.asr.factory.Speech` to a conversation."""

    #: threads that a server needs for each worker: they wait for it, and match what it heard
    jobs_each: ClassVar[int] = 8

    def __init__(self, settings: Settings, *, hot_words: Sequence[str] = (), workers: int) -> None:
        self._settings, self._hot_words = settings, tuple(hot_words)
        self._workers: list[_Worker] = []
        self._count = workers
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._closed = False
        self._loaded: _Loaded | None = None
        self.alternatives = settings.recognition.alternatives
        #: workers that died and were replaced, so far
        self.restarts = 0

    @classmethod
    def start(
        cls, settings: Settings, *, hot_words: Sequence[str] = (), workers: int | None = None
    ) -> Self:
        """Start the workers, side by side, and wait until they have loaded their models.

        Raises:
            ConfigError: an engine is unknown.
            ModelError: a model is missing, incomplete or cannot be loaded.
        """
        speech = cls(settings, hot_words=hot_words, workers=workers or settings.recognition.threads)
        starting = [speech._new() for _ in range(speech._count)]
        try:
            for worker in starting:
                speech._take_in(worker)
        except BaseException:
            for worker in starting:
                worker.kill()
                worker.close()
            raise
        return speech

    def _new(self) -> _Worker:
        worker = _Worker(self._settings, self._hot_words, number=next(self._numbers))
        worker.listen()
        return worker

    def _take_in(self, worker: _Worker) -> None:
        answer = worker.ready.result(timeout=_START_S)
        if isinstance(answer, Exception):
            raise answer
        self._loaded = _Loaded(*answer)
        with self._lock:
            self._workers.append(worker)

    @property
    def rate_hz(self) -> int:
        """The highest native rate of the models, Hertz."""
        return self._models.rate_hz

    @property
    def rules(self) -> EndpointRules:
        """When an utterance is over, unless a call says otherwise."""
        return self._models.rules

    @property
    def _models(self) -> _Loaded:
        if self._loaded is None:
            raise ModelError("recognition is not started")
        return self._loaded

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the live workers."""
        with self._lock:
            return tuple(w.pid for w in self._workers if w.lost is None)

    @property
    def waiting(self) -> int:
        """Steps asked for and not done yet, of all workers."""
        with self._lock:
            return sum(w.waiting for w in self._workers)

    def with_hot_words(self, hot_words: Sequence[str]) -> SpeechWorkers:
        """Other workers, with these words; these ones serve their calls to the end.

        Raises:
            ModelError: a model cannot be loaded any more.
        """
        fresh = SpeechWorkers.start(self._settings, hot_words=hot_words, workers=self._count)
        threading.Thread(target=self._retire, name="recognition-retire", daemon=True).start()
        return fresh

    def _retire(self) -> None:
        idle = threading.Event()
        while any(w.calls > 0 and w.lost is None for w in list(self._workers)):
            idle.wait(1.0)
        self.close()

    def call(self, *, rate_hz: int = 8000, alternatives: int | None = None) -> RemoteRecogniser:
        """A recogniser for a new call, in the worker that has the fewest.

        Raises:
            ModelError: no worker is alive at the moment.
        """
        worker = self._least_busy()
        number = next(self._numbers)
        given = {"rate_hz": rate_hz, "alternatives": alternatives or self.alternatives}
        try:
            worker.ask("new", number, given)
        except BaseException:
            worker.calls -= 1
            self._look_after()
            raise
        return RemoteRecogniser(self, worker, number, rate_hz=rate_hz)

    def _least_busy(self) -> _Worker:
        self._look_after()
        with self._lock:
            alive = [worker for worker in self._workers if worker.lost is None]
            if not alive:
                raise ModelError("no recognition worker is alive; they are being started again")
            worker = min(alive, key=lambda w: (w.calls, w.number))
            worker.calls += 1
            return worker

    def _look_after(self) -> None:
        """Start others in the place of dead workers, in the background."""
        with self._lock:
            dead = [worker for worker in self._workers if worker.lost is not None]
            self._workers = [worker for worker in self._workers if worker.lost is None]
            if self._closed:
                return
            self.restarts += len(dead)
        for worker in dead:
            _log.error("recognition worker %d: %s; another is started", worker.number, worker.lost)
            threading.Thread(target=self._replace, name="recognition-restart", daemon=True).start()

    def _replace(self) -> None:
        pause = threading.Event()
        for wait_s in itertools.chain((0.0, 1.0, 5.0), itertools.repeat(30.0)):
            pause.wait(wait_s)
            if self._closed:
                return
            worker = self._new()
            try:
                self._take_in(worker)
            except Exception as error:  # whatever it is, it is tried again
                _log.error("a recognition worker cannot be started: %s", error)
                worker.kill()
                worker.close()
                continue
            if self._closed:
                worker.close()
            return

    def close(self) -> None:
        """End the workers; calls that are left fail."""
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RemoteRecogniser:
    """A call's :class:`~ivr.asr.bilingual.BilingualRecogniser` in a worker.

    Every method raises :class:`ModelError` where the worker is lost.
    """

    def __init__(
        self, speech: SpeechWorkers, worker: _Worker, number: int, *, rate_hz: int
    ) -> None:
        self._speech, self._worker, self._number = speech, worker, number
        self._rate_hz = rate_hz
        self._rules = speech.rules
        self._end = weakref.finalize(self, worker.forget, number)

    @property
    def rate_hz(self) -> int:
        """The rate of the audio taken, Hertz."""
        return self._rate_hz

    @property
    def rules(self) -> EndpointRules:
        """When an utterance is over; may be replaced at any time."""
        return self._rules

    @rules.setter
    def rules(self, rules: EndpointRules) -> None:
        self._rules = rules
        self._ask("rules", rules)

    def accept(self, pcm: bytes) -> Heard:
        """See :meth:`BilingualRecogniser.accept`."""
        return cast(Heard, self._ask("accept", pcm))

    def finish(self) -> Utterance:
        """See :meth:`BilingualRecogniser.finish`."""
        return cast(Utterance, self._ask("finish"))

    def keep(self, language: Language | None) -> None:
        """See :meth:`BilingualRecogniser.keep`."""
        self._ask("keep", language)

    def settle(self, language: Language, confidence: float) -> None:
        """See :meth:`BilingualRecogniser.settle`."""
        self._ask("settle", language, confidence)

    def reset(self) -> None:
        """See :meth:`BilingualRecogniser.reset`."""
        self._ask("reset")

    def close(self) -> None:
        """The call is over; the worker forgets it."""
        self._end()

    def _ask(self, method: str, *given: Any) -> Any:
        try:
            return self._worker.ask(method, self._number, given)
        except ModelError:
            if self._worker.lost is not None:
                self._speech._look_after()
            raise
