"""Plays prompts into a call: one after the other, at the gateway's pace, until somebody speaks.

Where a gateway is paced, a packet is sent when the sound before it has been played, less the
gateway's ``lead_s``, by an absolute schedule: a late packet does not delay those after it.
:meth:`Playout.stop` stops between two packets, so that at most one frame and the lead are still
heard, and tells the gateway to throw away what it has buffered.

What was played is told by :class:`~ivr.gateways.gateway.Played`: by the gateway where it reports
it, and by this player, from the length of the sound, where it does not, or where the report does
not come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from ivr.call.events import Prompt
from ivr.call.prompts import spoken_s
from ivr.gateways.gateway import PROMPT_RATE_HZ, Gateway, Message, Played, Say, StopPlaying
from ivr.server.transport import GoneError

__all__ = ["MAX_WAITING", "Playout", "SilentVoice", "Voice"]

#: Prompts waiting to be played; no turn says so many, and the oldest gives way.
MAX_WAITING = 16
#: How long after the end of its sound a gateway's report is waited for, seconds: Twilio and
#: Asterisk report within one round trip.
_REPORT_S = 2.0


class Voice(Protocol):
    """Where the sound of a prompt comes from (:class:`ivr.call.prompt_audio.PromptAudio`)."""

    def pcm(self, prompt: Prompt, /) -> bytes:
        """The prompt, s16le, 8 kHz, one channel."""
        ...


class SilentVoice:
    """Silence as long as the prompt takes to say: where there is no sound."""

    def pcm(self, prompt: Prompt, /) -> bytes:
        """See :class:`Voice`."""
        return bytes(2 * round(spoken_s(prompt.text) * PROMPT_RATE_HZ))


class Playout:
    """The prompts of one call.

    Args:
        gateway: cuts prompts into packets.
        send: sends a message to the gateway; raises GoneError where it has gone.
        played: told of every prompt that has been played without a report of the gateway's.
        voice: the sound of prompts.
        clock, sleep: seconds, monotonic, and waiting by it; the event loop's by default.
    """

    def __init__(
        self,
        gateway: Gateway,
        send: Callable[[Message], Awaitable[None]],
        *,
        played: Callable[[Played], Awaitable[None]],
        voice: Voice | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway, self._send, self._played = gateway, send, played
        self._voice = voice or SilentVoice()
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self._waiting: deque[tuple[str, Prompt]] = deque(maxlen=MAX_WAITING)
        self._unreported: dict[str, str] = {}  # play id -> prompt id, in the order of playing
        self._late_s: dict[str, float] = {}  # play id -> clock from which its report is overdue
        self._plays = 0
        self._task: asyncio.Task[None] | None = None
        self._room, self._idle, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()

    @property
    def playing(self) -> bool:
        """Whether a prompt is being played, or waits for it, or for the report of its end."""
        return not self._idle.is_set()

    async def wait_idle(self) -> None:
        """Wait until everything has been played or stopped."""
        await self._idle.wait()

    def flow(self, *, is_open: bool) -> None:
        """The gateway's buffer is full, or has room again."""
        if is_open:
            self._room.set()
        else:
            self._room.clear()

    def say(self, prompt: Prompt) -> None:
        """Play ``prompt`` after those before it."""
        self._plays += 1
        self._waiting.append((f"{prompt.id}-{self._plays}", prompt))
        self._idle.clear()
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Be silent: within one frame, and what the gateway has buffered is thrown away."""
        if not self.playing:
            return
        await self.cancel()
        for message in self._gateway.send(StopPlaying()):
            await self._send(message)

    async def cancel(self) -> None:
        """Send nothing more; the call is over, or will say something else."""
        self._waiting.clear()
        self._unreported.clear()
        self._late_s.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._idle.set()

    def played(self, play_id: str) -> str | None:
        """The id of the prompt that was played; None where it was stopped before its report."""
        prompt_id = self._unreported.pop(play_id, None)
        self._late_s.pop(play_id, None)
        self._news.set()
        return prompt_id

    # --- playing -------------------------------------------------------------------------

    async def _run(self) -> None:
        with suppress(GoneError):  # the call's reader sees it too, and ends the call
            ends_s = self._clock()
            while self._waiting or self._unreported:
                if self._waiting:
                    ends_s = await self._play(*self._waiting.popleft(), ends_s)
                else:
                    await self._wait_for_news()
        self._idle.set()

    async def _play(self, play_id: str, prompt: Prompt, after_s: float) -> float:
        """Send a prompt; the clock at the end of its sound."""
        self._unreported[play_id] = prompt.id
        # Sound that is used for the first time is read from its file.
        pcm = await asyncio.to_thread(self._voice.pcm, prompt)
        say = Say(
            play_id=play_id,
            prompt_id=prompt.id,
            pcm=pcm,
            text=prompt.text,
            language=prompt.language,
        )
        ends_s = await self._send_packets(say, max(after_s, self._clock()))
        if self._gateway.reports_played:
            self._late_s[play_id] = ends_s + _REPORT_S
        else:
            await self._until(ends_s)
            await self._played(Played(play_id))
        return ends_s

    async def _send_packets(self, say: Say, begins_s: float) -> float:
        ends_s = begins_s
        for packet in self._gateway.play(say):
            if self._gateway.paced:
                await self._until_due(ends_s - self._gateway.lead_s)
            if not self._room.is_set():
                await self._room.wait()
                ends_s = max(ends_s, self._clock())
            await self._send(packet.message)
            ends_s += packet.audio_s
        return ends_s

    async def _until_due(self, due_s: float) -> None:
        """Wait for a packet's time; where packets may go in bursts, for that of a burst."""
        if due_s > self._clock():
            await self._until(due_s + self._gateway.burst_s)

    async def _until(self, due_s: float) -> None:
        wait_s = due_s - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)

    async def _wait_for_news(self) -> None:
        """Until a prompt was reported, or is to be said; reports what the gateway does not."""
        self._news.clear()
        late = next(iter(self._late_s), None)
        if late is None:  # reported, and on its way through the call's inbox
            await self._news.wait()
        elif not await self._news_until(self._late_s[late]):
            del self._late_s[late]
            await self._played(Played(late))

    async def _news_until(self, until_s: float) -> bool:
        news = asyncio.ensure_future(self._news.wait())
        late = asyncio.ensure_future(self._until(until_s))
        try:
            await asyncio.wait({news, late}, return_when=asyncio.FIRST_COMPLETED)
            return news.done()
        finally:
            news.cancel()
            late.cancel()
