"""The answer of the intent matcher: ranked queues, a confidence and a decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Candidate", "Decision", "Match"]


class Decision(StrEnum):
    """What the dialogue does with a matched utterance."""

    ROUTE = "route"  # sure: put the caller through
    CONFIRM = "confirm"  # likely: ask "is it about ...?"
    ASK_AGAIN = "ask_again"  # no-match: ask the caller to say it again
    PERSON = "person"  # the caller asked for a person: hand off at once
    EMERGENCY = "emergency"  # offer 110, 119, 120 or 122 at once


@dataclass(frozen=True, slots=True)
class Candidate:
    """One queue with the evidence for it."""

    queue: str  # queue id
    confidence: float  # 0 to 1; over all candidates the sum is at most 1
    phrase: str  # the example phrase that came closest


@dataclass(frozen=True, slots=True)
class Match:
    """The reading of one utterance."""

    text: str  # the transcript as heard
    normalised: str  # the transcript as matched
    decision: Decision
    #: Best queue id; None for ask_again without any candidate, for person and for emergency.
    queue: str | None
    confidence: float  # of the decision: 0 to 1
    candidates: tuple[Candidate, ...]  # best first
    emergency: str | None = None  # number to offer (110, 119, 120, 122) when decision is emergency
    #: Queue ids in the order in which they were asked for, where that is more than one.
    needs: tuple[str, ...] = ()
