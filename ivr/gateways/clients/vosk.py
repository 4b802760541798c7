"""A Vosk client: a gateway that plays prompts and moves the call itself, by what the finals say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.errors import ProtocolError
from ivr.gateways.clients.client import GatewayClient, Said, Text, Told, Trouble
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object

__all__ = ["VoskClient"]

_MOVED = frozenset({"routing", "handing_off", "ended"})


class VoskClient(GatewayClient):
    """One call; ``parameters`` go into ``config``."""

    name: ClassVar[str] = "vosk"
    tells_text: ClassVar[bool] = True
    subprotocols: ClassVar[tuple[str, ...]] = ("ws",)
    frame_s: ClassVar[float] = 0.1

    def begin(self) -> list[Message]:
        """The config, which is not answered."""
        caller = {"caller": self.caller} if self.caller else {}
        config = {"sample_rate": self.rate_hz, "call_id": self.call_id, **caller, **self.parameters}
        return [json.dumps({"config": config})]

    def digit(self, digit: str) -> list[Message]:
        """Kapok's own message."""
        return [json.dumps({"dtmf": digit})]

    def hang_up(self) -> list[Message]:
        """The end of the stream."""
        return ['{"eof" : 1}']

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Texts, and the decision of a final that moves the call."""
        try:
            got = json_object(message if isinstance(message, str) else message.decode("latin-1"))
        except ProtocolError as error:
            return [Trouble(str(error))]
        if "partial" in got:
            return [Text(str(got["partial"]), final=False)] if got["partial"] else []
        if "error" in got and "text" not in got:
            return [Trouble(str(got["error"]))]
        added = {key: value for key, value in got.items() if key not in ("text", "result")}
        said: list[Said] = [Text(str(got.get("text") or ""), added=added)]
        return [*said, Told(_decision(got))] if _moves(got) else said


def _moves(got: Mapping[str, Any]) -> bool:
    """Whether a final says where the call goes; later ones without a prompt only say it again."""
    call = got.get("call")
    return isinstance(call, dict) and call.get("state") in _MOVED and bool(call.get("prompt"))


def _decision(got: Mapping[str, Any]) -> dict[str, Any]:
    action = {"route": "queue", "person": "person", "emergency": "emergency"}
    return {
        "action": action.get(str(got.get("decision")), "hang_up"),
        "queue": got.get("queue"),
        "number": got.get("emergency"),
        "confidence": got.get("confidence"),
        "language": got.get("language"),
    }
