"""The writing thread: nothing lost, nothing doubled, nobody waits."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ivr.errors import ConfigError, ServerError
from ivr.server.metrics import Metrics
from ivr.settings import StoreSettings
from ivr.store import Store, open_store
from ivr.store.backend import Backend, GoneError
from ivr.store.operations import Decided, Event, Operation, Reported, dump, load
from ivr.store.spool import Spool
from ivr.store.sqlite import SqliteBackend
from tests.server.test_metrics import value
from tests.store.conftest import connector

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def record(call: str, seq: int) -> dict[str, Any]:
    return {"v": 1, "call": call, "seq": seq, "wall": NOON.isoformat(), "type": "heard"}


def made(connect: Callable[[], Backend], spool: Path, **more: Any) -> Store:
    return Store(connect(), connect(), Spool(spool, max_bytes=1 << 20), now=NOON.timestamp, **more)


@pytest.fixture
def store(connect: Callable[[], Backend], tmp_path: Path) -> Iterator[Store]:
    opened = made(connect, tmp_path / "spool.sqlite")
    yield opened
    opened.close()


async def test_what_is_told_can_be_asked_of_another_node(
    store: Store, connect: Callable[[], Backend], tmp_path: Path
) -> None:
    for seq in range(5):
        store.append(record("c1", seq))
    store.decided({"call_id": "c1", "queue": "general", "at": NOON.isoformat()})
    store.reported("general", "arrived", "c1", at=NOON)
    assert store.flush(10)
    other = made(connect, tmp_path / "other.sqlite")
    assert [r["seq"] for r in await other.events("c1")] == list(range(5))
    assert (await other.decision("c1") or {})["queue"] == "general"
    assert await other.decision("c2") is None
    other.close()
    async with asyncio.timeout(10):
        while not store.counts():  # noqa: ASYNC110 - another thread reads them once a second
            await asyncio.sleep(0.01)
    assert store.counts() == {"general": 1}


# --- the database gone and back -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
async def test_gone_and_back_nothing_is_lost_or_doubled(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connect = connector(request, tmp_path, kind)
    server = request.getfixturevalue(f"{kind}_server")
    metrics = Metrics()
    store = made(connect, tmp_path / "spool.sqlite", recorder=metrics)
    try:
        for seq in range(10):
            store.append(record("c", seq))
        assert store.flush(10)
        server.stop()
        for seq in range(10, 1500):  # several batches
            store.append(record("c", seq))
        assert store.flush(20)
        assert store.pending == (0, 1490)
        assert not store.reachable
        with pytest.raises(ServerError, match="try again"):
            await store.decision("c")
        server.start()
        for seq in range(1490, 1510):  # some are told twice
            store.append(record("c", seq))
        async with asyncio.timeout(60):
            while store.pending != (0, 0):  # noqa: ASYNC110 - another thread writes them
                await asyncio.sleep(0.02)
        assert [r["seq"] for r in await store.events("c")] == list(range(1510))
        assert "is back" in caplog.text
        assert value(metrics, "kapok_store_records_lost_total") == 0
        assert (value(metrics, "kapok_store_failures_total") or 0) >= 1
    finally:
        store.close()
        if not _running(server):
            server.start()


def _running(server: Any) -> bool:
    return bool(server._answers())


# --- faults, injected into a real SQLite ----------------------------------------------------


class Faulty:
    """A backend whose database is gone while ``gone`` is set."""

    def __init__(self, path: Path) -> None:
        self._inner = SqliteBackend(path)
        self.name = "faulty"
        self.gone = False
        self.die_after_writing = False

    def write(self, operations: Sequence[Operation]) -> None:
        if self.gone:
            raise GoneError("gone")
        self._inner.write(operations)
        if self.die_after_writing:
            self.die_after_writing = False
            raise GoneError("the answer was lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    return Faulty(tmp_path / "calls.sqlite")


def over(faulty: Faulty, spool: Path, *, max_bytes: int = 1 << 20, **more: Any) -> Store:
    reader = SqliteBackend(spool.parent / "calls.sqlite")
    return Store(faulty, reader, Spool(spool, max_bytes=max_bytes), **more)


def until(ready: Callable[[], bool]) -> None:
    for _ in range(1000):
        if ready():
            return
        time.sleep(0.01)
    raise TimeoutError


async def test_a_written_batch_whose_answer_was_lost_is_not_doubled(
    faulty: Faulty, tmp_path: Path
) -> None:
    faulty.die_after_writing = True
    store = over(faulty, tmp_path / "spool.sqlite")
    store.append(record("c", 1))
    store.flush(10)
    until(lambda: store.pending == (0, 0))
    assert len(await store.events("c")) == 1
    store.close()


async def test_the_spool_outlives_a_restart(faulty: Faulty, tmp_path: Path) -> None:
    faulty.gone = True
    store = over(faulty, tmp_path / "spool.sqlite")
    store.append(record("c", 1))
    store.close()
    faulty.gone = False
    again = over(faulty, tmp_path / "spool.sqlite")
    assert again.pending == (0, 1)
    again.append(record("c", 2))
    until(lambda: again.pending == (0, 0))
    assert [r["seq"] for r in await again.events("c")] == [1, 2]
    again.close()


def test_where_all_is_full_it_is_counted_and_told_and_nobody_waits(
    faulty: Faulty, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.gone = True
    metrics = Metrics()
    store = over(faulty, tmp_path / "s", max_bytes=0, max_memory=100, recorder=metrics)
    for seq in range(150):
        store.append(record("c", seq))
    assert value(metrics, "kapok_store_records_lost_total") == 50
    assert "call records are LOST: memory is full" in caplog.text
    faulty.gone = False
    until(lambda: store.pending == (0, 0))
    store.close()


async def test_one_record_that_no_database_takes_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = over(Faulty(tmp_path / "calls.sqlite"), tmp_path / "spool.sqlite")
    for seq in (1, 1 << 70, 2):
        store.append(record("c", seq))
    assert store.flush(10)
    assert [r["seq"] for r in await store.events("c")] == [1, 2]
    assert "LOST" in caplog.text
    store.close()


async def test_a_full_disk_holds_records_back_and_loses_none(tmp_path: Path) -> None:
    """SQLite's own limit on pages stands for the disk."""
    path = tmp_path / "calls.sqlite"
    backend = SqliteBackend(path)
    backend.write([])
    connection = backend._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    long = "x" * 20_000
    with pytest.raises(GoneError, match="full"):
        backend.write([Event("c", "", 1, 0.0, f'"{long}"')])
    backend.close()


