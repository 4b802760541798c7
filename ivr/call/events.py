"""Inputs and events of a call: what the session is told, and what it answers.

All are frozen dataclasses. Every input carries ``now_s``, seconds on the clock of the call
(any monotonic clock; it may be the clock of the audio itself), never read from the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ivr.intent.types import Match
from ivr.language import Language

__all__ = [
    "BargedIn",
    "CallBackAccepted",
    "CallBackOffered",
    "CallStarted",
    "ConfirmationAsked",
    "DigitPressed",
    "EmergencyOffered",
    "EmergencyRouted",
    "EndReason",
    "Ended",
    "Event",
    "HandOffReason",
    "HandedOff",
    "HungUp",
    "Input",
    "LanguageChosen",
    "Piece",
    "Prompt",
    "PromptPlayed",
    "RecogniserFailed",
    "Routed",
    "SlowedDown",
    "SpeechStarted",
    "Tick",
    "Transferred",
    "UtteranceMatched",
]


# --- inputs ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The call was answered; the first input of every call."""

    now_s: float
    local_time: datetime  # wall clock of the hotline at ``now_s``, for opening hours
    elder: bool = False  # the caller's number is one of those that get more time
    can_call_back: bool = False  # the caller's number is known


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """The gateway has finished playing the last prompt.

    A gateway that does not report this need not: the session estimates a prompt's length.
    """

    now_s: float


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller is speaking: there are words, or a voice over a prompt (:mod:`ivr.call.barge_in`).

    Given again while the caller goes on speaking.
    """

    now_s: float
    words: bool = True  # False: a voice, and no words yet
    over_prompt: bool = False  # over a prompt that is being played


@dataclass(frozen=True, slots=True)
class UtteranceMatched:
    """An utterance is over, recognised and matched."""

    now_s: float
    match: Match
    language: Language
    alternatives: tuple[str, ...] = ()  # transcripts of the n-best list, best first


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """A DTMF key: one of ``0123456789*#ABCD``."""

    now_s: float
    digit: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; give one at least every half second."""

    now_s: float


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller, or the gateway, closed the call."""

    now_s: float


@dataclass(frozen=True, slots=True)
class RecogniserFailed:
    """Recognition of this call cannot go on."""

    now_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """The gateway has moved the call to where it was routed."""

    now_s: float


Input = (
    CallStarted
    | PromptPlayed
    | SpeechStarted
    | UtteranceMatched
    | DigitPressed
    | Tick
    | HungUp
    | RecogniserFailed
    | Transferred
)


# --- events ------------------------------------------------------------------------------


class HandOffReason(StrEnum):
    """Why a call goes to a person."""

    ASKED = "asked"  # words or digit 0
    NO_MATCH = "no_match"  # not understood too often
    NO_INPUT = "no_input"  # nothing said too often
    DENIED = "denied"  # questions answered by no too often
    EMERGENCY_UNCLEAR = "emergency_unclear"  # an emergency was offered, the answer was not clear
    RECOGNISER_FAILED = "recogniser_failed"
    CALL_TOO_LONG = "call_too_long"
    LINE_LOST = "line_lost"  # the connection broke, or had to be closed, before a decision


class EndReason(StrEnum):
    """Why a call is over."""

    HANG_UP = "hang_up"
    TRANSFERRED = "transferred"
    CLOSED = "closed"
    CALL_BACK = "call_back"


@dataclass(frozen=True, slots=True)
class Piece:
    """One recording that a prompt is put together from."""

    name: str  # of the file, without folder and suffix: greeting, confirm_1, queue_general
    text: str  # what it says


@dataclass(frozen=True, slots=True)
class Prompt:
    """Say this to the caller."""

    id: str  # key of ivr.call.prompts.PROMPTS
    text: str  # never empty
    language: Language
    pieces: tuple[Piece, ...] = ()  # in the order in which they are played
    slow: bool = False  # for a caller who asked for it


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The caller spoke over a prompt: stop playing it."""


@dataclass(frozen=True, slots=True)
class ConfirmationAsked:
    """The caller is asked whether it is about ``queue``."""

    queue: str
    confidence: float
    needs: tuple[str, ...] = ()  # other queues the caller asked for in the same sentence


@dataclass(frozen=True, slots=True)
class EmergencyOffered:
    """The caller is offered an emergency number."""

    number: str


@dataclass(frozen=True, slots=True)
class CallBackOffered:
    """The caller is told how long it takes, and offered to be called back."""

    queue: str
    wait_s: float  # expected


@dataclass(frozen=True, slots=True)
class CallBackAccepted:
    """Call the caller back for ``queue``; the call ends."""

    queue: str
    wait_s: float  # that was expected
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageChosen:
    """The caller asked for this language, by voice or key."""

    language: Language


@dataclass(frozen=True, slots=True)
class SlowedDown:
    """From now on the caller is served more slowly: prompts, pauses within a sentence."""


@dataclass(frozen=True, slots=True)
class Routed:
    """Put the caller through to ``queue``."""

    queue: str
    confidence: float
    confirmed: bool  # the caller said yes to it
    closed_queue: str | None = None  # the queue that was meant, where it is closed now
    needs: tuple[str, ...] = ()  # what the caller needs besides: for the agent to see to next


@dataclass(frozen=True, slots=True)
class EmergencyRouted:
    """Put the caller through to an emergency number."""

    number: str


@dataclass(frozen=True, slots=True)
class HandedOff:
    """Put the caller through to a person."""

    reason: HandOffReason


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over; nothing follows."""

    reason: EndReason


Event = (
    Prompt
    | BargedIn
    | ConfirmationAsked
    | EmergencyOffered
    | CallBackOffered
    | CallBackAccepted
    | LanguageChosen
    | SlowedDown
    | Routed
    | EmergencyRouted
    | HandedOff
    | Ended
)
