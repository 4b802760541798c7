"""Twilio Media Streams, bidirectional (``<Connect><Stream>``), without I/O: JSON text both ways.

* in: ``connected``, ``start``, ``media`` (base64 mu-law, 8 kHz), ``dtmf``, ``mark``, ``stop``;
* out: ``media``, ``mark`` (comes back once the media before it has been played) and ``clear``
  (barge-in; it brings back every mark that was waiting).

There is no message for a transfer. The server closes the stream, Twilio goes on with the verb
behind ``<Connect>``, and the application there asks for the decision by the call's ``callSid``,
or has been told it by the webhook (``docs/gateways/twilio.md``).

``customParameters`` that mean something here: ``language`` (``cmn`` or ``yue``), ``caller`` and
``prompts`` (``off`` where Twilio's own verbs speak). Numbers come as strings.

Where ``gateways.twilio.auth_token`` is set, the upgrade request must carry Twilio's signature
(:func:`verify`).

Sources: Twilio's "Media Streams - WebSocket Messages" and "Webhooks Security".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ivr.audio.codecs import Encoding, encode
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    Audio,
    Digit,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Say,
    Started,
    StopPlaying,
    StreamConfig,
    Upgrade,
    UpgradeError,
)
from ivr.gateways.messages import (
    asked_language,
    asked_prompts,
    digit,
    faults,
    json_object,
    parsed,
    printable,
    shown,
)
from ivr.settings import Settings

__all__ = ["TwilioGateway", "signature", "verify"]

#: Base64 of a minute of mu-law; Twilio sends 20 ms.
_MAX_TEXT_CHARS = 1_048_576
_PACKET_S = 0.1


def signature(auth_token: str, url: str) -> str:
    """Twilio's signature of a request for ``url`` without form fields: HMAC-SHA1, base64."""
    digest = hmac.new(auth_token.encode(), url.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def verify(upgrade: Upgrade, auth_token: str) -> None:
    """Check ``X-Twilio-Signature``, in constant time.

    The address is that of the TwiML: ``wss://``, the host that was asked for, and the path; a
    proxy in between must pass both on.

    Raises:
        UpgradeError: the signature is missing or wrong.
    """
    url = f"wss://{upgrade.headers.get('host', '')}{upgrade.target}"
    given = upgrade.headers.get("x-twilio-signature", "").encode()
    # Twilio adds a slash to some addresses before it signs, and not to others.
    expected = [signature(auth_token, each).encode() for each in (url, f"{url}/")]
    if not any(hmac.compare_digest(given, each) for each in expected):
        raise UpgradeError(
            "X-Twilio-Signature is missing or wrong; is auth_token this account's, and does the "
            "proxy keep Host and path?",
            status=401,
        )


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)  # what Twilio adds later is passed over


class _MediaFormat(_Model):
    encoding: Literal["audio/x-mulaw"] = "audio/x-mulaw"
    sample_rate: Literal[8000, "8000"] = Field(8000, alias="sampleRate")
    channels: Literal[1, "1"] = 1


class _Start(_Model):
    call_sid: str = Field(alias="callSid")
    media_format: _MediaFormat | None = Field(None, alias="mediaFormat")
    parameters: dict[str, Any] = Field({}, alias="customParameters")


class _StartMessage(_Model):
    stream_sid: str = Field(alias="streamSid", min_length=1)
    start: _Start


class _Media(_Model):
    payload: str
    track: str = "inbound"


class _MediaMessage(_Model):
    media: _Media


class _Dtmf(_Model):
    digit: str | int


class _DtmfMessage(_Model):
    dtmf: _Dtmf


class _Mark(_Model):
    name: str


class _MarkMessage(_Model):
    mark: _Mark


