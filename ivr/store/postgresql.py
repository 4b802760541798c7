"""PostgreSQL, by psycopg (the extra ``postgres``)."""

from __future__ import annotations

from typing import Any

from ivr.errors import ConfigError
from ivr.extras import install
from ivr.store.sql import SqlBackend

__all__ = ["PostgresqlBackend"]

#: How long the server may be silent, seconds.
_CONNECT_S = 5
_STATEMENT_MS = 10_000


class PostgresqlBackend(SqlBackend):
    """Call records in a database that several nodes share.

    Raises:
        ConfigError: psycopg is not installed.
    """

    placeholder = "%s"

    def __init__(self, url: str, *, name: str) -> None:
        super().__init__(name)
        self._url = url
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError(
                f"store.url names PostgreSQL, and psycopg is not installed; {install('postgres')}"
            ) from error
        self._psycopg = psycopg
        self.refused = (psycopg.DataError, psycopg.IntegrityError)
        self.gone = (psycopg.Error, OSError)

    def _connect(self) -> Any:
        connection = _Committing(
            self._psycopg.connect(
                self._url,
                connect_timeout=_CONNECT_S,
                options=f"-c statement_timeout={_STATEMENT_MS} -c lock_timeout={_STATEMENT_MS}",
                application_name="kapok",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            )
        )
        # Two nodes that start together make the tables one after the other.
        connection.cursor().execute("SELECT pg_advisory_xact_lock(hashtext('kapok'))")
        return connection


class _Committing:
    """``with`` ends the transaction, as sqlite3's does, and keeps the connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        else:
            self._connection.rollback()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
