"""One telephone line of the load: calls one after the other, each a script at real-time pace.

A frame is sent when its last sample would have been spoken, by an absolute schedule, so that a
late frame does not delay those after it. After the script the caller waits, with line noise on
the open line, until the answer begins or patience is over, and hangs up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ivr.errors import ServerError
from ivr.load.figures import Counts
from ivr.load.line import Busy, Decided, Gone, Heard, Line, Partial, open_line
from ivr.load.script import Script

__all__ = ["PATIENCE_S", "Caller"]

#: From the end of the recording until a caller gives up, seconds.
PATIENCE_S = 6.0
#: After a refusal a gateway tries again; not at once.
_RETRY_S = 1.0
_CLOSE_S = 5.0


@dataclass(slots=True)
class _Call:
    """What the call in progress has come to."""

    began_s: float
    speech_end_s: float  # on the clock
    decided: bool = False
    busy: str | None = None
    gone: str | None = None
    hung_up: bool = False  # by the caller: that the line closes then is no trouble

    @property
    def over(self) -> bool:
        return self.decided or self.busy is not None or self.gone is not None


class Caller:
    """A line on which calls follow each other until :meth:`run` is cancelled or stopped.

    Args:
        counts: what was met is added here; replaced by :attr:`counts` at any time.
    """

    def __init__(
        self,
        number: int,
        *,
        gateway: str,
        url: str,
        scripts: Sequence[Script],
        counts: Counts,
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._number, self._gateway, self._url = number, gateway, url
        self._scripts, self._rng, self._clock = scripts, rng, clock
        self.counts = counts
        self.calls = 0
        self._stopping = False

    def stop(self) -> None:
        """Make no more calls after the one in progress."""
        self._stopping = True

    async def run(self, *, after_s: float = 0.0) -> None:
        """Make calls, the first after ``after_s``."""
        await asyncio.sleep(after_s)
        while not self._stopping:
            self.calls += 1
            try:
                await self._call(self._rng.choice(self._scripts))
            except ServerError as error:
                self.counts.broken += 1
                self.counts.trouble(str(error))
                await asyncio.sleep(_RETRY_S)

    async def _call(self, script: Script) -> None:
        call_id = f"load-{self._number}-{self.calls}"
        async with open_line(self._gateway, self._url, call_id=call_id) as line:
            await line.begin()
            began_s = self._clock()
            call = _Call(began_s, began_s + script.speech_end_s)
            hearing = asyncio.create_task(self._hear(line, call))
            try:
                await self._speak(line, call, script)
                call.hung_up = True
                await line.hang_up()
                await asyncio.wait({hearing}, timeout=_CLOSE_S)
            finally:
                hearing.cancel()
                with suppress(asyncio.CancelledError):
                    await hearing
            self._conclude(line, call)
        if call.busy is not None:
            await asyncio.sleep(_RETRY_S)

    async def _speak(self, line: Line, call: _Call, script: Script) -> None:
        frames, wait_s = script.frames, PATIENCE_S
        count = len(frames) + round(wait_s / script.frame_s)
        for number in range(count):
            if call.busy is not None or call.gone is not None:
                return
            if call.decided and number >= len(frames):
                return
            due_s = call.began_s + (number + 1) * script.frame_s
            await asyncio.sleep(due_s - self._clock())
            self.counts.late_s.append(self._clock() - due_s)
            await line.send(frames[number] if number < len(frames) else script.quiet, due_s)
            self.counts.frames_sent += 1

    async def _hear(self, line: Line, call: _Call) -> None:
        while True:
            for heard in await line.hear():
                self._note(heard, call)
                if isinstance(heard, Busy | Gone):
                    return

    def _note(self, heard: Heard, call: _Call) -> None:
        now_s = self._clock()
        match heard:
            case Partial(due_s):
                self.counts.partial_s.append(now_s - due_s)
            case Decided() if now_s >= call.speech_end_s and not call.decided:
                # One that comes before the caller has finished is no answer to the whole.
                call.decided = True
                self.counts.decision_s.append(now_s - call.speech_end_s)
            case Busy(reason):
                call.busy = reason or "busy"
            case Gone(reason) if not call.hung_up:
                call.gone = reason
            case _:
                pass

    def _conclude(self, line: Line, call: _Call) -> None:
        if call.busy is not None:
            self.counts.refused += 1
            return
        self.counts.frames_lost += line.unanswered
        if call.decided:
            self.counts.decided += 1
        elif call.gone is not None and "(1000)" not in call.gone:
            self.counts.broken += 1
            self.counts.trouble(call.gone)
        else:
            self.counts.undecided += 1
