"""What every gateway's protocol is to the server: messages in, messages out, and no I/O.

A :class:`Gateway` is one connection. :meth:`Gateway.receive` turns what came into
:data:`Inbound` items; the server does them in order (:mod:`ivr.server.call`), and hands what
comes of them to :meth:`Gateway.send` as :data:`Outbound`, and each prompt to
:meth:`Gateway.play`, whose packets it sends at the gateway's pace (:mod:`ivr.server.playout`).

    gateway = TwilioGateway(options)
    for inbound in gateway.receive(message):   # never raises
        ...
    for message in gateway.send(StopPlaying()):
        ...

The rules:

* ``receive`` never raises. What the protocol does not allow becomes one :class:`Refused`, with
  what was wrong and how to mend it, and the call goes on, unless it ``closes``.
* The first item of a call is :class:`Started`; nothing comes before it but :class:`Reply` and
  :class:`Refused`, and it comes once.
* What must be answered at once, whatever recognition is doing (a ping, the opening of a stream),
  comes back as :class:`Reply`. Everything else waits its turn behind the audio before it.
* A gateway keeps no queue: it holds at most the message that it is reading.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from ivr.audio.codecs import Encoding
from ivr.call.turn import Final
from ivr.errors import ProtocolError
from ivr.language import Language

if TYPE_CHECKING:
    from ivr.call.decision import Decision
    from ivr.settings import Settings

__all__ = [
    "PROMPT_RATE_HZ",
    "Audio",
    "Close",
    "Digit",
    "Finished",
    "Flow",
    "Gateway",
    "HungUp",
    "Inbound",
    "Message",
    "Outbound",
    "Packet",
    "Partial",
    "Played",
    "Refused",
    "Reply",
    "Say",
    "Started",
    "StopPlaying",
    "StreamChanged",
    "StreamConfig",
    "Upgrade",
    "UpgradeError",
]

_log = logging.getLogger(__name__)

#: A WebSocket message, text or binary; of a TCP stream, any piece of it.
Message = str | bytes

#: The rate of prompts as they come to a gateway, Hertz.
PROMPT_RATE_HZ = 8_000

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """The caller's audio as the gateway sends it."""

    rate_hz: int = 8_000
    encoding: Encoding = Encoding.S16LE
    language: Language | None = None  # None: find out
    alternatives: int = 0  # length of the n-best list, at least
    prompts: bool = True  # False: the gateway cannot, or shall not, play this call's prompts

    def seconds(self, audio: bytes | bytearray) -> float:
        """How long ``audio`` lasts, seconds."""
        return len(audio) / self.encoding.bytes_per_sample / self.rate_hz


# --- in ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The call is there; its audio will be as ``stream`` says."""

    stream: StreamConfig
    call_id: str | None = None  # None: the server names it
    caller: str | None = None  # the caller's number, where it is told
    parameters: Mapping[str, str] = field(
        default_factory=lambda: _NONE
    )  # what else the dialplan passed on


@dataclass(frozen=True, slots=True)
class StreamChanged:
    """The audio, of which none has come yet, will be otherwise than :class:`Started` said."""

    stream: StreamConfig


@dataclass(frozen=True, slots=True)
class Audio:
    """The caller's audio, in the encoding of the stream; it may split a sample."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Digit:
    """A DTMF key: one of ``0123456789*#ABCD``."""

    digit: str


@dataclass(frozen=True, slots=True)
class Played:
    """The gateway has played the prompt with this :attr:`Say.play_id` to its end."""

    play_id: str


@dataclass(frozen=True, slots=True)
class Flow:
    """The gateway's buffer is full (send no more audio), or has room again."""

    open: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The gateway ends the utterance, and where it ``closes`` the call with it."""

    closes: bool


@dataclass(frozen=True, slots=True)
class HungUp:
    """The call is over on the gateway's side; the server closes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send these at once."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What came is not allowed; the call goes on unless it ``closes``.

    The server logs it and gives it to :meth:`Gateway.send`, for the gateway that has an answer.
    """

    reason: str
    closes: bool = False


Inbound = (
    Started | StreamChanged | Audio | Digit | Played | Flow | Finished | HungUp | Reply | Refused
)


# --- out ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A prompt to play: to :meth:`Gateway.play`."""

    play_id: str  # of this playing; never the same twice in a call
    prompt_id: str  # key of ivr.call.prompts.PROMPTS
    pcm: bytes  # s16le, one channel, PROMPT_RATE_HZ
    text: str
    language: Language


