"""Gateways that stall, flood, never close, or come twice; other calls go on meanwhile.

Over Vosk's protocol, which answers every frame; ``test_every_gateway.py`` has the others.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ivr.call.decision import Action, Decision
from ivr.load.crowd import crowd
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from tests.faults.conftest import (
    BLOCK,
    HOUSING_FUND,
    SOCIAL_SECURITY,
    a_call_is_served,
    ask,
    beside_a_call,
    comes_true,
    say,
    settings_of,
    slow,
)
from tests.server.installation import Installation

CONFIG = '{"config": {"sample_rate": 8000, "call_id": "CA-1"}}'


async def test_one_that_stalls_is_closed_and_leaves_nothing(
    services: Services, installation: Installation
) -> None:
    async with KapokServer(services, settings_of(installation, idle_timeout_s=0.3)) as server:
        async with connect(server.url) as line:
            await ask(line, SOCIAL_SECURITY[:BLOCK])
            with pytest.raises(ConnectionClosed, match="nothing came"):
                await asyncio.wait_for(line.recv(), 10)
        await comes_true(lambda: server.calls == 0)
        await a_call_is_served(server)


async def test_one_that_floods_waits_and_others_do_not(server: KapokServer) -> None:
    async with beside_a_call(server), connect(server.url) as flood:
        await flood.send(CONFIG)
        blocks = [SOCIAL_SECURITY[at : at + BLOCK] for at in range(0, len(SOCIAL_SECURITY), BLOCK)]

        async def send() -> None:
            for block in blocks * 20:
                await flood.send(block)

        sending = asyncio.create_task(send())
        async with asyncio.timeout(5.0):
            await a_call_is_served(server)
        answers = [json.loads(await flood.recv()) for _ in range(len(blocks) * 20)]
        await sending
    # Every frame has its answer, in order: nothing is lost however fast it came.
    said = [answer["text"] for answer in answers if answer.get("text")]
    assert said[0] == "我要查 社保"
    assert len(answers) == len(blocks) * 20


def opening() -> bytes:
    """A client's opening handshake (RFC 6455, 4.1)."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(opcode: int, data: bytes) -> bytes:
    """A client's frame (RFC 6455, 5.2), masked by zeros, which mask nothing."""
    if len(data) < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(data))
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(data))
    return head + bytes(4) + data


@slow  # the server waits 10 s for the other half of the closing handshake
async def test_one_that_never_closes_is_let_go_of(
    services: Services, installation: Installation
) -> None:
    async with KapokServer(services, settings_of(installation, idle_timeout_s=0.5)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(opening())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(2, SOCIAL_SECURITY[:BLOCK]))
        await comes_true(lambda: server.calls == 1)
        # It answers no close frame and keeps the socket: the call ends all the same.
        await comes_true(lambda: server.calls == 0, within_s=25)
        await a_call_is_served(server)
        writer.close()


async def test_one_that_reconnects_with_the_same_call_id(
    server: KapokServer, told: list[Decision]
) -> None:
    async with connect(server.url) as first:
        await first.send(CONFIG)
        await ask(first, SOCIAL_SECURITY[:BLOCK])
        # The gateway has lost the connection and does not know that the server has not.
        async with connect(server.url) as second:
            await second.send(CONFIG)
            (final,) = await say(second, HOUSING_FUND)
            assert final["queue"] == "housing_fund"
            records = [r for r in server.registry.calls() if r.call_id == "CA-1"]
            assert len(records) == 1
            # It finds out while the call goes on: what it leaves behind must not be seen.
            await first.close()
            await comes_true(lambda: server.calls == 1)
            assert [r.call_id for r in server.registry.calls()] == ["CA-1"]
            standing = server.registry.decision("CA-1")
            assert standing is not None
            assert standing.queue == "housing_fund"
    assert [(d.action, d.queue) for d in told] == [(Action.QUEUE, "housing_fund")]
    await comes_true(lambda: server.calls == 0)
    decision = server.registry.decision("CA-1")
    assert decision is not None
    assert decision.queue == "housing_fund"
    await a_call_is_served(server)


@pytest.fixture
def told(server: KapokServer, monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """Decisions as the store and the webhook are told them."""
    decisions: list[Decision] = []
    monkeypatch.setattr(server._operations, "decided", decisions.append)
    return decisions


@pytest.mark.parametrize(
    "message",
    ["[" * 981 + "]" * 981, '{"config": {"call_id": "\\ud800"}}', "\x00" * 50],
    ids=["nested", "half a character", "zeros"],
)
async def test_one_that_sends_garbage_is_told_so_and_goes_on(
    server: KapokServer, message: str
) -> None:
    async with connect(server.url) as line:
        half = len(HOUSING_FUND) // 2 // BLOCK * BLOCK
        finals = await say(line, HOUSING_FUND[:half])
        assert "message" in (await ask(line, message))["error"]
        finals += await say(line, HOUSING_FUND[half:])
    assert [final["queue"] for final in finals] == ["housing_fund"]


async def test_a_line_that_breaks_leaves_the_caller_to_a_person(server: KapokServer) -> None:
    async with connect(server.url) as line:
        await line.send(CONFIG)
        await ask(line, SOCIAL_SECURITY[:BLOCK])
        line.transport.abort()
    await comes_true(lambda: server.calls == 0)
    decision = server.registry.decision("CA-1")
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.PERSON, "line_lost")


@slow
async def test_ten_thousand_connections_that_say_nothing(
    services: Services, installation: Installation
) -> None:
    patient = settings_of(installation, idle_timeout_s=300.0)
    async with KapokServer(services, patient) as server, beside_a_call(server):
        with crowd(server.url, 10_000) as opened:
            async with asyncio.timeout(60):
                assert await asyncio.to_thread(opened) == 10_000
            async with asyncio.timeout(60):
                await asyncio.gather(*(a_call_is_served(server) for _ in range(40)))
        await a_call_is_served(server)
