"""Simulated recognition errors, for training and measuring on text as if it had been heard.

At each character, with a given rate: a homophone (half of the errors), a character of a confusable
syllable (three in ten), a deletion (one in ten) or any character at all (one in ten). It is a model
of an error and no recogniser; what a recogniser does is measured on recordings (``ivr eval``).
"""

from __future__ import annotations

import functools
import random

import numpy as np
import numpy.typing as npt

from ivr.intent.normalise import normalise
from ivr.intent.sounds import character_syllables, table
from ivr.language import Language

__all__ = ["corrupt", "hypotheses"]


@functools.cache
def _alphabet(language: Language) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The commoner characters (first level of GB 2312) and their syllables' codes."""
    chars = [
        bytes((high, low)).decode("gb2312", "ignore")
        for high in range(0xB0, 0xD8)
        for low in range(0xA1, 0xFF)
    ]
    chars = [c for c in chars if c and character_syllables(c, language)[0]]
    codes = table(language).codes([character_syllables(c, language)[0] for c in chars])
    return chars, codes


@functools.cache
def _near(syllable: str, language: Language) -> tuple[list[str], list[str]]:
    """Characters of the same syllable but for tone, and of confusable ones."""
    chars, codes = _alphabet(language)
    apart = table(language).distances(table(language).codes([syllable]), codes)[0]
    same = [c for c, d in zip(chars, apart, strict=True) if d <= 0.101]
    near = [c for c, d in zip(chars, apart, strict=True) if 0.05 < d <= 0.25]
    return same, near


def _misheard(char: str, syllable: str, language: Language, rng: random.Random) -> str:
    kind = rng.random()
    same, near = _near(syllable, language)
    if kind < 0.5:
        return rng.choice(same or [char])
    if kind < 0.8:
        return rng.choice(near or same or [char])
    return "" if kind < 0.9 else rng.choice(_alphabet(language)[0])


def corrupt(text: str, language: Language, *, rate: float, rng: random.Random) -> str:
    """The text as a recogniser with that character error rate might write it."""
    plain = normalise(text)
    sounds = character_syllables(plain, language)
    return "".join(
        _misheard(c, s, language, rng) if s and rng.random() < rate else c
        for c, s in zip(plain, sounds, strict=True)
    )


def hypotheses(
    text: str, language: Language, *, rate: float, rng: random.Random, count: int = 5
) -> list[tuple[str, float]]:
    """An n-best list with falling weights; as a recogniser's, its lines share most errors."""
    best = corrupt(text, language, rate=rate, rng=rng)
    others = (corrupt(best, language, rate=rate / 3, rng=rng) for _ in range(count - 1))
    return [(t, 0.6**n) for n, t in enumerate((best, *others))]
