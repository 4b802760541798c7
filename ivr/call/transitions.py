"""The transition table of a call: ``(state, trigger) -> state``, and nothing beside it.

The rules of this module:

* Everything that may change the state of a call stands in :data:`TRANSITIONS`;
  :class:`ivr.call.session.CallSession` reduces each input to one :class:`Trigger` and looks it
  up. ``docs/call.md`` prints the same table, and a test compares the two.
* A pair that is neither in :data:`TRANSITIONS` nor in :data:`IGNORED` is a mistake of whoever
  drives the session (a second call start, say): it raises :class:`ivr.errors.ProtocolError`.
* A pair in :data:`IGNORED` may well happen on a live call (late speech after the hand-off) and
  changes nothing.
* A way out that always serves, a person (digit 0 or the words of the catalogue) and hanging up,
  is open in every state before the end.

The layout follows h11's ``EVENT_TRIGGERED_TRANSITIONS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from ivr.errors import ProtocolError

__all__ = [
    "IGNORED",
    "TRANSITIONS",
    "State",
    "Trigger",
    "markdown_table",
    "next_state",
    "reachable_states",
]


class State(StrEnum):
    """Where a call stands."""

    NEW = "new"  # the session exists, the call has not been answered
    GREETING = "greeting"  # the greeting is being played; the caller may already speak
    LISTENING = "listening"  # waiting for the caller to say what they need
    ASKING_AGAIN = "asking_again"  # no-match: the caller is asked to say it again
    NO_INPUT = "no_input"  # nothing was said: the caller is asked again, shorter
    CONFIRMING = "confirming"  # "is it about ...?"
    OFFERING_EMERGENCY = "offering_emergency"  # "shall I put you through to 119?"
    OFFERING_CALL_BACK = "offering_call_back"  # "it takes ten minutes; shall we call you back?"
    ROUTING = "routing"  # the queue, or the emergency number, is decided
    HANDING_OFF = "handing_off"  # to a person
    ENDED = "ended"  # hung up, transferred, or closed


class Trigger(StrEnum):
    """What happened, as the table sees it."""

    CALL_STARTED = "call_started"
    PROMPT_PLAYED = "prompt_played"  # reported by the gateway, or its estimated length passed
    SPEECH = "speech"  # the caller began to speak
    REQUEST_SURE = "request_sure"  # a queue, above the routing threshold
    REQUEST_LIKELY = "request_likely"  # a queue, to be confirmed
    NO_MATCH = "no_match"  # something was said, no queue was found
    NO_MATCH_LIMIT = "no_match_limit"  # ... once too often
    NO_INPUT = "no_input"  # nothing was said for the no-input time-out
    NO_INPUT_LIMIT = "no_input_limit"  # ... once too often
    YES = "yes"  # the caller confirms
    NO = "no"  # the caller denies
    NO_LIMIT = "no_limit"  # ... once too often
    EMERGENCY = "emergency"  # a matter for 110, 119, 120 or 122
    PERSON = "person"  # digit 0, or words that ask for a person
    WAIT_LONG = "wait_long"  # a queue is decided on, and the wait for it is long
    CALL_BACK = "call_back"  # the caller wants to be called back
    WISH = "wish"  # another language, or slower
    DIGIT = "digit"  # another key
    CLOSED = "closed"  # neither the queue nor the default queue is open
    RECOGNISER_FAILED = "recogniser_failed"
    CALL_TOO_LONG = "call_too_long"
    TRANSFERRED = "transferred"  # the gateway has moved the call
    HANG_UP = "hang_up"


_OPEN = (State.GREETING, State.LISTENING, State.ASKING_AGAIN, State.NO_INPUT)
_ASKED = (State.CONFIRMING, State.OFFERING_EMERGENCY, State.OFFERING_CALL_BACK)
_DECIDED = (State.ROUTING, State.HANDING_OFF)
_ALIVE = (*_OPEN, *_ASKED, *_DECIDED)


def _build() -> dict[tuple[State, Trigger], State]:
    t: dict[tuple[State, Trigger], State] = {
        (State.NEW, Trigger.CALL_STARTED): State.GREETING,
        (State.NEW, Trigger.HANG_UP): State.ENDED,
        (State.LISTENING, Trigger.PROMPT_PLAYED): State.LISTENING,
    }
    for state in (State.GREETING, State.ASKING_AGAIN, State.NO_INPUT):
        t[state, Trigger.PROMPT_PLAYED] = State.LISTENING
    for state in _OPEN:
        t |= {
            (state, Trigger.SPEECH): State.LISTENING,
            (state, Trigger.NO_MATCH): State.ASKING_AGAIN,
            (state, Trigger.NO_INPUT): State.NO_INPUT,
        }
    for state in (*_OPEN, *_ASKED):
        t |= {
            (state, Trigger.REQUEST_SURE): State.ROUTING,
            (state, Trigger.REQUEST_LIKELY): State.CONFIRMING,
            (state, Trigger.EMERGENCY): State.OFFERING_EMERGENCY,
            (state, Trigger.NO_MATCH_LIMIT): State.HANDING_OFF,
            (state, Trigger.NO_INPUT_LIMIT): State.HANDING_OFF,
            (state, Trigger.CLOSED): State.ENDED,
            (state, Trigger.CALL_TOO_LONG): State.HANDING_OFF,
            (state, Trigger.WAIT_LONG): State.OFFERING_CALL_BACK,
        }
    for state in _OPEN:
        t[state, Trigger.WISH] = State.LISTENING
    for state in _ASKED:
        t |= {
            (state, Trigger.PROMPT_PLAYED): state,
            (state, Trigger.SPEECH): state,
            (state, Trigger.WISH): state,
        }
    for state in (State.CONFIRMING, State.OFFERING_EMERGENCY):
        t |= {
            (state, Trigger.YES): State.ROUTING,
            (state, Trigger.NO): State.ASKING_AGAIN,
            (state, Trigger.NO_LIMIT): State.HANDING_OFF,
        }
    t |= {
        (State.CONFIRMING, Trigger.NO_MATCH): State.CONFIRMING,
        (State.CONFIRMING, Trigger.NO_INPUT): State.CONFIRMING,
        # Whoever cannot answer while something burns is never sent round again.
        (State.OFFERING_EMERGENCY, Trigger.NO_MATCH): State.HANDING_OFF,
        (State.OFFERING_EMERGENCY, Trigger.NO_INPUT): State.HANDING_OFF,
        # Whoever does not want to be called back, or does not say so clearly, waits in the queue.
        (State.OFFERING_CALL_BACK, Trigger.CALL_BACK): State.ENDED,
        (State.OFFERING_CALL_BACK, Trigger.NO): State.ROUTING,
        (State.OFFERING_CALL_BACK, Trigger.NO_MATCH): State.ROUTING,
        (State.OFFERING_CALL_BACK, Trigger.NO_INPUT): State.ROUTING,
        # The caller hears where the call goes and may still object before it has gone.
        (State.ROUTING, Trigger.NO): State.ASKING_AGAIN,
        (State.ROUTING, Trigger.NO_LIMIT): State.HANDING_OFF,
        (State.ROUTING, Trigger.REQUEST_SURE): State.ROUTING,
        (State.ROUTING, Trigger.EMERGENCY): State.OFFERING_EMERGENCY,
        (State.ROUTING, Trigger.CLOSED): State.ENDED,
        (State.ROUTING, Trigger.WAIT_LONG): State.OFFERING_CALL_BACK,
        (State.ROUTING, Trigger.TRANSFERRED): State.ENDED,
        (State.HANDING_OFF, Trigger.TRANSFERRED): State.ENDED,
    }
    for state in _ALIVE:
        t[state, Trigger.HANG_UP] = State.ENDED
    for state in (*_OPEN, *_ASKED, State.ROUTING):
        t[state, Trigger.PERSON] = State.HANDING_OFF
    for state in (*_OPEN, *_ASKED):
        t[state, Trigger.RECOGNISER_FAILED] = State.HANDING_OFF
    return t


#: The table.
TRANSITIONS: dict[tuple[State, Trigger], State] = _build()

_HEARD = (
    Trigger.SPEECH,
    Trigger.REQUEST_SURE,
    Trigger.REQUEST_LIKELY,
    Trigger.NO_MATCH,
    Trigger.NO,
    Trigger.YES,
    Trigger.EMERGENCY,
    Trigger.WISH,
)
_LATE = (
    *_HEARD,
    Trigger.DIGIT,
    Trigger.PERSON,
    Trigger.PROMPT_PLAYED,
    Trigger.RECOGNISER_FAILED,
)

#: Pairs that may happen and change nothing.
IGNORED: frozenset[tuple[State, Trigger]] = frozenset(
    [
        *((state, Trigger.DIGIT) for state in (*_OPEN, *_ASKED)),
        *((State.ROUTING, t) for t in _LATE if (State.ROUTING, t) not in TRANSITIONS),
        *((State.HANDING_OFF, t) for t in _LATE),
        *((State.ENDED, t) for t in (*_LATE, Trigger.HANG_UP, Trigger.TRANSFERRED)),
    ]
)


def next_state(state: State, trigger: Trigger) -> State:
    """The state after ``trigger``; the same state where the table ignores it.

    Raises:
        ProtocolError: the pair is neither in :data:`TRANSITIONS` nor in :data:`IGNORED`.
    """
    after = TRANSITIONS.get((state, trigger))
    if after is not None:
        return after
    if (state, trigger) in IGNORED:
        return state
    raise ProtocolError(
        f"call: {trigger.value!r} is not allowed in state {state.value!r}; "
        "docs/call.md lists what each state takes"
    )


def reachable_states(start: State = State.NEW) -> frozenset[State]:
    """Every state that some sequence of triggers leads to from ``start``, itself included."""
    found, edge = {start}, [start]
    while edge:
        here = edge.pop()
        for (state, _), after in TRANSITIONS.items():
            if state is here and after not in found:
                found.add(after)
                edge.append(after)
    return frozenset(found)


def markdown_table() -> str:
    """The table as ``docs/call.md`` shows it: a row a trigger, a column a state.

    A cell holds the next state, ``–`` where the trigger is ignored, and nothing where it is an
    error.
    """
    rows = [["", *(f"**{state.value}**" for state in State)]]
    rows.append(["---"] * len(rows[0]))
    rows.extend([f"**{t.value}**", *_cells(t)] for t in Trigger)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _cells(trigger: Trigger) -> Iterator[str]:
    for state in State:
        after = TRANSITIONS.get((state, trigger))
        yield after.value if after else "–" if (state, trigger) in IGNORED else ""
