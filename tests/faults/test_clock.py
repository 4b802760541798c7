"""The wall clock of a running ``ivr serve`` jumps by hours, forward and back, in live calls.

libfaketime (Debian: ``apt install faketime``) stands between the process and its clock, its
workers' too: an administrator or NTP sets the time, the monotonic clock goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from ivr.language import Language
from ivr.load.server import Started, started
from ivr.server.access import Role, TokenFile, new_token
from tests.faults.conftest import BLOCK, HOUSING_FUND, SOCIAL_SECURITY, comes_true, say
from tests.server.installation import Installation, speak

LIBRARY = next(
    (path for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1") if path.is_file()), None
)
pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="needs libfaketime: apt install faketime (Debian, Ubuntu)"
)
#: ``ivr``, as far as libfaketime 0.9 can bear it: it does not start beside jemalloc, and refuses
#: the absolute clock_nanosleep() by which Python sleeps.
IVR = """
import select, time
from ivr.asr import worker_process
from ivr.cli import main

worker_process._jemalloc = lambda: None
time.sleep = lambda s: select.select([], [], [], s)
main()
"""
EVENTS = "SELECT seq FROM kapok_events WHERE call = ? ORDER BY leg, seq"
DECISIONS = "SELECT decision FROM kapok_decisions WHERE call = ?"
HOUR = timedelta(hours=1)
#: No call of these tests takes longer.
MOST = timedelta(minutes=1)
HALF = len(SOCIAL_SECURITY) // 2 // BLOCK * BLOCK
NO_HOUSING_FUND = speak(Language.MANDARIN, "不是", "公积金")


class Clock:
    """The wall clock of a server that runs under libfaketime."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(timedelta())

    def jump(self, by: timedelta) -> None:
        """Set it so far from the true time."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{by.total_seconds():+.0f}\n", encoding="ascii")
        part.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # times of files do not move with the clock
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "offset")


@pytest.fixture
def tokens(installation: Installation) -> dict[Role, dict[str, str]]:
    """The headers that open the door, by role."""
    file, headers = TokenFile(installation.home / "config" / "tokens.yaml"), {}
    for role in (Role.GATEWAY, Role.VIEW):
        text, stored = new_token(role.value, role, now=datetime.now(UTC))
        file.add(stored)
        headers[role] = {"Authorization": f"Bearer {text}"}
    return headers


@pytest.fixture
def server(
    installation: Installation, clock: Clock, tokens: dict[Role, dict[str, str]]
) -> Iterator[Started]:
    with installation.config.open("a", encoding="utf-8") as config:
        config.write("call_log: { folder: var/calls }\n")
    command = [
        *(sys.executable, "-c", IVR, "serve"),
        *("--config", str(installation.config), "--port", "0", "--drain", "5"),
        *("--log-level", "error"),
    ]
    with started(command, env=clock.environment, http=True) as running:
        yield running


class Desk:
    """A gateway, and who looks at the HTTP port."""

    def __init__(
        self, http: aiohttp.ClientSession, server: Started, tokens: dict[Role, dict[str, str]]
    ) -> None:
        self._http, self._server, self._tokens = http, server, tokens

    @asynccontextmanager
    async def call(self, call_id: str) -> AsyncIterator[ClientConnection]:
        headers = self._tokens[Role.GATEWAY]
        async with connect(self._server.url, additional_headers=headers) as line:
            await line.send(json.dumps({"config": {"call_id": call_id}}))
            yield line

    async def get(self, path: str) -> Any:
        headers = self._tokens[Role.VIEW]
        async with self._http.get(f"{self._server.http_url}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def report(self, event: str, call_id: str) -> None:
        url = f"{self._server.http_url}/queues/general/events"
        told, headers = {"event": event, "call_id": call_id}, self._tokens[Role.GATEWAY]
        async with self._http.post(url, json=told, headers=headers) as answer:
            assert answer.status == 204, await answer.text()

    async def comes_to_wait(self, callers: int) -> None:
        """The count of who waits is read from the store about once a second."""
        async with asyncio.timeout(20):
            while await self._waiting() != callers:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)

    async def _waiting(self) -> int:
        queues = (await self.get("/queues"))["queues"]
        return next(int(queue["waiting"]) for queue in queues if queue["id"] == "general")

    async def wrong_token(self) -> int:
        """The status that a guess at a token gets."""
        headers = {"Authorization": "Bearer kapok_00000000_" + "A" * 43}
        async with self._http.get(f"{self._server.http_url}/queues", headers=headers) as answer:
            return answer.status


@pytest.fixture
async def desk(server: Started, tokens: dict[Role, dict[str, str]]) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http:
        yield Desk(http, server, tokens)


async def test_calls_go_on_and_each_is_recorded_once_with_its_true_length(
    installation: Installation, clock: Clock, desk: Desk
) -> None:
    async with desk.call("forward") as first, desk.call("there-and-back") as second:
        assert await say(first, HOUSING_FUND[:HALF]) == []
        assert await say(second, SOCIAL_SECURITY[:HALF]) == []
        clock.jump(5 * HOUR)
        (final,) = await say(first, HOUSING_FUND[HALF:])
        assert final["queue"] == "housing_fund"
        clock.jump(-7 * HOUR)
        (final,) = await say(second, SOCIAL_SECURITY[HALF:])
        assert final["queue"] == "social_security"
    async with desk.call("wholly-in-the-past") as third:
        (final,) = await say(third, HOUSING_FUND)
        assert final["queue"] == "housing_fund"
    await over(desk, 3)
    for call in (await desk.get("/calls?over=1"))["calls"]:
        began, ended = map(datetime.fromisoformat, (call["began"], call["ended"]))
        decided = datetime.fromisoformat(call["decision"]["at"])
        assert began <= decided <= ended <= began + MOST, call
    for call_id, queue in (
        ("forward", "housing_fund"),
        ("there-and-back", "social_security"),
        ("wholly-in-the-past", "housing_fund"),
    ):
        await assert_kept_once(installation, call_id, queue)
    began = {call: began_of(installation, call) for call in ("forward", "wholly-in-the-past")}
    shift = began["wholly-in-the-past"] - began["forward"]  # else no clock jumped
    assert -7 * HOUR <= shift <= -7 * HOUR + MOST


async def test_a_correction_after_the_clock_went_back_stands(
    installation: Installation, clock: Clock, desk: Desk
) -> None:
    async with desk.call("corrected") as line:
        (final,) = await say(line, SOCIAL_SECURITY)
        assert final["queue"] == "social_security"
        clock.jump(-3 * HOUR)
        (final,) = await say(line, NO_HOUSING_FUND)
        assert final["queue"] == "housing_fund"
    await over(desk, 1)
    await assert_kept_once(installation, "corrected", "housing_fund", routed=2)


async def test_who_waits_is_counted_whatever_the_clock_does(clock: Clock, desk: Desk) -> None:
    for caller in ("a", "b"):
        await desk.report("arrived", caller)
    await desk.comes_to_wait(2)
    clock.jump(-5 * HOUR)
    await desk.report("answered", "a")
    await desk.comes_to_wait(1)
    await desk.report("arrived", "c")
    await desk.comes_to_wait(2)


async def test_limits_on_guesses_go_by_no_wall_clock(clock: Clock, desk: Desk) -> None:
    statuses = [await desk.wrong_token() for _ in range(30)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    for jump in (5 * HOUR, -5 * HOUR):
        clock.jump(jump)
        assert await desk.wrong_token() == 429


async def over(desk: Desk, calls: int) -> None:
    """So many calls are over, and none is in progress."""
    async with asyncio.timeout(20):
        while (await desk.get("/calls?over=1"))["count"] != calls:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert (await desk.get("/calls"))["count"] == 0


def log_of(installation: Installation, call_id: str) -> list[dict[str, Any]]:
    """The records of the one file that a call has."""
    (path,) = (installation.home / "var" / "calls").glob(f"*/{call_id}*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def began_of(installation: Installation, call_id: str) -> datetime:
    return datetime.fromisoformat(log_of(installation, call_id)[0]["wall"])


async def assert_kept_once(
    installation: Installation, call_id: str, queue: str, *, routed: int = 1
) -> None:
    """File and database have every record of the call once, at times that go with its length."""
    records = log_of(installation, call_id)
    assert [record["seq"] for record in records] == list(range(len(records)))
    kinds = [record["type"] for record in records]
    assert (kinds[0], kinds[-2:]) == ("opened", ["hung_up", "ended"])
    assert kinds.count("routed") == routed
    at_s = [record["at_s"] for record in records]
    assert at_s == sorted(at_s)
    assert at_s[-1] < MOST.total_seconds()
    began = datetime.fromisoformat(records[0]["wall"])
    for record in records:
        since = datetime.fromisoformat(record["wall"]) - began
        assert since.total_seconds() == pytest.approx(record["at_s"], abs=0.002)
    await comes_true(lambda: len(stored(installation, EVENTS, call_id)) >= len(records))
    assert [seq for (seq,) in stored(installation, EVENTS, call_id)] == list(range(len(records)))
    ((decision,),) = stored(installation, DECISIONS, call_id)
    assert json.loads(decision)["queue"] == queue


def stored(installation: Installation, sql: str, call_id: str) -> list[tuple[Any, ...]]:
    """Rows of the server's database; none before it has made its tables."""
    path = installation.home / "var" / "calls.sqlite"
    with closing(sqlite3.connect(path)) as database, suppress(sqlite3.OperationalError):
        return database.execute(sql, (call_id,)).fetchall()
    return []