@dataclass(frozen=True, slots=True)
class StopPlaying:
    """The caller speaks: throw away what is buffered and be silent."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What is heard of an utterance in progress, words apart."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The server ends the connection; what the gateway wants to hear before that."""

    reason: str = ""
    error: bool = False  # something went wrong, or the server is shutting down


# Decision is here by name alone: ivr/call/decision.py is imported where one is made.
if TYPE_CHECKING:
    Outbound = StopPlaying | Partial | Final | Decision | Close | Refused
else:
    Outbound = object


@dataclass(frozen=True, slots=True)
class Packet:
    """A message of a prompt, and how much sound is in it, seconds (0: a mark, a command)."""

    message: Message
    audio_s: float = 0.0


# --- the connection ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The request that opened the connection; of a TCP connection, nothing."""

    path: str = "/"  # without the query
    query: Mapping[str, str] = field(default_factory=lambda: _NONE)
    target: str = "/"  # path and query, as they came
    headers: Mapping[str, str] = field(default_factory=lambda: _NONE)  # names in small letters


class UpgradeError(ProtocolError):
    """The connection is not taken; ``status`` is the HTTP status that says so."""

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


# --- the gateway -------------------------------------------------------------------------


class Gateway(ABC):
    """One connection of one protocol; see the module's docstring."""

    #: as in the registry of gateways, ``ivr call --gateway`` and decisions
    name: ClassVar[str]
    #: of the server's address that is this gateway's; paths below it are too. None: no path
    path: ClassVar[str | None] = None
    #: taken where they are offered, the first first
    subprotocols: ClassVar[tuple[str, ...]] = ()
    #: False where the other side plays prompts itself: :meth:`play` is then never called
    plays_prompts: ClassVar[bool] = True
    #: False where the gateway buffers a whole prompt: it is then sent at once
    paced: ClassVar[bool] = True
    #: where paced, so much sound may be under way ahead of time, seconds
    lead_s: ClassVar[float] = 0.0
    #: where paced, so much sound may be sent in one go, seconds; less than lead_s
    burst_s: ClassVar[float] = 0.0
    #: True where a :class:`Played` comes back; else the server reckons by the length
    reports_played: ClassVar[bool] = False
    #: True where every message gets its answer: audio is then not gathered into blocks
    answers_each: ClassVar[bool] = False
    #: False where the call goes on after a decision, because nobody knows when it is moved
    takes_decision: ClassVar[bool] = True
    #: True where the server closes once the gateway has the decision
    closes_on_decision: ClassVar[bool] = True

    @classmethod
    def admit(cls, upgrade: Upgrade, settings: Settings) -> None:
        """Check the request before the connection is taken, credentials for instance.

        Raises:
            UpgradeError: it is not taken.
        """
        return

    @classmethod
    def authenticates(cls, settings: Settings) -> bool:
        """True where :meth:`admit` checks credentials of its own: no token is then asked for."""
        return False

    @classmethod
    def open(cls, upgrade: Upgrade, settings: Settings) -> Self:
        """The gateway of a new connection."""
        return cls()

    @property
    def frame_s(self) -> float:
        """Sound in one packet of a prompt, seconds."""
        return 0.02

    @property
    def frame_bytes(self) -> int:
        """Size of one packet's sound as the gateway wants it, bytes."""
        return round(self.frame_s * PROMPT_RATE_HZ) * 2

    def receive(self, message: Message) -> list[Inbound]:
        """What ``message`` means, in order; never raises."""
        try:
            return self.take(message)
        except ProtocolError as error:
            return [Refused(reason=str(error))]
        except Exception as error:  # a live call outlasts a mistake of ours
            _log.exception("%s: a message could not be read", self.name)
            return [Refused(reason=f"the message could not be read ({type(error).__name__})")]

    @abstractmethod
    def take(self, message: Message) -> list[Inbound]:
        """As :meth:`receive`.

        Raises:
            ProtocolError: ``message`` is not allowed, and the call goes on without it.
        """

    @abstractmethod
    def send(self, outbound: Outbound) -> list[Message]:
        """What to send for ``outbound``; empty where the gateway has no message for it."""

    def play(self, say: Say) -> Iterator[Packet]:
        """The packets that play a prompt, in order; never called where not plays_prompts."""
        raise NotImplementedError(f"{self.name} plays its own prompts")
