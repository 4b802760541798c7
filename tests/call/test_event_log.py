from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.event_log import EventLog, as_line, read_input, read_opened
from ivr.call.events import (
    CallStarted,
    DigitPressed,
    Event,
    HungUp,
    Input,
    PromptPlayed,
    RecogniserFailed,
    Routed,
    SpeechStarted,
    Tick,
    Transferred,
    UtteranceMatched,
)
from ivr.call.prompts import PromptTexts
from ivr.call.session import CallSession, Limits
from ivr.call.transitions import State
from ivr.errors import ProtocolError, ReplayError
from ivr.intent.matcher import Matcher
from ivr.intent.types import Candidate, Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.replay.log import decisions, replay_log

CMN, YUE = Language.MANDARIN, Language.CANTONESE
BEGAN = datetime(2025, 6, 3, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
LIMITS = Limits(wait_told_s=180.0)
ELDERS = Limits(no_input_s=8.0, max_no_match=1, wait_told_s=180.0)


def match(decision: Decision, queue: str | None = None, *, text: str = "我要办事") -> Match:
    candidates = (Candidate(queue, 0.8, "例句"),) if queue else ()
    emergency = "119" if decision is Decision.EMERGENCY else None
    return Match(text, text, decision, queue, 0.8, candidates, emergency)


class Logged:
    """A call that is logged."""

    def __init__(self, matcher: Matcher, catalogue: Catalogue) -> None:
        self.records: list[dict[str, Any]] = []
        self.catalogue = catalogue
        self.log = EventLog(self.records.append, call_id="c-1", began=BEGAN, version="0a1b2c3d")
        waits = iter([240.0, 600.0, 5000.0] + [0.0] * 50)
        self.session = self.log.session(
            matcher=matcher,
            catalogue=catalogue,
            limits=LIMITS,
            elder_limits=ELDERS,
            expected_wait_s=lambda queue: next(waits),
        )

    def give(self, *inputs: Input) -> list[Event]:
        return [event for given in inputs for event in self.log.receive(given)]

    def types(self) -> list[str]:
        return [record["type"] for record in self.records]

    def again(self, **options: Any) -> Any:
        through_json = [json.loads(as_line(record)) for record in self.records]
        return replay_log(
            through_json,
            catalogue=self.catalogue,
            texts=PromptTexts(),
            version="0a1b2c3d",
            **options,
        )


@pytest.fixture
def call(matcher: Matcher, catalogue: Catalogue) -> Logged:
    return Logged(matcher, catalogue)


def test_every_record_has_its_place_in_the_call_and_in_the_day(call: Logged) -> None:
    call.give(CallStarted(0.0, BEGAN), Tick(0.5), PromptPlayed(7.5))
    assert [r["seq"] for r in call.records] == list(range(len(call.records)))
    assert {(r["v"], r["call"]) for r in call.records} == {(1, "c-1")}
    assert call.types() == ["opened", "call_started", "prompt", "prompt", "prompt_played"]
    assert (call.records[-1]["at_s"], call.records[-1]["wall"]) == (
        7.5,
        "2025-06-03T10:00:07.500+08:00",
    )


def test_ticks_that_change_nothing_are_not_written(call: Logged) -> None:
    call.give(CallStarted(0.0, BEGAN), PromptPlayed(4.0))
    before = len(call.records)
    call.give(*(Tick(4.0 + n / 50) for n in range(200)))
    assert len(call.records) == before
    call.give(*(Tick(8.0 + n / 50) for n in range(200)))
    assert [r["type"] for r in call.records[before:]] == ["tick", "prompt"]


def test_spoken_and_written_numbers_are_masked(call: Logged) -> None:
    text = "我电话系一三八零零一三八零零零"
    heard = match(Decision.CONFIRM, "social_security", text=text)
    call.give(CallStarted(0.0, BEGAN), UtteranceMatched(3.0, heard, YUE, (text, "打13800138000")))
    call.give(RecogniserFailed(4.0, "no model for 13800138000"))
    lines = "\n".join(map(as_line, call.records))
    assert "一三八零零" not in lines
    assert "1380013" not in lines
    assert "*********零零" in lines
    assert "social_security" in lines
    assert "c-1" in lines


def test_keys_that_decide_nothing_are_not_shown(call: Logged) -> None:
    call.give(CallStarted(0.0, BEGAN), *(DigitPressed(1.0 + n, d) for n, d in enumerate("4411")))
    call.give(UtteranceMatched(9.0, match(Decision.CONFIRM, "social_security"), YUE))
    call.give(DigitPressed(10.0, "1"))
    assert [r["digit"] for r in call.records if r["type"] == "digit_pressed"] == [*"????", "1"]
    assert call.again().differences == ()


def test_a_call_runs_again_byte_for_byte(call: Logged) -> None:
    call.give(
        CallStarted(0.0, BEGAN, can_call_back=True),
        SpeechStarted(1.0, words=False, over_prompt=True),
        UtteranceMatched(3.0, match(Decision.CONFIRM, "social_security"), YUE),
        UtteranceMatched(5.0, match(Decision.ASK_AGAIN, text="唔系，我想攞公积金"), YUE),
        UtteranceMatched(9.0, match(Decision.ASK_AGAIN, text="不要"), CMN),
        Transferred(12.0),
    )
    assert "matched_again" in call.types()
    assert "wait_asked" in call.types()
    again = call.again()
    assert again.differences == ()
    assert list(map(as_line, again.records)) == list(map(as_line, call.records))
    assert decisions(again.records) == [
        "confirmation_asked social_security",
        "routed housing_fund",
        "ended transferred",
    ]


def test_another_rule_is_told(call: Logged) -> None:
    call.give(CallStarted(0.0, BEGAN), DigitPressed(2.0, "0"))
    call.records[-1]["reason"] = "no_match"  # as if the rule had been another
    (difference,) = call.again().differences
    assert str(difference) == "record 6: handed_off: reason 'no_match', now 'asked'"


def test_words_can_be_matched_anew(call: Logged, matcher: Matcher) -> None:
    heard = match(Decision.ASK_AGAIN, text="我想攞公积金")
    call.give(CallStarted(0.0, BEGAN), UtteranceMatched(3.0, heard, YUE))
    again = call.again(matcher=matcher)
    assert decisions(again.logged) == []
    assert decisions(again.records)[0].endswith("housing_fund")


def test_an_input_that_is_not_allowed_is_written(call: Logged) -> None:
    call.give(CallStarted(0.0, BEGAN))
    with pytest.raises(ProtocolError):
        call.give(CallStarted(1.0, BEGAN))
    assert call.types()[-1] == "call_started"


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"type": "prompt"}, "the first record is not 'opened'"),
        ({"v": 9, "type": "opened"}, "a log of version 9, where 1 is known"),
        ({"v": 1, "type": "opened"}, "opened: version: Field required; the log is damaged"),
    ],
)
def test_a_log_that_cannot_be_run_says_why(record: dict[str, Any], what: str) -> None:
    with pytest.raises(ReplayError, match=what):
        read_opened(record)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["tick", "utterance_matched", "digit_pressed", "call_started"])},
        optional={
            "at_s": st.floats() | st.text(max_size=3),
            "digit": st.text(max_size=2),
            "match": st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
            "local_time": st.text(max_size=10),
        },
    )
)
def test_any_record_is_read_or_refused_by_one_error(record: dict[str, Any]) -> None:
    try:
        read_input(record, zone="Asia/Shanghai")
    except ReplayError as error:
        assert str(error).endswith("the log is damaged")  # noqa: PT017 either is right


