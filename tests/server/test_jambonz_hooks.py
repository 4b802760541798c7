"""jambonz' webhooks at the HTTP port: a call is listened to, decided, and put into its queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from ivr.audio.codecs import Encoding
from ivr.gateways.clients.jambonz import JambonzClient
from ivr.gateways.clients.ring import ring
from ivr.language import Language
from ivr.replay.client import Pace
from ivr.replay.clips import Clip
from ivr.server.access import Role
from ivr.server.app import KapokServer
from ivr.server.http_api import HttpApi, _body
from tests.server.installation import RATE_HZ, speak, write_installation
from tests.server.test_http_api import Desk, make

CALL = "5ddf1a67-dd7b-4a9d-a5b9-c1c1a8c1f7f4"


@asynccontextmanager
async def asking(desk: Desk) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        HttpApi(desk.sources, desk.settings, host="127.0.0.1", port=0) as api,
        aiohttp.ClientSession(api.url) as session,
    ):
        yield session


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = make(tmp_path)
    sources = replace(made.sources, stream_url=lambda host: f"ws://{host}:2700/jambonz")
    return replace(made, sources=sources)


async def post(session: aiohttp.ClientSession, path: str, **more: Any) -> tuple[int, Any]:
    async with session.post(path, **more) as response:
        return response.status, await response.json()


async def test_a_new_call_is_streamed_to_the_host_that_jambonz_asked(desk: Desk) -> None:
    async with asking(desk) as session:
        status, verbs = await post(session, "/jambonz/call", json={"call_sid": CALL})
    assert status == 200
    listen = verbs[-1]
    assert listen["url"] == "ws://127.0.0.1:2700/jambonz"
    assert listen["actionHook"] == "/jambonz/decision"


async def test_the_token_of_the_webhook_goes_along_in_the_addresses(desk: Desk) -> None:
    token = desk.token(Role.GATEWAY)["Authorization"].removeprefix("Bearer ")
    async with asking(desk) as session:
        assert (await post(session, "/jambonz/call", json={}))[0] == 401
        _, verbs = await post(session, f"/jambonz/call?token={token}", json={})
        assert verbs[-1]["url"] == f"ws://127.0.0.1:2700/jambonz?token={token}"
        status, _ = await post(session, verbs[-1]["actionHook"], json={"call_sid": CALL})
        assert status == 200


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"call_sid": 7}', b'{"call_sid": "x"}'])
async def test_a_call_that_is_not_known_goes_to_a_person(body: bytes, desk: Desk) -> None:
    async with asking(desk) as session:
        status, verbs = await post(session, "/jambonz/decision", data=body)
    assert (status, verbs) == (200, [{"verb": "enqueue", "name": "general"}])


async def test_a_server_that_does_not_know_its_address_says_so(desk: Desk) -> None:
    desk = replace(desk, sources=replace(desk.sources, stream_url=None))
    async with asking(desk) as session:
        status, answer = await post(session, "/jambonz/call", json={})
    assert status == 503
    assert "address of its WebSocket port" in answer["error"]


async def test_a_call_from_the_webhook_to_the_queue(desk: Desk, tmp_path: Path) -> None:
    installation = write_installation(tmp_path / "kapok")
    clip = Clip(Path("call"), speak(Language.MANDARIN, "我要查", "公积金"), Encoding.S16LE, RATE_HZ)
    async with KapokServer(installation.services(), installation.settings()) as server:
        sources = replace(
            desk.sources, registry=server.registry, stream_url=lambda host: f"{server.url}/jambonz"
        )
        async with asking(replace(desk, sources=sources)) as session:
            _, verbs = await post(session, "/jambonz/call", json={"call_sid": CALL})
            client = JambonzClient(call_id=CALL, caller="+8613800138000")
            result = await ring(client, verbs[-1]["url"], clip, pace=Pace.FAST, patience_s=10)
            assert result.ended is not None  # the server has sent disconnect
            _, verbs = await post(session, verbs[-1]["actionHook"], json={"call_sid": CALL})
    assert verbs == [{"verb": "enqueue", "name": "housing_fund"}]


async def test_a_hook_that_comes_in_pieces_is_read_whole() -> None:
    body = json.dumps({"call_sid": CALL, "sip": "x" * 2000}).encode()
    for most, whole in ((65_536, body), (100, body[:101])):
        payload = aiohttp.StreamReader(Mock(), 65_536, loop=asyncio.get_running_loop())
        payload.feed_data(body[:900])
        request = make_mocked_request("POST", "/jambonz/decision", payload=payload)
        reading = asyncio.create_task(_body(request, most))
        await asyncio.sleep(0)
        payload.feed_data(body[900:])
        payload.feed_eof()
        assert await reading == whole
