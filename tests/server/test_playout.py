"""The player of prompts, by a clock that moves only where somebody sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from ivr.call.events import Prompt
from ivr.gateways.gateway import (
    Gateway,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Say,
    StopPlaying,
)
from ivr.language import Language
from ivr.server.playout import MAX_WAITING, Playout, SilentVoice


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now_s += max(0.0, seconds)


class Wire(Gateway):
    """Frames of 20 ms, and a mark; keeps what is sent and when."""

    name: ClassVar[str] = "wire"

    def take(self, message: Message) -> list[Inbound]:
        return []

    def send(self, outbound: Outbound) -> list[Message]:
        return ["clear"] if isinstance(outbound, StopPlaying) else []

    def play(self, say: Say) -> Iterator[Packet]:
        for _ in range(0, len(say.pcm), self.frame_bytes):
            yield Packet(say.prompt_id, self.frame_s)
        yield Packet(f"mark {say.play_id}")


class Reporting(Wire):
    reports_played: ClassVar[bool] = True


class Ahead(Wire):
    lead_s: ClassVar[float] = 0.1
    burst_s: ClassVar[float] = 0.06


class Buffered(Wire):
    paced: ClassVar[bool] = False


class Tenth:
    """Every prompt lasts a tenth of a second: five frames."""

    def pcm(self, prompt: Prompt) -> bytes:
        return bytes(1600)


class Stage:
    """A player with everything around it."""

    def __init__(self, gateway: Gateway) -> None:
        self.clock = Clock()
        self.sent: list[tuple[float, Message]] = []
        self.reported: list[str] = []
        self.playout = Playout(
            gateway,
            self._send,
            played=self._played,
            voice=Tenth(),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def _send(self, message: Message) -> None:
        self.sent.append((round(self.clock() - 100.0, 3), message))

    async def _played(self, played: Played) -> None:
        self.reported.append(played.play_id)
        self.playout.played(played.play_id)

    def frames(self, prompt_id: str) -> list[float]:
        return [at_s for at_s, message in self.sent if message == prompt_id]

    async def idle(self) -> None:
        async with asyncio.timeout(5):
            await self.playout.wait_idle()


def prompt(id_: str = "greeting") -> Prompt:
    return Prompt(id=id_, text="您好", language=Language.MANDARIN)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the steps of the player
            await asyncio.sleep(0)


async def test_frames_go_out_at_the_gateways_pace() -> None:
    stage = Stage(Wire())
    stage.playout.say(prompt())
    await stage.idle()
    assert stage.frames("greeting") == [0.0, 0.02, 0.04, 0.06, 0.08]
    assert stage.reported == ["greeting-1"]
    assert stage.clock() == pytest.approx(100.1)


async def test_prompts_follow_one_another_without_a_gap() -> None:
    stage = Stage(Wire())
    stage.playout.say(prompt("a"))
    stage.playout.say(prompt("b"))
    await stage.idle()
    assert stage.frames("b")[0] == pytest.approx(0.1)
    assert stage.reported == ["a-1", "b-2"]


async def test_a_gateway_that_buffers_gets_a_little_ahead_in_bursts() -> None:
    stage = Stage(Ahead())
    stage.playout.say(prompt("a"))
    stage.playout.say(prompt("b"))
    await stage.idle()
    a, b = stage.frames("a"), stage.frames("b")
    assert a == [0.0] * 5  # a tenth of a second ahead
    assert b[0] <= 0.1
    assert len(set(b)) < 5  # bursts
    assert all(at_s <= 0.1 + 0.02 * i for i, at_s in enumerate(b))  # never late


async def test_a_gateway_that_takes_whole_prompts_is_not_paced() -> None:
    stage = Stage(Buffered())
    stage.playout.say(prompt())
    await stage.idle()
    assert stage.frames("greeting") == [0.0] * 5
    assert stage.clock() == pytest.approx(100.1)  # it has still to be heard


async def test_stopping_is_at_once_and_clears() -> None:
    stage = Stage(Wire())
    stage.playout.say(prompt("a"))
    stage.playout.say(prompt("b"))
    await until(lambda: len(stage.sent) == 2)
    await stage.playout.stop()
    assert not stage.playout.playing
    assert [message for _, message in stage.sent] == ["a", "a", "clear"]
    assert stage.sent[-1][0] - stage.sent[-2][0] <= 0.02
    assert stage.reported == []
    await stage.playout.stop()
    assert len(stage.sent) == 3  # nothing is playing: nothing to clear


async def test_after_stopping_something_else_can_be_said() -> None:
    stage = Stage(Wire())
    stage.playout.say(prompt("a"))
    await until(lambda: stage.sent)
    await stage.playout.stop()
    stage.playout.say(prompt("b"))
    await stage.idle()
    assert len(stage.frames("b")) == 5


async def test_a_report_of_the_gateway_ends_a_prompt() -> None:
    stage = Stage(Reporting())
    stage.playout.say(prompt())
    await until(lambda: len(stage.sent) == 6)
    assert stage.playout.playing
    assert stage.playout.played("greeting-1") == "greeting"
    await stage.idle()
    assert stage.reported == []


async def test_a_report_that_does_not_come_is_made_up_for() -> None:
    stage = Stage(Reporting())
    stage.playout.say(prompt())
    await stage.idle()
    assert stage.reported == ["greeting-1"]
    assert 102.0 < stage.clock() < 102.2


async def test_a_report_of_what_was_stopped_is_none() -> None:
    stage = Stage(Reporting())
    stage.playout.say(prompt())
    await until(lambda: stage.sent)
    await stage.playout.stop()
    assert stage.playout.played("greeting-1") is None


async def test_a_full_buffer_holds_the_frames_back() -> None:
    stage = Stage(Wire())
    stage.playout.flow(is_open=False)
    stage.playout.say(prompt())
    for _ in range(20):
        await asyncio.sleep(0)
    assert stage.sent == []
    stage.clock.now_s += 3.0
    stage.playout.flow(is_open=True)
    await stage.idle()
    assert stage.frames("greeting") == [3.0, 3.02, 3.04, 3.06, 3.08]


async def test_prompts_do_not_pile_up() -> None:
    stage = Stage(Wire())
    for number in range(MAX_WAITING + 3):
        stage.playout.say(prompt(str(number)))
    await stage.idle()
    said = list(dict.fromkeys(m for _, m in stage.sent if not str(m).startswith("mark")))
    assert len(said) == MAX_WAITING
    assert said[-1] == str(MAX_WAITING + 2)


async def test_what_is_cancelled_sends_nothing_more() -> None:
    stage = Stage(Wire())
    stage.playout.say(prompt())
    await until(lambda: stage.sent)
    await stage.playout.cancel()
    count = len(stage.sent)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stage.sent) == count
    await stage.idle()


def test_silence_lasts_as_long_as_the_text() -> None:
    said = prompt().__class__(id="x", text="一二三四五六七八九", language=Language.MANDARIN)
    assert len(SilentVoice().pcm(said)) == 2 * 8000 * 2
