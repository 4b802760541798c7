"""SQLite, the embedded default: one file, no server."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from ivr.store.sql import SqlBackend

__all__ = ["SqliteBackend", "connect"]

#: How long one who writes is waited for. A server that ends gives its store 10 s: twice this, to
#: open the file and to write, leaves time for the spool.
_BUSY_S: Final = 3.0
_AGAIN_S: Final = 0.01


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
    connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    try:
        _turn_on_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """Wait for others who do the same: SQLite's own time-out does not hold for this statement."""
    ends_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= ends_s:
                raise
        time.sleep(_AGAIN_S)
