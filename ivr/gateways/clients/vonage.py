"""Rings as Vonage's WebSocket endpoint does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.errors import ProtocolError, ServerError
from ivr.gateways.clients.client import Answer, GatewayClient, Said, Silenced, Sound, Trouble
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object, shown
from ivr.gateways.vonage import RATES_HZ

__all__ = ["VonageClient"]

_FRAME_S = 0.02


class VonageClient(GatewayClient):
    """One call; ``call_id``, ``caller`` and ``parameters`` are headers of the NCCO.

    One parameter is the client's own: ``rate``, Hertz, of the NCCO's content type.
    """

    name: ClassVar[str] = "vonage"
    path: ClassVar[str] = "/vonage"

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        self._rate_hz = self._rate(self.parameters.pop("rate", "8000"))
        self._notify: dict[str, Any] = {}  # mark -> payload

    @staticmethod
    def _rate(given: str) -> int:
        if given not in map(str, RATES_HZ):
            raise ServerError(f"rate {given}: Vonage has {', '.join(map(str, RATES_HZ))} Hz")
        return int(given)

    @property
    def rate_hz(self) -> int:
        """As the NCCO asks for."""
        return self._rate_hz

    def begin(self) -> list[Message]:
        """``websocket:connected`` with the headers."""
        caller = {"caller": self.caller} if self.caller else {}
        event = {"event": "websocket:connected", "content-type": f"audio/l16;rate={self._rate_hz}"}
        return [json.dumps(event | {"call_id": self.call_id} | caller | self.parameters)]

    def digit(self, digit: str) -> list[Message]:
        """``websocket:dtmf``."""
        return [json.dumps({"event": "websocket:dtmf", "digit": digit, "duration": 260})]

    def hang_up(self) -> list[Message]:
        """Nothing: Vonage closes the socket."""
        return []

    def advance(self, *, now_s: float) -> list[Message]:
        """Notifications whose sound has been played."""
        payloads = [self._notify.pop(name) for name in self.buffer.reached(now_s)]
        return [json.dumps({"event": "websocket:notify", "payload": p}) for p in payloads]

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Frames, ``clear`` and ``notify``."""
        if isinstance(message, bytes):
            return [self._sound(message, now_s)]
        try:
            got = json_object(message)
        except ProtocolError as error:
            return [Trouble(str(error))]
        match got.get("action"):
            case "clear":
                self.buffer.clear(now_s)
                self._notify.clear()
                return [Silenced(), Answer(('{"event": "websocket:cleared"}',))]
            case "notify":
                name = str(len(self._notify)) + repr(now_s)
                self._notify[name] = got.get("payload")
                self.buffer.mark(now_s, name)
                return []
            case action:
                return [Trouble(f"action {shown(action)} is neither clear nor notify")]

    def _sound(self, frame: bytes, now_s: float) -> Said:
        due = 2 * round(_FRAME_S * self._rate_hz)
        if len(frame) != due:
            return Trouble(f"a frame of {len(frame)} bytes instead of {due}")
        self.buffer.add(now_s, _FRAME_S)
        return Sound(frame, self._rate_hz)
