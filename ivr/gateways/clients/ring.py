"""Rings the server as a gateway does: gives a :class:`GatewayClient` a connection and a clock.

At real-time pace a frame is sent when its last sample would have been spoken, by an absolute
schedule. At fast pace audio is sent as the server takes it, and prompts count as played at once.
After the recording the caller is silent on the open line until the server has ended the call, or
has said nothing more for ``patience_s``; then the caller hangs up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from ivr.audio.codecs import Decoder, encode
from ivr.audio.resample import Resampler
from ivr.errors import ServerError
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Ready,
    Said,
    Silenced,
    Sound,
    Text,
    Told,
)
from ivr.gateways.gateway import Message
from ivr.replay.client import Pace
from ivr.replay.clips import Clip

__all__ = ["RECORD_HZ", "CallResult", "Heard", "Piece", "ring"]

#: The rate of the recording, Hertz.
RECORD_HZ = 8_000
_OPEN_S = 20.0
_CLOSE_S = 5.0
#: At fast pace so much silence follows the recording: longer than any endpoint takes.
_TAIL_S = 3.0
#: Once the decision is told, a gateway moves the call.
_AFTER_DECISION_S = 0.5


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that the server said, and when, seconds since the first audio."""

    at_s: float
    said: Said


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound, and when it began to be heard."""

    begins_s: float
    pcm: bytes  # s16le, one channel
    rate_hz: int


@dataclass(slots=True)
class CallResult:
    """One call, from the gateway's side."""

    call_id: str
    gateway: str
    heard: list[Heard] = field(default_factory=list)
    audio_s: float = 0.0  # of the caller, sent
    began_s: float = 0.0  # clock at the first audio
    ended: str | None = None  # why the server closed; None where the caller hung up
    prompts: list[Piece] = field(default_factory=list)  # as they sounded
    caller: Piece = field(default_factory=lambda: Piece(0.0, b"", RECORD_HZ))

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """The decision as the protocol told it; None where it told none."""
        told = [each.said.decision for each in self.heard if isinstance(each.said, Told)]
        return told[-1] if told else None

    @property
    def texts(self) -> list[str]:
        """The final transcripts."""
        said = [each.said for each in self.heard]
        return [s.text for s in said if isinstance(s, Text) and s.final and s.text]

    def first(self, kind: type[Said], *, after_s: float = 0.0) -> float | None:
        """When something of a kind was first said at or after ``after_s``."""
        times = [h.at_s for h in self.heard if isinstance(h.said, kind) and h.at_s >= after_s]
        return times[0] if times else None

    def stereo(self) -> NDArray[np.int16]:
        """What was heard, a row a sample at RECORD_HZ: the caller left, the prompts right."""
        left, right = _track([self.caller]), _track(self.prompts)
        tracks = np.zeros((max(len(left), len(right)), 2), dtype=np.int16)
        tracks[: len(left), 0], tracks[: len(right), 1] = left, right
        return tracks


def _track(pieces: Sequence[Piece]) -> NDArray[np.int16]:
    """Pieces in their places, at RECORD_HZ; all have one rate, for a call has."""
    if not pieces:
        return np.zeros(0, dtype=np.int16)
    rate_hz = pieces[0].rate_hz
    places = [round(piece.begins_s * rate_hz) for piece in pieces]
    ends = [at + len(piece.pcm) // 2 for at, piece in zip(places, pieces, strict=True)]
    track = np.zeros(max(ends), dtype="<i2")
    for at, end, piece in zip(places, ends, pieces, strict=True):
        track[at:end] = np.frombuffer(piece.pcm, dtype="<i2")
    resampler = Resampler(rate_hz, RECORD_HZ)
    pcm = resampler.resample(track.tobytes()) + resampler.flush()
    return np.frombuffer(pcm, dtype="<i2").astype(np.int16)


async def ring(
    client: GatewayClient,
    url: str,
    clip: Clip,
    *,
    pace: Pace = Pace.REAL,
    keys: Sequence[tuple[float, str]] = (),
    pause_s: float = 0.0,
    patience_s: float = 4.0,
    headers: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    on_said: Callable[[Heard], None] = lambda heard: None,
) -> CallResult:
    """Make one call with ``clip`` as what the caller says.

    Args:
        url: ``ws://HOST:PORT``, to which the client's path is added where it has none of its
            own; ``tcp://HOST:PORT`` for a TCP protocol.
        keys: (seconds since the first audio, DTMF key).
        pause_s: how long the caller listens before speaking. At real-time pace the line is silent
            meanwhile; at fast pace nothing is sent, so that the call's own clock stands still.
        patience_s: after the recording, how long the server may be silent before the caller
            hangs up.
        headers: more headers of the upgrade request, a token for instance.
        on_said: told of everything as it comes.

    Raises:
        ServerError: the server cannot be reached, or does not take the call.
    """
    clock = clock or asyncio.get_running_loop().time
    async with _connected(client, url, headers or {}) as line:
        call = _Ringing(client, line, pace=pace, clock=clock, sleep=sleep, on_said=on_said)
        return await call.run(clip, sorted(keys), pause_s=pause_s, patience_s=patience_s)


# --- connections ---------------------------------------------------------------------------


class _Line(Protocol):
    async def send(self, message: Message) -> None: ...

    async def receive(self) -> Message | None:
        """The next message; None once the server has closed."""
        ...

    @property
    def reason(self) -> str: ...


class _WebSocketLine:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: Message) -> None:
        with suppress(ConnectionClosed):  # the receiver says so
            await self._connection.send(message)

    async def receive(self) -> Message | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    @property
    def reason(self) -> str:
        code, reason = self._connection.close_code, self._connection.close_reason
        return f"{reason} ({code})" if reason else f"closed ({code})"


