"""A server as ``ivr serve`` runs it, recognition in processes of its own, and calls into it.

``pytest tests/faults`` runs the fast ones; ``KAPOK_SLOW=1`` (``make faults``) all.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from ivr.language import Language
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.settings import Settings
from tests.server.installation import Installation, speak, write_installation

slow = pytest.mark.skipif(
    not os.environ.get("KAPOK_SLOW"), reason="takes a minute: make faults, or KAPOK_SLOW=1"
)

SOCIAL_SECURITY = speak(Language.MANDARIN, "我要查", "社保")
HOUSING_FUND = speak(Language.CANTONESE, "我想查吓", "公积金")
BLOCK = 1600  # 100 ms


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return write_installation(tmp_path / "kapok")


def settings_of(installation: Installation, **limits: Any) -> Settings:
    settings = installation.settings()
    # Speech comes faster than anybody speaks: a slow machine must not shed calls for it.
    limits = {"max_calls": 50, "shed_lag_s": 60.0, **limits}
    return settings.model_copy(update={"server": settings.server.model_copy(update=limits)})


@pytest.fixture
def services(installation: Installation) -> Iterator[Services]:
    loaded = Services.load(installation.settings(), isolated=True)
    yield loaded
    loaded.close()


@pytest.fixture
async def server(services: Services, installation: Installation) -> AsyncIterator[KapokServer]:
    async with KapokServer(services, settings_of(installation)) as running:
        yield running


async def ask(line: ClientConnection, message: str | bytes) -> dict[str, Any]:
    """One message and its answer."""
    await line.send(message)
    answer: dict[str, Any] = json.loads(await line.recv())
    return answer


async def say(line: ClientConnection, pcm: bytes) -> list[dict[str, Any]]:
    """Audio in blocks, each waited for; the answers with words or a reason."""
    answers = [await ask(line, pcm[at : at + BLOCK]) for at in range(0, len(pcm), BLOCK)]
    return [a for a in answers if a.get("text") or a.get("error")]


async def a_call_is_served(server: KapokServer) -> None:
    """Whatever happened before: a new call comes to its queue."""
    async with connect(server.url) as line:
        (final,) = await say(line, SOCIAL_SECURITY)
    assert final["queue"] == "social_security", final


@asynccontextmanager
async def beside_a_call(server: KapokServer) -> AsyncIterator[None]:
    """A call that began before the fault, and comes to its queue after it."""
    async with connect(server.url) as line:
        half = len(HOUSING_FUND) // 2 // BLOCK * BLOCK
        finals = await say(line, HOUSING_FUND[:half])
        yield
        finals += await say(line, HOUSING_FUND[half:])
        assert [final["queue"] for final in finals] == ["housing_fund"]


async def comes_true(holds: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for another process or task: a condition, polled."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.02)
