"""The whole server with all that runs beside the calls, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ivr.asr.engine import Recognition
from ivr.asr.factory import Speech
from ivr.asr.second_pass import TwoPassEngine
from ivr.language import Language
from ivr.load.soak import tasks_of
from ivr.server.access import Role, TokenFile, new_token
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations, http_port_for
from ivr.settings import Settings, TlsSettings
from tests.server.installation import Installation, speak
from tests.server.test_metrics import value
from tests.server.test_tls import write as write_certificate

CMN, YUE = Language.MANDARIN, Language.CANTONESE
SAID = speak(CMN, "我要查", "社保")

Served = Callable[..., AbstractAsyncContextManager[KapokServer]]


@pytest.fixture
def serve(services: Services, installation: Installation, tmp_path: Path) -> Served:
    @asynccontextmanager
    async def opened(
        *, tls: TlsSettings | None = None, services: Services = services, **limits: Any
    ) -> AsyncIterator[KapokServer]:
        settings = configured(installation.settings(), tmp_path, tls, limits)
        operations = Operations.open(settings, catalogue=services.catalogue, http_port=0)
        async with KapokServer(services, settings, operations=operations) as server:
            yield server

    return opened


def configured(
    settings: Settings, folder: Path, tls: TlsSettings | None, limits: dict[str, Any]
) -> Settings:
    access = settings.server.access.model_copy(update={"tokens": folder / "tokens.yaml"})
    more = {"access": access, "audit_log": folder / "audit.jsonl", "tls": tls, **limits}
    store = settings.store.model_copy(
        update={"url": f"sqlite:{folder / 'calls.sqlite'}", "spool": folder / "spool.sqlite"}
    )
    server = settings.server.model_copy(update=more)
    return settings.model_copy(update={"server": server, "store": store})


def token(folder: Path, role: Role) -> str:
    text, made = new_token("pbx-1", role, now=datetime.now(UTC))
    TokenFile(folder / "tokens.yaml").add(made)
    return text


async def call(url: str, *, call_id: str = "CA-77", **more: Any) -> list[dict[str, Any]]:
    """A whole call; its replies."""
    async with connect(url, **more) as websocket:
        await websocket.send(json.dumps({"config": {"call_id": call_id}}))
        replies = []
        for start in range(0, len(SAID), 3200):
            await websocket.send(SAID[start : start + 3200])
            replies.append(json.loads(await websocket.recv()))
        await websocket.send('{"eof" : 1}')
        replies.append(json.loads(await websocket.recv()))
    return replies


async def get(url: str, **more: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **more) as response:
        return response.status, await response.text()


# --- a call is counted, asked for, kept -----------------------------------------------------


async def test_a_call_is_counted_and_its_decision_asked_for(serve: Served, tmp_path: Path) -> None:
    async with serve() as server:
        await call(server.url)
        await server.wait_idle()
        status, body = await get(f"{server.http_url}/calls/CA-77")
        assert (status, json.loads(body)["queue"]) == (200, "social_security")
        assert await get(f"{server.http_url}/calls/CA-77?field=action") == (200, "queue")
        metrics = server._operations.metrics
        assert value(metrics, "kapok_calls_started_total", gateway="vosk") == 1
        labels = {"gateway": "vosk", "action": "queue", "queue": "social_security"}
        assert value(metrics, "kapok_decisions_total", **labels) == 1
        assert value(metrics, "kapok_utterances_total", language="cmn") == 1
        assert (value(metrics, "kapok_decision_latency_seconds_count") or 0) >= 1
        for language in ("cmn", "yue"):  # each model hears every utterance
            name = "kapok_recognition_real_time_factor_ratio"
            assert 0 < (value(metrics, f"{name}_sum", language=language) or 0) < 10
        audio_s = value(metrics, "kapok_audio_received_seconds_total", gateway="vosk")
        assert audio_s == pytest.approx(len(SAID) / 16_000)
        assert value(metrics, "kapok_calls", gateway="vosk", state="routing") is None  # over
        assert b"kapok_second_pass_utterances_total{" not in metrics.text()  # there is none
    async with serve() as another:  # a node that has not seen the call, on the same store
        status, body = await get(f"{another.http_url}/calls/CA-77")
        assert (status, json.loads(body)["queue"]) == (200, "social_security")


class Echo:
    """A second pass that hears what the first one heard."""

    def wants(self, heard: Recognition) -> bool:
        return heard.best is not None

    def again(
        self, heard: Recognition, pcm: bytes, rate_hz: int, *, count: int, scores: object = None
    ) -> Recognition:
        return heard


async def test_what_a_second_pass_heard_is_counted(serve: Served, services: Services) -> None:
    assert isinstance(services.speech, Speech)
    engines = {k: TwoPassEngine(engine, Echo()) for k, engine in services.speech.engines.items()}
    speech = replace(services.speech, engines=engines)
    async with serve(services=replace(services, speech=speech)) as server:
        await call(server.url)
        await server.wait_idle()
        metrics, name = server._operations.metrics, "kapok_second_pass_utterances_total"
        assert value(metrics, name, outcome="again") == 1
        # The silence after it, which the end of the stream closes.
        assert value(metrics, name, outcome="sure") == 1
        assert value(metrics, name, outcome="busy") is None


async def test_a_call_under_way_is_listed_and_measured(serve: Served) -> None:
    async with serve() as server, connect(server.url) as websocket:
        await websocket.send(bytes(320))
        await websocket.recv()
        _, body = await get(f"{server.http_url}/calls")
        (listed,) = json.loads(body)["calls"]
        assert listed["gateway"] == "vosk"
        state = {"gateway": "vosk", "state": listed["state"]}
        assert value(server._operations.metrics, "kapok_calls", **state) == 1


async def test_the_tasks_of_a_call_are_counted_and_end_with_it(serve: Served) -> None:
    async with serve() as server:
        before = await asyncio.to_thread(tasks_of, server.http_url)
        assert before > 0
        async with connect(server.url) as line:
            await line.send(bytes(1600))
            await line.recv()
            assert await asyncio.to_thread(tasks_of, server.http_url) > before
        await server.wait_idle()
        async with asyncio.timeout(10):
            while await asyncio.to_thread(tasks_of, server.http_url) > before:
                pass
        assert await asyncio.to_thread(tasks_of, server.url.replace("ws", "http")) == -1


async def test_an_edit_over_http_serves_the_next_call_and_is_audited_once(
    serve: Served, services: Services, installation: Installation, tmp_path: Path
) -> None:
    async with serve() as server:
        queues = installation.home / "config" / "queues.yaml"
        before = queues.read_text("utf-8")
        try:
            url = f"{server.http_url}/queues"
            edited = before.replace("id: social_security", "id: pensions")
            async with (
                aiohttp.ClientSession() as session,
                session.put(url, data=edited.encode()) as response,
            ):
                assert response.status == 200, await response.text()
            for _ in range(2):
                await server.reload()
            replies = await call(server.url)
            assert [r["queue"] for r in replies if r.get("text")] == ["pensions"]
            entries = (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()
            assert len(entries) == 1
        finally:
            queues.write_text(before, encoding="utf-8")


# --- who may call ---------------------------------------------------------------------------


async def test_gateways_show_their_token(
    serve: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ivr")
    async with serve() as server:
        gateway, viewer = token(tmp_path, Role.GATEWAY), token(tmp_path, Role.VIEW)
        header = {"Authorization": f"Bearer {gateway}"}
        assert (await call(server.url, additional_headers=header))[-1]["text"] == ""
        assert (await call(f"{server.url}/?token={gateway}"))[-1]["text"] == ""
        for wrong, status in ((None, 401), ("kapok_nonsense", 401), (viewer, 403)):
            with pytest.raises(InvalidStatus) as refused:
                await call(f"{server.url}/?token={wrong}" if wrong else server.url)
            assert refused.value.response.status_code == status
        assert value(server._operations.metrics, "kapok_calls_refused_total", reason="denied") == 3
        assert (await get(f"{server.http_url}/calls/CA-77", headers=header))[0] == 200
    assert gateway not in caplog.text
    assert gateway.split("_")[2] not in caplog.text


async def test_a_page_of_another_address_opens_no_call(serve: Served) -> None:
    async with serve() as server:
        with pytest.raises(InvalidStatus) as refused:
            await call(server.url, origin="https://evil.example")
        assert refused.value.response.status_code == 403
        assert await call(server.url, origin=server.url.replace("ws", "http"))


async def test_audiosocket_takes_those_who_are_named(
    services: Services, installation: Installation
) -> None:
    settings = installation.settings()
    gateways = {"audiosocket_port": 0, "audiosocket_peers": ("10.0.0.5/32",)}
    changed = settings.gateways.model_copy(update=gateways)
    async with KapokServer(services, settings.model_copy(update={"gateways": changed})) as server:
        port = int(str(server.audiosocket_url).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        assert value(server._operations.metrics, "kapok_calls_refused_total", reason="denied") == 1


async def test_both_ports_speak_tls(serve: Served, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    async with serve(tls=write_certificate(tmp_path, authority, "127.0.0.1")) as server:
        assert server.url.startswith("wss://")
        assert str(server.http_url).startswith("https://")
        replies = await call(server.url, ssl=context)
        assert [r["queue"] for r in replies if r.get("text")] == ["social_security"]
        assert (await get(f"{server.http_url}/readyz", ssl=context))[0] == 200
        with pytest.raises((OSError, InvalidHandshake)):
            await call(server.url.replace("wss", "ws"))


# --- health and the end ---------------------------------------------------------------------


async def test_health_on_the_port_of_the_calls(serve: Served) -> None:
    async with serve() as server:
        url = server.url.replace("ws", "http")
        assert json.loads((await get(f"{url}/healthz"))[1]) == {"status": "ok"}
        assert (await get(f"{url}/readyz"))[0] == 200


async def test_draining_first_says_so_then_hands_calls_to_a_person(
    serve: Served, tmp_path: Path
) -> None:
    async with serve() as server, connect(server.url) as websocket:
        await websocket.send('{"config": {"call_id": "CA-9"}}')
        await websocket.send(bytes(320))
        await websocket.recv()
        closing = asyncio.create_task(server.close(drain_s=0.3))
        await asyncio.sleep(0.02)
        status, body = await get(f"{server.http_url}/readyz")
        assert status == 503
        assert "shutting down" in body
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url)
        assert refused.value.response.headers["Retry-After"] == "1"
        final = json.loads(await websocket.recv())  # at the deadline
        assert (final["decision"], final["call"]["state"]) == ("person", "handing_off")
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        await closing
        decision = server.registry.decision("CA-9")
        assert decision is not None
        assert decision.action == "person"
    async with serve() as another:
        _, body = await get(f"{another.http_url}/calls/CA-9")
        assert json.loads(body)["action"] == "person"


@pytest.mark.parametrize(
    ("port", "http_port", "expected"),
    [(None, None, 2701), (0, None, 0), (9000, None, 9001), (9000, 80, 80), (None, 0, 0)],
)
def test_the_http_port_stands_beside_the_other(
    installation: Installation, port: int | None, http_port: int | None, expected: int
) -> None:
    assert http_port_for(installation.settings(), port, http_port) == expected
