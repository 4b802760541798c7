"""What one step of a conversation came to; frozen, and free of any gateway's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivr.asr.engine import Hypothesis, SecondPassOutcome
from ivr.call.events import Event
from ivr.language import Language

__all__ = ["Final", "Turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A finished utterance, or something that the call has to say without one."""

    #: the n-best list, best first; empty where nothing was recognised
    hypotheses: tuple[Hypothesis, ...] = ()
    #: where the utterance begins on the stream's clock, seconds
    offset_s: float = 0.0
    #: language, decision, queue, call, …: the added keys of ``docs/design.md``
    added: Mapping[str, Any] = field(default_factory=dict)
    #: how long the utterance was, seconds, and the processor time each language's model took
    audio_s: float = 0.0
    computed_s: Mapping[Language, float] = field(default_factory=dict)
    #: whether the utterance was heard again; None where there is no second pass
    second_pass: SecondPassOutcome | None = None

    @property
    def text(self) -> str:
        """The best transcript; empty where nothing was recognised."""
        return self.hypotheses[0].text if self.hypotheses else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What came of one input: at most one of ``partial`` and ``final``, and the events."""

    #: what is heard of an utterance in progress, words apart; empty before the first word
    partial: str | None = None
    final: Final | None = None
    #: what the call wants done, in order (:mod:`ivr.call.events`)
    events: tuple[Event, ...] = ()
