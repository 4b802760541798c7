"""A call's connection as the load generator needs it: frames out, answers in.

The Vosk protocol answers every frame, so an answer is paired with its frame and what is never
answered is lost. The other gateways' protocols answer when they have something to say: there a
frame is lost where it could not be sent.

What is timed is the first sign of the answer to a request that the protocol has: the text of the
utterance, which comes with the decision; where it has no text, the first sound of the prompt that
announces the decision or asks on. That prompt is told from the greeting by what is between them:
the greeting was broken off, or has long been over. AudioSocket breaks off without a word, so that
nothing can be timed there.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from ivr.audio.codecs import Encoding
from ivr.errors import ServerError
from ivr.gateways.clients import CLIENTS, client_class
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Ready,
    Silenced,
    Sound,
    Text,
    Told,
)

__all__ = ["Busy", "Decided", "Gone", "Heard", "Line", "Partial", "audio_of", "open_line"]

#: Between two prompts that are no answer to each other it is silent for longer, seconds.
_PAUSE_S = 0.1
_OPEN_S = 10.0
_CLOSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Partial:
    """The answer to a frame; ``due_s`` is when that frame's last sample was spoken."""

    due_s: float


@dataclass(frozen=True, slots=True)
class Decided:
    """The request is answered: by the text of the utterance, or by a prompt that begins."""


@dataclass(frozen=True, slots=True)
class Busy:
    """The server has no room for the call, and said so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The connection is closed."""

    reason: str


Heard = Partial | Decided | Busy | Gone


class Line(Protocol):
    """One call's connection."""

    async def begin(self) -> None:
        """Send what opens the call, and wait until audio may come."""
        ...

    async def send(self, frame: bytes, due_s: float) -> None:
        """Send a frame whose last sample was spoken at ``due_s`` on the caller's clock."""
        ...

    async def hear(self) -> list[Heard]:
        """Wait for the next message; what it says, or nothing where it says nothing of note."""
        ...

    async def hang_up(self) -> None:
        """Say that the caller has hung up."""
        ...

    @property
    def unanswered(self) -> int:
        """Frames that should have been answered and have not been."""
        ...


def audio_of(gateway: str) -> tuple[int, Encoding, float]:
    """Rate (Hertz), encoding and length of a frame (seconds) of a gateway's audio.

    Raises:
        ServerError: no such gateway has a client, or its protocol does not show an answer.
    """
    if gateway == "vosk":
        return 8_000, Encoding.S16LE, 0.1
    client = _client(gateway, "load")
    return client.rate_hz, client.encoding, client.frame_s


def _client(gateway: str, call_id: str) -> GatewayClient:
    try:
        kind = client_class(gateway)
    except KeyError as error:
        raise ServerError(f"no gateway named {gateway!r} has a client") from error
    if not _can_be_timed(kind):
        able = ", ".join(name for name in CLIENTS if _can_be_timed(client_class(name)))
        raise ServerError(
            f"{gateway} does not show where the answer begins, so that nothing can be timed; "
            f"load the server by a gateway that does: --gateway {able}"
        )
    return kind(call_id=call_id)


def _can_be_timed(kind: type[GatewayClient]) -> bool:
    return kind.transport == "websocket"


@asynccontextmanager
async def open_line(gateway: str, url: str, *, call_id: str) -> AsyncIterator[Line]:
    """A connection for one call; the close frame of a server that is busy becomes :class:`Busy`.

    Raises:
        ServerError: the server cannot be reached.
    """
    client = None if gateway == "vosk" else _client(gateway, call_id)
    async with _connected(url, client) as connection:
        yield _VoskLine(connection, call_id) if client is None else _GatewayLine(connection, client)


@asynccontextmanager
async def _connected(url: str, client: GatewayClient | None) -> AsyncIterator[ClientConnection]:
    parts = urlsplit(url)
    if client is not None and parts.path in ("", "/"):
        parts = parts._replace(path=client.path)
    offered = client.subprotocols if client is not None else ()
    headers = client.headers(host=parts.netloc, path=parts.path) if client is not None else {}
    try:
        async with connect(
            parts.geturl(),
            subprotocols=[Subprotocol(name) for name in offered] or None,
            additional_headers=dict(headers),
            compression=None,
            ping_interval=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            max_size=None,
            proxy=None,
        ) as connection:
            yield connection
    except TimeoutError as error:  # an OSError too
        raise ServerError(f"not connected within {_OPEN_S:.0f} s") from error
    except (OSError, InvalidHandshake, InvalidURI) as error:
        raise ServerError(f"not connected: {error}") from error


