"""A gateway as the server sees it: what it sends for a call, and what it makes of the answers.

A :class:`GatewayClient` is one call of one protocol, without I/O; :mod:`ivr.gateways.clients.ring`
gives it a connection and a clock. It is a tester's tool: it sends exactly what that gateway sends,
and says in :data:`Said` what the server told it.

    client = TwilioClient(call_id="CA1")
    send(client.begin())
    send(client.audio(frame))              # frames of frame_s, in the encoding and at rate_hz
    for said in client.receive(message, now_s=1.2):
        ...
    send(client.advance(now_s=1.4))        # what is due by now: reports of prompts played
    send(client.hang_up())

Time is passed in: ``now_s`` counts from the first message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ivr.audio.codecs import Encoding
from ivr.errors import ServerError
from ivr.gateways.gateway import Message

__all__ = [
    "Answer",
    "Ended",
    "GatewayClient",
    "PlayBuffer",
    "Ready",
    "Said",
    "Silenced",
    "Sound",
    "Text",
    "Told",
    "Trouble",
]


# --- what the server said ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The server has taken the call: audio may be sent."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of a prompt."""

    pcm: bytes  # s16le, one channel
    rate_hz: int = 8_000


@dataclass(frozen=True, slots=True)
class Silenced:
    """The server wants what is buffered thrown away: the caller has barged in."""


@dataclass(frozen=True, slots=True)
class Text:
    """A transcript."""

    text: str
    final: bool = True
    added: Mapping[str, Any] = field(default_factory=dict)  # whatever came with it


@dataclass(frozen=True, slots=True)
class Told:
    """The decision, as this protocol tells it."""

    decision: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Send these at once: what a gateway answers without its caller."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The server has ended the call over the protocol; the connection may close."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The server says that something was wrong."""

    reason: str


Said = Ready | Sound | Silenced | Text | Told | Answer | Ended | Trouble


# --- a gateway's buffer of prompts ---------------------------------------------------------


class PlayBuffer:
    """What a gateway has been given to play and has not played yet, with marks in it."""

    def __init__(self) -> None:
        self._ends_s = 0.0
        self._marks: list[tuple[float, str]] = []

    def add(self, now_s: float, seconds: float) -> float:
        """Sound of so many seconds comes; when it will begin to be heard."""
        begins_s = max(self._ends_s, now_s)
        self._ends_s = begins_s + seconds
        return begins_s

    def mark(self, now_s: float, name: str) -> None:
        """A mark behind all the sound so far."""
        self._marks.append((max(self._ends_s, now_s), name))

    def clear(self, now_s: float) -> list[str]:
        """Throw everything away; the marks in it."""
        names = [name for _, name in self._marks]
        self._marks.clear()
        self._ends_s = min(self._ends_s, now_s)
        return names

    def reached(self, now_s: float) -> list[str]:
        """The marks that have been played by ``now_s``, once each."""
        due = [name for due_s, name in self._marks if due_s <= now_s]
        self._marks = [(due_s, name) for due_s, name in self._marks if due_s > now_s]
        return due

    def left_s(self, now_s: float) -> float:
        """Sound still to be heard, seconds."""
        return max(0.0, self._ends_s - now_s)


# --- the client ------------------------------------------------------------------------------


class GatewayClient(ABC):
    """One call as a gateway makes it; see the module's docstring.

    Args:
        call_id: how the gateway names the call; must have the protocol's form where it has one.
        caller: the caller's number, where the protocol can tell it.
        parameters: what the dialplan passes on, where the protocol can.

    Raises:
        ServerError: a call cannot be made with what was given.
    """

    #: as the gateway's
    name: ClassVar[str]
    #: of the server's address; for TCP there is none
    path: ClassVar[str] = "/"
    subprotocols: ClassVar[tuple[str, ...]] = ()
    transport: ClassVar[Literal["websocket", "tcp"]] = "websocket"
    #: False where audio must wait for :class:`Ready`
    ready_at_once: ClassVar[bool] = True
    #: whether what was understood is told on the line; elsewhere it is only heard, as a prompt
    tells_text: ClassVar[bool] = False
    #: sound in a frame of the caller's audio, seconds
    frame_s: ClassVar[float] = 0.02

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.call_id, self.caller = call_id, caller
        self.parameters = dict(parameters or {})
        self.buffer = PlayBuffer()

    @property
    def rate_hz(self) -> int:
        """Of the caller's audio, Hertz."""
        return 8_000

    @property
    def encoding(self) -> Encoding:
        """Of the caller's audio."""
        return Encoding.S16LE

    def headers(self, *, host: str, path: str) -> Mapping[str, str]:
        """Of the upgrade request to ``path`` at ``host``, besides WebSocket's own."""
        return {}

    def query(self) -> Mapping[str, str]:
        """Of the URL that is connected to, where the gateway writes one."""
        return {}

    @abstractmethod
    def begin(self) -> list[Message]:
        """What the gateway sends first."""

    def audio(self, frame: bytes) -> list[Message]:
        """A frame of the caller's audio, in :attr:`encoding`; by itself a binary message."""
        return [frame]

    def digit(self, digit: str) -> list[Message]:
        """The caller presses a key.

        Raises:
            ServerError: the protocol has no keys.
        """
        raise ServerError(f"{self.name} passes no keys on; leave --dtmf away")

    @abstractmethod
    def hang_up(self) -> list[Message]:
        """The caller hangs up."""

    @abstractmethod
    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """What the server said; never raises.

        What the protocol does not allow a server to say becomes :class:`Trouble`.
        """

    def advance(self, *, now_s: float) -> list[Message]:
        """What the gateway sends by itself as time passes."""
        return []
