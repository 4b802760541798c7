"""What a speech recognition engine must do, and the words in which it answers.

An :class:`Engine` holds a loaded model, is shared by all calls and safe to use from several
threads; a :class:`Recogniser` holds the state of one language on one call and is used from one
thread at a time. Neither knows of sockets, calls or queues.

Times are seconds from the start of the utterance; audio is signed 16-bit little-endian PCM,
one channel, at ``rate_hz``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ivr.language import Language

__all__ = ["Engine", "Hypothesis", "Recogniser", "Recognition", "SecondPassOutcome", "Word"]


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its place in the utterance."""

    text: str
    start_s: float
    end_s: float
    confidence: float  # posterior probability, 0 to 1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to read the utterance."""

    text: str  # words joined as the language is written, without spaces between characters
    words: tuple[Word, ...]
    score: float  # log-likelihood of acoustics and language model together, natural log
    confidence: float  # posterior probability among the hypotheses of the list, 0 to 1


@dataclass(frozen=True, slots=True)
class Recognition:
    """The final result for one utterance: the best hypothesis first; none for nothing said."""

    hypotheses: tuple[Hypothesis, ...]
    duration_s: float  # audio consumed for this utterance
    #: log-likelihood of the best path, natural log, also where that path has no words; None
    #: where there was no audio to score.
    score: float | None = None

    @property
    def best(self) -> Hypothesis | None:
        """The best hypothesis, or None where nothing was recognised."""
        return self.hypotheses[0] if self.hypotheses else None

    @property
    def text(self) -> str:
        """The text of the best hypothesis, empty where nothing was recognised."""
        return self.hypotheses[0].text if self.hypotheses else ""


class SecondPassOutcome(StrEnum):
    """What became of a finished utterance where a second pass may hear it again."""

    #: it was heard again
    AGAIN = "again"
    #: there was no need: the first pass was sure of it, or heard no words
    SURE = "sure"
    #: there was need and no time, or nobody wanted it: it is what the first pass heard
    BUSY = "busy"


class Recogniser(Protocol):
    """Streaming recognition of one language on one call."""

    @property
    def language(self) -> Language: ...

    @property
    def rate_hz(self) -> int: ...

    def accept(self, pcm: bytes) -> bool:
        """Take audio; True where the engine sees the end of an utterance (endpoint).

        An endpoint is advice: audio may go on being fed to the same utterance until
        :meth:`finish` is called.
        """
        ...

    def partial(self) -> str:
        """The words so far of the utterance in progress, empty before the first."""
        ...

    def finish(self) -> Recognition:
        """Close the utterance, decode what is still buffered, and start the next one."""
        ...

    def reset(self) -> None:
        """Throw the utterance in progress away and start anew."""
        ...


class Engine(Protocol):
    """A loaded model; makes a recogniser for each call."""

    @property
    def language(self) -> Language: ...

    @property
    def rate_hz(self) -> int:
        """The native sample rate of the model, Hertz."""
        ...

    def recogniser(self, *, alternatives: int = 10) -> Recogniser:
        """A new recogniser at :attr:`rate_hz` with an n-best list of at most ``alternatives``."""
        ...