def _gone(error: ConnectionClosed) -> Heard:
    closed = error.rcvd
    if closed is None:
        return Gone("connection lost")
    if closed.code == CloseCode.TRY_AGAIN_LATER:
        return Busy(closed.reason)
    return Gone(f"{closed.reason or 'closed'} ({closed.code})")


class _VoskLine:
    def __init__(self, connection: ClientConnection, call_id: str) -> None:
        self._connection, self._call_id = connection, call_id
        self._due: deque[float] = deque()  # of frames that wait for their answers

    @property
    def unanswered(self) -> int:
        return len(self._due)

    async def begin(self) -> None:
        config = {"sample_rate": 8000, "call_id": self._call_id}
        with suppress(ConnectionClosed):
            await self._connection.send(json.dumps({"config": config}))

    async def send(self, frame: bytes, due_s: float) -> None:
        self._due.append(due_s)
        with suppress(ConnectionClosed):  # hear() says so
            await self._connection.send(frame)

    async def hang_up(self) -> None:
        with suppress(ConnectionClosed):
            await self._connection.send('{"eof" : 1}')

    async def hear(self) -> list[Heard]:
        try:
            text = str(await self._connection.recv())
        except ConnectionClosed as error:
            return [_gone(error)]
        # An answer to the end of the stream pairs with nothing.
        heard: list[Heard] = [Partial(self._due.popleft())] if self._due else []
        if text.startswith('{"partial"'):
            return heard
        return [*heard, Decided()] if _has_words(text) else heard


def _has_words(text: str) -> bool:
    message = json.loads(text)
    return bool(message.get("text"))


class _GatewayLine:
    def __init__(self, connection: ClientConnection, client: GatewayClient) -> None:
        self._connection, self._client = connection, client
        self._lost = 0
        self._now_s = asyncio.get_running_loop().time()  # the caller's clock is the loop's
        self._sounds_until_s = -inf

    @property
    def unanswered(self) -> int:
        return self._lost

    async def begin(self) -> None:
        await self._give(self._client.begin)
        ready = self._client.ready_at_once
        while not ready:
            try:
                message = await self._connection.recv()
            except ConnectionClosed:  # hear() says so
                return
            for each in self._client.receive(message, now_s=self._now_s):
                if isinstance(each, Answer):
                    await self._give(lambda found=each: list(found.messages))  # type: ignore[misc]
                ready = ready or isinstance(each, Ready)

    async def send(self, frame: bytes, due_s: float) -> None:
        self._now_s = due_s
        if not await self._give(lambda: self._client.audio(frame)):
            self._lost += 1
        await self._give(lambda: self._client.advance(now_s=due_s))

    async def hang_up(self) -> None:
        messages = self._client.hang_up()
        await self._give(lambda: messages)
        if not messages:  # there the gateway closes
            await self._connection.close()

    async def _give(self, messages: Callable[[], list[str | bytes]]) -> bool:
        try:
            for message in messages():
                await self._connection.send(message)
        except ConnectionClosed:
            return False
        return True

    async def hear(self) -> list[Heard]:
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            return [_gone(error)]
        heard: list[Heard] = []
        for said in self._client.receive(message, now_s=self._now_s):
            match said:
                case Answer(messages):
                    await self._give(lambda sent=messages: list(sent))  # type: ignore[misc]
                case Told():
                    heard.append(Decided())
                case Text(text=text, final=True) if text:
                    heard.append(Decided())
                case Silenced():
                    self._sounds_until_s = -inf
                case Sound(pcm, rate_hz) if self._begins(len(pcm) / 2 / rate_hz):
                    heard.append(Decided())
                case Ended(reason):
                    heard.append(Gone(reason or "ended"))
                case _:
                    pass
        return heard

    def _begins(self, length_s: float) -> bool:
        """Whether a sound of this length begins a prompt that is the only sign of an answer."""
        begins = self._now_s > self._sounds_until_s + _PAUSE_S
        self._sounds_until_s = max(self._sounds_until_s, self._now_s) + length_s
        return begins and not self._client.tells_text
