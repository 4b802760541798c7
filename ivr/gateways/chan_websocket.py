"""Asterisk's WebSocket channel (``chan_websocket``), without I/O.

The dialplan dials Kapok (``Dial(WebSocket/kapok/c(ulaw)f(json),,g)``); subprotocol ``media``.
Control messages are text, in JSON (``f(json)``; Asterisk 20.18, 22.8, 23.2 and later) or plain
(20.16, 21.11, 22.6, 23.0 and later); we answer in the form of the first. Audio is binary, in the
codec of ``c()``: ``ulaw``, ``alaw``, ``slin`` and ``slin12`` to ``slin192``.

* in: ``MEDIA_START`` first, then audio, ``DTMF_END``, ``MEDIA_XOFF`` and ``MEDIA_XON`` (its queue
  is full, has room), ``MEDIA_BUFFERING_COMPLETED`` (a prompt was played), ``ERROR``; what else it
  tells (``STATUS``, ``QUEUE_DRAINED``, …) changes nothing here;
* out: a prompt as ``START_MEDIA_BUFFERING``, audio, ``STOP_MEDIA_BUFFERING`` with our id, so that
  Asterisk cuts and paces its frames itself; ``FLUSH_MEDIA`` (barge-in); ``HANGUP``.

It has no message that transfers a call. After ``HANGUP`` the dialplan goes on, by Dial's option
``g``, and asks for the decision over HTTP under the call's id: ``call_id`` of the URL
(``v(call_id=${UNIQUEID},caller=${CALLERID(num)})``) or of the channel variables
``__KAPOK_CALL_ID`` and ``__KAPOK_CALLER``; without them, the id of the WebSocket channel.

Limits of Asterisk's: a command has at most 128 bytes, a message 65,500, its queue 1,000 frames
(``MEDIA_XOFF`` at 900). We send at most :attr:`ChanWebSocketGateway.lead_s` ahead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ivr.audio.codecs import Encoding, encode
from ivr.audio.resample import Resampler
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    PROMPT_RATE_HZ,
    Audio,
    Close,
    Digit,
    Flow,
    Gateway,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Refused,
    Say,
    Started,
    StopPlaying,
    StreamConfig,
    Upgrade,
)
from ivr.gateways.messages import (
    asked_language,
    asked_prompts,
    digit,
    faults,
    json_object,
    printable,
    shown,
)

if TYPE_CHECKING:
    from ivr.settings import Settings

__all__ = [
    "CODECS",
    "MAX_COMMAND_BYTES",
    "MAX_MESSAGE_BYTES",
    "ChanWebSocketGateway",
    "command",
    "event",
]

#: ``MAX_TEXT_MESSAGE_LEN``: Asterisk passes over a longer command.
MAX_COMMAND_BYTES = 128
#: ``AST_WEBSOCKET_MAX_RX_PAYLOAD_SIZE``, rounded down.
MAX_MESSAGE_BYTES = 65_500
#: Asterisk's names of the codecs that can be cut anywhere.
CODECS: Mapping[str, tuple[Encoding, int]] = MappingProxyType(
    {
        "ulaw": (Encoding.MULAW, 8_000),
        "alaw": (Encoding.ALAW, 8_000),
        "slin": (Encoding.S16LE, 8_000),
        "slin12": (Encoding.S16LE, 12_000),
        "slin16": (Encoding.S16LE, 16_000),
        "slin24": (Encoding.S16LE, 24_000),
        "slin32": (Encoding.S16LE, 32_000),
        "slin44": (Encoding.S16LE, 44_100),
        "slin48": (Encoding.S16LE, 48_000),
        "slin96": (Encoding.S16LE, 96_000),
        "slin192": (Encoding.S16LE, 192_000),
    }
)
#: Plain-text events whose one word of data has no name.
_UNNAMED = frozenset({"MEDIA_BUFFERING_COMPLETED", "MEDIA_MARK_PROCESSED"})
_MAX_TEXT_CHARS = 64 * 1024  # channel variables may be many
_MAX_FRAME_BYTES = 1 << 20


def command(name: str, *, correlation_id: str | None = None, as_json: bool) -> str:
    """A command to Asterisk.

    Raises:
        ProtocolError: it would be longer than Asterisk reads.
    """
    if as_json:
        given = {"command": name} | ({"correlation_id": correlation_id} if correlation_id else {})
        text = json.dumps(given, separators=(",", ":"))
    else:
        text = f"{name} {correlation_id}" if correlation_id else name
    if len(text.encode()) > MAX_COMMAND_BYTES:
        raise ProtocolError(
            f"{name} has {len(text.encode())} bytes; Asterisk reads {MAX_COMMAND_BYTES}"
        )
    return text


def event(text: str) -> dict[str, Any]:
    """An event in either form, as an object with the key ``event``.

    Raises:
        ProtocolError: it is neither.
    """
    if not text.lstrip().startswith("{"):
        return _plain(text)
    message = json_object(text, max_chars=_MAX_TEXT_CHARS)
    if not isinstance(message.get("event"), str):
        raise ProtocolError(f"text message without an event: {shown(text)}")
    return message


def _plain(text: str) -> dict[str, Any]:
    """``DTMF_END digit:5 channel_id:17.3``: a value ends at a space; error_text is the rest."""
    if len(text) > _MAX_TEXT_CHARS:
        raise ProtocolError(f"text message of {len(text)} characters; an event is due")
    name, _, rest = text.strip().partition(" ")
    if not (name.isascii() and name.replace("_", "").isalpha() and name.isupper()):
        raise ProtocolError(f"text message is no event of Asterisk's: {shown(text)}")
    message: dict[str, Any] = {"event": name}
    if name in _UNNAMED:
        return message | {"correlation_id": rest.strip()}
    before, found, error = rest.partition("error_text:")
    message |= {"error_text": error} if found else {}
    pairs = (word.partition(":") for word in before.split())
    return message | {key: value for key, colon, value in pairs if colon and key != "event"}


class ChanWebSocketGateway(Gateway):
    """One connection of Asterisk's WebSocket channel.

    Args:
        query: the URL's; ``call_id``, ``caller``, ``language`` and ``prompts`` mean something.
    """

    name: ClassVar[str] = "asterisk"
    path: ClassVar[str | None] = "/asterisk"
    subprotocols: ClassVar[tuple[str, ...]] = ("media",)
    #: Ten of the twenty seconds that fit into Asterisk's queue: XOFF stays an exception.
    lead_s: ClassVar[float] = 10.0
    reports_played: ClassVar[bool] = True

    def __init__(self, query: Mapping[str, str] | None = None) -> None:
        self._query = dict(query or {})
        self._stream: StreamConfig | None = None
        self._json = True

    @classmethod
    def open(cls, upgrade: Upgrade, settings: Settings) -> Self:
        """With the query of the URL that Asterisk connects to."""
        return cls(upgrade.query)

    @property
    def frame_s(self) -> float:
        """Asterisk cuts frames itself; a message holds half a second, so that it starts soon."""
        return 0.5 if self._stream is None or self._stream.rate_hz <= 32_000 else 0.1

    @property
    def frame_bytes(self) -> int:
        """A message's audio in the codec of the call."""
        stream = self._stream or StreamConfig()
        return round(self.frame_s * stream.rate_hz) * stream.encoding.bytes_per_sample

    def take(self, message: Message) -> list[Inbound]:
        """As the base class."""
        if isinstance(message, bytes):
            return self._audio(message)
        got = event(message)
        if got["event"] == "MEDIA_START":
            self._json = message.lstrip().startswith("{")
            return self._start(got)
        if self._stream is None:
            raise ProtocolError(f"{printable(got['event'])} before MEDIA_START")
        return self._event(got)

    def _audio(self, data: bytes) -> list[Inbound]:
        if self._stream is None:
            raise ProtocolError("audio before MEDIA_START, which says its codec")
        if len(data) > _MAX_FRAME_BYTES:
            raise ProtocolError(f"audio message of {len(data)} bytes; Asterisk sends 20 ms")
        return [Audio(data)] if data else []

    def _start(self, got: Mapping[str, Any]) -> list[Inbound]:
        if self._stream is not None:
            raise ProtocolError("a second MEDIA_START; a connection is one call")
        codec = CODECS.get(str(got.get("format")))
        if codec is None:
            # What would come could not be heard, and the dialplan goes on where we close.
            reason = f"codec {shown(got.get('format'))} cannot be taken; dial with c(ulaw), c(alaw)"
            return [Refused(reason=f"{reason} or c(slin)", closes=True)]
        variables = got.get("channel_variables")
        known = _texts(variables if isinstance(variables, dict) else {}) | _texts(self._query)
        self._stream = StreamConfig(
            encoding=codec[0],
            rate_hz=codec[1],
            language=asked_language(known),
            prompts=asked_prompts(known),
        )
        channel_id = printable(got.get("channel_id") or "") or None
        started = Started(
            stream=self._stream,
            call_id=known.get("call_id") or known.get("KAPOK_CALL_ID") or channel_id,
            caller=known.get("caller") or known.get("KAPOK_CALLER"),
            parameters=known,
        )
        return [started, *faults(known)]

    def _event(self, got: Mapping[str, Any]) -> list[Inbound]:
        match got["event"]:
            case "DTMF_END":
                return [Digit(digit(got.get("digit"), "DTMF_END"))]
            case "MEDIA_XOFF":
                return [Flow(open=False)]
            case "MEDIA_XON":
                return [Flow(open=True)]
            case "MEDIA_BUFFERING_COMPLETED" if got.get("correlation_id"):
                return [Played(printable(got["correlation_id"]))]
            case "ERROR":
                raise ProtocolError(f"Asterisk reports: {printable(got.get('error_text'))}")
            case _:  # STATUS, QUEUE_DRAINED, marks, and what later versions add
                return []

    def send(self, outbound: Outbound) -> list[Message]:
        """Commands for barge-in and for the end; there is none for a decision."""
        match outbound:
            case StopPlaying():
                return [self._command("FLUSH_MEDIA")]
            case Close():
                return [self._command("HANGUP")]
            case _:
                return []

    def play(self, say: Say) -> Iterator[Packet]:
        """The prompt in the codec of the call, between the two commands of bulk media."""
        stream = self._stream or StreamConfig()
        resampler = Resampler(PROMPT_RATE_HZ, stream.rate_hz)
        sound = encode(resampler.resample(say.pcm) + resampler.flush(), stream.encoding)
        size = self.frame_bytes
        yield Packet(self._command("START_MEDIA_BUFFERING"))
        for start in range(0, len(sound), size):
            piece = sound[start : start + size]
            yield Packet(piece, stream.seconds(piece))
        yield Packet(self._command("STOP_MEDIA_BUFFERING", say.play_id))

    def _command(self, name: str, correlation_id: str | None = None) -> str:
        return command(name, correlation_id=correlation_id, as_json=self._json)


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """What of ``given`` is text and says something, fit for a line of the log."""
    texts = {printable(key): printable(value) for key, value in given.items()}
    return {key: value for key, value in texts.items() if key and value}
