"""The calls in progress and those just over, with what was decided about each.

Whoever cannot be told a decision over the connection asks for it by the call's id: the HTTP API
reads this registry. Nothing is kept for ever: of the calls that are over, the ``kept`` last.
A call that comes with the id of an earlier one takes its place: what the earlier one does from then
on, its end too, is not seen here any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ivr.call.decision import Decision

__all__ = ["CallRecord", "LiveCall", "Registry"]


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


class LiveCall:
    """A call in progress, as the one who serves it keeps it up to date; :meth:`Registry.begin`."""

    def __init__(self, record: CallRecord, *, over: Callable[[LiveCall], None]) -> None:
        self.record = record
        self.superseded = False  # another call has come with its id
        self._over = over

    def update(self, *, state: str, decision: Decision | None) -> None:
        """Where the call stands now."""
        self.record = replace(self.record, state=state, decision=decision)

    def understood(self, understood: Mapping[str, Any]) -> None:
        """What came of the last utterance."""
        self.record = replace(self.record, understood=understood)

    def end(self, *, at: datetime) -> None:
        """The call is over."""
        self.record = replace(self.record, ended=at)
        self._over(self)


class Registry:
    """Calls by their id; used from the event loop alone.

    Args:
        kept: how many calls that are over are remembered.
    """

    def __init__(self, *, kept: int = 10_000) -> None:
        if kept < 1:
            raise ValueError(f"kept={kept}: at least the last call is remembered")
        self._kept = kept
        self._live: dict[str, LiveCall] = {}
        self._over: OrderedDict[str, CallRecord] = OrderedDict()

    def calls(self) -> tuple[CallRecord, ...]:
        """The calls in progress, the oldest first."""
        return tuple(call.record for call in self._live.values())

    def over(self) -> tuple[CallRecord, ...]:
        """The calls that are over and remembered, the oldest first."""
        return tuple(self._over.values())

    def call(self, call_id: str) -> CallRecord | None:
        """A call, in progress or over; None where it is not known, or known no more."""
        live = self._live.get(call_id)
        return live.record if live else self._over.get(call_id)

    def decision(self, call_id: str) -> Decision | None:
        """The decision that stands about a call; None where there is none (yet)."""
        record = self.call(call_id)
        return record.decision if record else None

    def begin(self, record: CallRecord) -> LiveCall:
        """A call has come; what is returned tells of it."""
        self._over.pop(record.call_id, None)
        earlier = self._live.pop(record.call_id, None)
        if earlier is not None:
            earlier.superseded = True
        call = self._live[record.call_id] = LiveCall(record, over=self._end)
        return call

    def _end(self, call: LiveCall) -> None:
        if call.superseded:
            return
        call_id = call.record.call_id
        self._live.pop(call_id, None)
        self._over[call_id] = call.record
        while len(self._over) > self._kept:
            self._over.popitem(last=False)
