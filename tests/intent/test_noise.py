from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ivr.intent.noise import corrupt, hypotheses
from ivr.intent.normalise import normalise
from ivr.intent.sounds import distance, syllables
from ivr.language import Language

TEXT = {
    Language.MANDARIN: "我想查一下社会保险缴费记录在哪里办理" * 20,
    Language.CANTONESE: "我想查吓社保交咗几多年应该喺边度办理" * 20,
}


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("rate", [0.0, 0.15, 0.45])
def test_the_rate_is_kept(language: Language, rate: float) -> None:
    plain = normalise(TEXT[language])
    heard = corrupt(TEXT[language], language, rate=rate, rng=random.Random(1))
    wrong = Levenshtein.distance(plain, heard) / len(plain)
    assert rate * 0.75 <= wrong <= rate * 1.15


@pytest.mark.parametrize("language", list(Language))
def test_most_errors_sound_alike(language: Language) -> None:
    plain = normalise(TEXT[language])
    heard = corrupt(TEXT[language], language, rate=0.3, rng=random.Random(2))
    pairs = [
        (plain[a], heard[b])
        for kind, a, b in Levenshtein.editops(plain, heard)
        if kind == "replace"
    ]
    apart = [
        distance(syllables(x, language)[0], syllables(y, language)[0], language) for x, y in pairs
    ]
    assert sum(d <= 0.25 for d in apart) / len(apart) > 0.75


@given(st.text(max_size=12), st.integers(1, 12), st.sampled_from(list(Language)))
def test_lists_have_falling_weights(text: str, count: int, language: Language) -> None:
    heard = hypotheses(text, language, rate=0.3, rng=random.Random(3), count=count)
    weights = [w for _, w in heard]
    assert len(heard) == count
    assert weights == sorted(weights, reverse=True)
    assert heard == hypotheses(text, language, rate=0.3, rng=random.Random(3), count=count)
