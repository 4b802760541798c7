from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.decision import Action, Decision
from ivr.server.registry import CallRecord, LiveCall, Registry

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def record(call_id: str = "a") -> CallRecord:
    return CallRecord(call_id=call_id, gateway="twilio", began=NOON)


def decision(call_id: str = "a", queue: str = "general") -> Decision:
    return Decision(call_id=call_id, gateway="twilio", action=Action.QUEUE, queue=queue, at=NOON)


def test_a_call_from_beginning_to_end() -> None:
    registry = Registry()
    live = registry.begin(record())
    assert registry.decision("a") is None
    live.update(state="routing", decision=decision())
    assert [call.state for call in registry.calls()] == ["routing"]
    live.understood({"decision": "route", "queue": "general"})
    live.end(at=NOON + timedelta(seconds=9))
    assert registry.calls() == ()
    assert registry.decision("a") == decision()
    (over,) = registry.over()
    assert over.as_json() == {
        "call_id": "a",
        "gateway": "twilio",
        "caller": None,
        "began": "2026-11-24T12:00:00.000+00:00",
        "ended": "2026-11-24T12:00:09.000+00:00",
        "state": "routing",
        "understood": {"decision": "route", "queue": "general"},
        "decision": decision().as_json(),
    }


def test_a_withdrawn_decision_is_none() -> None:
    registry = Registry()
    live = registry.begin(record())
    live.update(state="routing", decision=decision())
    live.update(state="asking_again", decision=None)
    assert registry.decision("a") is None


def test_unknown_calls_are_none() -> None:
    registry = Registry()
    assert registry.call("x") is None
    assert registry.decision("x") is None
    assert registry.over() == ()


def test_what_a_call_does_whose_place_was_taken_is_not_seen() -> None:
    registry = Registry()
    stale = registry.begin(record())
    live = registry.begin(record())
    live.update(state="routing", decision=decision())
    stale.update(state="ended", decision=decision(queue="other"))
    stale.understood({"decision": "person"})
    stale.end(at=NOON)
    assert (stale.superseded, live.superseded) == (True, False)
    assert registry.over() == ()
    (seen,) = registry.calls()
    assert (seen.state, seen.understood, seen.decision) == ("routing", None, decision())
    live.end(at=NOON)
    assert [call.decision for call in registry.over()] == [decision()]


def test_a_call_with_the_id_of_an_earlier_one_takes_its_place() -> None:
    registry = Registry()
    live = registry.begin(record())
    live.update(state="routing", decision=decision())
    live.end(at=NOON)
    registry.begin(record())
    assert registry.decision("a") is None
    assert len(registry.calls()) == 1
    assert registry.over() == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("bulk"), st.sampled_from(["begin", "end"]))))
def test_nothing_is_kept_for_ever(steps: list[tuple[str, str]]) -> None:
    registry = Registry(kept=2)
    begun: dict[str, LiveCall] = {}
    for call_id, step in steps:
        if step == "begin":
            begun[call_id] = registry.begin(record(call_id))
        elif call_id in begun:
            begun[call_id].end(at=NOON)
        live, over = registry.calls(), registry.over()
        assert len(over) <= 2
        assert not {c.call_id for c in live} & {c.call_id for c in over}


def test_at_least_one_is_kept() -> None:
    with pytest.raises(ValueError, match="kept=0"):
        Registry(kept=0)
