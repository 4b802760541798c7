"""Rings as Asterisk's WebSocket channel: events in JSON or plain text, and its queue of frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.audio.codecs import Decoder, Encoding
from ivr.errors import ProtocolError, ServerError
from ivr.gateways.chan_websocket import CODECS, MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Said,
    Silenced,
    Sound,
    Trouble,
)
from ivr.gateways.gateway import Message
from ivr.gateways.messages import json_object, shown

__all__ = ["ChanWebSocketClient"]

_CHANNEL_ID = "1795572358.7"
_FRAME_S = 0.02
#: ``QUEUE_LENGTH_MAX``, ``…_XOFF_LEVEL`` and ``…_XON_LEVEL`` of Asterisk's, frames.
_MOST, _XOFF, _XON = 1000, 900, 800
_QUIET = frozenset({"MARK_MEDIA", "GET_STATUS", "REPORT_QUEUE_DRAINED", "ANSWER"})


class ChanWebSocketClient(GatewayClient):
    """One call; the parameters ``codec`` (``ulaw``, …) and ``format`` (``json``, ``plain-text``).

    Raises:
        ServerError: a parameter that Asterisk does not know.
    """

    name: ClassVar[str] = "asterisk"
    path: ClassVar[str] = "/asterisk"
    subprotocols: ClassVar[tuple[str, ...]] = ("media",)

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        self._codec = self.parameters.pop("codec", "ulaw")
        if self._codec not in CODECS:
            raise ServerError(f"codec {self._codec!r}: take one of {', '.join(CODECS)}")
        form = self.parameters.pop("format", "json")
        if form not in ("json", "plain-text"):
            raise ServerError(f"format {form!r}: Asterisk has json and plain-text")
        self._json = form == "json"
        self._bulk = False
        self._full = False
        self._left = 0  # bytes of an unfinished frame

    @property
    def rate_hz(self) -> int:
        """See :class:`GatewayClient`."""
        return CODECS[self._codec][1]

    @property
    def encoding(self) -> Encoding:
        """See :class:`GatewayClient`."""
        return CODECS[self._codec][0]

    @property
    def _frame_bytes(self) -> int:
        return round(_FRAME_S * self.rate_hz) * self.encoding.bytes_per_sample

    def query(self) -> Mapping[str, str]:
        """What ``v(call_id=…,caller=…)`` of the dialplan makes of the URL."""
        return {"call_id": self.call_id} | ({"caller": self.caller} if self.caller else {})

    def begin(self) -> list[Message]:
        """``MEDIA_START``, of a channel that is not the caller's."""
        start: dict[str, Any] = {
            "connection_id": "kapok",
            "channel": "WebSocket/kapok/0x7f0001",
            "channel_id": _CHANNEL_ID,
            "format": self._codec,
            "optimal_frame_size": self._frame_bytes,
            "ptime": 20,
        }
        if self._json:
            start["channel_variables"] = self.parameters
        return [self._event("MEDIA_START", start)]

    def digit(self, digit: str) -> list[Message]:
        """``DTMF_END``."""
        return [self._event("DTMF_END", {"digit": digit, "channel_id": _CHANNEL_ID})]

    def hang_up(self) -> list[Message]:
        """Nothing: Asterisk closes the WebSocket."""
        return []

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Media and commands, as ``chan_websocket.c`` reads them."""
        if isinstance(message, bytes):
            return self._media(message, now_s)
        if len(message.encode()) > MAX_COMMAND_BYTES:
            return [Trouble(f"a command of more than {MAX_COMMAND_BYTES} bytes: {shown(message)}")]
        try:
            name, correlation_id = self._command(message)
        except ProtocolError as error:
            return [Trouble(str(error))]
        return self._do(name, correlation_id, now_s)

    def _command(self, text: str) -> tuple[str, str]:
        if not self._json:
            name, _, correlation_id = text.strip().partition(" ")
            return name, correlation_id
        got = json_object(text)
        return str(got.get("command")), str(got.get("correlation_id") or "")

    def _do(self, name: str, correlation_id: str, now_s: float) -> list[Said]:
        match name:
            case "START_MEDIA_BUFFERING":
                self._bulk = True
            case "STOP_MEDIA_BUFFERING":
                self._bulk, self._left = False, 0
                self.buffer.mark(now_s, correlation_id)
            case "FLUSH_MEDIA":
                self._bulk, self._left = False, 0
                self.buffer.clear(now_s)
                return [Silenced()]
            case "HANGUP":
                return [Ended("HANGUP")]
            case _ if name not in _QUIET:
                return [Trouble(f"unknown command {shown(name)}")]
        return []

    def _media(self, data: bytes, now_s: float) -> list[Said]:
        if len(data) > MAX_MESSAGE_BYTES:
            return [Trouble(f"media of {len(data)} bytes; Asterisk reads {MAX_MESSAGE_BYTES}")]
        queued = self.buffer.left_s(now_s) / _FRAME_S
        if queued >= _MOST:
            return [Trouble(f"the queue of {_MOST} frames is full: media is thrown away")]
        lost = 0 if self._bulk else len(data) % self._frame_bytes
        said: list[Said] = []
        if lost:
            said.append(Trouble(f"{lost} bytes of media outside of buffering make no frame"))
            data = data[: len(data) - lost]
        pcm = Decoder(self.encoding).decode(data)
        self.buffer.add(now_s, len(pcm) / 2 / self.rate_hz)
        if not self._full and queued + len(data) / self._frame_bytes >= _XOFF:
            self._full = True
            said.append(Answer((self._event("MEDIA_XOFF", {"channel_id": _CHANNEL_ID}),)))
        return [*said, Sound(pcm, self.rate_hz)]

    def advance(self, *, now_s: float) -> list[Message]:
        """``MEDIA_XON`` once there is room, ``MEDIA_BUFFERING_COMPLETED`` for what was played."""
        sent: list[Message] = []
        if self._full and self.buffer.left_s(now_s) / _FRAME_S < _XON:
            self._full = False
            sent.append(self._event("MEDIA_XON", {"channel_id": _CHANNEL_ID}))
        for name in self.buffer.reached(now_s):
            told = {"channel_id": _CHANNEL_ID, "correlation_id": name}
            sent.append(self._event("MEDIA_BUFFERING_COMPLETED", told))
        return sent

    def _event(self, name: str, values: Mapping[str, Any]) -> str:
        if self._json:
            return json.dumps({"event": name, **values}, separators=(",", ":"))
        if name == "MEDIA_BUFFERING_COMPLETED":
            return f"{name} {values['correlation_id']}"
        if name in ("MEDIA_XON", "MEDIA_XOFF"):
            return name
        return " ".join((name, *(f"{key}:{value}" for key, value in values.items())))
