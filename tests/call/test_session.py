from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ivr.call.events import (
    BargedIn,
    CallBackAccepted,
    CallBackOffered,
    CallStarted,
    ConfirmationAsked,
    DigitPressed,
    EmergencyOffered,
    EmergencyRouted,
    Ended,
    EndReason,
    Event,
    HandedOff,
    HandOffReason,
    HungUp,
    LanguageChosen,
    Prompt,
    PromptPlayed,
    RecogniserFailed,
    Routed,
    SlowedDown,
    SpeechStarted,
    Tick,
    Transferred,
    UtteranceMatched,
)
from ivr.call.prompts import PROMPTS, spoken_s
from ivr.call.session import CallSession, Limits
from ivr.call.transitions import State
from ivr.errors import ProtocolError
from ivr.intent.matcher import Matcher
from ivr.intent.types import Candidate, Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.settings import load_settings

CMN, YUE = Language.MANDARIN, Language.CANTONESE
ZONE = ZoneInfo("Asia/Shanghai")
OPEN = datetime(2025, 6, 3, 10, 0, tzinfo=ZONE)  # a Tuesday
NIGHT = datetime(2025, 6, 3, 23, 0, tzinfo=ZONE)


def match(
    decision: Decision,
    queue: str | None = None,
    *,
    text: str = "我要办事",
    emergency: str | None = None,
) -> Match:
    candidates = (Candidate(queue, 0.8, text),) if queue else ()
    return Match(text, text, decision, queue, 0.8, candidates, emergency)


def unclear(text: str = "咿咿呀呀") -> Match:
    return match(Decision.ASK_AGAIN, text=text)


class Caller:
    """Drives a session as a gateway does, and keeps what came back."""

    def __init__(self, session: CallSession, *, local_time: datetime = OPEN) -> None:
        self.session = session
        self.now_s = 100.0
        self.events: list[Event] = []
        self._take(session.receive(CallStarted(self.now_s, local_time)))

    def _take(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        self.events += events
        return events

    def says(self, heard: Match, language: Language = CMN, *alternatives: str) -> tuple[Event, ...]:
        self.now_s += 3.0
        self._take(self.session.receive(SpeechStarted(self.now_s - 1.0)))
        given = UtteranceMatched(self.now_s, heard, language, alternatives)
        return self._take(self.session.receive(given))

    def answers(self, text: str, language: Language = CMN) -> tuple[Event, ...]:
        return self.says(unclear(text), language)

    def presses(self, digit: str) -> tuple[Event, ...]:
        self.now_s += 1.0
        return self._take(self.session.receive(DigitPressed(self.now_s, digit)))

    def waits(self, seconds: float) -> list[Event]:
        before = len(self.events)
        until = self.now_s + seconds
        while self.now_s < until:
            self.now_s += 0.5
            self._take(self.session.receive(Tick(self.now_s)))
        return self.events[before:]

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def last_prompt(self) -> Prompt:
        return [e for e in self.events if isinstance(e, Prompt)][-1]


@pytest.fixture
def caller(matcher: Matcher, catalogue: Catalogue) -> Caller:
    return Caller(CallSession(matcher=matcher, catalogue=catalogue))


def kinds(events: tuple[Event, ...] | list[Event]) -> list[type]:
    return [type(event) for event in events]


# --- the straight way -----------------------------------------------------------------------


def test_the_call_is_greeted_in_both_languages(caller: Caller) -> None:
    assert caller.state is State.GREETING
    assert [(e.id, e.language) for e in caller.events] == [("greeting", CMN), ("greeting", YUE)]  # type: ignore[union-attr]


def test_a_sure_request_is_routed(caller: Caller) -> None:
    prompt, routed = caller.says(match(Decision.ROUTE, "social_security"), YUE)
    assert caller.state is State.ROUTING
    assert routed == Routed("social_security", 0.8, confirmed=False)
    assert isinstance(prompt, Prompt)
    assert prompt.language is YUE
    assert "社会保障" in prompt.text


def test_a_transferred_call_is_over(caller: Caller) -> None:
    caller.says(match(Decision.ROUTE, "social_security"))
    assert caller.session.receive(Transferred(110.0)) == (Ended(EndReason.TRANSFERRED),)
    assert caller.state is State.ENDED


def test_a_likely_request_is_confirmed(caller: Caller) -> None:
    events = caller.says(match(Decision.CONFIRM, "social_security"))
    assert kinds(events) == [Prompt, ConfirmationAsked]
    assert caller.answers("是的")[-1] == Routed("social_security", 0.8, confirmed=True)


def test_a_yes_in_cantonese(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "housing_fund"), YUE)
    assert caller.answers("系 呀", YUE)[-1] == Routed("housing_fund", 0.8, confirmed=True)


