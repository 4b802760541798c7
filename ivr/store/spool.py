"""Where operations wait on the disk while the database is gone, in their order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivr.store.operations import Operation, dump, load
from ivr.store.sqlite import connect

__all__ = ["Spool", "SpoolError"]

_BATCH: Final = 500


class SpoolError(Exception):
    """The spool is full, or its disk is."""


class Spool:
    """A queue in an SQLite file. Used from one thread at a time.

    Args:
        path: the file; made when it is needed, and taken up again after a restart.
        max_bytes: how large it may become.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._connection: sqlite3.Connection | None = None
        self._count = self._counted() if path.exists() else 0

    def __len__(self) -> int:
        """Operations waiting."""
        return self._count

    def add(self, operations: Sequence[Operation]) -> None:
        """Put them behind those that wait.

        Raises:
            SpoolError: there is no room, and none of them was added.
        """
        try:
            connection = self._open()
            if self._bytes(connection) >= self._max_bytes:
                raise SpoolError(f"{self._path} has its {self._max_bytes >> 20} MB")
            with connection:
                connection.executemany(
                    "INSERT INTO spool (line) VALUES (?)", [(dump(o),) for o in operations]
                )
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise SpoolError(f"{self._path}: {error}") from error
        self._count += len(operations)

    def first(self) -> tuple[list[Operation], int]:
        """The first operations, and the mark to give to :meth:`done`.

        Lines that are damaged are passed over.

        Raises:
            SpoolError: the file cannot be read.
        """
        try:
            rows = self._open().execute(
                "SELECT id, line FROM spool ORDER BY id LIMIT ?", (_BATCH,)
            ).fetchall()  # fmt: skip
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise SpoolError(f"{self._path}: {error}") from error
        operations = []
        for _, line in rows:
            try:
                operations.append(load(line))
            except ValueError:
                continue
        return operations, rows[-1][0] if rows else 0

    def done(self, mark: int) -> None:
        """Forget what :meth:`first` gave.

        Raises:
            SpoolError: the file cannot be written; what was given will be given again.
        """
        try:
            connection = self._open()
            with connection:
                gone = connection.execute("DELETE FROM spool WHERE id <= ?", (mark,)).rowcount
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise SpoolError(f"{self._path}: {error}") from error
        self._count = max(0, self._count - gone)
        if not self._count:  # give the disk back
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS spool "
                "(id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL)"
            )
        return self._connection

    def _counted(self) -> int:
        try:
            return int(self._open().execute("SELECT COUNT(*) FROM spool").fetchone()[0])
        except (sqlite3.Error, OSError):
            self.close()
            return 0

    def _bytes(self, connection: sqlite3.Connection) -> int:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        return int((pages - free) * size)
