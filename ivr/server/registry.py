"""The calls in progress and those just over, with what was decided about each.

Whoever cannot be told a decision over the connection asks for it by the call's id: the HTTP API
reads this registry. Nothing is kept for ever: of the calls that are over, the ``kept`` last.
A call that comes with the id of an earlier one takes its place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ivr.call.decision import Decision

__all__ = ["CallRecord", "Registry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call."""

    call_id: str
    gateway: str
    began: datetime  # with its time zone
    caller: str | None = None
    ended: datetime | None = None  # None: in progress
    state: str = "new"  # ivr.call.transitions.State
    #: of the last utterance: language, decision, queue, confidence, emergency (docs/design.md)
    understood: Mapping[str, Any] | None = None
    decision: Decision | None = None

    def as_json(self) -> dict[str, Any]:
        """The call as the HTTP API gives it."""
        return {
            "call_id": self.call_id,
            "gateway": self.gateway,
            "caller": self.caller,
            "began": self.began.isoformat(timespec="milliseconds"),
            "ended": self.ended.isoformat(timespec="milliseconds") if self.ended else None,
            "state": self.state,
            "understood": dict(self.understood) if self.understood else None,
            "decision": self.decision.as_json() if self.decision else None,
        }


class Registry:
    """Calls by their id; used from the event loop alone.

    Args:
        kept: how many calls that are over are remembered.
    """

    def __init__(self, *, kept: int = 10_000) -> None:
        if kept < 1:
            raise ValueError(f"kept={kept}: at least the last call is remembered")
        self._kept = kept
        self._live: dict[str, CallRecord] = {}
        self._over: OrderedDict[str, CallRecord] = OrderedDict()

    def calls(self) -> tuple[CallRecord, ...]:
        """The calls in progress, the oldest first."""
        return tuple(self._live.values())

    def over(self) -> tuple[CallRecord, ...]:
        """The calls that are over and remembered, the oldest first."""
        return tuple(self._over.values())

    def call(self, call_id: str) -> CallRecord | None:
        """A call, in progress or over; None where it is not known, or known no more."""
        return self._live.get(call_id) or self._over.get(call_id)

    def decision(self, call_id: str) -> Decision | None:
        """The decision that stands about a call; None where there is none (yet)."""
        record = self.call(call_id)
        return record.decision if record else None

    def begin(self, record: CallRecord) -> None:
        """A call has come."""
        self._over.pop(record.call_id, None)
        self._live.pop(record.call_id, None)
        self._live[record.call_id] = record

    def update(self, call_id: str, *, state: str, decision: Decision | None) -> None:
        """Where a call stands now; unknown calls are passed over."""
        record = self._live.get(call_id)
        if record is not None:
            self._live[call_id] = replace(record, state=state, decision=decision)

    def understood(self, call_id: str, understood: Mapping[str, Any]) -> None:
        """What came of a call's last utterance; unknown calls are passed over."""
        record = self._live.get(call_id)
        if record is not None:
            self._live[call_id] = replace(record, understood=understood)

    def end(self, call_id: str, *, at: datetime) -> None:
        """A call is over; unknown calls are passed over."""
        record = self._live.pop(call_id, None)
        if record is None:
            return
        self._over[call_id] = replace(record, ended=at)
        while len(self._over) > self._kept:
            self._over.popitem(last=False)
