"""The database goes in the middle of live calls, and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from ivr.settings import Settings
from ivr.store import Store
from tests.faults.conftest import BLOCK, HOUSING_FUND, SOCIAL_SECURITY, ask, say, settings_of
from tests.server.installation import Installation
from tests.store.servers import RedisServer, started_redis


@pytest.fixture
def database() -> Iterator[RedisServer]:
    yield from started_redis()


@pytest.fixture
def settings(installation: Installation, database: RedisServer) -> Settings:
    found = settings_of(installation)
    return found.model_copy(update={"store": found.store.model_copy(update={"url": database.url})})


async def begin(line: ClientConnection, call_id: str) -> None:
    await line.send(json.dumps({"config": {"call_id": call_id}}))
    await ask(line, bytes(BLOCK))


async def kept(store: Store, call_id: str) -> tuple[list[dict[str, Any]], str | None]:
    """Records of a call, and the queue that was decided on."""
    return await store.events(call_id), (await store.decision(call_id) or {}).get("queue")


async def test_the_database_goes_and_comes_back_in_the_middle_of_calls(
    services: Services, settings: Settings, database: RedisServer
) -> None:
    operations = Operations.open(settings, catalogue=services.catalogue)
    store = operations.store
    assert store is not None
    async with KapokServer(services, settings, operations=operations) as server:
        async with connect(server.url) as before:
            await begin(before, "begun-before")
            assert await asyncio.to_thread(store.flush, 10)
            database.stop()
            # The call goes on as if nothing had happened, and a whole one comes meanwhile.
            (final,) = await say(before, SOCIAL_SECURITY)
            assert final["queue"] == "social_security"
            async with connect(server.url) as during:
                await begin(during, "while-it-was-gone")
                (final,) = await say(during, HOUSING_FUND)
                assert final["queue"] == "housing_fund"
            assert await asyncio.to_thread(store.flush, 10)  # to the spool
            assert store.pending[1] > 0
            assert not store.reachable
            database.start()
            async with connect(server.url) as after:
                await begin(after, "begun-after")
                (final,) = await say(after, HOUSING_FUND)
                assert final["queue"] == "housing_fund"
        async with asyncio.timeout(30):
            while server.calls or store.pending != (0, 0):  # noqa: ASYNC110 - a thread writes it
                await asyncio.sleep(0.05)
        for call_id, queue in (
            ("begun-before", "social_security"),
            ("while-it-was-gone", "housing_fund"),
            ("begun-after", "housing_fund"),
        ):
            records, decided = await kept(store, call_id)
            assert decided == queue
            # All of it, once, in order: from the first record to the hanging up.
            assert [record["seq"] for record in records] == list(range(len(records)))
            assert records[0]["type"] == "opened"
            assert [record["type"] for record in records][-2:] == ["hung_up", "ended"]
            assert sum(record["type"] == "routed" for record in records) == 1
