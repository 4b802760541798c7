"""Rings as Asterisk's ``AudioSocket()``: a UUID, 20 ms frames, keys, and a hang-up frame."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import ClassVar, Literal

from ivr.errors import ServerError
from ivr.gateways.audiosocket import AUDIO_KINDS, RATES_HZ, Frame, FrameParser, Kind, frame
from ivr.gateways.clients.client import Ended, GatewayClient, Said, Sound, Trouble
from ivr.gateways.gateway import Message

__all__ = ["AudioSocketClient"]


class AudioSocketClient(GatewayClient):
    """One call; the parameter ``rate`` gives its rate, as ``AudioSocket/…/c(slin16)`` does.

    Raises:
        ServerError: the call id is no UUID, or AudioSocket has no such rate.
    """

    name: ClassVar[str] = "audiosocket"
    transport: ClassVar[Literal["websocket", "tcp"]] = "tcp"

    def __init__(
        self,
        *,
        call_id: str,
        caller: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call_id=call_id, caller=caller, parameters=parameters)
        try:
            self._uuid = uuid.UUID(call_id)
        except ValueError:
            raise ServerError(f"call id {call_id!r}: AudioSocket names calls by UUIDs") from None
        rate = self.parameters.get("rate", "8000")
        if not rate.isdecimal() or int(rate) not in AUDIO_KINDS:
            known = ", ".join(map(str, AUDIO_KINDS))
            raise ServerError(f"rate {rate!r}: AudioSocket has {known} Hz")
        self._rate_hz = int(rate)
        self._parser = FrameParser()

    @property
    def rate_hz(self) -> int:
        """See :class:`GatewayClient`."""
        return self._rate_hz

    def begin(self) -> list[Message]:
        """The UUID."""
        return [frame(Kind.UUID, self._uuid.bytes)]

    def audio(self, frame_: bytes) -> list[Message]:
        """A frame of the call's kind."""
        return [frame(AUDIO_KINDS[self._rate_hz], frame_)]

    def digit(self, digit: str) -> list[Message]:
        """A DTMF frame."""
        return [frame(Kind.DTMF, digit.encode("ascii"))]

    def hang_up(self) -> list[Message]:
        """A hang-up frame."""
        return [frame(Kind.HANG_UP)]

    def receive(self, message: Message, *, now_s: float) -> list[Said]:
        """Audio, or the end; Asterisk takes nothing else."""
        if isinstance(message, str):
            return [Trouble("text over AudioSocket")]
        said: list[Said] = []
        for each in self._parser.feed(message):
            if isinstance(each, Frame) and each.kind in RATES_HZ and each.payload:
                said.append(self._sound(each, now_s))
            elif each.kind == Kind.HANG_UP:
                said.append(Ended("hang-up frame"))
            else:
                reason = "an empty one" if isinstance(each, Frame) else each.reason
                said.append(Trouble(f"a server may send audio and hang-up frames alone: {reason}"))
        return said

    def _sound(self, got: Frame, now_s: float) -> Sound:
        rate_hz = RATES_HZ[got.kind]
        self.buffer.add(now_s, len(got.payload) / 2 / rate_hz)
        return Sound(got.payload[: len(got.payload) // 2 * 2], rate_hz)
