"""Queues edited while the server runs, with a call on the line."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from ivr.asr.workers import SpeechWorkers
from ivr.audio.files import read_audio
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.server import conversation
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from tests.server.installation import Installation, speak, write_installation

CMN = Language.MANDARIN


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return write_installation(tmp_path / "home")


@pytest.fixture
async def server(installation: Installation) -> AsyncIterator[KapokServer]:
    settings = installation.settings()
    by_hand = settings.server.model_copy(update={"reload_s": 3600.0})
    settings = settings.model_copy(update={"server": by_hand})
    async with KapokServer(installation.services(), settings) as running:
        yield running


def edit(installation: Installation, old: str, new: str) -> None:
    path = installation.home / "config" / "queues.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


async def finish(websocket: Any, pcm: bytes) -> dict[str, Any]:
    await websocket.send(pcm)
    await websocket.recv()
    await websocket.send('{"eof" : 1}')
    answer: dict[str, Any] = json.loads(await websocket.recv())
    return answer


async def transcript(websocket: Any, pcm: bytes) -> str:
    """Of Mandarin audio that may hold its own endpoint."""
    await websocket.send('{"config": {"sample_rate": 8000, "language": "cmn"}}')
    await websocket.send(pcm)
    at_endpoint = json.loads(await websocket.recv()).get("text", "")
    await websocket.send('{"eof" : 1}')
    return at_endpoint + str(json.loads(await websocket.recv())["text"])


async def test_a_new_call_goes_by_the_edit_and_a_live_one_does_not(
    server: KapokServer, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = speak(CMN, "我要查", "社保", after_s=0.1)
    async with connect(server.url) as live:
        await live.send('{"config": {"sample_rate": 8000}}')
        await live.send(said[:1600])
        await live.recv()
        edit(installation, "  - id: social_security", "  - id: pensions")
        await server.reload()
        await server.reload()
        assert (await finish(live, said[1600:]))["queue"] == "social_security"
    async with connect(server.url) as websocket:
        assert (await finish(websocket, said))["queue"] == "pensions"
    assert "new calls go by queues" in caplog.text


async def test_a_new_word_is_understood_by_the_next_call(
    tmp_path: Path,
) -> None:
    """By the models that come with Kapok: the tone models of the other tests take no words."""
    installation = write_installation(tmp_path / "real")
    models = Path(__file__).parents[2] / "models"
    config = installation.config.read_text("utf-8").replace("models/", f"{models}/")
    installation.config.write_text(config.replace("reload_s: 1", ""), encoding="utf-8")
    settings = installation.settings()
    by_hand = settings.server.model_copy(update={"reload_s": 3600.0, "max_message_bytes": 1 << 20})
    settings = settings.model_copy(update={"server": by_hand})
    fixture = Path(__file__).parents[2] / "audio_fixtures/cmn_consumer_rights_004.wav"
    said = read_audio(fixture, rate_hz=8000).pcm
    services = Services.load(settings)
    async with KapokServer(services, settings) as server:
        async with connect(server.url) as websocket:
            assert "餐厅结账" not in await transcript(websocket, said)
        edit(installation, "default_queue:", "hot_words: [餐厅结账]\ndefault_queue:")
        await server.reload()
        await server.reload()
        async with connect(server.url) as websocket:
            assert "餐厅结账" in await transcript(websocket, said)


async def test_a_bad_edit_is_refused_and_calls_go_on(
    server: KapokServer, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    edit(installation, "default_queue: general", "default_queue: genral")
    await server.reload()
    await server.reload()
    assert "the edit of the queues is refused" in caplog.text
    assert "there is no queue 'genral'" in caplog.text
    async with connect(server.url) as websocket:
        answer = await finish(websocket, speak(CMN, "我要查", "社保", after_s=0.1))
    assert answer["queue"] == "social_security"


@pytest.fixture
async def isolated(installation: Installation) -> AsyncIterator[KapokServer]:
    """As `ivr serve` runs it: with workers."""
    settings = installation.settings()
    by_hand = settings.server.model_copy(update={"reload_s": 3600.0})
    settings = settings.model_copy(update={"server": by_hand})
    services = Services.load(settings, isolated=True)
    operations = Operations.open(settings, catalogue=services.catalogue, http_port=0)
    try:
        async with KapokServer(services, settings, operations=operations) as running:
            yield running
    finally:
        services.close()


def workers_of(server: KapokServer) -> SpeechWorkers:
    speech = server._services.speech
    assert isinstance(speech, SpeechWorkers)
    return speech


async def version_shown(server: KapokServer) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.http_url}/queues") as response,
    ):
        return str((await response.json())["version"])


async def queue_of_a_call(server: KapokServer) -> str:
    async with connect(server.url) as websocket:
        answer = await finish(websocket, speak(CMN, "我要查", "社保", after_s=0.1))
        return str(answer["queue"])


async def test_calls_that_have_said_nothing_yet_outlive_the_old_workers(
    isolated: KapokServer, installation: Installation
) -> None:
    old = workers_of(isolated)
    async with connect(isolated.url) as live:
        await live.send('{"config": {"sample_rate": 8000}}')
        edit(installation, "default_queue:", "hot_words: [月亮]\ndefault_queue:")
        await isolated.reload()
        await isolated.reload()
        assert workers_of(isolated) is not old
        async with asyncio.timeout(30):
            while old.pids:  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.02)
        said = speak(CMN, "我要查", "社保", after_s=0.1)
        assert (await finish(live, said))["queue"] == "social_security"


async def test_an_edit_that_fails_late_leaves_the_old_workers_and_is_taken_up_in_the_end(
    isolated: KapokServer,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, before = workers_of(isolated), await version_shown(isolated)
    edit(installation, "default_queue:", "hot_words: [月亮]\ndefault_queue:")
    edit(installation, "  - id: social_security", "  - id: pensions")

    def slip(folder: Path) -> None:
        raise ConfigError("prompts.yaml:1:1: a slip")

    # It was saved when the look had read the prompts.
    monkeypatch.setattr(conversation, "load_prompts", slip)
    await isolated.reload()
    await isolated.reload()
    monkeypatch.undo()
    assert caplog.text.count("prompts.yaml:1:1: a slip") == 1
    # The models cannot be loaded either: somebody is copying new ones.
    model = installation.home / "models" / "yue" / "am" / "final.mdl"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    await isolated.reload()
    assert caplog.text.count("copy the whole model directory again") == 1
    assert workers_of(isolated) is old
    assert len(old.pids) == 2
    assert await version_shown(isolated) == before
    assert await queue_of_a_call(isolated) == "social_security"
    model.write_bytes(whole)
    for _ in range(3):
        await isolated.reload()
    assert await version_shown(isolated) == isolated._services.version != before
    assert await queue_of_a_call(isolated) == "pensions"
