"""Asterisk's AudioSocket over TCP, without I/O: bytes cut anywhere in, frames out.

As Asterisk's ``res_audiosocket.c`` speaks it: a frame is its kind (1 byte), the length of its
payload (2 bytes, big-endian) and the payload.

* in: ``0x01`` the call's UUID (16 raw bytes, first of all), ``0x03`` a DTMF key (1 ASCII byte),
  ``0x10`` to ``0x18`` audio (s16le, :data:`RATES_HZ`), ``0x00`` hang-up, ``0xff`` an error;
* out: audio of the kind that comes in, and ``0x00``, after which the dialplan goes on. There is
  nothing else, so the decision is asked for by the UUID, over HTTP (``GET /calls/UUID``).

Barge-in is to stop sending: Asterisk buffers nothing. It closes a connection on which nothing
moves for two seconds. Header and payload leave in one piece: before 2024 it misread others.

What makes no sense is skipped, its length long, without being kept, and refused; a connection
whose first frame is not a UUID is none of Asterisk's, and is closed.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from ivr.audio.codecs import Decoder, Encoding
from ivr.audio.resample import Resampler
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    PROMPT_RATE_HZ,
    Audio,
    Close,
    Digit,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Outbound,
    Packet,
    Refused,
    Say,
    Started,
    StreamChanged,
    StreamConfig,
)
from ivr.gateways.messages import digit

__all__ = [
    "AUDIO_KINDS",
    "RATES_HZ",
    "AudioSocketGateway",
    "Frame",
    "FrameParser",
    "Kind",
    "Malformed",
    "frame",
]

_HEADER = struct.Struct(">BH")
#: ``AST_AUDIOSOCKET_KIND_AUDIO`` to ``…_SLIN192``, Hertz.
RATES_HZ = {
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
AUDIO_KINDS = {rate_hz: kind for kind, rate_hz in RATES_HZ.items()}


class Kind(IntEnum):
    """Kinds of frames that are not audio."""

    HANG_UP = 0x00
    UUID = 0x01
    DTMF = 0x03
    ERROR = 0xFF


#: Kind to what its payload may be long, bytes.
_SIZES: dict[int, range] = {
    Kind.HANG_UP: range(2),
    Kind.UUID: range(16, 17),
    Kind.DTMF: range(1, 2),
    Kind.ERROR: range(257),
}
#: The application's error codes (docs.asterisk.org, "AudioSocket").
_ERRORS = {1: "the caller has hung up", 2: "forwarding a frame failed", 4: "out of memory"}
_HUNG_UP_CODE = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, whole and of a size that its kind may have."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that was skipped, and why."""

    kind: int
    reason: str


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame's bytes.

    Raises:
        ProtocolError: the payload has more than 65,535 bytes.
    """
    if len(payload) > 0xFFFF:
        raise ProtocolError(f"a frame of {len(payload)} bytes; AudioSocket's end at 65535")
    return _HEADER.pack(kind, len(payload)) + payload


class FrameParser:
    """Frames out of a stream of bytes, however it was cut; keeps less than one frame."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._skip = 0

    @property
    def held(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Frame | Malformed]:
        """The frames that ``data`` completes, in order."""
        self._held += data
        while True:
            skipped = min(self._skip, len(self._held))
            del self._held[:skipped]
            self._skip -= skipped
            if self._skip or len(self._held) < _HEADER.size:
                return
            kind, length = _HEADER.unpack_from(self._held)
            reason = _fault(kind, length)
            if reason is not None:
                self._skip = _HEADER.size + length
                yield Malformed(kind, reason)
                continue
            whole = _HEADER.size + length
            if len(self._held) < whole:
                return
            payload = bytes(self._held[_HEADER.size : whole])
            del self._held[:whole]
            yield Frame(kind, payload)


def _fault(kind: int, length: int) -> str | None:
    """What is wrong with a header; known before anything of the payload is kept."""
    if kind in RATES_HZ:
        # Asterisk's frames last 10 to 300 ms; above a second it is not Asterisk.
        limit = min(2 * RATES_HZ[kind], 0xFFFF)
        if length <= limit:
            return None
        return f"audio frame of {length} bytes; send at most a second, {limit} bytes, at a time"
    sizes = _SIZES.get(kind)
    if sizes is None:
        return f"frame of the unknown kind 0x{kind:02x}, {length} bytes; it is skipped"
    if length in sizes:
        return None
    due = sizes.start if len(sizes) == 1 else f"{sizes.start} to {sizes.stop - 1}"
    return f"{Kind(kind).name} frame of {length} bytes instead of {due}"