_TEXTS = (
    "我要查社保",
    "是的",
    "不是，我要提取公积金",
    "讲慢啲",
    "讲广东话",
    "一三八零零一三八零零零",
    "人工",
    "",
)
_HEARD = st.builds(
    lambda decision, queue, text, language: (
        match(
            decision, queue if decision in (Decision.ROUTE, Decision.CONFIRM) else None, text=text
        ),
        language,
    ),
    st.sampled_from(list(Decision)),
    st.sampled_from(["social_security", "housing_fund", "general"]),
    st.sampled_from(_TEXTS),
    st.sampled_from(list(Language)),
)
_STEPS = st.lists(
    st.tuples(
        st.floats(0.02, 9.0, allow_nan=False),
        st.one_of(
            _HEARD,
            st.sampled_from(["tick", "tick", "speech", "voice", "played", "transferred", "failed"]),
            st.sampled_from([f"key {key}" for key in "0125*#"]),
        ),
    ),
    max_size=25,
)


def _input(now_s: float, step: Any) -> Input:
    if isinstance(step, tuple):
        return UtteranceMatched(now_s, step[0], step[1], (step[0].text,))
    if step.startswith("key "):
        return DigitPressed(now_s, step[4:])
    return {
        "tick": Tick(now_s),
        "speech": SpeechStarted(now_s),
        "voice": SpeechStarted(now_s, words=False, over_prompt=True),
        "played": PromptPlayed(now_s),
        "transferred": Transferred(now_s),
        "failed": RecogniserFailed(now_s, "broken"),
    }[step]


@settings(max_examples=60, deadline=None)
@given(steps=_STEPS, elder=st.booleans(), can_call_back=st.booleans())
def test_every_call_runs_again_byte_for_byte(
    matcher: Matcher, catalogue: Catalogue, steps: list[Any], elder: bool, can_call_back: bool
) -> None:
    call = Logged(matcher, catalogue)
    call.give(CallStarted(0.0, BEGAN, elder=elder, can_call_back=can_call_back))
    now_s = 0.0
    for after_s, step in steps:
        now_s += after_s
        if step == "transferred" and call.session.state not in (State.ROUTING, State.HANDING_OFF):
            continue
        call.give(_input(now_s, step))
    call.give(HungUp(now_s + 1.0))
    again = call.again()
    assert again.differences == ()
    assert "一三八零零" not in "".join(map(as_line, call.records))


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
def test_ticks_that_change_nothing_may_be_left_out(
    matcher: Matcher, catalogue: Catalogue, steps: list[Any]
) -> None:
    """What the log leaves out makes no difference to what follows."""
    every = CallSession(matcher=matcher, catalogue=catalogue)
    few = CallSession(matcher=matcher, catalogue=catalogue)
    every.receive(CallStarted(0.0, BEGAN))
    few.receive(CallStarted(0.0, BEGAN))
    now_s = 0.0
    for after_s, step in steps:
        now_s += after_s
        given_ = _input(now_s, step)
        if isinstance(given_, Transferred):
            continue
        before = every.snapshot()
        events = every.receive(given_)
        if isinstance(given_, Tick) and not events and every.snapshot() == before:
            continue
        assert few.receive(given_) == events


def test_routed_event_is_logged_whole(call: Logged) -> None:
    events = call.give(
        CallStarted(0.0, BEGAN), UtteranceMatched(3.0, match(Decision.ROUTE, "general"), CMN)
    )
    assert isinstance(events[-1], Routed)
    assert {k: call.records[-1][k] for k in ("queue", "confirmed", "needs")} == {
        "queue": "general",
        "confirmed": False,
        "needs": [],
    }
