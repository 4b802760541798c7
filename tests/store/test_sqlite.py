"""SQLite, where several processes begin with the same new file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ivr.store.sqlite import connect


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
