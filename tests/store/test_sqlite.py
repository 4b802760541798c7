"""SQLite, where several processes begin with the same new file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ivr.store.operations import Event
from ivr.store.spool import Spool
from ivr.store.sqlite import SqliteBackend, connect
from ivr.store.store import Store


def test_many_open_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    def open_it(path: Path) -> str:
        connection = connect(path)
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
        return str(mode)

    with ThreadPoolExecutor(8) as nodes:
        for number in range(40):
            path = tmp_path / f"{number}.sqlite"
            assert list(nodes.map(open_it, [path] * 8)) == ["wal"] * 8


def test_a_server_that_ends_while_the_file_is_held_loses_nothing(tmp_path: Path) -> None:
    path, spooled = tmp_path / "calls.sqlite", tmp_path / "spool.sqlite"
    backend = SqliteBackend(path)
    backend.write([])  # the tables are there
    backup = connect(path)
    backup.execute("BEGIN IMMEDIATE")
    store = Store(backend, SqliteBackend(path), Spool(spooled, max_bytes=1 << 20))
    for seq in range(20):
        store.append({"call": "c", "seq": seq})
    store.close()
    backup.close()
    again = Spool(spooled, max_bytes=1 << 20)
    operations, _ = again.first()
    assert [o.seq for o in operations if isinstance(o, Event)] == list(range(20))
    again.close()
