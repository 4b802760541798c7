"""Rings as Twilio's ``<Connect><Stream>`` does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.audio.codecs import Decoder, Encoding
from ivr.errors import ProtocolError
from ivr.gateways.clients.client import Answer, GatewayClient, Said, Silenced, Sound, Trouble
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object, shown
from ivr.gateways.twilio import signature

__all__ = ["TwilioClient"]

_ACCOUNT = "AC00000000000000000000000000000000"
_MAX_TEXT_CHARS = 1_048_576


class TwilioClient(GatewayClient):
    """One call; ``call_id`` stands for the ``callSid``, ``parameters`` are custom parameters.

    One parameter is the client's own: ``auth_token`` signs the request.
    """

    name: ClassVar[str] = "twilio"
    path: ClassVar[str] = "/twilio"

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        self._auth_token = self.parameters.pop("auth_token", None)
        self._stream_sid = f"MZ{call_id}"
        self._sequence = self._chunk = 0
        self._sent_s = 0.0

    @property
    def encoding(self) -> Encoding:
        """Mu-law."""
        return Encoding.MULAW

    def headers(self, *, host: str, path: str) -> Mapping[str, str]:
        """The signature, where there is an ``auth_token``."""
        if self._auth_token is None:
            return {}
        return {"X-Twilio-Signature": signature(self._auth_token, f"wss://{host}{path}")}

    def begin(self) -> list[Message]:
        """``connected`` and ``start``."""
        caller = {"caller": self.caller} if self.caller else {}
        start = {
            "accountSid": _ACCOUNT,
            "streamSid": self._stream_sid,
            "callSid": self.call_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {**caller, **self.parameters},
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._message("start", start)]

    def audio(self, frame: bytes) -> list[Message]:
        """``media`` of one frame."""
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(round(1000 * self._sent_s)),
            "payload": base64.b64encode(frame).decode(),
        }
        self._sent_s += self.frame_s
        return [self._message("media", media)]

    def digit(self, digit: str) -> list[Message]:
        """``dtmf``."""
        return [self._message("dtmf", {"track": "inbound_track", "digit": digit})]

    def hang_up(self) -> list[Message]:
        """``stop``."""
        return [self._message("stop", {"accountSid": _ACCOUNT, "callSid": self.call_id})]

    def advance(self, *, now_s: float) -> list[Message]:
        """Marks whose sound has been played."""
        return [self._mark(name) for name in self.buffer.reached(now_s)]

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """``media``, ``mark`` and ``clear``."""
        try:
            if isinstance(message, bytes):
                raise ProtocolError("a binary message; Twilio takes text alone")
            got = json_object(message, max_chars=_MAX_TEXT_CHARS)
            if got.get("streamSid") != self._stream_sid:
                raise ProtocolError(f"streamSid {shown(got.get('streamSid'))} is not this stream's")
            return self._event(got, now_s)
        except ProtocolError as error:
            return [Trouble(str(error))]

    def _event(self, got: Mapping[str, Any], now_s: float) -> list[Said]:
        event, body = got.get("event"), got.get(str(got.get("event")))
        body = body if isinstance(body, dict) else {}
        match event:
            case "media":
                return [self._sound(body.get("payload"), now_s)]
            case "mark":
                self.buffer.mark(now_s, str(body.get("name")))
                return []
            case "clear":
                marks = tuple(self._mark(name) for name in self.buffer.clear(now_s))
                return [Silenced(), Answer(marks)]
            case _:
                raise ProtocolError(f"event {shown(event)} is none of media, mark, clear")

    def _sound(self, payload: Any, now_s: float) -> Sound:
        try:
            data = base64.b64decode(str(payload), validate=True)
        except ValueError:  # binascii.Error, and characters beyond ASCII
            raise ProtocolError("media.payload is not base64") from None
        self.buffer.add(now_s, len(data) / 8_000)
        return Sound(Decoder(Encoding.MULAW).decode(data))

    def _mark(self, name: str) -> str:
        return self._message("mark", {"name": name})

    def _message(self, event: str, body: Mapping[str, Any]) -> str:
        self._sequence += 1
        return json.dumps(
            {
                "event": event,
                "sequenceNumber": str(self._sequence),
                "streamSid": self._stream_sid,
                event: body,
            }
        )
