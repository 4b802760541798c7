from __future__ import annotations

import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ivr.store.backend import Backend
from ivr.store.postgresql import PostgresqlBackend
from ivr.store.redis import RedisBackend
from ivr.store.sqlite import SqliteBackend
from tests.store.servers import PostgresqlServer, RedisServer, find, started_redis

DATABASES = ("sqlite", "redis", "postgresql")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    yield from started_redis()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    if find("initdb") is None or not _has_user("postgres"):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    server = PostgresqlServer()
    server.start()
    yield server
    server.remove()


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture(params=DATABASES)
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """Makes connections to one empty database."""
    return connector(request, tmp_path, request.param)


def connector(request: pytest.FixtureRequest, folder: Path, kind: str) -> Callable[[], Backend]:
    if kind == "sqlite":
        return lambda: SqliteBackend(folder / "calls.sqlite")
    server: Any = request.getfixturevalue(f"{kind}_server")
    if kind == "redis":
        _empty_redis(server.url)
        return lambda: RedisBackend(server.url, name="redis", keep_s=3600)
    _empty_postgresql(server.url)
    return lambda: PostgresqlBackend(server.url, name="postgresql")


def _empty_redis(url: str) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushall()


def _empty_postgresql(url: str) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        for table in ("kapok_events", "kapok_decisions", "kapok_reports"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