def test_a_damaged_line_in_the_spool_is_passed_over(faulty: Faulty, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", max_bytes=1 << 20)
    spool.add([Event("c", "", 1, 1.0, "{}"), Event("c", "", 2, 1.0, "{}")])
    spool.close()
    with sqlite3.connect(tmp_path / "spool.sqlite") as connection:
        connection.execute("UPDATE spool SET line = '[1' WHERE id = 1")
    connection.close()
    again = Spool(tmp_path / "spool.sqlite", max_bytes=1 << 20)
    operations, mark = again.first()
    assert operations == [Event("c", "", 2, 1.0, "{}")]
    again.done(mark)
    assert len(again) == 0
    again.close()


# --- the clock ------------------------------------------------------------------------------


class Clocks:
    """The clock on the wall, which somebody sets, and the one that only goes on."""

    def __init__(self) -> None:
        self.wall_s, self.passed_s = NOON.timestamp(), 100.0

    def pass_(self, seconds: float) -> None:
        self.wall_s += seconds
        self.passed_s += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def clocked(faulty: Faulty, tmp_path: Path, clocks: Clocks) -> Iterator[Store]:
    opened = over(
        faulty,
        tmp_path / "spool.sqlite",
        now=lambda: clocks.wall_s,
        monotonic=lambda: clocks.passed_s,
        keep_s=30 * 86_400.0,
    )
    yield opened
    opened.close()


async def test_a_clock_set_to_another_year_by_mistake_deletes_nothing(
    clocked: Store, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    clocked.append(record("c", 1))
    assert clocked.flush(10)
    clocks.wall_s += 400 * 86_400.0
    until(lambda: "the clock has jumped by +34560000 s" in caplog.text)
    clocks.pass_(3_000.0)
    clocked.append({**record("d", 1), "wall": None})
    assert clocked.flush(10)
    assert await clocked.events("c")
    clocks.pass_(3_600.0)  # nobody has set it right: so it is right
    until(lambda: not asked(clocked, "c"))
    assert await clocked.events("d")


def asked(store: Store, call: str) -> list[dict[str, Any]]:
    return store._reader.events(call)


def test_counts_are_read_though_the_clock_was_set_back(clocked: Store, clocks: Clocks) -> None:
    clocked.reported("general", "arrived", "a", at=NOON)
    until(lambda: clocked.counts() == {"general": 1})
    clocks.wall_s -= 5 * 3_600.0
    clocks.pass_(2.0)
    clocked.reported("general", "answered", "a", at=NOON)
    until(lambda: not clocked.counts())


# --- operations and addresses ---------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [Event("c", "l", 1, 2.5, "{}"), Decided("木", 1.0, "{}"), Reported("q", "c", "arrived", 3.0)],
)
def test_an_operation_goes_to_the_spool_and_back(operation: Operation) -> None:
    assert load(dump(operation)) == operation


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"kind": "Event"}', '{"kind": "os"}', "[" * 9999]
)
def test_what_is_no_operation(line: str) -> None:
    with pytest.raises(ValueError, match="not an operation of a store"):
        load(line)


def test_the_default_is_a_file_in_the_home_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = StoreSettings(spool=tmp_path / "spool.sqlite")
    store = open_store(settings, home=tmp_path, environ={})
    assert store is not None
    store.append(record("c", 1))
    store.close()
    assert (tmp_path / "var" / "calls.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("mysql://x", "'mysql' is no store; write sqlite:FILE"),
        ("sqlite:", "'sqlite' is no store"),
        ("redis://host:port/0", "store.url"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, url: str, what: str) -> None:
    settings = StoreSettings(url=url, spool=tmp_path / "spool.sqlite")
    with pytest.raises(ConfigError, match=what):
        open_store(settings, home=tmp_path, environ={})


def test_none_keeps_nothing_and_the_environment_comes_first(tmp_path: Path) -> None:
    settings = StoreSettings(spool=tmp_path / "spool.sqlite")
    assert open_store(settings, home=tmp_path, environ={"KAPOK_STORE_URL": "none"}) is None


def test_a_password_is_in_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = StoreSettings(
        url="redis://kapok:s3cret@127.0.0.1:1/0", spool=tmp_path / "spool.sqlite"
    )
    store = open_store(settings, home=tmp_path, environ={})
    assert store is not None
    store.append(record("c", 1))
    store.close()
    assert "redis://127.0.0.1:1/0" in caplog.text
    assert "s3cret" not in caplog.text
