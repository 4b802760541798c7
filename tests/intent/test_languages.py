"""Readings where it is not sure which language was spoken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.intent import Decision, Matcher
from ivr.intent.languages import read
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue

ROOT = Path(__file__).resolve().parents[2]
CMN, YUE = Language.MANDARIN, Language.CANTONESE
REQUEST = [("我想去香港签注点样续", 1.0)]
NONSENSE = [("不知道的纷纷均匀苏军", 1.0)]


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(load_catalogue(ROOT / "config/queues.yaml"))


def test_a_sure_language_is_read_alone(matcher: Matcher) -> None:
    reading = read(matcher, {CMN: NONSENSE, YUE: REQUEST}, CMN, 0.97)
    assert (reading.language, reading.language_confidence) == (CMN, 0.97)
    assert reading.match == matcher.match(NONSENSE, CMN)


def test_meaning_overrules_a_close_decision_by_sound(matcher: Matcher) -> None:
    reading = read(matcher, {CMN: NONSENSE, YUE: REQUEST}, CMN, 0.55)
    assert reading.language is YUE
    assert reading.language_confidence > 0.5
    assert reading.match.queue == "public_security"


def test_a_hit_in_a_doubtful_language_is_not_routed(matcher: Matcher) -> None:
    alone = matcher.match(REQUEST, YUE)
    assert alone.decision is Decision.ROUTE
    reading = read(matcher, {CMN: NONSENSE, YUE: REQUEST}, CMN, 0.6)
    assert reading.match.decision is Decision.CONFIRM
    assert reading.match.confidence < alone.confidence


def test_both_transcripts_agreeing_are_routed(matcher: Matcher) -> None:
    both = {CMN: [("我要提取公积金", 1.0)], YUE: [("我想攞公积金", 1.0)]}
    reading = read(matcher, both, CMN, 0.6)
    assert (reading.match.queue, reading.match.decision) == (
        "urban_housing_fund",
        Decision.ROUTE,
    )


def test_an_emergency_stays_one(matcher: Matcher) -> None:
    reading = read(matcher, {CMN: [("着火了快来人", 1.0)], YUE: NONSENSE}, CMN, 0.6)
    assert reading.match.decision is Decision.EMERGENCY


def test_one_language_needs_no_other(matcher: Matcher) -> None:
    assert read(matcher, {YUE: REQUEST}, YUE, 0.5).match == matcher.match(REQUEST, YUE)


@given(
    st.lists(st.sampled_from([REQUEST, NONSENSE, [], [("", 1.0)]]), min_size=2, max_size=2),
    st.sampled_from([CMN, YUE]),
    st.floats(0.5, 1.0),
)
def test_confidences_are_probabilities(
    matcher: Matcher, heard: list[list[tuple[str, float]]], language: Language, p: float
) -> None:
    reading = read(matcher, {CMN: heard[0], YUE: heard[1]}, language, p)
    assert 0 <= reading.language_confidence <= 1
    assert sum(c.confidence for c in reading.match.candidates) <= 1 + 1e-6
    assert reading.match.confidence <= 1