class _TcpLine:
    reason = "closed"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, message: Message) -> None:
        with suppress(OSError):
            self._writer.write(message if isinstance(message, bytes) else message.encode())
            await self._writer.drain()

    async def receive(self) -> Message | None:
        try:
            return await self._reader.read(65_536) or None
        except OSError:
            return None


@asynccontextmanager
async def _connected(
    client: GatewayClient, url: str, headers: Mapping[str, str]
) -> AsyncIterator[_Line]:
    try:
        if client.transport == "tcp":
            async with _tcp(url) as line:
                yield line
        else:
            async with _websocket(client, url, headers) as line:
                yield line
    except TimeoutError as error:  # an OSError too
        raise ServerError(f"{url}: the server does not answer; is it overloaded?") from error
    except (OSError, InvalidHandshake, InvalidURI) as error:
        raise ServerError(
            f"{url}: the call was not taken ({error}); is a server running there (`ivr serve`), "
            "and does it know this gateway's keys?"
        ) from error


@asynccontextmanager
async def _websocket(
    client: GatewayClient, url: str, headers: Mapping[str, str]
) -> AsyncIterator[_Line]:
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        parts = parts._replace(path=client.path)
    query = "&".join(filter(None, (parts.query, urlencode(client.query()))))
    parts = parts._replace(query=query)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    async with connect(
        parts.geturl(),
        subprotocols=[Subprotocol(name) for name in client.subprotocols] or None,
        additional_headers={**client.headers(host=parts.netloc, path=path), **headers},
        compression=None,
        ping_interval=None,
        open_timeout=_OPEN_S,
        close_timeout=_CLOSE_S,
        max_size=None,
        proxy=None,
    ) as connection:
        yield _WebSocketLine(connection)