def test_a_yes_in_the_second_hypothesis(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "housing_fund"))
    events = caller.says(unclear("西"), YUE, "西", "系呀")
    assert events[-1] == Routed("housing_fund", 0.8, confirmed=True)


def test_naming_the_matter_again_is_a_yes(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "housing_fund"))
    events = caller.says(match(Decision.CONFIRM, "housing_fund", text="公积金"))
    assert events[-1] == Routed("housing_fund", 0.8, confirmed=True)


def test_a_no_asks_again(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "housing_fund"))
    assert [e.id for e in caller.answers("唔系", YUE) if isinstance(e, Prompt)] == ["ask_again"]
    assert caller.state is State.ASKING_AGAIN
    assert (caller.session.denials, caller.session.no_matches) == (1, 0)


def test_denied_once_too_often_goes_to_a_person(caller: Caller) -> None:
    for _ in range(3):
        caller.says(match(Decision.CONFIRM, "housing_fund"))
        caller.answers("不是")
    assert caller.events[-1] == HandedOff(HandOffReason.DENIED)


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("不是社保，是公积金怎么查", CMN),
        ("不是 我要提取公积金", CMN),
        ("唔系社保，系公积金点样查", YUE),
        ("唔系呀我想攞公积金", YUE),
    ],
)
def test_a_correction_in_one_breath(caller: Caller, said: str, language: Language) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"), language)
    # As the matcher reads the whole, with what is denied in it:
    caller.says(match(Decision.ROUTE, "social_security", text=said), language)
    assert caller.state in (State.ROUTING, State.CONFIRMING)
    queues = [e.queue for e in caller.events if isinstance(e, Routed | ConfirmationAsked)]
    assert queues == ["social_security", "housing_fund"]


