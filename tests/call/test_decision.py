from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ivr.asr.engine import Hypothesis
from ivr.call.decision import Action, Decisions
from ivr.call.events import (
    ConfirmationAsked,
    EmergencyRouted,
    Ended,
    EndReason,
    Event,
    HandedOff,
    HandOffReason,
    Routed,
)
from ivr.call.turn import Final, Turn

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def decisions() -> Decisions:
    return Decisions(call_id="c-1", gateway="vonage")


def turn(*events: Event, text: str = "我想查吓社保", language: str = "yue") -> Turn:
    said = Hypothesis(text, (), -1.0, 0.9)
    slots = [{"kind": "date", "value": "2026-11-23", "text": "昨天"}]
    added = {"language": language, "slots": slots}
    return Turn(final=Final(hypotheses=(said,), added=added), events=events)


def test_a_queue() -> None:
    made = decisions().take(turn(Routed("social_security", 0.9, True, needs=("general",))), at=NOON)
    assert made is not None
    assert json.loads(json.dumps(made.as_json())) == {
        "call_id": "c-1",
        "gateway": "vonage",
        "action": "queue",
        "queue": "social_security",
        "number": None,
        "confidence": 0.9,
        "confirmed": True,
        "reason": None,
        "language": "yue",
        "transcript": "我想查吓社保",
        "slots": [{"kind": "date", "value": "2026-11-23", "text": "昨天"}],
        "needs": ["general"],
        "expected_wait_s": None,
        "at": "2026-11-24T12:00:00.000+00:00",
        "revision": 1,
    }


@pytest.mark.parametrize(
    ("event", "action", "detail"),
    [
        (HandedOff(HandOffReason.ASKED), Action.PERSON, "asked"),
        (EmergencyRouted("119"), Action.EMERGENCY, "119"),
        (Ended(EndReason.CLOSED), Action.HANG_UP, "closed"),
    ],
)
def test_other_ways(event: Event, action: Action, detail: str) -> None:
    made = decisions().take(turn(event), at=NOON)
    assert made is not None
    assert made.action is action
    assert detail in (made.number, made.reason)


def test_what_moves_nobody_is_no_decision() -> None:
    following = decisions()
    assert following.take(turn(ConfirmationAsked("general", 0.6)), at=NOON) is None
    assert following.take(Turn(partial="我"), at=NOON) is None
    assert following.last is None


def test_a_key_keeps_what_was_said_before() -> None:
    following = decisions()
    following.take(turn(), at=NOON)
    made = following.take(Turn(events=(HandedOff(HandOffReason.ASKED),)), at=NOON)
    assert made is not None
    assert (made.transcript, made.language) == ("我想查吓社保", "yue")


def test_a_transcript_is_masked() -> None:
    said = turn(Routed("general", 0.9, False), text="我的电话是一三八一二三四五六七八")
    made = decisions().take(said, at=NOON)
    assert made is not None
    assert "一三八一二三四" not in made.transcript


def test_a_later_decision_takes_the_place_of_an_earlier_one() -> None:
    following = decisions()
    following.take(turn(Routed("general", 0.9, False)), at=NOON)
    following.withdraw()
    assert following.last is None
    made = following.take(turn(Routed("social_security", 0.9, False)), at=NOON)
    assert made is not None
    assert (made.queue, made.revision) == ("social_security", 2)
    assert following.at_end(at=NOON, hung_up=True) is made
    assert following.at_end(at=NOON, hung_up=False) is made


def test_a_call_that_ends_undecided_was_hung_up() -> None:
    ended = decisions().at_end(at=NOON, hung_up=True)
    assert (ended.action, ended.reason, ended.revision) == (Action.HANG_UP, "hang_up", 1)


def test_a_caller_whose_line_broke_undecided_goes_to_a_person() -> None:
    following = decisions()
    following.take(turn(Routed("general", 0.9, False)), at=NOON)
    following.withdraw()
    ended = following.at_end(at=NOON, hung_up=False)
    assert (ended.action, ended.reason, ended.revision) == (Action.PERSON, "line_lost", 2)
    assert following.last is ended
