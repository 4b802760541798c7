"""Vonage's WebSocket endpoint, without I/O: raw PCM both ways, JSON text beside it.

* in: text ``websocket:connected`` first (``content-type`` names the rate, and the headers of the
  NCCO stand beside it or under ``headers``), binary 20 ms frames, text ``websocket:dtmf``,
  ``websocket:cleared``, ``websocket:notify``;
* out: binary frames of exactly the size that comes in, ``{"action": "clear"}`` (barge-in) and
  ``{"action": "notify"}``, which comes back once the audio before it has been played.

Vonage buffers 1,024 messages, some 20 s. There is no message for a transfer: the server closes the
socket, and with ``eventType: synchronous`` Vonage asks the application for the next NCCO
(``docs/gateways/vonage.md``).

Headers that mean something here: ``call_id`` (else ``uuid`` or ``conversation_uuid``), ``caller``
(else ``from``), ``language`` and ``prompts`` (see :mod:`ivr.gateways.messages`).

Source: Vonage's "WebSockets" guide of the Voice API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ivr.audio.codecs import Encoding
from ivr.audio.resample import Resampler
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    PROMPT_RATE_HZ,
    Audio,
    Digit,
    Gateway,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Say,
    Started,
    StopPlaying,
    StreamConfig,
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

__all__ = ["RATES_HZ", "VonageGateway"]

#: Of ``audio/l16``; as Vonage offers them.
RATES_HZ = (8_000, 16_000, 24_000)
#: A second at the highest rate; Vonage sends 20 ms.
_MAX_FRAME_BYTES = 48_000


class VonageGateway(Gateway):
    """One connection."""

    name: ClassVar[str] = "vonage"
    path: ClassVar[str | None] = "/vonage"
    lead_s: ClassVar[float] = 0.3  # clear throws away what is under way
    burst_s: ClassVar[float] = 0.1
    reports_played: ClassVar[bool] = True

    def __init__(self) -> None:
        self._rate_hz: int | None = None

    @property
    def rate_hz(self) -> int:
        """Of the audio both ways, Hertz."""
        return self._rate_hz or 16_000

    @property
    def frame_bytes(self) -> int:
        """20 ms at :attr:`rate_hz`."""
        return round(self.frame_s * self.rate_hz) * 2

    # --- in ------------------------------------------------------------------------------

    def take(self, message: Message) -> list[Inbound]:
        """See :meth:`ivr.gateways.gateway.Gateway.take`."""
        if isinstance(message, bytes):
            return self._audio(message)
        got = json_object(message)
        event = got.get("event")
        if event == "websocket:connected":
            return self._connected(got)
        if self._rate_hz is None:
            raise ProtocolError(f"{shown(event)} before websocket:connected")
        match event:
            case "websocket:dtmf":
                return [Digit(digit(_pressed(got), "digit"))]
            case "websocket:notify":
                return _notified(got.get("payload"))
            case "websocket:cleared":
                return []
            case _:
                raise ProtocolError(
                    f"event {shown(event)} is none of websocket:connected, websocket:dtmf, "
                    "websocket:notify, websocket:cleared"
                )

    def _audio(self, data: bytes) -> list[Inbound]:
        if self._rate_hz is None:
            raise ProtocolError("audio before websocket:connected")
        if len(data) > _MAX_FRAME_BYTES:
            raise ProtocolError(f"audio message of {len(data)} bytes; send 20 ms at a time")
        return [Audio(data)]

    def _connected(self, got: Mapping[str, Any]) -> list[Inbound]:
        if self._rate_hz is not None:
            raise ProtocolError("a second websocket:connected; a connection is one call")
        rate_hz = _rate(got.get("content-type"))
        given = _headers(got)
        stream = StreamConfig(
            rate_hz=rate_hz,
            encoding=Encoding.S16LE,
            language=asked_language(given),
            prompts=asked_prompts(given),
        )
        self._rate_hz = rate_hz
        return [
            Started(
                stream=stream,
                call_id=_first(given, "call_id", "uuid", "conversation_uuid"),
                caller=_first(given, "caller", "from"),
                parameters=given,
            ),
            *faults(given),
        ]

    # --- out -----------------------------------------------------------------------------

    def send(self, outbound: Outbound) -> list[Message]:
        """See :meth:`ivr.gateways.gateway.Gateway.send`: clear, and nothing else."""
        return ['{"action": "clear"}'] if isinstance(outbound, StopPlaying) else []

    def play(self, say: Say) -> Iterator[Packet]:
        """20 ms frames, the last filled up with silence, and a notify that comes back."""
        resampler = Resampler(PROMPT_RATE_HZ, self.rate_hz)
        pcm, size = resampler.resample(say.pcm) + resampler.flush(), self.frame_bytes
        for start in range(0, len(pcm), size):
            yield Packet(pcm[start : start + size].ljust(size, b"\0"), self.frame_s)
        yield Packet(json.dumps({"action": "notify", "payload": {"play_id": say.play_id}}))


def _rate(content_type: Any) -> int:
    """``audio/l16;rate=16000`` -> 16000."""
    kind, _, rate = str(content_type).replace(" ", "").lower().partition(";rate=")
    if kind == "audio/l16" and rate in {str(rate_hz) for rate_hz in RATES_HZ}:
        return int(rate)
    known = ", ".join(map(str, RATES_HZ))
    raise ProtocolError(
        f"content-type {shown(content_type)}: write audio/l16;rate=N in the NCCO, N one of {known}"
    )


def _headers(got: Mapping[str, Any]) -> dict[str, str]:
    """The custom headers of the NCCO, which stand beside the event or in a map of their own."""
    nested = got.get("headers")
    flat = {**got, **(nested if isinstance(nested, dict) else {})}
    own = ("event", "content-type", "headers")
    return {printable(k): printable(v) for k, v in flat.items() if k not in own}


def _first(given: Mapping[str, str], *keys: str) -> str | None:
    return next((given[key] for key in keys if given.get(key)), None)


def _pressed(got: Mapping[str, Any]) -> Any:
    inner = got.get("dtmf")
    return inner.get("digit") if isinstance(inner, dict) else got.get("digit")


def _notified(payload: Any) -> list[Inbound]:
    play_id = payload.get("play_id") if isinstance(payload, dict) else None
    return [Played(play_id)] if isinstance(play_id, str) else []
