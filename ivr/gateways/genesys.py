"""Genesys AudioHook v2, as the Audio Connector of an Architect flow uses it, without I/O.

Text messages have an envelope: ``version``, ``id`` of the session, ``type``, ``seq`` and, of the
client, ``serverseq`` and ``position``; the server's carry ``clientseq``, the last ``seq`` taken.
Binary messages are PCMU, 8 kHz, the caller's channel first where there are two.

* in: ``open``, ``ping``, ``close``, ``update``, ``dtmf``, ``playback_started``,
  ``playback_completed``, ``paused``, ``resumed``, ``discarded``, ``error``;
* out: ``opened``, ``pong``, ``closed``, ``updated`` at once; ``event`` with a ``barge_in`` (the
  client throws away what it has buffered), ``disconnect`` with the decision in
  ``outputVariables``, after which the client sends ``close``; binary audio in packets of 200 ms,
  for small ones are rate-limited.

An ``open`` for the conversation of nothing but zeros is Genesys's check of the connection: it is
answered, and no call begins.

The upgrade request carries an API key and an HMAC-SHA256 HTTP message signature (:func:`verify`),
checked where ``gateways.genesys.keys`` holds any.

Source: "AudioHook protocol" and "AudioHook security" of the Genesys Cloud developer centre.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)
from pydantic import BaseModel, ConfigDict, Field

from ivr.audio.codecs import Encoding, encode
from ivr.call.decision import Decision
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Refused,
    Reply,
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

__all__ = ["SIGNED", "GenesysGateway", "output_variables", "verify"]

#: What Genesys signs, and must have signed.
SIGNED = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
#: A signature's age at most; Genesys's own expire after some seconds.
_MAX_AGE = timedelta(minutes=5)
_PROBE = "00000000-0000-0000-0000-000000000000"
_PACKET_S = 0.2
#: A second of two channels; Genesys sends 100 to 200 ms.
_MAX_FRAME_BYTES = 16_000
_UNPLAYED = 32
#: Control messages that change nothing here.
_NOTED = frozenset({"paused", "resumed", "discarded", "playback_started"})


# --- the signature ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Request:
    """What the signature covers, as the library reads it."""

    method: str
    url: str
    headers: Mapping[str, str]


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def resolve_public_key(self, key_id: str) -> bytes:
        """The secret; for a key that is not known one that nobody has, at the same cost."""
        found = self._keys.get(key_id)
        return base64.b64decode(found) if found else secrets.token_bytes(32)

    def resolve_private_key(self, key_id: str) -> bytes:
        """As :meth:`resolve_public_key`: the secret is shared."""
        return self.resolve_public_key(key_id)


def verify(
    upgrade: Upgrade, keys: Mapping[str, str], *, max_age: timedelta | None = _MAX_AGE
) -> None:
    """Check the signature of an upgrade request; the comparison takes constant time.

    Args:
        keys: API key -> client secret, base64.

    Raises:
        UpgradeError: the signature is missing, wrong, too old, or covers too little.
    """
    request = _Request(
        "GET", f"https://{upgrade.headers.get('host', '')}{upgrade.target}", upgrade.headers
    )
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Keys(keys)
    )
    try:
        (result,) = verifier.verify(request, max_age=max_age, require_components=SIGNED)
    except (HTTPMessageSignaturesException, ValueError) as error:
        raise UpgradeError(f"AudioHook signature: {printable(error)}", status=401) from error
    if result.parameters.get("keyid") != upgrade.headers.get("x-api-key"):
        raise UpgradeError("AudioHook signature: keyid is not the X-API-KEY", status=401)


# --- messages --------------------------------------------------------------------------------


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)  # what Genesys adds later is passed over


class _Envelope(_Model):
    version: str = Field(pattern="^2$")
    id: str = Field(min_length=1, max_length=128)
    type: str = Field(max_length=64)
    seq: int = Field(ge=1, le=2**53)
    parameters: dict[str, Any] = {}


class _Media(_Model):
    type: str
    format: str
    channels: tuple[str, ...]
    rate: int

    @property
    def usable(self) -> bool:
        """Whether the caller can be heard in it."""
        offered = (self.type, self.format, self.rate) == ("audio", "PCMU", 8_000)
        return offered and "external" in self.channels


class _Participant(_Model):
    ani: str = ""
    dnis: str = ""


class _Open(_Model):
    conversation_id: str = Field("", alias="conversationId")
    participant: _Participant = _Participant()
    media: tuple[_Media, ...] = ()
    variables: dict[str, Any] = Field({}, alias="inputVariables")


class _Dtmf(_Model):
    digit: str | int


class GenesysGateway(Gateway):
    """One session."""

    name: ClassVar[str] = "genesys"
    path: ClassVar[str | None] = "/genesys"
    lead_s: ClassVar[float] = 0.4  # barge_in throws away what is under way
    reports_played: ClassVar[bool] = True
    closes_on_decision: ClassVar[bool] = False  # the client does, after disconnect

    def __init__(self) -> None:
        self._id: str | None = None
        self._seq = self._client_seq = 0
        self._channels: tuple[str, ...] = ("external",)
        self._media: _Media | None = None
        self._closed = self._disconnected = False
        self._unplayed: deque[str] = deque(maxlen=_UNPLAYED)

    @classmethod
    def admit(cls, upgrade: Upgrade, settings: Settings) -> None:
        """See :meth:`ivr.gateways.gateway.Gateway.admit`: the signature, where keys are set."""
        keys = settings.gateways.genesys.keys
        if keys:
            verify(upgrade, keys)

    @classmethod
    def authenticates(cls, settings: Settings) -> bool:
        """See :meth:`ivr.gateways.gateway.Gateway.authenticates`."""
        return bool(settings.gateways.genesys.keys)

    @property
    def frame_s(self) -> float:
        """Genesys asks for packets of about 1,600 bytes."""
        return _PACKET_S

    @property
    def frame_bytes(self) -> int:
        """PCMU, 8 kHz."""
        return round(_PACKET_S * 8_000)

    # --- in ------------------------------------------------------------------------------

    def take(self, message: Message) -> list[Inbound]:
        """See :meth:`ivr.gateways.gateway.Gateway.take`."""
        if isinstance(message, bytes):
            return self._audio(message)
        got = parsed(_Envelope, json_object(message), "message")
        if self._id is None and got.type != "open":
            raise ProtocolError(f"{shown(got.type)} before open; a session begins with open")
        if self._closed:
            raise ProtocolError(f"{shown(got.type)} after close; the session is over")
        if got.seq <= self._client_seq:
            raise ProtocolError(f"seq {got.seq} has been seen; the last was {self._client_seq}")
        self._client_seq = got.seq
        return self._control(got)

    def _control(self, got: _Envelope) -> list[Inbound]:
        match got.type:
            case "open":
                return self._open(got)
            case "ping":
                return [Reply((self._message("pong"),))]
            case "update":
                return [Reply((self._message("updated"),))]
            case "close":
                self._closed = True
                return [Reply((self._message("closed"),)), HungUp()]
            case "dtmf":
                pressed = parsed(_Dtmf, got.parameters, "dtmf").digit
                return [Digit(digit(pressed, "dtmf.digit"))]
            case "playback_completed":
                played, self._unplayed = self._unplayed, deque(maxlen=_UNPLAYED)
                return [Played(play_id) for play_id in played]
            case "error":
                raise ProtocolError(f"Genesys reports an error: {shown(got.parameters)}")
            case noted if noted in _NOTED:
                return []
            case _:
                raise ProtocolError(f"type {shown(got.type)} is not known")

    def _open(self, got: _Envelope) -> list[Inbound]:
        if self._id is not None:
            raise ProtocolError("a second open; a connection is one session")
        opened = parsed(_Open, got.parameters, "open")
        self._id = got.id
        if opened.conversation_id == _PROBE:
            return [Reply((self._opened(opened.media[:1]),))]
        offered = sorted((m for m in opened.media if m.usable), key=lambda m: len(m.channels))
        if not offered:
            reason = (
                "open: no media with PCMU at 8000 Hz and the external channel; "
                "choose PCMU in the Audio Connector integration"
            )
            return [Refused(reason=reason, closes=True)]
        given = {printable(k): printable(v) for k, v in opened.variables.items()}
        stream = StreamConfig(
            encoding=Encoding.MULAW, language=asked_language(given), prompts=asked_prompts(given)
        )
        self._media = offered[0]
        started = Started(
            stream=stream,
            call_id=printable(opened.conversation_id) or printable(got.id),
            caller=printable(opened.participant.ani.removeprefix("tel:")) or None,
            parameters=given,
        )
        return [Reply((self._opened(offered[:1]),)), started, *faults(given)]

    def _audio(self, data: bytes) -> list[Inbound]:
        if self._media is None:
            raise ProtocolError("audio before opened")
        if self._closed:
            raise ProtocolError("audio after close")
        if len(data) > _MAX_FRAME_BYTES:
            raise ProtocolError(f"audio message of {len(data)} bytes; send at most a second")
        channels = self._media.channels
        # Samples of PCMU are single bytes, and channels are interleaved.
        return [Audio(data[channels.index("external") :: len(channels)])]

    # --- out -----------------------------------------------------------------------------

    def send(self, outbound: Outbound) -> list[Message]:
        """See :meth:`ivr.gateways.gateway.Gateway.send`."""
        if self._id is None or self._closed or self._disconnected:
            return []
        match outbound:
            case StopPlaying():
                self._unplayed.clear()
                entity = {"type": "barge_in", "data": {}}
                return [self._message("event", {"entities": [entity]})]
            case Decision():
                return [self._disconnect("completed", output=output_variables(outbound))]
            case Close(error=True) | Refused(closes=True):
                return [self._disconnect("error", info=outbound.reason)]
            case Close():
                return [self._disconnect("completed")]
            case _:
                return []

    def _disconnect(
        self, reason: str, *, info: str = "", output: Mapping[str, str] | None = None
    ) -> str:
        self._disconnected = True
        parameters: dict[str, Any] = {"reason": reason}
        parameters |= {"info": info} if info else {}
        parameters |= {"outputVariables": dict(output)} if output else {}
        return self._message("disconnect", parameters)

    def play(self, say: Say) -> Iterator[Packet]:
        """Packets of 200 ms; ``playback_completed`` reports their end."""
        audio = encode(say.pcm, Encoding.MULAW)
        for start in range(0, len(audio), self.frame_bytes):
            piece = audio[start : start + self.frame_bytes]
            yield Packet(piece, len(piece) / 8_000)
        self._unplayed.append(say.play_id)

    def _opened(self, media: tuple[_Media, ...] | list[_Media]) -> str:
        chosen = [m.model_dump(mode="json") for m in media]
        return self._message("opened", {"startPaused": False, "media": chosen})

    def _message(self, kind: str, parameters: Mapping[str, Any] | None = None) -> str:
        self._seq += 1
        return json.dumps(
            {
                "version": "2",
                "id": self._id,
                "type": kind,
                "seq": self._seq,
                "clientseq": self._client_seq,
                "parameters": dict(parameters or {}),
            },
            ensure_ascii=False,
        )


def output_variables(decision: Decision) -> dict[str, str]:
    """The decision as an Architect flow reads it: texts alone, empty ones left out."""
    told = decision.as_json()
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in told.items()
        if value not in (None, "", [])
    }
    action = {"queue": "transfer", "emergency": "transfer", "person": "agent"}
    return texts | {"action": action.get(decision.action.value, decision.action.value)}
