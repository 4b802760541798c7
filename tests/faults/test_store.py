"""The database goes in the middle of live calls, and comes back; its disk fills up, and empties."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from ivr.settings import Settings
from ivr.store import Store
from tests.faults.conftest import (
    BLOCK,
    HOUSING_FUND,
    SOCIAL_SECURITY,
    ask,
    comes_true,
    say,
    settings_of,
)
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
            await assert_whole(store, call_id, queue)


async def assert_whole(store: Store, call_id: str, queue: str) -> None:
    """All of a call is kept, once, in order: from the first record to the hanging up."""
    records, decided = await kept(store, call_id)
    assert decided == queue
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert records[0]["type"] == "opened"
    assert [record["type"] for record in records][-2:] == ["hung_up", "ended"]
    assert sum(record["type"] == "routed" for record in records) == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    at = tmp_path / "disk"
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(at)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system: run it as root")
    yield at
    subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


async def test_a_disk_that_fills_up_and_empties_again_costs_no_record(
    services: Services, installation: Installation, disk: Path
) -> None:
    settings = settings_of(installation)
    places = {"url": f"sqlite:{disk}/calls.sqlite", "spool": disk / "spool.sqlite"}
    settings = settings.model_copy(update={"store": settings.store.model_copy(update=places)})
    operations = Operations.open(settings, catalogue=services.catalogue)
    store = operations.store
    assert store is not None
    calls = [f"call-{number}" for number in range(12)]
    async with KapokServer(services, settings, operations=operations) as server:
        made = 0
        for call_id in calls:
            async with connect(server.url) as line:
                await begin(line, call_id)
                if not made:
                    assert await asyncio.to_thread(store.flush, 10)
                    filler = fill(disk)
                (final,) = await say(line, SOCIAL_SECURITY)
                assert final["queue"] == "social_security"  # no caller notices
            made += 1
            await asyncio.to_thread(store.flush, 0.3)
            if not store.reachable:
                break
        assert not store.reachable  # else it was never full
        assert store.pending[0] > 0  # the spool has no room either
        filler.unlink()
        await comes_true(lambda: not server.calls and store.pending == (0, 0))
        for call_id in calls[:made]:
            await assert_whole(store, call_id, "social_security")
