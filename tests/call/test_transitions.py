from pathlib import Path

import pytest

from ivr.call.transitions import (
    IGNORED,
    TRANSITIONS,
    State,
    Trigger,
    markdown_table,
    next_state,
    reachable_states,
)
from ivr.errors import ProtocolError

DOCS = Path(__file__).parents[2] / "docs" / "call.md"
ALIVE = [s for s in State if s not in (State.NEW, State.ENDED)]
BEFORE_HAND_OFF = [s for s in ALIVE if s is not State.HANDING_OFF]


def test_every_state_is_reachable() -> None:
    assert reachable_states() == frozenset(State)


def test_every_state_leads_to_the_end() -> None:
    for state in State:
        assert State.ENDED in reachable_states(state)


def test_the_end_is_the_end() -> None:
    assert not [state for state, _ in TRANSITIONS if state is State.ENDED]
    assert reachable_states(State.ENDED) == {State.ENDED}


def test_every_trigger_is_used() -> None:
    assert {trigger for _, trigger in TRANSITIONS} | {t for _, t in IGNORED} == set(Trigger)


def test_nothing_is_both_taken_and_ignored() -> None:
    assert not set(TRANSITIONS) & IGNORED


@pytest.mark.parametrize("state", BEFORE_HAND_OFF)
def test_a_person_can_be_had_in_every_state(state: State) -> None:
    assert next_state(state, Trigger.PERSON) is State.HANDING_OFF


@pytest.mark.parametrize("state", ALIVE)
def test_the_caller_can_hang_up_in_every_state(state: State) -> None:
    assert next_state(state, Trigger.HANG_UP) is State.ENDED


@pytest.mark.parametrize("state", [s for s in ALIVE if s is not State.ROUTING])
def test_limits_and_failures_lead_to_a_person_or_are_not_possible(state: State) -> None:
    for trigger in (Trigger.NO_MATCH_LIMIT, Trigger.NO_INPUT_LIMIT, Trigger.CALL_TOO_LONG):
        assert TRANSITIONS.get((state, trigger), State.HANDING_OFF) is State.HANDING_OFF


def test_an_illegal_pair_names_state_and_trigger() -> None:
    with pytest.raises(ProtocolError, match=r"'yes' is not allowed in state 'listening'.*call\.md"):
        next_state(State.LISTENING, Trigger.YES)
    with pytest.raises(ProtocolError):
        next_state(State.LISTENING, Trigger.CALL_STARTED)


def test_an_ignored_pair_changes_nothing() -> None:
    for state, trigger in IGNORED:
        assert next_state(state, trigger) is state


def test_the_docs_show_the_table() -> None:
    assert markdown_table() in DOCS.read_text(encoding="utf-8")
    for state in State:
        assert f"| {state.value} |" in DOCS.read_text(encoding="utf-8")
