"""Recognition in processes of its own: all cores, and a crash costs no more than its own calls.

    with SpeechWorkers.start(settings, hot_words=()) as speech:
        call = speech.call(rate_hz=8000)     # as ivr.asr.factory.Speech
        heard = call.accept(pcm)             # waits for the worker

    speech.attach(asyncio.get_running_loop())
    heard = await call.accept_soon(pcm)      # on the event loop, without a thread

Kaldi is C++: a fault in it ends its process. Each worker (:mod:`ivr.asr.worker`) holds the models
once and recognises a share of the calls. Where one dies, or does not answer for
:data:`~ivr.asr.worker_process.PATIENCE_S`, its calls get a :class:`ModelError`, by which a
conversation hands them to a person, and another is started in its place; new calls go to the others
meanwhile.

Where others take their place (:meth:`SpeechWorkers.retire`), workers serve the calls that they have
to the end.

Safe to use from several threads; a single call is used from one thread at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final, Self, cast

from ivr.asr.bilingual import EndpointRules, Heard, Utterance
from ivr.asr.worker_process import WorkerProcess
from ivr.errors import ModelError
from ivr.language import Language
from ivr.settings import Settings

__all__ = ["RemoteRecogniser", "SpeechWorkers"]

_log = logging.getLogger(__name__)

#: Audio goes to a worker in pieces of at most so much, seconds: a message may hold minutes of it,
#: and the worker's other calls take their turns in between.
_PIECE_S: Final = 1.0


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
        self._workers: list[WorkerProcess] = []
        self._count = workers
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded: _Loaded | None = None
        self._successor: SpeechWorkers | None = None  # new calls go there
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
        starting = [speech._new()]
        try:
            if any(
                entry.second_pass or entry.engine == "kapok"
                for _, entry in settings.languages.items()
            ):
                # It may compile a search, which the others then find compiled.
                speech._take_in(starting[0])
            starting += [speech._new() for _ in range(speech._count - 1)]
            for worker in starting[len(speech._workers) :]:
                speech._take_in(worker)
        except BaseException:
            for worker in starting:
                worker.kill()
                worker.close()
            raise
        return speech

    def _new(self) -> WorkerProcess:
        return WorkerProcess(self._settings, self._hot_words, number=next(self._numbers))

    def _take_in(self, worker: WorkerProcess) -> None:
        answer = worker.wait_ready()
        if isinstance(answer, Exception):
            raise answer
        self._loaded = _Loaded(*answer)
        with self._lock:
            self._workers.append(worker)
            loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed meanwhile
                loop.call_soon_threadsafe(worker.attach, loop)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Workers are read and written on this loop, on which this is called, until detached."""
        with self._lock:
            self._loop, workers = loop, list(self._workers)
        for worker in workers:
            worker.attach(loop)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop, on which this is called, ends; calls that are left fail."""
        with self._lock:
            self._loop, workers = None, list(self._workers)
        for worker in workers:
            worker.detach(loop)

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
        """Other workers, with these words; these ones serve on until :meth:`retire`.

        Raises:
            ModelError: a model cannot be loaded any more.
        """
        fresh = SpeechWorkers.start(self._settings, hot_words=hot_words, workers=self._count)
        fresh.restarts = self.restarts
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed meanwhile
                loop.call_soon_threadsafe(fresh.attach, loop)
        return fresh

    def retire(self, successor: SpeechWorkers) -> None:
        """These workers serve the calls that they have to the end, and end.

        Whoever still asks these for a new call gets one of the successor's. It belongs to the owner
        of these from now on: :meth:`close` ends it too.
        """
        retiring = self._latest
        with retiring._lock:
            retiring._successor, closed = successor, retiring._closed
        if closed:
            successor.close()
        else:
            threading.Thread(
                target=retiring._end_when_idle, name="recognition-retire", daemon=True
            ).start()

    @property
    def _latest(self) -> SpeechWorkers:
        """Those that new calls go to."""
        latest = self
        while latest._successor is not None:
            latest = latest._successor
        return latest

    def _end_when_idle(self) -> None:
        idle = threading.Event()
        while any(w.calls > 0 and w.lost is None for w in list(self._workers)):
            idle.wait(1.0)
        self._end()

    def call(self, *, rate_hz: int = 8000, alternatives: int | None = None) -> RemoteRecogniser:
        """A recogniser for a new call, in the worker that has the fewest.

        Raises:
            ModelError: no worker is alive at the moment.
        """
        speech, worker = self._taken_worker()
        number = next(speech._numbers)
        given = {"rate_hz": rate_hz, "alternatives": alternatives or self.alternatives}
        try:
            worker.ask("new", number, (given,))
        except BaseException:
            worker.calls -= 1
            speech._look_after()
            raise
        return RemoteRecogniser(speech, worker, number, rate_hz=rate_hz)

    def _taken_worker(self) -> tuple[SpeechWorkers, WorkerProcess]:
        """A worker that has one call more now, and those that it is one of."""
        speech = self
        while True:
            speech._look_after()
            with speech._lock:  # with the call counted, or with a successor, they may end
                if speech._successor is None:
                    worker = speech._least_busy()
                    worker.calls += 1
                    return speech, worker
                speech = speech._successor

    def _least_busy(self) -> WorkerProcess:
        alive = [worker for worker in self._workers if worker.lost is None]
        if not alive:
            raise ModelError("no recognition worker is alive; they are being started again")
        return min(alive, key=lambda w: (w.calls, w.number))

    def _look_after(self) -> None:
        """Start others in the place of dead workers, in the background."""
        with self._lock:
            if self._closed or self._successor is not None:
                return
            dead = [worker for worker in self._workers if worker.lost is not None]
            self._workers = [worker for worker in self._workers if worker.lost is None]
            self.restarts += len(dead)
        for worker in dead:
            _log.error("recognition worker %d: %s; another is started", worker.number, worker.lost)
            threading.Thread(
                target=self._replace, args=(worker,), name="recognition-restart", daemon=True
            ).start()

    def _replace(self, dead: WorkerProcess) -> None:
        dead.close()
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
        """End the workers, and those that took their place; calls that are left fail."""
        ending: SpeechWorkers | None = self
        while ending is not None:
            ending._end()
            ending = ending._successor

    def _end(self) -> None:
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
        self, speech: SpeechWorkers, worker: WorkerProcess, number: int, *, rate_hz: int
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
        self._worker.tell("rules", self._number, (rules,))

    @property
    def waits_on_loop(self) -> bool:
        """Whether :meth:`accept_soon` may be awaited, on the event loop that runs now."""
        return self._worker.on(asyncio.get_running_loop())

    def accept(self, pcm: bytes) -> Heard:
        """See :meth:`BilingualRecogniser.accept`."""
        *before, last = self._pieces(pcm)
        for piece in before:
            self._ask("take", piece)
        return cast(Heard, self._ask("accept", last))

    async def accept_soon(self, pcm: bytes) -> Heard:
        """As :meth:`accept`, on the event loop."""
        *before, last = self._pieces(pcm)
        try:
            for piece in before:
                await self._worker.ask_soon("take", self._number, (piece,))
            return cast(Heard, await self._worker.ask_soon("accept", self._number, (last,)))
        except ModelError:
            self._look_after()
            raise

    def _pieces(self, pcm: bytes) -> Iterator[bytes]:
        """At least one."""
        piece = 2 * max(1, round(_PIECE_S * self._rate_hz))
        for at in range(0, max(1, len(pcm)), piece):
            yield pcm[at : at + piece]

    def finish(self, again: bool = True) -> Utterance:
        """See :meth:`BilingualRecogniser.finish`; a busy worker hears nothing again either."""
        return cast(Utterance, self._ask("finish", again))

    def keep(self, language: Language | None) -> None:
        """See :meth:`BilingualRecogniser.keep`; workers have every language."""
        self._worker.tell("keep", self._number, (language,))

    def settle(self, language: Language, confidence: float) -> None:
        """See :meth:`BilingualRecogniser.settle`."""
        self._worker.tell("settle", self._number, (language, confidence))

    def reset(self) -> None:
        """See :meth:`BilingualRecogniser.reset`."""
        self._worker.tell("reset", self._number)

    def close(self) -> None:
        """The call is over; the worker forgets it."""
        self._end()

    def _ask(self, method: str, *given: Any) -> Any:
        try:
            return self._worker.ask(method, self._number, given)
        except ModelError:
            self._look_after()
            raise

    def _look_after(self) -> None:
        if self._worker.lost is not None:
            self._speech._look_after()
