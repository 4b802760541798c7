"""What SQLite and PostgreSQL have in common: tables, statements, and when to connect anew."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from ivr.store.backend import MAX_WAIT_S, GoneError, RefusedError
from ivr.store.operations import Decided, Event, Operation, Reported

__all__ = ["SqlBackend"]

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS kapok_events (
        call TEXT NOT NULL, leg TEXT NOT NULL, seq BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL, record TEXT NOT NULL,
        PRIMARY KEY (call, leg, seq))""",
    "CREATE INDEX IF NOT EXISTS kapok_events_at ON kapok_events (at)",
    """CREATE TABLE IF NOT EXISTS kapok_decisions (
        call TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, decision TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS kapok_reports (
        queue TEXT NOT NULL, call TEXT NOT NULL, event TEXT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (queue, call, event, at))""",
    "CREATE INDEX IF NOT EXISTS kapok_reports_at ON kapok_reports (at)",
)
_EVENT: Final = (
    "INSERT INTO kapok_events (call, leg, seq, at, record) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
_DECIDED: Final = (
    "INSERT INTO kapok_decisions (call, at, decision) VALUES (?, ?, ?) ON CONFLICT (call) "
    "DO UPDATE SET at = excluded.at, decision = excluded.decision "
    "WHERE excluded.at >= kapok_decisions.at"
)
_REPORTED: Final = (
    "INSERT INTO kapok_reports (queue, call, event, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
#: An arrival after which nothing was reported of that caller in that queue.
_COUNTS: Final = """
    SELECT queue, COUNT(DISTINCT call) FROM kapok_reports AS arrival
    WHERE event = 'arrived' AND at > ? AND NOT EXISTS (
        SELECT 1 FROM kapok_reports AS later
        WHERE later.queue = arrival.queue AND later.call = arrival.call
        AND later.event <> 'arrived' AND later.at >= arrival.at)
    GROUP BY queue"""
_READ_EVENTS: Final = (
    "SELECT record FROM kapok_events AS event WHERE call = ? ORDER BY "
    "(SELECT MIN(at) FROM kapok_events AS first "
    " WHERE first.call = event.call AND first.leg = event.leg), leg, seq"
)
_OLD: Final = tuple(
    f"DELETE FROM {table} WHERE at < ?"
    for table in ("kapok_events", "kapok_decisions", "kapok_reports")
)


class SqlBackend(ABC):
    """A :class:`~ivr.store.backend.Backend` over a DB-API connection."""

    #: how the driver writes a parameter
    placeholder: str = "?"
    #: exceptions of the driver: the database cannot be reached; it refuses these values
    gone: tuple[type[Exception], ...]
    refused: tuple[type[Exception], ...]

    def __init__(self, name: str) -> None:
        self.name = name
        self._connection: Any = None

    @abstractmethod
    def _connect(self) -> Any:
        """A new connection, transactions by hand."""

    def write(self, operations: Sequence[Operation]) -> None:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._transaction() as cursor:
            for operation in operations:
                cursor.execute(*self._statement(operation))

    def events(self, call: str) -> list[dict[str, Any]]:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._transaction() as cursor:
            cursor.execute(self._sql(_READ_EVENTS), (_text(call),))
            return [json.loads(row[0]) for row in cursor.fetchall()]

    def decision(self, call: str) -> dict[str, Any] | None:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._transaction() as cursor:
            sql = self._sql("SELECT decision FROM kapok_decisions WHERE call = ?")
            cursor.execute(sql, (_text(call),))
            row = cursor.fetchone()
        found: dict[str, Any] | None = json.loads(row[0]) if row else None
        return found

    def counts(self, *, now: float) -> Mapping[str, int]:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._transaction() as cursor:
            cursor.execute(self._sql(_COUNTS), (now - MAX_WAIT_S,))
            return dict(cursor.fetchall())

    def purge(self, *, before: float) -> None:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._transaction() as cursor:
            for statement in _OLD:
                cursor.execute(self._sql(statement), (before,))

    def close(self) -> None:
        """See :class:`~ivr.store.backend.Backend`."""
        if self._connection is not None:
            with suppress(Exception):  # whatever it is, the connection is not used again
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._make_tables()
            with self._connection:  # commits, or rolls back
                yield self._connection.cursor()
        except self.refused as error:
            self.close()
            raise RefusedError(f"{self.name}: {error}") from error
        except self.gone as error:
            self.close()
            raise GoneError(f"{self.name}: {error}") from error

    def _make_tables(self) -> None:
        cursor = self._connection.cursor()
        for statement in _TABLES:
            cursor.execute(statement)
        self._connection.commit()

    def _statement(self, operation: Operation) -> tuple[str, tuple[Any, ...]]:
        match operation:
            case Event():
                values: tuple[Any, ...] = (
                    _text(operation.call),
                    _text(operation.leg),
                    operation.seq,
                    operation.at,
                    operation.record,
                )
                return self._sql(_EVENT), values
            case Decided():
                return self._sql(_DECIDED), (
                    _text(operation.call),
                    operation.at,
                    operation.decision,
                )
            case Reported():
                return self._sql(_REPORTED), (
                    _text(operation.queue),
                    _text(operation.call),
                    operation.event,
                    operation.at,
                )

    def _sql(self, statement: str) -> str:
        return statement.replace("?", self.placeholder)


def _text(value: str) -> str:
    """Without what no database takes in a text: half characters and NUL."""
    return value.replace("\0", "").encode(errors="replace").decode()