class TwilioGateway(Gateway):
    """One stream."""

    name: ClassVar[str] = "twilio"
    path: ClassVar[str | None] = "/twilio"
    lead_s: ClassVar[float] = 0.4  # clear throws away what is under way
    reports_played: ClassVar[bool] = True

    def __init__(self) -> None:
        self._stream_sid: str | None = None
        self._stopped = False

    @classmethod
    def admit(cls, upgrade: Upgrade, settings: Settings) -> None:
        """See :meth:`ivr.gateways.gateway.Gateway.admit`: the signature, where a token is set."""
        auth_token = settings.gateways.twilio.auth_token
        if auth_token is not None:
            verify(upgrade, auth_token)

    @classmethod
    def authenticates(cls, settings: Settings) -> bool:
        """See :meth:`ivr.gateways.gateway.Gateway.authenticates`."""
        return settings.gateways.twilio.auth_token is not None

    @property
    def frame_s(self) -> float:
        """Twilio takes media of any length; a tenth of a second costs few messages."""
        return _PACKET_S

    @property
    def frame_bytes(self) -> int:
        """Mu-law, 8 kHz."""
        return round(_PACKET_S * 8_000)

    # --- in ------------------------------------------------------------------------------

    def take(self, message: Message) -> list[Inbound]:
        """See :meth:`ivr.gateways.gateway.Gateway.take`."""
        if isinstance(message, bytes):
            raise ProtocolError("Twilio sends no binary messages; is this another gateway's call?")
        got = json_object(message, max_chars=_MAX_TEXT_CHARS)
        event = got.get("event")
        match event:
            case "connected":
                return []
            case "start":
                return self._start(parsed(_StartMessage, got, "start"))
            case "media" | "dtmf" | "mark" | "stop" if self._stream_sid is None:
                raise ProtocolError(f"{event} before start; a stream begins with start")
            case "media" | "dtmf" | "mark" | "stop" if self._stopped:
                raise ProtocolError(f"{event} after stop; the stream is over")
            case "media":
                return _media(parsed(_MediaMessage, got, "media").media)
            case "dtmf":
                return [Digit(digit(parsed(_DtmfMessage, got, "dtmf").dtmf.digit, "dtmf.digit"))]
            case "mark":
                return [Played(parsed(_MarkMessage, got, "mark").mark.name)]
            case "stop":
                self._stopped = True
                return [HungUp()]
            case _:
                raise ProtocolError(
                    f"event {shown(event)} is none of connected, start, media, dtmf, mark, stop"
                )

    def _start(self, got: _StartMessage) -> list[Inbound]:
        if self._stream_sid is not None:
            raise ProtocolError("a second start; a connection is one stream")
        self._stream_sid = got.stream_sid
        given = {printable(k): printable(v) for k, v in got.start.parameters.items()}
        stream = StreamConfig(
            encoding=Encoding.MULAW, language=asked_language(given), prompts=asked_prompts(given)
        )
        return [
            Started(
                stream=stream,
                call_id=printable(got.start.call_sid) or None,
                caller=given.get("caller") or None,
                parameters=given,
            ),
            *faults(given),
        ]

    # --- out -----------------------------------------------------------------------------

    def send(self, outbound: Outbound) -> list[Message]:
        """See :meth:`ivr.gateways.gateway.Gateway.send`: clear, and nothing else."""
        return [self._message("clear")] if isinstance(outbound, StopPlaying) else []

    def play(self, say: Say) -> Iterator[Packet]:
        """Media of a tenth of a second each, and a mark that comes back as :class:`Played`."""
        audio = encode(say.pcm, Encoding.MULAW)
        for start in range(0, len(audio), self.frame_bytes):
            piece = audio[start : start + self.frame_bytes]
            payload = base64.b64encode(piece).decode()
            yield Packet(self._message("media", {"payload": payload}), len(piece) / 8_000)
        yield Packet(self._message("mark", {"name": say.play_id}))

    def _message(self, event: str, body: dict[str, Any] | None = None) -> str:
        message = {"event": event, "streamSid": self._stream_sid}
        return json.dumps(message | ({event: body} if body else {}))


def _media(media: _Media) -> list[Inbound]:
    if media.track not in ("inbound", "inbound_track"):
        return []  # the agent's side, of a stream of both tracks
    try:
        return [Audio(base64.b64decode(media.payload, validate=True))]
    except ValueError:  # binascii.Error, and characters beyond ASCII
        raise ProtocolError("media.payload is not base64") from None
