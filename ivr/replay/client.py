"""A client of the Vosk protocol that streams a recording and keeps what came back, and when.

At real-time pace a frame is sent when its last sample would have been spoken, by an absolute
schedule, so that a slow frame does not delay the ones after it. Where the recording ends in the
middle of an utterance the line stays open: silence follows for at most :data:`TAIL_S`, until the
final is there. At fast pace everything is sent as the server takes it.

A recording is one utterance to the reports. Where the server hears several, the texts are joined
and the last decision for a queue, an emergency or a person stands (:func:`conclude`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from ivr.errors import ServerError
from ivr.replay.clips import Clip, speech_end_s
from ivr.server.local import LocalCall

__all__ = [
    "BUSY_S",
    "FRAME_S",
    "TAIL_S",
    "Final",
    "Pace",
    "Result",
    "conclude",
    "replay_in_process",
    "replay_over_socket",
]

FRAME_S = 0.1
#: Silence that follows a recording at real-time pace, at most; longer than any endpoint takes.
TAIL_S = 3.0
#: Between two tries to reach a busy server.
BUSY_S = 1.0
_TIMEOUT_S = 60.0  # without any answer
#: A server that has not answered the end of the stream may not answer a close either.
_CLOSE_TIMEOUT_S = 2.0
_DECIDED = ("route", "confirm", "emergency", "person")


class Pace(StrEnum):
    """How fast a recording is streamed."""

    REAL = "real"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Final:
    """A final message of the server."""

    message: dict[str, Any]
    asked_s: float  # clock when the message that it answers was sent
    arrived_s: float
    audio_s: float = 0.0  # how much audio had been sent by then

    @property
    def text(self) -> str:
        """The transcript, as Chinese is written: without the spaces between words."""
        return join_text(str(self.message.get("text") or ""))

    @property
    def decision(self) -> str:
        """The decision; ``ask_again`` where the server is none of ours."""
        return str(self.message.get("decision") or "ask_again")


@dataclass(frozen=True, slots=True)
class Result:
    """What the server made of one recording."""

    path: Path
    language: str | None
    text: str
    queue: str | None
    confidence: float
    decision: str
    latency_ms: float | None  # None where there is no speech, hence no end of it
    candidates: tuple[dict[str, Any], ...]
    emergency: str | None
    finals: tuple[Final, ...]
    decided_s: float = 0.0  # how much audio it took, whatever the pace

    def as_json(self, name: str) -> dict[str, Any]:
        """The object of ``ivr replay --json``; ``name`` stands for the file."""
        return {
            "file": name,
            "language": self.language,
            "text": self.text,
            "queue": self.queue,
            "confidence": self.confidence,
            "decision": self.decision,
            "latency_ms": self.latency_ms,
            "candidates": list(self.candidates),
        }


def join_text(spaced: str) -> str:
    """``我 想 查 wi fi`` -> ``我想查wi fi``: a space stays only between two Latin words."""
    joined = ""
    for word in spaced.split():
        latin = joined[-1:].isascii() and joined[-1:].isalnum() and word[0].isascii()
        joined += f" {word}" if latin and word[0].isalnum() else word
    return joined


# --- what the finals come to ------------------------------------------------------------------


def conclude(
    clip: Clip, finals: Sequence[Final], *, began_s: float, end_s: float | None, pace: Pace
) -> Result:
    """One result of all finals of a recording.

    Args:
        began_s: clock at the first sample.
        end_s: where the speech ends in the recording, seconds.

    The latency at real-time pace is from the end of speech to the arrival of the decision; where
    the decision stood before the caller had finished, to the next final with words, or 0. At
    fast pace it is the processing time alone: from the sending of the message that was answered
    by the decision.
    """
    decided = [final for final in finals if final.decision in _DECIDED]
    for_queue = [final for final in decided if final.message.get("queue")]
    spoken = [final for final in finals if final.text]
    standing = for_queue or decided or spoken or finals
    chosen = standing[-1] if standing else None
    message = chosen.message if chosen else {}
    return Result(
        path=clip.path,
        language=message.get("language"),
        text=join_text(" ".join(final.text for final in spoken)),
        queue=message.get("queue"),
        confidence=float(message.get("confidence") or 0.0),
        decision=chosen.decision if chosen else "ask_again",
        latency_ms=_latency_ms(chosen, spoken, began_s=began_s, end_s=end_s, pace=pace),
        candidates=tuple(message.get("candidates") or ()),
        emergency=message.get("emergency"),
        finals=tuple(finals),
        decided_s=chosen.audio_s if chosen else clip.duration_s,
    )


def _latency_ms(
    chosen: Final | None,
    spoken: Sequence[Final],
    *,
    began_s: float,
    end_s: float | None,
    pace: Pace,
) -> float | None:
    if chosen is None or end_s is None:
        return None
    if pace is Pace.FAST:
        return _ms(chosen.arrived_s - chosen.asked_s)
    over_s = began_s + end_s
    arrivals = [f.arrived_s for f in (chosen, *spoken) if f.arrived_s >= chosen.arrived_s]
    late = [arrived_s for arrived_s in arrivals if arrived_s >= over_s]
    return _ms(min(late) - over_s) if late else 0.0


def _ms(seconds: float) -> float:
    return round(1000.0 * seconds, 1)


# --- streaming --------------------------------------------------------------------------------


class _Line(Protocol):
    """A server to talk to: over a socket or in this process."""

    async def send(self, message: str | bytes) -> None: ...

    @property
    def pending(self) -> bool:
        """Whether the last partial had words that no final has taken up."""
        ...

    async def finals(self) -> list[Final]:
        """All finals, once the server has answered the end of the stream."""
        ...


@dataclass
class _Replies:
    """Pairs replies with the messages they answer: one reply a message, in order."""

    clock: Callable[[], float]
    finals: list[Final] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    answered: int = 0
    pending: bool = False

    @property
    def complete(self) -> bool:
        return self.answered >= len(self.sent_s)

    def asked(self) -> None:
        self.sent_s.append(self.clock())

    def arrived(self, text: str) -> None:
        message = _message(text)
        asked_s = self.sent_s[self.answered] if self.answered < len(self.sent_s) else self.clock()
        self.answered += 1
        if "error" in message and "text" not in message:
            raise ServerError(f"the server answered: {message['error']}")
        if "partial" in message:
            self.pending = bool(message["partial"])
        elif "text" in message or "alternatives" in message:
            self.pending = False
            # One reply answers one frame, in order.
            audio_s = self.answered * FRAME_S
            self.finals.append(Final(message, asked_s, self.clock(), audio_s))


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise ServerError(f"the server answered with what is no JSON object: {text[:80]!r}")
    return message


async def _stream(
    line: _Line,
    clip: Clip,
    *,
    pace: Pace,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> float:
    """Stream ``clip`` and end the stream; the clock at its first sample."""
    config = {"sample_rate": clip.rate_hz, "encoding": clip.encoding.value}
    await line.send(json.dumps({"config": config}))
    began_s, sent_s = clock(), 0.0

    async def send(frame: bytes) -> None:
        nonlocal sent_s
        sent_s += len(frame) / clip.encoding.bytes_per_sample / clip.rate_hz
        if pace is Pace.REAL:
            await sleep(began_s + sent_s - clock())
        await line.send(frame)

    for frame in clip.frames(FRAME_S):
        await send(frame)
    if pace is Pace.REAL:
        silence = clip.silence(FRAME_S)
        while line.pending and sent_s < clip.duration_s + TAIL_S:
            await send(silence)
    await line.send('{"eof" : 1}')
    return began_s


async def _replay(
    line: _Line,
    clip: Clip,
    *,
    pace: Pace,
    end_s: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Result:
    if end_s is None:
        end_s = speech_end_s(clip)
    began_s = await _stream(line, clip, pace=pace, clock=clock, sleep=sleep)
    return conclude(clip, await line.finals(), began_s=began_s, end_s=end_s, pace=pace)


class _SocketLine:
    def __init__(self, connection: ClientConnection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._replies = _Replies(clock)
        self._receiver = asyncio.create_task(self._receive())

    @property
    def pending(self) -> bool:
        return self._replies.pending

    async def _receive(self) -> None:
        async for text in self._connection:  # ends where the server closes after eof
            self._replies.arrived(text if isinstance(text, str) else text.decode())

    async def send(self, message: str | bytes) -> None:
        if self._receiver.done():
            await self._receiver  # what it failed of is better said than "closed"
        if not (isinstance(message, str) and '"config"' in message):
            self._replies.asked()
        await self._connection.send(message)

    async def finals(self) -> list[Final]:
        while not self._receiver.done():
            answered = self._replies.answered
            await asyncio.wait({self._receiver}, timeout=_TIMEOUT_S)
            if not self._receiver.done() and self._replies.answered == answered:
                raise ServerError(f"the server has not answered for {_TIMEOUT_S:.0f} s")
        await self._receiver
        if not self._replies.complete:
            raise ServerError("the server closed the connection before it had answered")
        return self._replies.finals

    def cancel(self) -> None:
        self._receiver.cancel()


async def replay_over_socket(
    clip: Clip,
    *,
    url: str,
    pace: Pace = Pace.FAST,
    end_s: float | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    tries: int = 1,
) -> Result:
    """Stream ``clip`` into the server at ``url``.

    A busy server refuses a call (close code 1013) and takes it a little later: up to ``tries``
    times it is asked, once every :data:`BUSY_S`.

    Args:
        end_s: where the speech ends, seconds; found by energy where it is not given.
        clock: seconds, monotonic; the event loop's where it is not given.

    Raises:
        ServerError: the server cannot be reached, is full, answers with an error, or closes
            before it has answered.
    """
    clock = clock or asyncio.get_running_loop().time
    for _ in range(tries - 1):
        with suppress(_BusyError):
            return await _over_socket(clip, url, pace, end_s, clock, sleep)
        await sleep(BUSY_S)
    return await _over_socket(clip, url, pace, end_s, clock, sleep)


class _BusyError(ServerError):
    """The server refused the call, and would take it later."""


async def _over_socket(
    clip: Clip,
    url: str,
    pace: Pace,
    end_s: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Result:
    try:
        async with connect(
            url,
            subprotocols=[Subprotocol("ws")],
            compression=None,
            ping_interval=None,
            open_timeout=_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=None,
            proxy=None,
        ) as connection:
            line = _SocketLine(connection, clock)
            try:
                return await _replay(line, clip, pace=pace, end_s=end_s, clock=clock, sleep=sleep)
            finally:
                line.cancel()
    except TimeoutError as error:  # an OSError too
        raise ServerError(
            f"{url}: the server has not answered the opening for {_TIMEOUT_S:.0f} s; "
            "is it overloaded?"
        ) from error
    except (OSError, InvalidHandshake, InvalidURI) as error:
        raise ServerError(
            f"{url}: no server answers ({error}); start one by `ivr serve`, or leave --url away"
        ) from error
    except ConnectionClosed as error:
        busy = error.rcvd is not None and error.rcvd.code == CloseCode.TRY_AGAIN_LATER
        raise (_BusyError if busy else ServerError)(
            f"{url}: the server closed the connection: {_reason(error)}"
        ) from error


def _reason(error: ConnectionClosed) -> str:
    closed = error.rcvd
    return f"{closed.reason or 'no reason given'} ({closed.code})" if closed else "no reason given"


class _LocalLine:
    """A call in this process; each step in a thread of its own."""

    def __init__(self, call: LocalCall, clock: Callable[[], float]) -> None:
        self._call = call
        self._replies = _Replies(clock)

    @property
    def pending(self) -> bool:
        return self._replies.pending

    async def send(self, message: str | bytes) -> None:
        self._replies.asked()
        answers = await asyncio.to_thread(self._call.step, message)
        if not answers:
            self._replies.sent_s.pop()
        for answer in answers:
            self._replies.arrived(str(answer))

    async def finals(self) -> list[Final]:
        return self._replies.finals


async def replay_in_process(
    clip: Clip,
    call: LocalCall,
    *,
    pace: Pace = Pace.FAST,
    end_s: float | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """As :func:`replay_over_socket`, but straight into a new ``call`` of the Vosk protocol.

    Raises:
        ServerError: the call answers with an error.
    """
    clock = clock or asyncio.get_running_loop().time
    line = _LocalLine(call, clock)
    try:
        return await _replay(line, clip, pace=pace, end_s=end_s, clock=clock, sleep=sleep)
    finally:
        call.hang_up()
