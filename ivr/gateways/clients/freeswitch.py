"""Rings as FreeSWITCH's ``mod_audio_fork`` with the script of docs/gateways/freeswitch.md."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.errors import ProtocolError, ServerError
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Said,
    Silenced,
    Sound,
    Text,
    Told,
    Trouble,
)
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object, shown

__all__ = ["FreeSwitchClient"]

#: Rates of raw audio that ``lws_glue.cpp`` has a file type for, Hertz.
_RAW_HZ = frozenset({8_000, 16_000, 24_000, 32_000, 48_000, 64_000})
#: ``audio_pipe.cpp``'s largest message, bytes.
_MAX_BYTES = 650_000


class FreeSwitchClient(GatewayClient):
    """One call; the parameter ``rate`` gives its rate, the others go along as metadata.

    Raises:
        ServerError: the module does not fork at that rate.
    """

    name: ClassVar[str] = "freeswitch"
    tells_text: ClassVar[bool] = True
    path: ClassVar[str] = "/freeswitch"
    subprotocols: ClassVar[tuple[str, ...]] = ("audio.drachtio.org",)

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        rate = self.parameters.pop("rate", "8000")
        if not rate.isdecimal() or int(rate) not in _RAW_HZ:
            raise ServerError(f"rate {rate!r}: take one of {', '.join(map(str, sorted(_RAW_HZ)))}")
        self._rate_hz = int(rate)

    @property
    def rate_hz(self) -> int:
        """See :class:`GatewayClient`."""
        return self._rate_hz

    def begin(self) -> list[Message]:
        """The metadata."""
        return [json.dumps(self.metadata(), ensure_ascii=False)]

    def metadata(self) -> dict[str, Any]:
        """What the first text frame holds."""
        known = {"call_id": self.call_id, "sampleRate": self._rate_hz}
        return known | ({"caller": self.caller} if self.caller else {}) | self.parameters

    def digit(self, digit: str) -> list[Message]:
        """As the script sends it."""
        return [json.dumps({"event": "dtmf", "dtmf": digit, "duration": 1600})]

    def hang_up(self) -> list[Message]:
        """Nothing: the module closes the WebSocket."""
        return []

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """``playAudio`` and the rest."""
        if isinstance(message, bytes) or len(message) > _MAX_BYTES:
            return [Trouble(f"{len(message)} bytes; the module reads text of at most {_MAX_BYTES}")]
        try:
            got = json_object(message, max_chars=_MAX_BYTES)
        except ProtocolError as error:
            return [Trouble(str(error))]
        data = got.get("data")
        return self._do(str(got.get("type")), data if isinstance(data, dict) else {}, now_s)

    def _do(self, kind: str, data: Mapping[str, Any], now_s: float) -> list[Said]:
        match kind:
            case "playAudio":
                return self._play(data, now_s)
            case "killAudio":
                # What is broken off ends too, and the script reports each end.
                return [*self._answers(self.buffer.clear(now_s)), Silenced()]
            case "transcription":
                return [Text(str(data.get("text") or ""), added=data)]
            case "transfer":
                return self._transfer(data)
            case "disconnect":
                return [Ended(str(data.get("reason") or "disconnect"))]
            case _:
                return [Trouble(f"the module knows no message of the type {shown(kind)}")]

    def _transfer(self, data: Mapping[str, Any]) -> list[Said]:
        return [Told(data)]

    def _play(self, data: Mapping[str, Any], now_s: float) -> list[Said]:
        rate_hz = data.get("sampleRate")
        if data.get("audioContentType") != "raw" or rate_hz not in _RAW_HZ:
            return [Trouble(f"playAudio: raw audio at {sorted(_RAW_HZ)} Hz is due")]
        try:
            pcm = base64.b64decode(str(data.get("audioContent")), validate=True)
        except (binascii.Error, ValueError):
            return [Trouble("playAudio: audioContent is not base64")]
        self.buffer.add(now_s, len(pcm) / 2 / rate_hz)
        if data.get("id"):
            self.buffer.mark(now_s, str(data["id"]))
        return [Sound(pcm, rate_hz)]

    def _answers(self, names: list[str]) -> list[Said]:
        return [Answer((self._done(name),)) for name in names]

    def _done(self, play_id: str) -> str:
        return json.dumps({"type": "playDone", "data": {"id": play_id}})

    def advance(self, *, now_s: float) -> list[Message]:
        """``playDone`` for what was played."""
        return [self._done(name) for name in self.buffer.reached(now_s)]