@asynccontextmanager
async def _tcp(url: str) -> AsyncIterator[_Line]:
    parts = urlsplit(url if "//" in url else f"tcp://{url}")
    if parts.hostname is None or parts.port is None:
        raise ServerError(f"{url}: no address; write tcp://HOST:PORT")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield _TcpLine(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


# --- the call --------------------------------------------------------------------------------


class _Ringing:
    def __init__(
        self,
        client: GatewayClient,
        line: _Line,
        *,
        pace: Pace,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        on_said: Callable[[Heard], None],
    ) -> None:
        self._client, self._line = client, line
        self._pace, self._clock, self._sleep = pace, clock, sleep
        self._on_said = on_said
        self._began_s = clock()
        self._last_s = 0.0  # when the server last said something
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._caller = bytearray()  # as sent
        self._result = CallResult(call_id=client.call_id, gateway=client.name)
        if client.ready_at_once:
            self._ready.set()

    @property
    def now_s(self) -> float:
        return self._clock() - self._began_s

    async def run(
        self,
        clip: Clip,
        keys: Sequence[tuple[float, str]],
        *,
        pause_s: float,
        patience_s: float,
    ) -> CallResult:
        receiver = asyncio.create_task(self._receive())
        try:
            await self._send(self._client.begin())
            await self._wait_ready()
            await self._listen(pause_s)
            self._began_s = self._result.began_s = self._clock()
            await self._speak(clip, list(keys), patience_s=patience_s)
            await self._hang_up(patience_s)
        finally:
            receiver.cancel()
            await asyncio.gather(receiver, return_exceptions=True)
        sent = Decoder(self._client.encoding).decode(bytes(self._caller))
        self._result.caller = Piece(0.0, sent, self._client.rate_hz)
        return self._result

    async def _listen(self, pause_s: float) -> None:
        """The caller says nothing yet."""
        until_s = self._clock() + pause_s
        silence = _silence(self._client)
        while self._clock() < until_s and not self._over.is_set():
            if self._pace is Pace.REAL:
                await self._send(self._client.audio(silence))
            await self._sleep(self._client.frame_s)
            await self._send(self._client.advance(now_s=self._heard_until_s()))

    async def _hang_up(self, patience_s: float) -> None:
        """Say so where the protocol does, and wait for the server to close."""
        messages = [] if self._over.is_set() else self._client.hang_up()
        if not messages:
            return  # whoever gave us the connection closes it
        await self._send(messages)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(_CLOSE_S, patience_s)):
                await self._over.wait()

    async def _wait_ready(self) -> None:
        waits = {asyncio.create_task(e.wait()) for e in (self._ready, self._over)}
        _, pending = await asyncio.wait(waits, timeout=_OPEN_S, return_when=asyncio.FIRST_COMPLETED)
        for waiting in pending:
            waiting.cancel()
        if not self._ready.is_set():
            why = self._result.ended or f"nothing came for {_OPEN_S:.0f} s"
            raise ServerError(f"the server did not take the {self._client.name} call: {why}")

    async def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._line.send(message)

    # --- the caller ------------------------------------------------------------------------

    async def _speak(self, clip: Clip, keys: list[tuple[float, str]], *, patience_s: float) -> None:
        frames = deque(_frames(clip, self._client))
        silence, tail = _silence(self._client), round(_TAIL_S / self._client.frame_s)
        while not self._over.is_set():
            if frames:
                self._last_s = self.now_s
                await self._send_frame(frames.popleft())
            elif self._pace is Pace.REAL or tail > 0:
                tail -= 1
                await self._send_frame(silence)
            else:
                await self._sleep(self._client.frame_s)
            await self._send(self._client.advance(now_s=self._heard_until_s()))
            while keys and keys[0][0] <= self._result.audio_s:
                self._last_s = self.now_s
                await self._send(self._client.digit(keys.pop(0)[1]))
            if not (frames or keys) and self._is_done(tail <= 0, patience_s):
                return

    def _is_done(self, tail_is_over: bool, patience_s: float) -> bool:
        playing = self._client.buffer.left_s(self._heard_until_s()) > 0
        if playing:
            self._last_s = self.now_s
            return False
        if self._result.decision is not None:
            patience_s = min(patience_s, _AFTER_DECISION_S)
        return tail_is_over and self.now_s - self._last_s >= patience_s

    def _heard_until_s(self) -> float:
        """How much of the prompts the caller has heard: at fast pace, all."""
        return self.now_s if self._pace is Pace.REAL else float("inf")

    async def _send_frame(self, frame: bytes) -> None:
        self._result.audio_s += self._client.frame_s
        self._caller += frame
        if self._pace is Pace.REAL:
            await self._sleep(self._began_s + self._result.audio_s - self._clock())
        else:
            await asyncio.sleep(0)  # the receiver has its turn
        await self._send(self._client.audio(frame))

    # --- the server ------------------------------------------------------------------------

    async def _receive(self) -> None:
        while (message := await self._line.receive()) is not None:
            for said in self._client.receive(message, now_s=self.now_s):
                await self._heard(said)
        self._result.ended = self._line.reason
        self._over.set()

    async def _heard(self, said: Said) -> None:
        heard = Heard(self.now_s, said)
        self._last_s = heard.at_s
        self._result.heard.append(heard)
        self._on_said(heard)
        match said:
            case Ready():
                self._ready.set()
            case Answer(messages):
                await self._send(messages)
            case Sound():
                self._record(said)
            case Silenced():
                self._cut(heard.at_s)
            case Ended() if self._client.transport == "tcp":
                self._over.set()
            case _:
                pass

    def _record(self, sound: Sound) -> None:
        length_s = len(sound.pcm) / 2 / sound.rate_hz
        begins_s = self.now_s + self._client.buffer.left_s(self.now_s) - length_s
        self._result.prompts.append(Piece(max(0.0, begins_s), sound.pcm, sound.rate_hz))

    def _cut(self, now_s: float) -> None:
        kept = []
        for piece in self._result.prompts:
            left = 2 * max(0, round((now_s - piece.begins_s) * piece.rate_hz))
            if left:
                kept.append(Piece(piece.begins_s, piece.pcm[:left], piece.rate_hz))
        self._result.prompts[:] = kept


def _frames(clip: Clip, client: GatewayClient) -> list[bytes]:
    """The recording in the client's encoding, rate and frames; the last is filled up."""
    silence = _silence(client)
    sound, size = _as_sent(clip, client), len(silence)
    frames = [sound[i : i + size] for i in range(0, len(sound), size)]
    return [frame + silence[len(frame) :] for frame in frames]


def _silence(client: GatewayClient) -> bytes:
    return encode(bytes(2 * round(client.frame_s * client.rate_hz)), client.encoding)


def _as_sent(clip: Clip, client: GatewayClient) -> bytes:
    if clip.encoding is client.encoding and clip.rate_hz == client.rate_hz:
        return clip.data
    pcm = Decoder(clip.encoding).decode(clip.data)
    resampler = Resampler(clip.rate_hz, client.rate_hz)
    return encode(resampler.resample(pcm) + resampler.flush(), client.encoding)