def test_a_denial_that_names_what_it_denies_is_no_request(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    caller.says(match(Decision.ROUTE, "social_security", text="不是社保断交了"))
    assert caller.state is State.ASKING_AGAIN


def test_another_sure_request_while_confirming_is_taken(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    assert caller.says(match(Decision.ROUTE, "general"))[-1] == Routed("general", 0.8, False)


def test_an_unclear_answer_asks_for_yes_or_no(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    caller.answers("咿呀")
    assert caller.state is State.CONFIRMING
    assert caller.last_prompt.id == "confirm_again"


# --- a person, always -----------------------------------------------------------------------


def put_in(caller: Caller, state: State) -> None:
    match_of = {
        State.ASKING_AGAIN: unclear(),
        State.CONFIRMING: match(Decision.CONFIRM, "general"),
        State.OFFERING_EMERGENCY: match(Decision.EMERGENCY, emergency="119"),
        State.ROUTING: match(Decision.ROUTE, "general"),
    }
    if state is State.LISTENING:
        caller.session.receive(PromptPlayed(caller.now_s))
    elif state is State.NO_INPUT:
        while caller.state is not State.NO_INPUT:
            caller.waits(0.5)
    elif state in match_of:
        caller.says(match_of[state])
    assert caller.state is state


WAITING = [
    State.GREETING,
    State.LISTENING,
    State.ASKING_AGAIN,
    State.NO_INPUT,
    State.CONFIRMING,
    State.OFFERING_EMERGENCY,
    State.ROUTING,
]


@pytest.mark.parametrize("state", WAITING)
def test_digit_0_reaches_a_person_in_every_state(caller: Caller, state: State) -> None:
    put_in(caller, state)
    assert caller.presses("0")[-1] == HandedOff(HandOffReason.ASKED)
    assert caller.state is State.HANDING_OFF


@pytest.mark.parametrize("state", WAITING)
def test_words_reach_a_person_in_every_state(caller: Caller, state: State) -> None:
    put_in(caller, state)
    events = caller.says(match(Decision.PERSON, text="转人工"))
    assert events[-1] == HandedOff(HandOffReason.ASKED)


def test_no_then_a_person(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "general"))
    assert caller.answers("不是，转人工")[-1] == HandedOff(HandOffReason.ASKED)


def test_other_digits_change_nothing(caller: Caller) -> None:
    assert caller.presses("5") == ()
    assert caller.state is State.GREETING


def test_a_failed_recogniser_hands_off(caller: Caller) -> None:
    events = caller.session.receive(RecogniserFailed(101.0, "model broke"))
    assert events[-1] == HandedOff(HandOffReason.RECOGNISER_FAILED)


# --- no-match, no-input ---------------------------------------------------------------------


def test_no_match_goes_from_help_to_short_to_a_person(caller: Caller) -> None:
    caller.says(unclear())
    caller.says(unclear())
    events = caller.says(unclear())
    said = [e.id for e in caller.events if isinstance(e, Prompt)]
    assert said[2:] == ["ask_again", "ask_again_short", "person_limit"]
    assert events[-1] == HandedOff(HandOffReason.NO_MATCH)


def test_no_input_goes_from_help_to_short_to_a_person(caller: Caller) -> None:
    caller.waits(120.0)
    said = [e.id for e in caller.events if isinstance(e, Prompt)]
    assert said[2:] == ["no_input", "no_input_short", "person_limit"]
    assert caller.events[-1] == HandedOff(HandOffReason.NO_INPUT)


def test_the_two_are_counted_apart(caller: Caller) -> None:
    caller.says(unclear())
    caller.waits(15.0)
    caller.says(unclear())
    assert (caller.session.no_matches, caller.session.no_inputs) == (2, 1)
    assert caller.state is State.ASKING_AGAIN


def test_the_no_input_clock_starts_when_the_prompt_ends(caller: Caller) -> None:
    greeting_s = sum(spoken_s(e.text) for e in caller.events if isinstance(e, Prompt))
    assert caller.waits(greeting_s + 4.0) == []
    assert caller.state is State.LISTENING
    assert kinds(caller.waits(1.5)) == [Prompt]
    assert caller.state is State.NO_INPUT


def test_a_reported_end_of_prompt_is_trusted(caller: Caller) -> None:
    caller.session.receive(PromptPlayed(caller.now_s + 1.0))
    assert caller.waits(5.5) == []
    assert kinds(caller.waits(1.0)) == [Prompt]


def test_no_input_waits_while_the_caller_speaks(caller: Caller) -> None:
    caller.session.receive(PromptPlayed(caller.now_s))
    caller.session.receive(SpeechStarted(caller.now_s + 4.0))
    assert caller.waits(20.0) == []


def test_endless_noise_is_not_speech_for_ever(caller: Caller) -> None:
    caller.session.receive(SpeechStarted(caller.now_s))
    assert Prompt in kinds(caller.waits(40.0))


def test_an_empty_recognition_is_no_no_match(caller: Caller) -> None:
    assert caller.says(match(Decision.ASK_AGAIN, text=" ")) == ()
    assert caller.session.no_matches == 0


def test_a_long_call_goes_to_a_person(matcher: Matcher, catalogue: Catalogue) -> None:
    limits = Limits(call_s=30.0, max_no_input=99)
    caller = Caller(CallSession(matcher=matcher, catalogue=catalogue, limits=limits))
    assert caller.waits(31.0)[-1] == HandedOff(HandOffReason.CALL_TOO_LONG)


def test_limits_come_from_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "kapok.yaml"
    file.write_text(
        "languages: { cmn: { model: a }, yue: { model: b } }\n"
        "server: { max_call_s: 300 }\n"
        "dialogue: { no_input_s: 7, max_no_input: 1, max_no_match: 3, max_confirmations: 4 }\n",
        encoding="utf-8",
    )
    limits = Limits.from_settings(load_settings(file))
    assert (limits.no_input_s, limits.call_s) == (7.0, 240.0)
    assert (limits.max_no_input, limits.max_no_match, limits.max_denied) == (1, 3, 4)


# --- barge-in -------------------------------------------------------------------------------


def test_speech_over_a_prompt_barges_in_once(caller: Caller) -> None:
    assert caller.session.receive(SpeechStarted(101.0)) == (BargedIn(),)
    assert caller.session.receive(SpeechStarted(101.5)) == ()
    assert caller.state is State.LISTENING


def test_speech_after_the_prompt_is_no_barge_in(caller: Caller) -> None:
    caller.session.receive(PromptPlayed(108.0))
    assert caller.session.receive(SpeechStarted(109.0)) == ()


# --- emergencies ----------------------------------------------------------------------------


def test_an_emergency_is_offered_and_routed(caller: Caller) -> None:
    events = caller.says(match(Decision.EMERGENCY, emergency="119", text="着火了"), YUE)
    assert events[-1] == EmergencyOffered("119")
    assert "1 1 9" in caller.last_prompt.text
    assert caller.answers("好", YUE)[-1] == EmergencyRouted("119")
    assert caller.state is State.ROUTING


def test_repeating_the_emergency_is_a_yes(caller: Caller) -> None:
    caller.says(match(Decision.EMERGENCY, emergency="119", text="着火了"))
    events = caller.says(match(Decision.EMERGENCY, emergency="119", text="着火了快点"))
    assert events[-1] == EmergencyRouted("119")


def test_a_denied_emergency_asks_again(caller: Caller) -> None:
    caller.says(match(Decision.EMERGENCY, emergency="119", text="着火了"))
    caller.says(match(Decision.EMERGENCY, emergency="119", text="不是着火了"))
    assert caller.state is State.ASKING_AGAIN


@pytest.mark.parametrize("silent", [True, False])
def test_an_emergency_without_a_clear_answer_goes_to_a_person(caller: Caller, silent: bool) -> None:
    caller.says(match(Decision.EMERGENCY, emergency="119"))
    events = caller.waits(30.0) if silent else caller.says(unclear())
    assert events[-1] == HandedOff(HandOffReason.EMERGENCY_UNCLEAR)


# --- opening hours --------------------------------------------------------------------------


def test_a_closed_queue_gives_way_to_the_default_queue(
    matcher: Matcher, catalogue: Catalogue
) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    caller = Caller(session, local_time=NIGHT)
    events = caller.says(match(Decision.ROUTE, "social_security"))
    assert events[-1] == Routed("general", 0.8, False, closed_queue="social_security")
    assert caller.last_prompt.id == "route_closed"


def test_the_call_ends_where_everything_is_closed(
    matcher: Matcher, office_hours_catalogue: Catalogue
) -> None:
    session = CallSession(matcher=matcher, catalogue=office_hours_catalogue)
    caller = Caller(session, local_time=NIGHT)
    assert caller.says(match(Decision.ROUTE, "social_security"))[-1] == Ended(EndReason.CLOSED)
    assert caller.last_prompt.id == "closed"


def test_a_queue_that_closes_during_the_call(matcher: Matcher, catalogue: Catalogue) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    caller = Caller(session, local_time=datetime(2025, 6, 3, 17, 59, 50, tzinfo=ZONE))
    caller.says(match(Decision.CONFIRM, "social_security"))
    caller.now_s += 10.0
    assert caller.answers("是")[-1] == Routed("general", 0.8, True, "social_security")


# --- after the decision ---------------------------------------------------------------------


def test_an_objection_while_routing_counts(caller: Caller) -> None:
    caller.says(match(Decision.ROUTE, "social_security"))
    caller.answers("不是不是")
    assert caller.state is State.ASKING_AGAIN


def test_a_correction_while_routing(caller: Caller) -> None:
    caller.says(match(Decision.ROUTE, "social_security"))
    caller.answers("不是，我要提取公积金")
    assert caller.state in (State.ROUTING, State.CONFIRMING)
    assert caller.events[-1].queue == "housing_fund"  # type: ignore[union-attr]


def test_another_sure_request_while_routing_reroutes(caller: Caller) -> None:
    caller.says(match(Decision.ROUTE, "social_security"))
    assert caller.says(match(Decision.ROUTE, "general"))[-1] == Routed("general", 0.8, False)


def test_chatter_while_routing_changes_nothing(caller: Caller) -> None:
    caller.says(match(Decision.ROUTE, "social_security"))
    assert caller.says(unclear()) == ()
    assert caller.says(match(Decision.CONFIRM, "general")) == ()
    assert caller.waits(60.0) == []
    assert caller.state is State.ROUTING


def test_late_speech_after_the_hand_off_changes_nothing(caller: Caller) -> None:
    caller.presses("0")
    assert caller.says(match(Decision.ROUTE, "general")) == ()
    assert caller.presses("0") == ()
    assert caller.state is State.HANDING_OFF


def test_hanging_up_twice_ends_once(caller: Caller) -> None:
    assert caller.session.receive(HungUp(101.0)) == (Ended(EndReason.HANG_UP),)
    assert caller.session.receive(HungUp(102.0)) == ()


def test_a_call_that_has_not_started_takes_no_speech(
    matcher: Matcher, catalogue: Catalogue
) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    with pytest.raises(ProtocolError, match="not allowed in state 'new'"):
        session.receive(UtteranceMatched(0.0, unclear(), CMN))


def test_every_prompt_is_there_in_both_languages() -> None:
    for texts in PROMPTS.values():
        assert set(texts) == set(Language)
        assert all(texts.values())
        assert {"{queue}" in t for t in texts.values()} in ({True}, {False})


# --- any sequence at all --------------------------------------------------------------------

MATCHES = [
    match(Decision.ROUTE, "social_security"),
    match(Decision.ROUTE, "general"),
    match(Decision.CONFIRM, "housing_fund"),
    match(Decision.CONFIRM, "general"),
    match(Decision.PERSON, text="转人工"),
    match(Decision.EMERGENCY, emergency="119", text="着火了"),
    match(Decision.EMERGENCY, emergency="110", text="打劫"),
    match(Decision.ASK_AGAIN, text=""),
    match(Decision.ASK_AGAIN, "general"),
    *(unclear(t) for t in ["是的", "系", "不是", "唔系", "不是，我要提取公积金", "咿呀"]),
]


class AnyCall(RuleBasedStateMachine):
    """Whatever happens on a call, in whatever order."""

    catalogue: Catalogue
    matcher: Matcher

    def __init__(self) -> None:
        super().__init__()
        self.session = CallSession(matcher=self.matcher, catalogue=self.catalogue)
        self.now_s = 0.0
        self.ends = 0

    def give(self, *events: Event) -> None:
        self.ends += sum(isinstance(e, Ended) for e in events)
        for event in events:
            if isinstance(event, Prompt):
                assert event.text
                assert "{" not in event.text

    @initialize(hour=st.integers(0, 23))
    def start(self, hour: int) -> None:
        self.give(*self.session.receive(CallStarted(0.0, OPEN.replace(hour=hour))))

    @rule(heard=st.sampled_from(MATCHES), language=st.sampled_from(Language))
    def speaks(self, heard: Match, language: Language) -> None:
        before = self.session.state
        events = self.session.receive(UtteranceMatched(self.now_s, heard, language))
        self.give(*events)
        if before in (State.HANDING_OFF, State.ENDED):
            assert events == ()

    @rule(digit=st.sampled_from("0123456789*#"))
    def presses(self, digit: str) -> None:
        self.give(*self.session.receive(DigitPressed(self.now_s, digit)))
        if digit == "0":
            assert self.session.state in (State.HANDING_OFF, State.ENDED)

    @rule(seconds=st.floats(0.0, 30.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.give(*self.session.receive(Tick(self.now_s)))

    @rule(kind=st.sampled_from([SpeechStarted, PromptPlayed, Tick]))
    def something(self, kind: type) -> None:
        self.give(*self.session.receive(kind(self.now_s)))

    @rule()
    def recogniser_fails(self) -> None:
        self.give(*self.session.receive(RecogniserFailed(self.now_s, "broken")))

    @precondition(lambda self: self.session.state in (State.ROUTING, State.HANDING_OFF))
    @rule()
    def is_transferred(self) -> None:
        self.give(*self.session.receive(Transferred(self.now_s)))

    @rule()
    def hangs_up(self) -> None:
        self.give(*self.session.receive(HungUp(self.now_s)))
        assert self.session.state is State.ENDED

    @invariant()
    def ends_once(self) -> None:
        assert self.ends == (self.session.state is State.ENDED)

    @invariant()
    def counts_stay_below_their_limits(self) -> None:
        if self.session.state not in (State.HANDING_OFF, State.ENDED):
            assert self.session.no_matches < 3
            assert self.session.no_inputs < 3

    def teardown(self) -> None:
        """Left alone, every call comes to a decision or a person; none hangs."""
        for _ in range(400):
            self.now_s += 0.5
            if self.session.state is State.NEW:
                return
            self.give(*self.session.receive(Tick(self.now_s)))
        assert self.session.state in (State.ROUTING, State.HANDING_OFF, State.ENDED)


def test_any_sequence_of_inputs(matcher: Matcher, catalogue: Catalogue) -> None:
    AnyCall.matcher, AnyCall.catalogue = matcher, catalogue
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        AnyCall, settings=settings(max_examples=60, stateful_step_count=25, deadline=None)
    )


ANSWERS = [m for m in MATCHES if m.text and m.decision in (Decision.CONFIRM, Decision.ASK_AGAIN)]


@settings(max_examples=80, deadline=None)
@given(said=st.lists(st.sampled_from(ANSWERS), min_size=30, max_size=30))
def test_no_call_goes_round_for_ever(
    matcher: Matcher, catalogue: Catalogue, said: list[Match]
) -> None:
    """Two no-matches and two denials at most, a question before each and after the last."""
    session = CallSession(matcher=matcher, catalogue=catalogue)
    session.receive(CallStarted(0.0, OPEN))
    undecided = 0
    for count, heard in enumerate(said):
        session.receive(UtteranceMatched(float(count), heard, CMN))
        undecided += session.state not in (State.ROUTING, State.HANDING_OFF)
    assert undecided <= 2 * (2 + 2) + 1


# --- several needs in a sentence ---------------------------------------------------------


def both_needs(session: CallSession) -> tuple[Event, ...]:
    needs = Match(
        text="我要查社保还有提取公积金",
        normalised="我要查社保还有提取公积金",
        decision=Decision.CONFIRM,
        queue="social_security",
        confidence=0.9,
        candidates=(Candidate("social_security", 0.9, "我要查社保"),),
        needs=("social_security", "housing_fund"),
    )
    session.receive(CallStarted(now_s=0.0, local_time=OPEN))
    return session.receive(UtteranceMatched(5.0, needs, CMN))


def test_several_needs_are_asked_about_one_at_a_time(
    catalogue: Catalogue, matcher: Matcher
) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    prompt, asked = both_needs(session)
    assert isinstance(prompt, Prompt)
    assert prompt.id == "confirm_first"
    assert asked == ConfirmationAsked("social_security", 0.9, ("housing_fund",))
    events = session.receive(UtteranceMatched(9.0, unclear("好的"), CMN))
    (routed,) = [event for event in events if isinstance(event, Routed)]
    assert (routed.queue, routed.needs) == ("social_security", ("housing_fund",))


def test_the_second_need_follows_the_denied_first(catalogue: Catalogue, matcher: Matcher) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    both_needs(session)
    events = session.receive(UtteranceMatched(9.0, unclear("不是"), CMN))
    (asked,) = [event for event in events if isinstance(event, ConfirmationAsked)]
    assert (asked.queue, asked.needs) == ("housing_fund", ())
    assert session.state is State.CONFIRMING
    events = session.receive(UtteranceMatched(13.0, unclear("是的"), CMN))
    assert [e.queue for e in events if isinstance(e, Routed)] == ["housing_fund"]


def test_a_new_request_forgets_the_old_needs(catalogue: Catalogue, matcher: Matcher) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue)
    both_needs(session)
    events = session.receive(UtteranceMatched(9.0, match(Decision.ROUTE, "general"), CMN))
    (routed,) = [event for event in events if isinstance(event, Routed)]
    assert (routed.queue, routed.needs) == ("general", ())


# --- keys, language, patience, call-back ------------------------------------------------------


def test_key_1_confirms(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    assert caller.presses("1")[-1] == Routed("social_security", 0.8, confirmed=True)


def test_key_2_denies(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    caller.presses("2")
    assert caller.state is State.ASKING_AGAIN
    assert caller.session.denials == 1


def test_keys_answer_the_offer_of_an_emergency(caller: Caller) -> None:
    caller.says(match(Decision.EMERGENCY, emergency="119"))
    assert caller.presses("1")[-1] == EmergencyRouted("119")


def test_a_key_cuts_short_the_wait_for_an_answer(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"))
    caller.presses("5")
    assert caller.state is State.CONFIRMING


def test_the_star_key_changes_the_language_and_asks_again(caller: Caller) -> None:
    chosen, prompt = caller.presses("*")
    assert chosen == LanguageChosen(YUE)
    assert (prompt.id, prompt.language) == ("language", YUE)  # type: ignore[union-attr]
    caller.says(match(Decision.CONFIRM, "social_security"), CMN)
    assert caller.last_prompt.language is YUE  # as asked for, whatever is heard
    chosen, prompt = caller.presses("*")
    assert (prompt.id, prompt.language) == ("confirm", CMN)  # type: ignore[union-attr]
    assert caller.state is State.CONFIRMING


def test_the_language_is_changed_by_voice(caller: Caller) -> None:
    events = caller.says(unclear("可唔可以讲广东话"), CMN)
    assert events[0] == LanguageChosen(YUE)
    assert caller.last_prompt.id == "language"
    assert caller.session.no_matches == 0
    assert caller.state is State.LISTENING


def test_who_asks_for_more_time_gets_it(matcher: Matcher, catalogue: Catalogue) -> None:
    elders = Limits(no_input_s=8.0, max_no_match=1, max_no_input=1)
    caller = Caller(CallSession(matcher=matcher, catalogue=catalogue, elder_limits=elders))
    assert not caller.session.slow
    slowed, prompt = caller.says(unclear("我年纪大，讲慢啲"), YUE)
    assert slowed == SlowedDown()
    assert prompt.id == "slower"  # type: ignore[union-attr]
    assert prompt.slow  # type: ignore[union-attr]
    assert caller.session.slow
    caller.says(unclear())
    assert caller.says(unclear())[-1] == HandedOff(HandOffReason.NO_MATCH)  # a person sooner


def test_a_request_with_a_wish_counts(caller: Caller) -> None:
    heard = match(Decision.ROUTE, "social_security", text="我年纪大讲慢啲我想查吓社保")
    events = caller.says(heard, YUE)
    assert kinds(events) == [SlowedDown, Prompt, Routed]
    assert caller.last_prompt.slow


def test_listed_elders_are_served_slowly_from_the_start(
    matcher: Matcher, catalogue: Catalogue
) -> None:
    session = CallSession(
        matcher=matcher, catalogue=catalogue, elder_limits=Limits(no_input_s=8.0, max_no_input=0)
    )
    events = session.receive(CallStarted(0.0, OPEN, elder=True))
    assert kinds(events) == [SlowedDown, Prompt, Prompt]
    assert all(event.slow for event in events if isinstance(event, Prompt))


class Waiting:
    """A caller of a busy hotline."""

    def __init__(self, matcher: Matcher, catalogue: Catalogue, wait_s: float | None) -> None:
        self.asked: list[str] = []

        def expected_wait_s(queue: str) -> float | None:
            self.asked.append(queue)
            return wait_s

        self.session = CallSession(
            matcher=matcher,
            catalogue=catalogue,
            limits=Limits(wait_told_s=180.0),
            expected_wait_s=expected_wait_s,
        )
        self.session.receive(CallStarted(0.0, OPEN, can_call_back=True))
        self.now_s = 0.0

    def says(self, heard: Match) -> tuple[Event, ...]:
        self.now_s += 3.0
        return self.session.receive(UtteranceMatched(self.now_s, heard, CMN))


@pytest.fixture
def busy(matcher: Matcher, catalogue: Catalogue) -> Waiting:
    waiting = Waiting(matcher, catalogue, 510.0)
    prompt, offered = waiting.says(match(Decision.ROUTE, "social_security"))
    assert isinstance(prompt, Prompt)
    assert prompt.id == "wait_offer"
    assert "十分钟" in prompt.text  # 8.5 minutes, rounded up to what is told
    assert offered == CallBackOffered("social_security", 510.0)
    assert waiting.session.state is State.OFFERING_CALL_BACK
    return waiting


def test_a_call_back_is_accepted_by_voice(busy: Waiting) -> None:
    prompt, accepted, ended = busy.says(unclear("要"))
    assert prompt.id == "callback"  # type: ignore[union-attr]
    assert accepted == CallBackAccepted("social_security", 510.0)
    assert ended == Ended(EndReason.CALL_BACK)


def test_a_call_back_is_accepted_by_key(busy: Waiting) -> None:
    assert CallBackAccepted("social_security", 510.0) in busy.session.receive(DigitPressed(9, "1"))


@pytest.mark.parametrize("answer", ["不要", "唔使", "咿咿呀呀"])
def test_whoever_does_not_say_yes_waits_in_the_queue(busy: Waiting, answer: str) -> None:
    assert busy.says(unclear(answer))[-1] == Routed("social_security", 0.8, confirmed=False)


def test_silence_keeps_the_place_in_the_queue(busy: Waiting) -> None:
    events = [e for n in range(80) for e in busy.session.receive(Tick(4.0 + n / 2))]
    assert events[-1] == Routed("social_security", 0.8, confirmed=False)


def test_a_person_is_had_instead_of_a_call_back(busy: Waiting) -> None:
    assert busy.session.receive(DigitPressed(9, "0"))[-1] == HandedOff(HandOffReason.ASKED)


def test_the_wait_is_told_once(busy: Waiting) -> None:
    busy.says(unclear("不要"))
    assert busy.says(match(Decision.ROUTE, "housing_fund"))[-1] == Routed(
        "housing_fund", 0.8, confirmed=False
    )


@pytest.mark.parametrize("wait_s", [None, 0.0, 179.0])
def test_a_short_or_unknown_wait_is_not_told(
    matcher: Matcher, catalogue: Catalogue, wait_s: float | None
) -> None:
    waiting = Waiting(matcher, catalogue, wait_s)
    assert kinds(waiting.says(match(Decision.ROUTE, "social_security"))) == [Prompt, Routed]
    assert waiting.asked == ["social_security"]


def test_an_hour_and_more_is_told_as_such(matcher: Matcher, catalogue: Catalogue) -> None:
    prompt, _ = Waiting(matcher, catalogue, 4000.0).says(match(Decision.ROUTE, "social_security"))
    assert prompt.id == "wait_offer_long"  # type: ignore[union-attr]


def test_a_correction_in_one_breath_in_cantonese(caller: Caller) -> None:
    caller.says(match(Decision.CONFIRM, "social_security"), YUE)
    caller.answers("唔系，系公积金", YUE)
    assert caller.session.state in (State.ROUTING, State.CONFIRMING)
    assert caller.last_prompt.pieces[1].name == "queue_housing_fund"


def test_a_voice_without_words_gives_way_to_the_no_input_clock(caller: Caller) -> None:
    assert caller.session.receive(
        SpeechStarted(caller.now_s + 1, words=False, over_prompt=True)
    ) == (BargedIn(),)
    caller.now_s += 1
    events = caller.waits(9.0)
    assert [e.id for e in events if isinstance(e, Prompt)] == ["no_input"]


def test_barge_in_can_be_turned_off(matcher: Matcher, catalogue: Catalogue) -> None:
    session = CallSession(matcher=matcher, catalogue=catalogue, limits=Limits(barge_in=False))
    session.receive(CallStarted(0.0, OPEN))
    assert session.receive(SpeechStarted(1.0, words=False, over_prompt=True)) == ()
