"""The store as the server uses it: told from any thread, written by a thread of its own.

Whoever tells it something never waits: an operation goes into a bounded queue in memory, and a
thread writes what has gathered in one transaction. While the database is gone, operations go to a
spool file on the disk and are written once it is back, in their order; each can be done again
without harm, so that a crash in between doubles nothing. Only where database and spool both take
nothing for so long that memory is full is something dropped; that is counted and logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ivr.errors import ConfigError, ServerError
from ivr.settings import StoreSettings
from ivr.store.backend import Backend, GoneError, RefusedError
from ivr.store.operations import Decided, Event, Operation, Reported
from ivr.store.spool import Spool, SpoolError
from ivr.store.sqlite import SqliteBackend

__all__ = ["URL_VARIABLE", "Recorder", "Store", "open_store"]

_log = logging.getLogger(__name__)

#: Instead of store.url: an address with a password belongs in no file that is shown around.
URL_VARIABLE: Final = "KAPOK_STORE_URL"

_BATCH: Final = 500
_GATHER_S: Final = 0.1  # how long operations gather before they are written
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0  # between attempts to reach the database
_COUNTS_S: Final = 1.0  # how old the counts of the queues may be
_PURGE_S: Final = 3600.0
#: A clock that has jumped farther than this may have been set wrong by mistake, seconds.
_JUMP_S: Final = 60.0
_ASK_S: Final = 3.0  # how long whoever asks for a decision waits


class Recorder(Protocol):
    """Who counts what becomes of the records; ivr.server.metrics is one."""

    def store_wrote(self, records: int) -> None: ...

    def store_lost(self, records: int) -> None: ...

    def store_failed(self) -> None: ...


class _Silent:
    def store_wrote(self, records: int) -> None: ...

    def store_lost(self, records: int) -> None: ...

    def store_failed(self) -> None: ...


class Store:
    """Writes to one database; see the module's text.

    Args:
        backend, reader: connections of the writing thread and of those who ask; None for
            both keeps nothing.
        spool: where operations wait.
        max_memory: operations that memory holds.
        keep_s: how long records are kept.
        recorder: told what was written, lost, and failed.
        now: Unix time, seconds; it may jump.
        monotonic: seconds, as they pass.
        chance: for the length of pauses.
    """

    def __init__(
        self,
        backend: Backend,
        reader: Backend,
        spool: Spool,
        *,
        max_memory: int = 50_000,
        keep_s: float = 30 * 86_400.0,
        recorder: Recorder | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._backend, self._reader, self._spool = backend, reader, spool
        self._max_memory, self._keep_s, self._now = max_memory, keep_s, now
        self._monotonic = monotonic
        self._epoch = now() - monotonic()  # changes where the clock is set
        self.recorder: Recorder = recorder or _Silent()
        self._chance = chance or random.Random()
        self._waiting: deque[Operation] = deque()
        self._lock = threading.Condition()
        self._closing = self._hurry = False
        self._counts: Mapping[str, int] = {}
        self._next_counts = self._next_purge = 0.0
        self._pause_s = 0.0
        self._retry_at = 0.0  # monotonic
        self._told_lost = 0.0
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    # --- telling -------------------------------------------------------------------------

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep one record of a call's event log (ivr.call.event_log).

        It needs ``call`` and ``seq``; the same two, and ``leg`` where it has one, are the same
        record, however often it is told. ``wall`` is its time, ISO 8601; now without.
        """
        self._put(
            Event(
                call=str(record["call"]),
                leg=str(record.get("leg", "")),
                seq=int(record["seq"]),
                at=_unix(record.get("wall")) or self._now(),
                record=json.dumps(record, default=str),
            )
        )

    def decided(self, decision: Mapping[str, Any]) -> None:
        """Keep a decision in its JSON form (ivr.call.decision); of two, the later stands."""
        at = _unix(decision.get("at")) or self._now()
        self._put(Decided(str(decision["call_id"]), at, json.dumps(decision, default=str)))

    def reported(self, queue: str, event: str, call_id: str, *, at: datetime) -> None:
        """A caller ``arrived`` in a queue, was ``answered``, or ``abandoned`` it."""
        self._put(Reported(queue, call_id, event, at.timestamp()))

    # --- asking --------------------------------------------------------------------------

    async def decision(self, call_id: str) -> Mapping[str, Any] | None:
        """The decision of a call that any node has answered; None where there is none.

        Raises:
            ServerError: the database cannot be asked now.
        """
        found: Mapping[str, Any] | None = await self._ask(self._reader.decision, call_id)
        return found

    async def events(self, call_id: str) -> list[dict[str, Any]]:
        """The records of a call that any node has answered.

        Raises:
            ServerError: the database cannot be asked now.
        """
        found: list[dict[str, Any]] = await self._ask(self._reader.events, call_id)
        return found

    def counts(self) -> Mapping[str, int]:
        """Callers waiting by queue, told by all nodes; a second old at most, or the last known."""
        return self._counts

    @property
    def pending(self) -> tuple[int, int]:
        """Operations not yet in the database: in memory, and in the spool."""
        return len(self._waiting), len(self._spool)

    @property
    def reachable(self) -> bool:
        """Whether the last attempt to reach the database was good."""
        return not self._pause_s

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits in memory; False where it still does after ``timeout_s``."""
        with self._lock:
            self._hurry = True
            self._lock.notify_all()
            return self._lock.wait_for(lambda: not self._waiting, timeout_s)

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Write what waits, to the database or to the spool, and end the thread."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(timeout_s)
        self._asking.submit(self._reader.close)
        self._asking.shutdown(wait=False)
        if self._thread.is_alive():
            _log.error("%s: %d records are still in memory", self._backend.name, len(self._waiting))

    async def aclose(self, *, timeout_s: float = 10.0) -> None:
        """:meth:`close`, off the event loop."""
        await asyncio.to_thread(self.close, timeout_s=timeout_s)

    # --- inside --------------------------------------------------------------------------

    def _put(self, operation: Operation) -> None:
        with self._lock:
            full = len(self._waiting) >= self._max_memory
            if not full:
                self._waiting.append(operation)
                if len(self._waiting) == 1:
                    self._lock.notify_all()
        if full:
            self._lost(1, "memory is full")

    def _lost(self, count: int, why: str) -> None:
        self.recorder.store_lost(count)
        if time.monotonic() - self._told_lost > 60 or not self._told_lost:
            self._told_lost = time.monotonic()
            _log.error("%s: call records are LOST: %s", self._backend.name, why)

    async def _ask(self, ask: Callable[[str], Any], call_id: str) -> Any:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_ASK_S):
                return await loop.run_in_executor(self._asking, ask, call_id)
        except (GoneError, RefusedError, TimeoutError, RuntimeError) as error:
            raise ServerError("the store of calls cannot be asked now; try again") from error

    def _run(self) -> None:
        more = True
        while more:
            more = self._wait()
            try:
                self._round()
            except Exception:  # a mistake of ours must not end the recording
                _log.exception("writing call records failed; they stay where they are")
                self._failed(GoneError("internal error"))
        self._backend.close()
        self._spool.close()

    def _wait(self) -> bool:
        """Let operations gather; False once there will be no more."""
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._closing, self._idle_s())
            if not self._closing and not self._hurry:
                self._lock.wait_for(lambda: self._closing or self._hurry, _GATHER_S)
            self._hurry = False
            return not self._closing

    def _idle_s(self) -> float:
        if len(self._spool):
            return max(0.01, min(_COUNTS_S, self._retry_at - time.monotonic()))
        return _COUNTS_S

    def _round(self) -> None:
        """Write what waits: first what waits in the spool, then what waits in memory."""
        if self._unspool():
            while batch := self._first():
                if not self._write(batch):
                    break
                self._forget(len(batch))
            else:
                self._housekeeping()
        while batch := self._first():  # the database is gone
            try:
                self._spool.add(batch)
            except SpoolError as error:
                _log.error("the spool of call records takes nothing: %s", error)
                return
            self._forget(len(batch))

    def _unspool(self) -> bool:
        """True where the spool is empty and the database may be tried."""
        if not self._may_try():
            return False
        try:
            while len(self._spool):
                batch, mark = self._spool.first()
                if batch and not self._write(batch):
                    return False
                self._spool.done(mark)
        except SpoolError as error:
            _log.error("the spool of call records cannot be read: %s", error)
        return True

    def _may_try(self) -> bool:
        return self._closing or time.monotonic() >= self._retry_at

    def _first(self) -> list[Operation]:
        with self._lock:
            return [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]

    def _forget(self, count: int) -> None:
        with self._lock:
            for _ in range(count):
                self._waiting.popleft()
            self._lock.notify_all()

    def _write(self, batch: Sequence[Operation]) -> bool:
        """True where nothing of the batch has to be written any more."""
        try:
            self._backend.write(batch)
        except GoneError as error:
            self._failed(error)
            return False
        except RefusedError as error:
            return self._one_by_one(batch, error)
        if self._pause_s:
            _log.info("%s is back; %d records wait", self._backend.name, len(self._spool))
        self._pause_s = 0.0
        self.recorder.store_wrote(len(batch))
        return True

    def _one_by_one(self, batch: Sequence[Operation], error: RefusedError) -> bool:
        if len(batch) == 1:
            self._lost(1, str(error))
            return True
        return all(self._write([operation]) for operation in batch)

    def _failed(self, error: GoneError) -> None:
        self.recorder.store_failed()
        if not self._pause_s:
            _log.error("the store is gone, records wait in the spool: %s", error)
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)
        # Nodes that lost the same database do not come back all at once.
        self._retry_at = time.monotonic() + self._pause_s * self._chance.uniform(0.5, 1.0)

    def _housekeeping(self) -> None:
        now, passed_s = self._now(), self._monotonic()
        self._watch_clock(now - passed_s, passed_s)
        try:
            if passed_s >= self._next_counts:
                self._next_counts = passed_s + _COUNTS_S
                self._counts = self._backend.counts(now=now)
            if passed_s >= self._next_purge:
                self._next_purge = passed_s + _PURGE_S
                self._backend.purge(before=now - self._keep_s)
        except (GoneError, RefusedError) as error:
            self._failed(GoneError(str(error)))

    def _watch_clock(self, epoch: float, passed_s: float) -> None:
        """By a clock set wrong nothing is deleted before somebody had time to set it right."""
        jump_s, self._epoch = epoch - self._epoch, epoch
        if abs(jump_s) > _JUMP_S:
            self._next_purge = passed_s + _PURGE_S
            _log.warning(
                "the clock has jumped by %+.0f s; nothing old is deleted for %.0f minutes: "
                "is it right now? (`date`)",
                jump_s,
                _PURGE_S / 60,
            )


def open_store(
    settings: StoreSettings,
    *,
    home: Path,
    recorder: Recorder | None = None,
    environ: Mapping[str, str] | None = None,
) -> Store | None:
    """The store of the settings; None where they say ``none``.

    Args:
        settings: where it is.
        home: where a relative path of an SQLite file begins.
        recorder: told what was written, lost, and failed.
        environ: instead of the process's own; ``KAPOK_STORE_URL`` is taken from it.

    Raises:
        ConfigError: the address is none, or its driver is not installed.
    """
    url = (os.environ if environ is None else environ).get(URL_VARIABLE) or settings.url
    if url.strip().lower() in ("none", ""):
        return None
    keep_s = settings.retention_days * 86_400.0
    spool = Spool(settings.spool, max_bytes=settings.max_spool_mb << 20)
    return Store(
        _backend(url, home, keep_s),
        _backend(url, home, keep_s),
        spool,
        keep_s=keep_s,
        recorder=recorder,
    )


def _backend(url: str, home: Path, keep_s: float) -> Backend:
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return SqliteBackend(home / Path(rest.removeprefix("//")).expanduser())
    if scheme in ("redis", "rediss", "unix"):
        from ivr.store.redis import RedisBackend

        return RedisBackend(url, name=_shown(url), keep_s=keep_s)
    if scheme in ("postgresql", "postgres"):
        from ivr.store.postgresql import PostgresqlBackend

        return PostgresqlBackend(url, name=_shown(url))
    raise ConfigError(
        f"store.url: {scheme[:20]!r} is no store; write sqlite:FILE, redis://HOST:PORT/0, "
        "postgresql://USER@HOST/DATABASE, or none"
    )


def _shown(url: str) -> str:
    """The address without user and password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ConfigError(f"store.url is no address ({error})") from error
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _unix(moment: object) -> float | None:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
