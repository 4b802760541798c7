from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from ivr.audio.codecs import Encoding, encode
from ivr.errors import ServerError
from ivr.language import Language
from ivr.replay.client import (
    BUSY_S,
    FRAME_S,
    Final,
    Pace,
    conclude,
    join_text,
    replay_in_process,
    replay_over_socket,
)
from ivr.replay.clips import Clip
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.local import LocalCall
from tests.server.installation import Installation, speak

CMN, YUE = Language.MANDARIN, Language.CANTONESE
NOON = datetime(2025, 6, 3, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


class Clock:
    """A clock that moves only where somebody sleeps, so that pacing takes no time to test."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += max(0.0, seconds)
        await asyncio.sleep(0)


def clip(
    language: Language, *words: str, after_s: float = 1.2, encoding: Encoding = Encoding.S16LE
) -> Clip:
    pcm = speak(language, *words, after_s=after_s)
    return Clip(Path("a.wav"), encode(pcm, encoding), encoding, 8000)


@pytest.fixture
async def server(services: Services, installation: Installation) -> AsyncIterator[KapokServer]:
    async with KapokServer(services, installation.settings()) as running:
        yield running


@pytest.fixture
def call(services: Services) -> LocalCall:
    return LocalCall(services, local_time=NOON)


# --- through the server ---------------------------------------------------------------------


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_a_recording_over_the_socket(server: KapokServer, encoding: Encoding) -> None:
    recording = clip(YUE, "我想查吓", "社保", encoding=encoding)
    result = await replay_over_socket(recording, url=server.url)
    assert result.text == "我想查吓社保"
    assert (result.language, result.queue, result.decision) == (
        "yue",
        "social_security",
        "route",
    )
    assert result.latency_ms is not None
    assert 0 < result.latency_ms < 30_000
    assert list(result.as_json("a.wav")) == [
        *("file", "language", "text", "queue", "confidence", "decision", "latency_ms"),
        "candidates",
    ]


async def test_socket_and_process_agree(server: KapokServer, call: LocalCall) -> None:
    recording = clip(CMN, "我要查", "公积金")
    over_socket = await replay_over_socket(recording, url=server.url)
    in_process = await replay_in_process(recording, call)
    assert over_socket.as_json("") | {"latency_ms": 0} == in_process.as_json("") | {"latency_ms": 0}


async def test_real_pace_over_the_socket(server: KapokServer) -> None:
    recording = clip(CMN, "我要查", "社保")
    result = await replay_over_socket(recording, url=server.url, pace=Pace.REAL, end_s=1.05)
    assert result.queue == "social_security"
    assert result.latency_ms is not None
    assert 200 < result.latency_ms < 5_000  # the endpoint's silence at least


async def test_many_at_once(server: KapokServer) -> None:
    said = [(CMN, "社保", "social_security"), (YUE, "公积金", "housing_fund")]
    recordings = [clip(lang, {CMN: "我要查", YUE: "我想查吓"}[lang], w) for lang, w, _ in said]
    results = await asyncio.gather(
        *(replay_over_socket(recording, url=server.url) for recording in recordings)
    )
    assert [result.queue for result in results] == [queue for *_, queue in said]


async def test_no_server() -> None:
    with pytest.raises(ServerError, match=r"no server answers.*ivr serve"):
        await replay_over_socket(clip(CMN, "社保"), url="ws://127.0.0.1:9")


async def test_no_address() -> None:
    with pytest.raises(ServerError, match="no server answers"):
        await replay_over_socket(clip(CMN, "社保"), url="http://127.0.0.1:9")


async def test_a_full_server_says_so(server: KapokServer) -> None:
    from websockets.asyncio.client import connect

    url = server.url
    async with connect(url), connect(url), connect(url):
        with pytest.raises(ServerError, match=r"all 3 lines are busy.*\(1013\)"):
            await replay_over_socket(clip(CMN, "社保"), url=url)


async def test_a_busy_server_is_asked_again(server: KapokServer) -> None:
    from websockets.asyncio.client import connect

    url = server.url
    async with connect(url), connect(url), connect(url) as third:
        waits: list[float] = []

        async def leave(seconds: float) -> None:
            waits.append(seconds)
            await third.close()
            await asyncio.sleep(0)

        result = await replay_over_socket(clip(CMN, "社保"), url=url, sleep=leave, tries=100)
    assert result.queue == "social_security"
    assert set(waits) == {BUSY_S}


async def played(script: list[str | None]) -> tuple[Any, str]:
    """A server that answers by a script; None closes."""

    async def handle(connection: ServerConnection) -> None:
        await connection.recv()  # config
        for line in script:
            if line is None:
                return
            await connection.recv()
            await connection.send(line)

    running = await serve(handle, "127.0.0.1", 0, max_queue=None)
    return running, f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (['{"error": "no such rate"}'], "the server answered: no such rate"),
        (['{"partial": ""}', None], "closed the connection"),
        (["this is no JSON"], "answered with what is no JSON object"),
    ],
)
async def test_a_server_that_misbehaves(script: list[str | None], what: str) -> None:
    running, url = await played(script)
    try:
        with pytest.raises(ServerError, match=what):
            await replay_over_socket(clip(CMN, "社保"), url=url)
    finally:
        running.close()
        await running.wait_closed()


async def test_a_plain_vosk_server_gives_text_alone() -> None:
    frames = len(list(clip(CMN, "社保").frames(FRAME_S)))
    script: list[str | None] = ['{"partial": "社"}'] * frames + ['{"text": "社 保"}', None]
    running, url = await played(script)
    try:
        result = await replay_over_socket(clip(CMN, "社保"), url=url)
    finally:
        running.close()
        await running.wait_closed()
    assert (result.text, result.decision, result.queue) == ("社保", "ask_again", None)


# --- pace -----------------------------------------------------------------------------------


async def test_frames_are_sent_when_they_would_have_been_spoken(
    call: LocalCall,
) -> None:
    clock = Clock()
    recording = clip(CMN, "我要查", "社保")
    result = await replay_in_process(
        recording,
        call,
        pace=Pace.REAL,
        end_s=1.05,
        clock=clock,
        sleep=clock.sleep,
    )
    assert clock.now_s - 1000.0 == pytest.approx(recording.duration_s)
    assert all(0 <= s <= FRAME_S + 1e-6 for s in clock.slept)
    # By this clock recognition takes no time: what is left is the silence of the endpoint.
    assert result.latency_ms is not None
    assert 400 <= result.latency_ms <= 1200


async def test_the_line_stays_open_until_the_final(call: LocalCall) -> None:
    clock = Clock()
    recording = clip(CMN, "我要查", "社保", after_s=0.0)
    result = await replay_in_process(
        recording, call, pace=Pace.REAL, clock=clock, sleep=clock.sleep
    )
    assert result.queue == "social_security"
    assert recording.duration_s < clock.now_s - 1000.0 < recording.duration_s + 3.0


async def test_a_silent_recording_has_no_latency(call: LocalCall) -> None:
    silent = Clip(Path("a.wav"), bytes(32_000), Encoding.S16LE, 8000)
    result = await replay_in_process(silent, call)
    assert (result.text, result.decision, result.latency_ms) == ("", "ask_again", None)


# --- what the finals come to ----------------------------------------------------------------


def final(at_s: float, text: str, decision: str, queue: str | None = None) -> Final:
    message = {
        "text": text,
        "decision": decision,
        "queue": queue,
        "language": "cmn",
        "confidence": 0.9,
        "candidates": [],
    }
    return Final(message, at_s - 0.02, at_s)


SPOKEN = clip(CMN, "社保")


@pytest.mark.parametrize(
    ("finals", "decision", "queue", "latency_ms"),
    [
        ([], "ask_again", None, None),
        ([final(13.0, "我 要", "ask_again")], "ask_again", None, 1000.0),
        (
            [final(11.0, "社 保", "route", "a"), final(13.0, "谢谢", "ask_again")],
            *("route", "a", 1000.0),
        ),
        (
            [final(11.0, "社 保", "route", "a"), final(13.0, "公积金", "route", "b")],
            *("route", "b", 1000.0),
        ),
        ([final(11.0, "人工", "person"), final(13.5, "", "ask_again")], "person", None, 0.0),
        (
            [final(12.5, "社 保", "confirm", "a"), final(15.0, "", "ask_again")],
            *("confirm", "a", 500.0),
        ),
    ],
)
def test_the_last_decision_for_a_queue_stands(
    finals: list[Final], decision: str, queue: str | None, latency_ms: float | None
) -> None:
    result = conclude(SPOKEN, finals, began_s=10.0, end_s=2.0, pace=Pace.REAL)
    assert (result.decision, result.queue, result.latency_ms) == (decision, queue, latency_ms)


def test_fast_latency_is_processing_time_alone() -> None:
    finals = [final(11.0, "社保", "route", "a")]
    result = conclude(SPOKEN, finals, began_s=10.0, end_s=2.0, pace=Pace.FAST)
    assert result.latency_ms == 20.0


def test_texts_are_joined() -> None:
    finals = [final(11.0, "我 要", "ask_again"), final(12.0, "查 wi fi", "ask_again")]
    result = conclude(SPOKEN, finals, began_s=10.0, end_s=2.0, pace=Pace.FAST)
    assert result.text == "我要查wi fi"


@given(st.lists(st.sampled_from(["我", "社保", "wi", "fi", "12"]), max_size=6))
def test_joining_keeps_every_word(words: list[str]) -> None:
    joined = join_text(" ".join(words))
    assert joined.replace(" ", "") == "".join(words)
    assert json.dumps(joined)
