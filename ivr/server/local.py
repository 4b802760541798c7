"""A call in this process, over any gateway's protocol, with no server and no event loop.

    call = LocalCall(services, local_time=datetime.now(zone))
    answers = call.step(message)     # as the server would answer, prompts apart

What :mod:`ivr.server.call` does over a connection, without playing prompts: for replays and
tests.
"""

from __future__ import annotations

import logging
from datetime import datetime

from ivr.call.turn import Turn
from ivr.gateways.gateway import (
    Audio,
    Digit,
    Finished,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Partial,
    Refused,
    Reply,
    Started,
    StreamChanged,
)
from ivr.gateways.vosk import VoskGateway
from ivr.server.conversation import Conversation, Services

__all__ = ["LocalCall"]

_log = logging.getLogger(__name__)


class LocalCall:
    """One call; used from one thread at a time.

    Args:
        services: what calls share.
        local_time: the clock on the wall as the call begins, with its time zone.
        gateway: the protocol; the Vosk server's by default.
    """

    def __init__(
        self, services: Services, *, local_time: datetime, gateway: Gateway | None = None
    ) -> None:
        self._services, self._local_time = services, local_time
        self._gateway = gateway or VoskGateway(max_frame_bytes=services.max_message_bytes)
        self._conversation: Conversation | None = None
        self._closed = False

    @property
    def conversation(self) -> Conversation | None:
        """The conversation; None before the gateway has started the call."""
        return self._conversation

    @property
    def closed(self) -> bool:
        """Whether the server would have closed by now."""
        return self._closed

    def step(self, message: Message) -> list[Message]:
        """Take one message; every answer to it. Never raises on account of the message."""
        return [answer for item in self._gateway.receive(message) for answer in self._do(item)]

    def hang_up(self) -> None:
        """End the call."""
        if self._conversation is not None:
            self._conversation.hang_up()

    def _do(self, inbound: Inbound) -> list[Message]:
        match inbound:
            case Reply(messages):
                return list(messages)
            case Refused():
                self._closed = self._closed or inbound.closes
                return self._gateway.send(inbound)
            case HungUp():
                self._closed = True
            case Started():
                self._start(inbound)
            case _ if self._conversation is not None:
                return self._answers(self._ask(self._conversation, inbound))
        return []

    def _start(self, started: Started) -> None:
        self._conversation = Conversation(
            self._services,
            local_time=self._local_time,
            stream=started.stream,
            call_id=started.call_id,
            caller=started.caller,
        )

    def _ask(self, conversation: Conversation, inbound: Inbound) -> Turn:
        match inbound:
            case Audio(data):
                return conversation.hear(data)
            case Digit(digit):
                return conversation.press(digit)
            case Finished(closes):
                self._closed = self._closed or closes
                return conversation.finish()
            case StreamChanged(stream):
                conversation.configure(stream)
        return Turn()

    def _answers(self, turn: Turn) -> list[Message]:
        partial = [] if turn.partial is None else self._gateway.send(Partial(turn.partial))
        final = [] if turn.final is None else self._gateway.send(turn.final)
        return [*partial, *final]