class AudioSocketGateway(Gateway):
    """One connection of Asterisk's ``AudioSocket()`` or of its ``AudioSocket/`` channel."""

    name: ClassVar[str] = "audiosocket"

    def __init__(self) -> None:
        self._parser = FrameParser()
        self._call_id: str | None = None
        self._over = False
        self._kind = AUDIO_KINDS[PROMPT_RATE_HZ]
        self._stream_hz: int | None = None  # None: no audio yet
        self._decoder = Decoder(Encoding.S16LE)
        self._resampler: Resampler | None = None

    @property
    def rate_hz(self) -> int:
        """The rate of the audio that comes, and that prompts are sent with."""
        return RATES_HZ[self._kind]

    @property
    def frame_bytes(self) -> int:
        """20 ms at :attr:`rate_hz`."""
        return round(self.frame_s * self.rate_hz) * 2

    def take(self, message: Message) -> list[Inbound]:
        """As the base class; ``message`` is any piece of the stream."""
        if isinstance(message, str):
            raise ProtocolError("AudioSocket has no text messages; send frames")
        taken: list[Inbound] = []
        for each in self._parser.feed(message):
            taken += self._one(each)
            if self._over:
                break
        return taken

    def _one(self, each: Frame | Malformed) -> list[Inbound]:
        if self._call_id is None:
            return self._first(each)
        if isinstance(each, Malformed):
            return [Refused(reason=each.reason)]
        if each.kind in RATES_HZ:
            return self._audio(each)
        try:
            return self._control(Kind(each.kind), each.payload)
        except ProtocolError as error:
            return [Refused(reason=str(error))]

    def _first(self, each: Frame | Malformed) -> list[Inbound]:
        if isinstance(each, Frame) and each.kind == Kind.UUID:
            self._call_id = str(uuid.UUID(bytes=each.payload))
            return [Started(stream=StreamConfig(), call_id=self._call_id)]
        self._over = True
        if each.kind == Kind.HANG_UP:
            return [HungUp()]
        return [
            Refused(
                reason=f"the first frame is of kind 0x{each.kind:02x} and not the call's UUID; "
                "is this Asterisk's AudioSocket?",
                closes=True,
            )
        ]

    def _audio(self, got: Frame) -> list[Inbound]:
        self._kind = got.kind
        if self._stream_hz is None:
            self._stream_hz = self.rate_hz
            stream = StreamConfig(rate_hz=self.rate_hz)
            changed = [StreamChanged(stream)] if self.rate_hz != PROMPT_RATE_HZ else []
            return [*changed, Audio(got.payload)]
        if self.rate_hz == self._stream_hz:
            return [Audio(got.payload)]
        return [Audio(self._resampled(got.payload, self._stream_hz))]

    def _resampled(self, payload: bytes, stream_hz: int) -> bytes:
        """Audio of a kind that has changed within the call, as the call began."""
        if self._resampler is None or self._resampler.from_hz != self.rate_hz:
            self._decoder.reset()
            self._resampler = Resampler(self.rate_hz, stream_hz)
        return self._resampler.resample(self._decoder.decode(payload))

    def _control(self, kind: Kind, payload: bytes) -> list[Inbound]:
        match kind:
            case Kind.HANG_UP:
                self._over = True
                return [HungUp()]
            case Kind.DTMF:
                return [Digit(digit(payload.decode("latin-1"), "DTMF frame"))]
            case Kind.UUID:
                raise ProtocolError("a second UUID frame; a connection is one call")
            case Kind.ERROR:
                return self._error(payload)

    def _error(self, payload: bytes) -> list[Inbound]:
        code = payload[0] if payload else 0
        if code == _HUNG_UP_CODE:
            self._over = True
            return [HungUp()]
        raise ProtocolError(f"Asterisk reports error {code}: {_ERRORS.get(code, 'not documented')}")

    def send(self, outbound: Outbound) -> list[Message]:
        """A hang-up frame for Close; AudioSocket has nothing for anything else."""
        return [frame(Kind.HANG_UP)] if isinstance(outbound, Close) else []

    def play(self, say: Say) -> Iterator[Packet]:
        """20 ms frames of the kind that comes in; the last is filled up with silence."""
        kind, size = self._kind, self.frame_bytes
        resampler = Resampler(PROMPT_RATE_HZ, self.rate_hz)
        pcm = resampler.resample(say.pcm) + resampler.flush()
        for start in range(0, len(pcm), size):
            yield Packet(frame(kind, pcm[start : start + size].ljust(size, b"\0")), self.frame_s)
