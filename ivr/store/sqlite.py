"""SQLite, the embedded default: one file, no server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ivr.store.sql import SqlBackend

__all__ = ["SqliteBackend", "connect"]


class SqliteBackend(SqlBackend):
    """Call records in one file."""

    refused = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError)
    gone = (sqlite3.Error, OSError)

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:{path}")
        self._path = path

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path)


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode: readers do not wait for the writer.

    What is committed is on the disk (``synchronous=FULL``): a crash of the machine loses nothing.
    Only the owner may read the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
