"""From the word sequences that a search found to an n-best list with posteriors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ivr.asr.engine import Hypothesis, Recognition, Word

__all__ = ["UNKNOWN_WORDS", "WordPath", "join_words", "spoken_words", "to_recognition"]

#: What a decoding graph has for no word, and for one that it does not know.
UNKNOWN_WORDS: Final = frozenset({"[unk]", "<unk>", "<UNK>", "<eps>", "!SIL", "<s>", "</s>"})
_LATIN = re.compile(r"[A-Za-z0-9]")


def spoken_words(words: Iterable[str]) -> list[str]:
    """Those that are words."""
    return [word for word in words if word not in UNKNOWN_WORDS]


def join_words(words: Iterable[str]) -> str:
    """Words as Chinese is written: a space only between two that meet in Latin letters or digits.

    >>> join_words(["我", "想", "查", "wi", "fi"])
    '我想查wi fi'
    """
    text = ""
    for word in words:
        if text and word and _LATIN.match(text[-1]) and _LATIN.match(word[0]):
            text += " "
        text += word
    return text


@dataclass(frozen=True, slots=True)
class WordPath:
    """One alternative, without unknown words."""

    words: tuple[tuple[str, float, float], ...]  # text, start_s, end_s
    score: float  # log-likelihood of acoustics and language model, natural log

    @property
    def text(self) -> str:
        """The words as they are written."""
        return join_words(word for word, _, _ in self.words)


def to_recognition(paths: Sequence[WordPath], *, duration_s: float) -> Recognition:
    """An n-best list of alternatives in any order.

    Hypotheses come with posteriors over the whole list, the wordless one counted: where nothing
    was probably said, the words' posteriors are low. None come where that is the best path.
    """
    if not paths:
        return Recognition(hypotheses=(), duration_s=duration_s)
    paths = sorted(paths, key=lambda path: -path.score)
    merged = _merge(paths)
    best_score = paths[0].score
    if not merged[0][0].words:
        return Recognition(hypotheses=(), duration_s=duration_s, score=best_score)
    hypotheses = tuple(
        Hypothesis(
            text=path.text,
            words=_with_confidence(path, merged),
            score=path.score,
            confidence=posterior,
        )
        for path, posterior in merged
        if path.words
    )
    return Recognition(hypotheses=hypotheses, duration_s=duration_s, score=best_score)


def _merge(paths: Sequence[WordPath]) -> list[tuple[WordPath, float]]:
    """Paths of one text made one, the best kept, with posteriors; most probable first."""
    best = paths[0].score
    total = sum(math.exp(path.score - best) for path in paths)
    merged: dict[str, tuple[WordPath, float]] = {}
    for path in paths:
        kept, posterior = merged.get(path.text, (path, 0.0))
        merged[path.text] = (kept, posterior + math.exp(path.score - best) / total)
    return sorted(merged.values(), key=lambda item: (-item[1], -item[0].score))


def _with_confidence(path: WordPath, merged: Sequence[tuple[WordPath, float]]) -> tuple[Word, ...]:
    return tuple(
        Word(text=text, start_s=start, end_s=end, confidence=min(1.0, sum(
            posterior for other, posterior in merged if _holds(other, text, start, end)
        )))
        for text, start, end in path.words
    )  # fmt: skip


def _holds(path: WordPath, text: str, start: float, end: float) -> bool:
    """Whether a path has the same word at an overlapping time."""
    return any(
        word == text and ((a < end and start < b) or (a, b) == (start, end))
        for word, a, b in path.words
    )
