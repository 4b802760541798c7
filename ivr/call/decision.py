"""What was decided about a call, as gateways, the HTTP API and the webhook are told it.

:class:`Decisions` follows the turns of one call and makes a :class:`Decision` of each that
moves the caller. The caller may object while the transfer is announced, so that a later decision
may take the place of an earlier one; each has its ``revision``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ivr.call.events import (
    CallBackAccepted,
    EmergencyRouted,
    Ended,
    EndReason,
    Event,
    HandedOff,
    HandOffReason,
    Routed,
)
from ivr.call.turn import Turn
from ivr.intent.slots import mask

__all__ = ["Action", "Decision", "Decisions"]


class Action(StrEnum):
    """What to do with the call."""

    QUEUE = "queue"  # put it into the queue ``queue``
    PERSON = "person"  # to a person
    EMERGENCY = "emergency"  # to the emergency number ``number``
    HANG_UP = "hang_up"  # end it: closed, or the caller has gone
    CALLBACK = "callback"  # end it, and call the caller back


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision; :meth:`as_json` is its form on the wire."""

    call_id: str
    gateway: str
    action: Action
    queue: str | None = None
    number: str | None = None  # of an emergency, or where to call back
    confidence: float = 0.0  # 0 to 1
    confirmed: bool = False  # the caller said yes to it
    reason: str | None = None  # why a person, or why it ended (ivr.call.events)
    language: str | None = None  # cmn or yue
    transcript: str = ""  # of the utterance that decided, personal data masked
    slots: tuple[Mapping[str, str], ...] = ()  # what the agent would ask for, in full
    needs: tuple[str, ...] = ()  # queues the caller needs besides
    expected_wait_s: float | None = None
    at: datetime  # with its time zone
    revision: int = 1  # counts the decisions of a call

    def as_json(self) -> dict[str, Any]:
        """The decision as the HTTP API and the webhook give it."""
        return asdict(self) | {
            "action": self.action.value,
            "confidence": round(self.confidence, 4),
            "slots": [dict(slot) for slot in self.slots],
            "needs": list(self.needs),
            "at": self.at.isoformat(timespec="milliseconds"),
        }


class Decisions:
    """The decisions of one call, as its turns come."""

    def __init__(
        self,
        *,
        call_id: str,
        gateway: str,
        person_queue: str | None = None,
        caller: str | None = None,
    ) -> None:
        """Nothing is decided yet.

        Args:
            person_queue: the queue of a caller who goes to a person.
            caller: the caller's number, where it is known: a call-back goes there.
        """
        self._caller = caller
        self._call_id, self._gateway = call_id, gateway
        self._person_queue = person_queue
        self._language: str | None = None
        self._transcript = ""
        self._slots: tuple[Mapping[str, str], ...] = ()
        self._last: Decision | None = None
        self._made = 0

    @property
    def last(self) -> Decision | None:
        """The decision that stands."""
        return self._last

    def take(self, turn: Turn, *, at: datetime) -> Decision | None:
        """The decision of ``turn``, made at the time ``at``; None where it has none."""
        self._note(turn)
        made = None
        for event in turn.events:
            made = self._of(event, at) or made
        if made is not None:
            self._made += 1
            self._last = made = replace(made, revision=self._made)
        return made

    def withdraw(self) -> None:
        """The caller objected: no decision stands."""
        self._last = None

    def at_end(self, *, at: datetime, hung_up: bool) -> Decision:
        """The decision that stands as the connection ends.

        Args:
            at: when that is.
            hung_up: whether the caller, or the gateway, ended the call. Where the connection broke,
                or had to be closed, the caller may still be with the gateway: without a decision it
                is then told a person.
        """
        if self._last is None:
            if hung_up:
                ended = self._decision(at, action=Action.HANG_UP, reason=EndReason.HANG_UP.value)
            else:
                ended = self._to_person(at, HandOffReason.LINE_LOST)
            self._last = replace(ended, revision=self._made + 1)
        return self._last

    def _note(self, turn: Turn) -> None:
        if turn.final is None or not turn.final.text:
            return
        self._transcript = mask(turn.final.text)
        self._language = turn.final.added.get("language") or self._language
        self._slots = tuple(turn.final.added.get("slots") or ()) or self._slots

    def _of(self, event: Event, at: datetime) -> Decision | None:
        match event:
            case Routed():
                return self._decision(
                    at,
                    action=Action.QUEUE,
                    queue=event.queue,
                    confidence=event.confidence,
                    confirmed=event.confirmed,
                    needs=event.needs,
                )
            case EmergencyRouted():
                return self._decision(
                    at, action=Action.EMERGENCY, number=event.number, confirmed=True
                )
            case HandedOff():
                return self._to_person(at, event.reason)
            case CallBackAccepted():
                return self._decision(
                    at,
                    action=Action.CALLBACK,
                    queue=event.queue,
                    number=self._caller,
                    confirmed=True,
                    needs=event.needs,
                    expected_wait_s=event.wait_s,
                )
            case Ended(EndReason.CLOSED):
                return self._decision(at, action=Action.HANG_UP, reason=event.reason.value)
            case _:
                return None

    def _to_person(self, at: datetime, reason: HandOffReason) -> Decision:
        return self._decision(
            at, action=Action.PERSON, queue=self._person_queue, reason=reason.value
        )

    def _decision(self, at: datetime, **what: Any) -> Decision:
        return Decision(
            call_id=self._call_id,
            gateway=self._gateway,
            language=self._language,
            transcript=self._transcript,
            slots=self._slots,
            at=at,
            **what,
        )
