"""The trained models and the fixtures, through a real server over a real socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ivr.call.events import Prompt
from ivr.gateways.clients import CLIENTS, client_class
from ivr.gateways.clients.ring import ring
from ivr.gateways.gateway import StreamConfig
from ivr.replay.client import Pace, replay_over_socket
from ivr.replay.clips import read_clip
from ivr.replay.labels import Kind, Label, load_labels
from ivr.replay.report import Outcome, Report
from ivr.server.app import KapokServer
from ivr.server.conversation import Conversation, Services
from ivr.settings import load_settings

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "audio_fixtures" / "labels.csv"
#: Of each queue and language, and of all that must not be routed, so many.
EACH = 2

pytestmark = pytest.mark.skipif(
    not (ROOT / "models" / "cmn" / "am" / "final.mdl").exists(),
    reason="the trained models are not in models/",
)


@pytest.fixture(scope="module")
def services() -> Services:
    return Services.load(load_settings(ROOT / "config" / "kapok.yaml"))


@pytest.fixture
async def server(services: Services) -> AsyncIterator[KapokServer]:
    settings = load_settings(ROOT / "config" / "kapok.yaml")
    # A Tuesday morning: every queue is open.
    morning = datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
    async with KapokServer(
        services, settings, host="127.0.0.1", port=0, now=lambda: morning
    ) as running:
        yield running


def chosen() -> list[tuple[Path, Label]]:
    taken: dict[tuple[object, ...], int] = {}
    rows = []
    for path, label in sorted(load_labels(LABELS).by_file.items()):
        group = (label.kind, label.language, label.queue)
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= EACH:
            rows.append((path, label))
    return rows


async def outcomes(server: KapokServer) -> list[Outcome]:
    lines = asyncio.Semaphore(2)

    async def one(path: Path, label: Label) -> Outcome:
        async with lines:
            result = await replay_over_socket(
                read_clip(path), url=server.url, end_s=label.speech_end_s
            )
        return Outcome(path.name, result, None, label)

    return list(await asyncio.gather(*(one(path, label) for path, label in chosen())))


async def test_fixtures_through_the_server(server: KapokServer) -> None:
    report = Report(await outcomes(server))
    told = "\n".join(report.lines())
    # Floors a little below what `ivr replay audio_fixtures` measures on all: 97 and 89 %.
    assert report.wrongly_routed == [], told
    assert (report.language_accuracy.value or 0) >= 0.9, told
    assert (report.of_kind(Kind.SPEECH).value or 0) >= 0.75, told


class _Brief:
    """Prompts of a tenth of a second: nobody listens."""

    def pcm(self, prompt: Prompt) -> bytes:
        return bytes(1600)


async def test_the_same_recordings_get_the_same_decisions_over_every_gateway(
    services: Services,
) -> None:
    """Two of them; ``python -m bench.gateways --fixtures 60`` takes sixty."""
    settings = load_settings(ROOT / "config" / "kapok.yaml")
    gateways = settings.gateways.model_copy(update={"audiosocket_port": 0})
    # Speech comes faster than anybody speaks: a slow machine must not shed calls for it.
    patient = settings.server.model_copy(update={"shed_lag_s": 60.0})
    settings = settings.model_copy(update={"gateways": gateways, "server": patient})
    morning = datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
    decided: dict[str, dict[str, object]] = {name: {} for name in CLIENTS}

    async def ring_as(name: str, server: KapokServer, file: str) -> None:
        client = client_class(name)(call_id=str(uuid.uuid4()))
        url = server.audiosocket_url if client.transport == "tcp" else server.url
        clip = read_clip(LABELS.parent / file)
        await ring(client, str(url), clip, pace=Pace.FAST, pause_s=1.0, patience_s=20.0)
        await server.wait_idle()
        decision = server.registry.decision(client.call_id)
        assert decision is not None
        decided[name][file] = (decision.action, decision.queue, decision.language)

    async with KapokServer(
        services, settings, host="127.0.0.1", port=0, now=lambda: morning, voice=_Brief()
    ) as server:
        for file in ("cmn_social_security_001.wav", "yue_general_005.wav"):
            await asyncio.gather(*(ring_as(name, server, file) for name in CLIENTS))
    assert decided["vosk"] == {
        "cmn_social_security_001.wav": ("queue", "social_security", "cmn"),
        "yue_general_005.wav": ("queue", "general", "yue"),
    }
    for name, got in decided.items():
        assert got == decided["vosk"], name


def test_nothing_is_lost_of_who_speaks_as_the_prompt_ends(services: Services) -> None:
    """The first syllables, before any voice was made out, are the caller's too."""
    morning = datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
    clip = read_clip(LABELS.parent / "cmn_general_003.wav")
    heard = []
    for plays in (False, True):
        call = Conversation(
            services, local_time=morning, stream=StreamConfig(), plays_prompts=plays
        )
        for event in call.opening.events:
            if isinstance(event, Prompt):
                call.played(event.id)
        turns = [call.hear(frame) for frame in clip.frames(0.1)]
        heard += [turn.final.hypotheses for turn in turns if turn.final and turn.final.text]
    assert len(heard) == 2
    assert heard[0] == heard[1]
