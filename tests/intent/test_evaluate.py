"""Figures of labelled utterances, against values worked out by hand and by a reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.intent.cases import Case
from ivr.intent.evaluate import (
    Outcome,
    Share,
    confusion,
    coverage,
    coverage_at,
    measure,
    reliability,
    threshold,
    worst,
    wrong_above,
)
from ivr.intent.types import Candidate, Decision, Match
from ivr.language import Language

CMN = Language.MANDARIN
DECISIONS = {"r": Decision.ROUTE, "c": Decision.CONFIRM, "a": Decision.ASK_AGAIN}


def outcome(expected: str, decision: str, queue: str | None, confidence: float = 0.9) -> Outcome:
    candidates = (Candidate(queue, confidence, "x"),) if queue else ()
    match = Match("x", "x", DECISIONS[decision], queue, confidence, candidates)
    return Outcome(Case("f:1", {CMN: [("x", 1.0)]}, CMN, expected=expected), match)


EIGHT = [
    outcome("a", "r", "a", 0.95),
    outcome("a", "c", "a", 0.6),
    outcome("a", "r", "b", 0.85),
    outcome("b", "r", "b", 0.9),
    outcome("b", "a", "b", 0.2),
    outcome("off_topic", "a", None, 0.0),
    outcome("off_topic", "a", "a", 0.1),
    outcome("off_topic", "c", "b", 0.5),
]


def test_figures_by_hand() -> None:
    figures = measure(EIGHT)
    assert figures.accuracy == Share(5, 8)
    assert figures.queues == Share(3, 5)
    assert figures.routed == Share(3, 5)
    assert figures.wrong_routed == Share(1, 3)
    assert figures.off_topic_routed == Share(0, 3)
    assert figures.off_topic_asked == Share(2, 3)
    # a: precision 2/2, recall 2/3; b: precision 1/2, recall 1/2
    assert figures.macro_f1 == pytest.approx((0.8 + 0.5) / 2)
    gaps = [0.0, 0.1, 0.8, 0.5, 0.4, 0.85, 0.075 * 2]
    assert figures.calibration_error == pytest.approx(sum(gaps) / 8)


def test_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="no labelled"):
        measure([])


def test_wilsons_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, Wilson score without continuity correction
    low, high = Share(81, 263).interval()
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_coverage_falls_with_the_threshold() -> None:
    curve = coverage(EIGHT)
    assert curve[0].tolist() == [0.95, 1 / 8, 0.0]
    assert curve[-1].tolist() == [0.0, 1.0, 4 / 8]
    assert threshold(EIGHT, 0.0) == (0.9, 2 / 8, 0.0)
    assert threshold([outcome("a", "r", "b")], 0.03) is None


def test_a_threshold_that_can_be_written_routes_what_it_says() -> None:
    sure = [outcome("a", "r", "a", 0.9999), outcome("off_topic", "a", None, 0.0)]
    assert threshold(sure, 0.03) == (0.99, 1 / 2, 0.0)
    assert threshold(sure, 0.03, places=None) == (0.9999, 1 / 2, 0.0)
    # 0.87 would let the wrong one in, so the threshold is above both.
    near = [outcome("a", "r", "a", p) for p in (0.95, 0.876)] + [outcome("a", "r", "b", 0.872)]
    assert threshold(near, 0.03) == (0.95, 1 / 3, 0.0)
    # Nothing of two decimals parts these.
    assert threshold([outcome("a", "r", "a", 0.9999), outcome("a", "r", "b", 0.995)], 0.03) is None
    # 0.29 * 100 is below 29
    assert threshold([outcome("a", "r", "a", 0.29)], 0.03) == (0.29, 1.0, 0.0)


def test_the_curve_read_at_thresholds() -> None:
    assert coverage_at(EIGHT, [0.96, 0.85, 0.5]) == [
        (0.96, 0.0, None),
        (0.85, 3 / 8, 1 / 3),
        (0.5, 5 / 8, 2 / 5),
    ]
    for confidence, share, error in coverage(EIGHT).tolist():
        assert coverage_at(EIGHT, [confidence]) == [(confidence, share, error)]
    assert coverage_at([], [0.5]) == [(0.5, 0.0, None)]


def test_confusion_and_worst() -> None:
    names, rows = confusion(EIGHT)
    assert names == ["a", "b", "off_topic"]
    assert rows["a"] == {"a": 2, "b": 1}
    assert rows["off_topic"] == {"off_topic": 2, "b": 1}
    assert [(o.expected, o.confidence) for o in worst(EIGHT)] == [
        ("a", 0.85),
        ("off_topic", 0.5),
        ("b", 0.2),
    ]


outcomes = st.lists(
    st.builds(
        outcome,
        st.sampled_from(["a", "b", "off_topic"]),
        st.sampled_from("rca"),
        st.sampled_from(["a", "b", None]),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=40,
)


@given(outcomes)
def test_figures_are_shares(said: list[Outcome]) -> None:
    figures = measure(said)
    assert 0 <= figures.macro_f1 <= 1
    assert 0 <= figures.calibration_error <= 1
    curve = coverage(said)
    assert np.all(np.diff(curve[:, 0]) < 0)
    assert np.all(np.diff(curve[:, 1]) > 0)
    assert sum(b.count for b in reliability(said)) == len(said)


@given(
    st.lists(
        st.builds(
            outcome,
            st.sampled_from(["a", "b", "off_topic"]),
            st.just("r"),
            st.sampled_from("ab"),
            st.integers(0, 10_000).map(lambda n: n / 10_000),
        ),
        max_size=30,
    ),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5]),
)
def test_a_written_threshold_keeps_its_promise_and_no_other_routes_more(
    said: list[Outcome], error: float, least: float
) -> None:
    found = threshold(said, error, least=least)
    curve = coverage_at(said, [n / 100 for n in range(round(100 * least), 101)])
    good = [row for row in curve if row[2] is not None and row[2] <= error]
    if found is None:
        assert good == []
        return
    assert found in good
    assert found[1] == max(covered for _, covered, _ in good)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab"), st.floats(0, 1)), min_size=1)
)
def test_the_curve_of_a_calibration_promises_no_less_than_what_is_wrong(
    made: list[tuple[str, str, float]],
) -> None:
    outcomes = [outcome(expected, "r", queue, share) for expected, queue, share in made]
    curve = wrong_above(outcomes)
    assert len(curve) == 101
    assert curve == sorted(curve, reverse=True)
    for n in (0, 35, 80, 100):
        above = [o for o in outcomes if o.confidence >= n / 100]
        wrong = sum(not o.queue_right for o in above)
        assert curve[n] >= wrong / len(above) - 1e-12 if above else True
