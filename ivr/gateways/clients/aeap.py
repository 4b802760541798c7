"""Rings as Asterisk's speech engine, with a dialplan that asks what to do after each result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.audio.codecs import Encoding
from ivr.errors import ProtocolError
from ivr.gateways.aeap import VERSION
from ivr.gateways.clients.client import Answer, GatewayClient, Ready, Said, Text, Told, Trouble
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object, shown

__all__ = ["AeapClient"]

#: What the dialplan of docs/gateways/asterisk.md asks for after a result, in order.
_ASKED = ("action", "queue", "number", "confidence", "language", "sounds")


class AeapClient(GatewayClient):
    """One call; parameters go along with ``setup``, as ``@name=value`` of aeap.conf does."""

    name: ClassVar[str] = "aeap"
    tells_text: ClassVar[bool] = True
    path: ClassVar[str] = "/aeap"
    subprotocols: ClassVar[tuple[str, ...]] = ("speech_to_text",)
    ready_at_once: ClassVar[bool] = False

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        self._requests: dict[str, str] = {}  # id -> what its answer is for
        self._number = 0
        self._settings: dict[str, str] = {}

    @property
    def encoding(self) -> Encoding:
        """See :class:`GatewayClient`."""
        return Encoding.MULAW

    def begin(self) -> list[Message]:
        """``setup``."""
        setup = {"version": VERSION, "codecs": [{"name": "ulaw"}], "params": self.parameters}
        return [self._request("setup", "setup", **setup)]

    def digit(self, digit: str) -> list[Message]:
        """``set`` of ``dtmf``."""
        return [self._request("set", "dtmf", params={"dtmf": digit})]

    def hang_up(self) -> list[Message]:
        """Nothing: Asterisk closes the WebSocket."""
        return []

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Responses, and the request ``set`` with results."""
        try:
            got = json_object(message if isinstance(message, str) else "binary")
        except ProtocolError as error:
            return [Trouble(str(error))]
        return self._asked(got) if "request" in got else self._answered(got)

    def _asked(self, got: Mapping[str, Any]) -> list[Said]:
        params = got.get("params")
        results = params.get("results") if isinstance(params, dict) else None
        if got.get("request") != "set" or not isinstance(results, list) or not got.get("id"):
            return [Trouble(f"Asterisk takes the request set with results alone: {shown(got)}")]
        response = json.dumps({"response": "set", "id": got["id"]})
        # Asterisk puts each result before those it has: the last is SPEECH_TEXT(0).
        best = results[-1] if results and isinstance(results[-1], dict) else {}
        return [
            Answer((response,)),
            Text(str(best.get("text") or ""), added=best),
            Answer(self._questions()),
        ]

    def _questions(self) -> tuple[Message, ...]:
        self._settings = {}
        return tuple(self._request("get", f"get {name}", params=[name]) for name in _ASKED)

    def _answered(self, got: Mapping[str, Any]) -> list[Said]:
        asked = self._requests.pop(str(got.get("id")), None)
        if asked is None:
            return [Trouble(f"a response to nothing that was asked: {shown(got)}")]
        if got.get("error_msg"):
            return [Trouble(f"{asked}: {got['error_msg']}")]
        if asked == "setup":
            return self._set_up(got)
        if asked == "dtmf":
            return [Answer(self._questions())]
        return self._got(asked.partition(" ")[2], got) if asked.startswith("get ") else []

    def _set_up(self, got: Mapping[str, Any]) -> list[Said]:
        if got.get("codecs") != [{"name": "ulaw"}]:
            return [Trouble(f"setup: Asterisk wants its codec, ulaw, back: {shown(got)}")]
        known = {"call_id": self.call_id, "caller": self.caller}
        sets = [
            self._request("set", name, params={name: value})
            for name, value in known.items()
            if value
        ]
        return [Answer(tuple(sets)), Ready()]

    def _got(self, name: str, got: Mapping[str, Any]) -> list[Said]:
        params = got.get("params")
        value = params.get(name) if isinstance(params, dict) else None
        if not isinstance(value, str):
            return [Trouble(f"get {name}: Asterisk wants a text: {shown(got)}")]
        self._settings[name] = value
        complete = len(self._settings) == len(_ASKED) and self._settings["action"]
        return [Told(dict(self._settings))] if complete else []

    def _request(self, name: str, means: str, **rest: Any) -> str:
        self._number += 1
        request_id = f"asterisk-{self._number}"
        self._requests[request_id] = means
        return json.dumps({"request": name, "id": request_id} | rest, ensure_ascii=False)
