"""Rings as jambonz' ``listen`` verb: the call's attributes first, keys, and reports of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.gateways.clients.client import Said, Trouble
from ivr.gateways.clients.freeswitch import FreeSwitchClient

__all__ = ["JambonzClient"]


class JambonzClient(FreeSwitchClient):
    """One call; the parameter ``rate`` is the verb's ``sampleRate``, the others its metadata."""

    name: ClassVar[str] = "jambonz"
    tells_text: ClassVar[bool] = False
    path: ClassVar[str] = "/jambonz"
    subprotocols: ClassVar[tuple[str, ...]] = ("audio.jambonz.org",)

    def metadata(self) -> dict[str, Any]:
        """The call's attributes."""
        return {
            "sampleRate": self.rate_hz,
            "mixType": "mono",
            "callSid": self.call_id,
            "direction": "inbound",
            "from": self.caller or "anonymous",
            "to": "12345",
            "callId": f"{self.call_id}@sip",
            "sipStatus": 200,
            "callStatus": "in-progress",
            **self.parameters,
        }

    def _transfer(self, data: Mapping[str, Any]) -> list[Said]:
        return [Trouble("jambonz' listen has no transfer; its actionHook is asked")]
