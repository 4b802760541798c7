"""Rings as Genesys Cloud's Audio Connector does, signature and all."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from ivr.audio.codecs import Decoder, Encoding
from ivr.errors import ProtocolError, ServerError
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Ready,
    Said,
    Silenced,
    Sound,
    Told,
    Trouble,
)
from ivr.gateways.gateway import Message
from ivr.gateways.genesys import SIGNED
from ivr.gateways.messages import json_object, shown

__all__ = ["GenesysClient"]

_PLAYBACK = "playback_completed"
_MAX_TEXT_CHARS = 1_048_576


class _Signed:
    """A request as the signing library wants it."""

    method = "GET"

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.headers = url, headers


class _Secret(HTTPSignatureKeyResolver):
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def resolve_private_key(self, key_id: str) -> bytes:
        """The shared secret."""
        return self._secret

    resolve_public_key = resolve_private_key


class GenesysClient(GatewayClient):
    """One session; ``call_id`` stands for the conversation, ``parameters`` are inputVariables.

    Two parameters are the client's own: ``api_key`` and ``secret`` (base64) sign the request.
    """

    name: ClassVar[str] = "genesys"
    path: ClassVar[str] = "/genesys"
    ready_at_once: ClassVar[bool] = False
    frame_s: ClassVar[float] = 0.1

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        self._api_key = self.parameters.pop("api_key", None)
        self._secret = self.parameters.pop("secret", None)
        self._session = str(uuid.uuid5(uuid.NAMESPACE_URL, call_id))
        self._seq = self._server_seq = 0
        self._sent_s = 0.0
        self._over = False

    @property
    def encoding(self) -> Encoding:
        """PCMU."""
        return Encoding.MULAW

    def headers(self, *, host: str, path: str) -> Mapping[str, str]:
        """Ids of the session, and key and signature where they are given."""
        headers = {
            "audiohook-organization-id": str(uuid.uuid5(uuid.NAMESPACE_URL, "kapok")),
            "audiohook-session-id": self._session,
            "audiohook-correlation-id": self._session,
        }
        if self._api_key is None or self._secret is None:
            return headers
        return self._sign(headers | {"x-api-key": self._api_key}, f"https://{host}{path}")

    def _sign(self, headers: dict[str, str], url: str) -> Mapping[str, str]:
        try:
            secret = base64.b64decode(self._secret or "", validate=True)
        except ValueError:
            raise ServerError("secret: the client secret is not base64") from None
        now = datetime.now(UTC)
        HTTPMessageSigner(
            signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Secret(secret)
        ).sign(
            _Signed(url, headers),
            key_id=headers["x-api-key"],
            created=now,
            expires=now + timedelta(seconds=10),
            nonce=secrets.token_urlsafe(16),
            label="sig1",
            covered_component_ids=SIGNED,
        )
        return headers

    def begin(self) -> list[Message]:
        """``open``."""
        ids = {
            "organizationId": str(uuid.uuid5(uuid.NAMESPACE_URL, "kapok")),
            "conversationId": self.call_id,
            "participant": {"id": self._session, "ani": self.caller or "", "dnis": ""},
        }
        formats = [["external"], ["external", "internal"]]
        media = [
            {"type": "audio", "format": "PCMU", "channels": channels, "rate": 8000}
            for channels in formats
        ]
        opening = ids | {"media": media, "language": "zh-CN", "inputVariables": self.parameters}
        return [self._message("open", opening)]

    def audio(self, frame: bytes) -> list[Message]:
        """A binary message; nothing once the session is closed."""
        if self._over:
            return []
        self._sent_s += self.frame_s
        return [frame]

    def digit(self, digit: str) -> list[Message]:
        """``dtmf``."""
        return [self._message("dtmf", {"digit": digit})]

    def hang_up(self) -> list[Message]:
        """``close``, once."""
        if self._over:
            return []
        self._over = True
        return [self._message("close", {"reason": "end"})]

    def advance(self, *, now_s: float) -> list[Message]:
        """``playback_completed`` once everything has been played."""
        reached = self.buffer.reached(now_s)
        done = bool(reached) and self.buffer.left_s(now_s) == 0 and not self._over
        return [self._message(_PLAYBACK)] if done else []

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Audio and control messages."""
        if isinstance(message, bytes):
            return [self._sound(message, now_s)]
        try:
            got = json_object(message, max_chars=_MAX_TEXT_CHARS)
            return self._control(got, now_s)
        except ProtocolError as error:
            return [Trouble(str(error))]

    def _sound(self, data: bytes, now_s: float) -> Sound:
        begins_s = self.buffer.add(now_s, len(data) / 8_000)
        self.buffer.mark(begins_s, _PLAYBACK)
        return Sound(Decoder(Encoding.MULAW).decode(data))

    def _control(self, got: Mapping[str, Any], now_s: float) -> list[Said]:
        kind, seq = got.get("type"), got.get("seq")
        if seq != self._server_seq + 1:
            raise ProtocolError(f"{shown(kind)} has seq {shown(seq)} after {self._server_seq}")
        self._server_seq += 1
        body = got.get("parameters")
        body = body if isinstance(body, dict) else {}
        match kind:
            case "opened":
                return [Ready()]
            case "event":
                return self._entities(body, now_s)
            case "disconnect":
                return self._disconnect(body)
            case "closed":
                return [Ended("closed")]
            case "pong" | "updated":
                return []
            case _:
                raise ProtocolError(f"type {shown(kind)} is not known")

    def _entities(self, body: Mapping[str, Any], now_s: float) -> list[Said]:
        kinds = [entity.get("type") for entity in body.get("entities") or []]
        if "barge_in" not in kinds:
            return []
        self.buffer.clear(now_s)
        return [Silenced()]

    def _disconnect(self, body: Mapping[str, Any]) -> list[Said]:
        variables = body.get("outputVariables")
        told: list[Said] = [Told(variables)] if isinstance(variables, dict) else []
        if body.get("reason") == "error":
            told.append(Trouble(str(body.get("info") or "error")))
        return [*told, Answer(tuple(self.hang_up())), Ended(str(body.get("reason")))]

    def _message(self, kind: str, parameters: Mapping[str, Any] | None = None) -> str:
        self._seq += 1
        return json.dumps(
            {
                "version": "2",
                "id": self._session,
                "type": kind,
                "seq": self._seq,
                "serverseq": self._server_seq,
                "position": f"PT{self._sent_s:.1f}S",
                "parameters": dict(parameters or {}),
            }
        )
