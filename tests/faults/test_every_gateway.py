"""Every gateway stalls, floods, and sends a byte at a time; other calls go on meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ivr.audio.codecs import Encoding
from ivr.call.decision import Action
from ivr.gateways import GATEWAYS
from ivr.gateways.clients import client_class
from ivr.gateways.clients.client import GatewayClient
from ivr.gateways.clients.ring import CallResult, ring
from ivr.language import Language
from ivr.replay.client import Pace
from ivr.replay.clips import Clip
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.settings import Settings
from tests.faults.conftest import a_call_is_served, beside_a_call, comes_true, settings_of, slow
from tests.faults.proxy import a_byte_at_a_time, proxied, stalling_after
from tests.server.installation import Installation, speak, write_installation
from tests.server.test_call import ShortVoice

every_gateway = pytest.mark.parametrize("name", list(GATEWAYS))
REQUEST = speak(Language.MANDARIN, "我要查", "社保")
#: The request, and audio for as long as its decision is announced.
CALL = REQUEST + bytes(16_000)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("gateways") / "kapok")


@pytest.fixture(scope="module")
def services(installation: Installation) -> Iterator[Services]:
    loaded = Services.load(installation.settings(), isolated=True)
    yield loaded
    loaded.close()


@pytest.fixture
def settings(installation: Installation) -> Settings:
    settings = settings_of(installation)
    gateways = settings.gateways.model_copy(update={"audiosocket_port": 0})
    return settings.model_copy(update={"gateways": gateways})


@pytest.fixture
async def server(services: Services, settings: Settings) -> AsyncIterator[KapokServer]:
    async with KapokServer(services, settings, voice=ShortVoice()) as running:
        yield running


def client(name: str) -> GatewayClient:
    return client_class(name)(call_id=str(uuid.uuid4()))


def address(server: KapokServer, who: GatewayClient) -> str:
    return str(server.audiosocket_url if who.transport == "tcp" else server.url)


async def call(who: GatewayClient, url: str, pcm: bytes) -> CallResult:
    said = Clip(Path("a.wav"), pcm, Encoding.S16LE, 8000)
    return await ring(who, url, said, pace=Pace.FAST, pause_s=0.4, patience_s=2.0)


def decided(server: KapokServer, who: GatewayClient) -> str | None:
    decision = server.registry.decision(who.call_id)
    return decision.queue if decision is not None else None


@every_gateway
async def test_one_that_sends_a_byte_at_a_time_is_understood(
    server: KapokServer, name: str
) -> None:
    who = client(name)
    async with (
        beside_a_call(server),
        proxied(address(server, who), a_byte_at_a_time) as url,
    ):
        await call(who, url, CALL)
        await comes_true(lambda: decided(server, who) == "social_security")
    await comes_true(lambda: server.calls == 0)


@slow  # of half a message no closing handshake can be read: the server waits 10 s for it
@every_gateway
async def test_one_that_stalls_in_a_message_is_closed_and_leaves_nothing(
    services: Services, settings: Settings, name: str
) -> None:
    impatient = settings.server.model_copy(update={"idle_timeout_s": 0.5})
    settings, who = settings.model_copy(update={"server": impatient}), client(name)
    async with (
        KapokServer(services, settings, voice=ShortVoice()) as server,
        proxied(address(server, who), stalling_after(8_000)) as url,
    ):
        ringing = asyncio.create_task(call(who, url, CALL))
        await comes_true(lambda: server.registry.call(who.call_id) is not None)
        # The proxy keeps the server's line open, whatever the gateway does.
        await comes_true(lambda: server.calls == 0)
        await ringing
        decision = server.registry.decision(who.call_id)
        assert decision is not None
        assert (decision.action, decision.reason) == (Action.PERSON, "line_lost")
        await a_call_is_served(server)


@every_gateway
async def test_one_that_floods_waits_and_others_do_not(
    server: KapokServer, settings: Settings, name: str
) -> None:
    who, waiting_s = client(name), [0.0]
    async with beside_a_call(server):
        flood = asyncio.create_task(call(who, address(server, who), 30 * REQUEST))
        await comes_true(lambda: server.registry.call(who.call_id) is not None)
        async with asyncio.timeout(5.0):
            await a_call_is_served(server)
        while not flood.done():
            waiting_s.append(sum(each.waiting_s for each in server._calls))
            await asyncio.wait({flood}, timeout=0.01)
        await flood
    assert decided(server, who) == "social_security"
    # What has not been recognised waits on the gateway's side of TCP.
    assert max(waiting_s) <= settings.server.high_water_s + 1.0
    await comes_true(lambda: server.calls == 0)
