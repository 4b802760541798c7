"""Queues edited while the server runs, with a call on the line."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from ivr.language import Language
from ivr.server.app import KapokServer
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
