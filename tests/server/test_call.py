"""Calls of every gateway through a real server over real sockets, with real Vosk behind it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from ivr.audio.codecs import Encoding
from ivr.call.decision import Action, Decision
from ivr.call.events import Prompt
from ivr.errors import ServerError
from ivr.gateways import GATEWAYS
from ivr.gateways.clients import CLIENTS, client_class
from ivr.gateways.clients.client import GatewayClient, Silenced, Sound, Text
from ivr.gateways.clients.ring import CallResult, ring
from ivr.language import Language
from ivr.replay.client import Pace
from ivr.replay.clips import Clip
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.webhook import SIGNATURE_HEADER, check
from ivr.settings import GatewaysSettings, GenesysSettings, Settings, WebhookSettings
from tests.server.installation import Installation, speak
from tests.server.test_metrics import value

CMN, YUE = Language.MANDARIN, Language.CANTONESE
WEBHOOK_SECRET = "0123456789abcdef0123"
SECRET = "MDEyMzQ1Njc4OWFiY2RlZg=="


class ShortVoice:
    """Prompts of a tenth of a second, so that a call is over soon; notes what is said.

    The greeting lasts ``greeting_s``.
    """

    def __init__(self, *, greeting_s: float = 0.1) -> None:
        self.said: list[str] = []
        self._greeting_s = greeting_s

    def pcm(self, prompt: Prompt) -> bytes:
        self.said.append(prompt.id)
        seconds = self._greeting_s if prompt.id == "greeting" else 0.1
        return b"\x10\x00" * round(8000 * seconds)


@pytest.fixture
def voice() -> ShortVoice:
    return ShortVoice()


def settings(installation: Installation, **gateways: Any) -> Settings:
    given = installation.settings()
    return given.model_copy(update={"gateways": GatewaysSettings(audiosocket_port=0, **gateways)})


@pytest.fixture
async def server(
    services: Services, installation: Installation, voice: ShortVoice
) -> AsyncIterator[KapokServer]:
    async with KapokServer(services, settings(installation), voice=voice) as running:
        yield running


def clip(language: Language, *words: str) -> Clip:
    return Clip(Path("a.wav"), speak(language, *words), Encoding.S16LE, 8000)


def client(name: str, **parameters: str) -> GatewayClient:
    return client_class(name)(call_id=str(uuid.uuid4()), parameters=parameters)


async def call(
    server: KapokServer, who: GatewayClient, said: Clip, **options: Any
) -> tuple[CallResult, Decision]:
    """Ring; what the gateway saw, and what was decided."""
    url = server.audiosocket_url if who.transport == "tcp" else server.url
    given = {"pause_s": 0.4, "patience_s": 1.0} | options
    result = await ring(who, str(url), said, pace=Pace.FAST, **given)
    async with asyncio.timeout(10):
        await server.wait_idle()
    decision = server.registry.decision(who.call_id)
    assert decision is not None
    return result, decision


def test_every_gateway_has_a_client() -> None:
    assert set(CLIENTS) == set(GATEWAYS)


@pytest.mark.parametrize("name", list(GATEWAYS))
async def test_a_request_is_routed_over_every_gateway(
    server: KapokServer, voice: ShortVoice, name: str
) -> None:
    result, decision = await call(server, client(name), clip(YUE, "我想查吓", "社保"))
    assert (decision.action, decision.queue) == (Action.QUEUE, "social_security")
    assert (decision.gateway, decision.language) == (name, YUE)
    if result.decision is not None:
        assert "social_security" in str(result.decision)
    sound = [heard for heard in result.heard if isinstance(heard.said, Sound)]
    assert bool(sound) == bool(voice.said)


@pytest.mark.parametrize("name", [name for name in GATEWAYS if name != "aeap"])
async def test_a_key_reaches_a_person_over_every_gateway(server: KapokServer, name: str) -> None:
    silence = Clip(Path("a.wav"), bytes(16_000), Encoding.S16LE, 8000)
    _, decision = await call(server, client(name), silence, keys=[(0.2, "0")])
    assert (decision.action, decision.reason) == (Action.PERSON, "asked")


@pytest.mark.parametrize("name", ["twilio", "vonage", "genesys"])
async def test_speech_stops_the_greeting(
    services: Services, installation: Installation, name: str
) -> None:
    """The gateway is told to be silent, and the call is over long before the greeting would be."""
    voice = ShortVoice(greeting_s=60.0)
    async with KapokServer(services, settings(installation), voice=voice) as server:
        result, _ = await call(server, client(name), clip(CMN, "我要查", "社保"), pause_s=0.0)
    assert result.first(Silenced) is not None


async def test_a_call_whose_clock_is_set_back_ends_after_it_began(
    services: Services, installation: Installation, voice: ShortVoice
) -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
    clock = iter([noon])  # every later look finds another year

    def now() -> datetime:
        return next(clock, noon - timedelta(days=400))

    async with KapokServer(services, settings(installation), voice=voice, now=now) as server:
        who = client("vosk")
        _, decision = await call(server, who, clip(CMN, "我要查", "社保"))
        record = server.registry.call(who.call_id)
    assert record is not None
    assert record.ended is not None
    assert noon == record.began <= decision.at <= record.ended <= noon + timedelta(minutes=1)


async def test_the_transcript_is_told_where_the_protocol_can(server: KapokServer) -> None:
    result, _ = await call(server, client("vosk"), clip(CMN, "我要查", "社保"))
    assert result.texts == ["我要查 社保"]


async def test_a_caller_who_hangs_up_before_anything_was_decided(server: KapokServer) -> None:
    silence = Clip(Path("a.wav"), bytes(1600), Encoding.S16LE, 8000)
    result, decision = await call(server, client("twilio"), silence)
    assert (decision.action, decision.reason) == (Action.HANG_UP, "hang_up")
    assert not [h for h in result.heard if isinstance(h.said, Text)]


async def test_the_registry_follows_a_call(server: KapokServer) -> None:
    who = client("twilio", caller="+8620123")
    await call(server, who, clip(CMN, "我要查", "公积金"))
    record = server.registry.call(who.call_id)
    assert record is not None
    assert record.ended is not None
    assert (record.gateway, record.caller) == ("twilio", "+8620123")
    assert record.as_json()["decision"]["queue"] == "housing_fund"
    assert server.registry.calls() == ()


async def test_prompts_can_be_left_to_the_gateway(server: KapokServer, voice: ShortVoice) -> None:
    _, decision = await call(server, client("twilio", prompts="off"), clip(CMN, "我要查", "社保"))
    assert decision.queue == "social_security"
    assert voice.said == []


async def test_genesys_must_sign_where_keys_are_set(
    services: Services, installation: Installation, voice: ShortVoice
) -> None:
    given = settings(installation, genesys=GenesysSettings(keys={"k": SECRET}))
    async with KapokServer(services, given, voice=voice) as server:
        signed = client("genesys", api_key="k", secret=SECRET)
        _, decision = await call(server, signed, clip(CMN, "我要查", "社保"))
        assert decision.queue == "social_security"
        for wrong in (client("genesys"), client("genesys", api_key="k", secret="AAAA" + SECRET)):
            with pytest.raises(ServerError, match="401"):
                await call(server, wrong, clip(CMN, "社保"))


async def test_a_server_that_shuts_down_tells_the_gateway(
    services: Services, installation: Installation, voice: ShortVoice
) -> None:
    from websockets.asyncio.client import connect

    async with KapokServer(services, settings(installation), voice=voice) as server:
        who = client("genesys")
        async with connect(server.url + "/genesys") as line:
            await line.send(who.begin()[0])
            await line.recv()
            closing = asyncio.create_task(server.close(drain_s=0.0))
            rest = [message async for message in line]
            await closing
    assert any(isinstance(m, str) and '"disconnect"' in m for m in rest)


async def test_decisions_are_posted_to_the_application(
    services: Services, installation: Installation, voice: ShortVoice
) -> None:
    posted: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        check(WEBHOOK_SECRET, request.headers[SIGNATURE_HEADER], body, now_s=time.time())
        posted.append(json.loads(body))
        return web.Response()

    async with listening(take) as url:
        hook = WebhookSettings(url=url, secret=WEBHOOK_SECRET)
        given = settings(installation).model_copy(update={"webhook": hook})
        async with KapokServer(services, given, voice=voice) as server:
            await call(server, client("twilio"), clip(CMN, "我要查", "社保"))
            await call(server, client("vonage"), Clip(Path("a"), b"\0\0", Encoding.S16LE, 8000))
    assert [(p["gateway"], p["action"], p["queue"]) for p in posted] == [
        ("twilio", "queue", "social_security"),
        ("vonage", "hang_up", None),
    ]
    name = "kapok_webhook_deliveries_total"
    assert value(server._operations.metrics, name, outcome="delivered") == 2


@asynccontextmanager
async def listening(take: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
