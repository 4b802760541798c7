"""How well the matcher does on labelled utterances.

    outcomes = [Outcome(case, judge(matcher, case)) for case in cases]
    figures = measure(outcomes)

An utterance is right where the outcome is the one expected (a queue routed or confirmed). Among
those that a queue answers, ``routed`` are put through without a question. Confidence intervals are
Wilson's (1927). The expected calibration error (Naeini et al. 2015) is over ten bins of equal
width of the best queue's confidence, that queue being right or not; off-topic utterances, for
which none is, count too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from ivr.intent.calibration import STEPS
from ivr.intent.cases import OFF_TOPIC, Case, decided, is_right
from ivr.intent.types import Decision, Match

__all__ = [
    "Bin",
    "Figures",
    "Outcome",
    "Share",
    "confusion",
    "coverage",
    "coverage_at",
    "measure",
    "reliability",
    "threshold",
    "worst",
    "wrong_above",
]

BINS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """A labelled case and what the matcher made of it."""

    case: Case
    match: Match

    @property
    def expected(self) -> str:
        """The label."""
        return self.case.expected or OFF_TOPIC

    @property
    def decided(self) -> str:
        """The outcome in the words of the label."""
        return decided(self.match)

    @property
    def right(self) -> bool:
        """Whether it is the one expected."""
        return is_right(self.expected, self.match)

    @property
    def is_queue(self) -> bool:
        """Whether a queue is expected."""
        plain = ":" not in self.expected and not self.expected.startswith("!")
        return plain and self.expected not in (OFF_TOPIC, "person")

    @property
    def confidence(self) -> float:
        """Of the best queue, whatever was decided."""
        return self.match.candidates[0].confidence if self.match.candidates else 0.0

    @property
    def queue_right(self) -> bool:
        """Whether the best queue is the one expected."""
        return bool(self.match.candidates) and self.match.candidates[0].queue == self.expected


@dataclass(frozen=True, slots=True)
class Share:
    """``right`` of ``total``; with none in all the share is 0."""

    right: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.right / self.total if self.total else 0.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the share."""
        if not self.total:
            return 0.0, 1.0
        found = binomtest(self.right, self.total).proportion_ci(level, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Bin:
    """Utterances of like confidence."""

    low: float
    high: float
    count: int
    confidence: float  # mean
    accuracy: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of an evaluation."""

    accuracy: Share  # of all
    queues: Share  # right of those a queue answers
    macro_f1: float  # over the queues
    routed: Share  # of those a queue answers
    wrong_routed: Share  # of all routed, off-topic ones too
    off_topic_routed: Share
    off_topic_asked: Share
    persons: Share
    emergencies: Share
    calibration_error: float


def measure(outcomes: Sequence[Outcome]) -> Figures:
    """The figures of labelled outcomes.

    Raises:
        ValueError: there is none.
    """
    if not outcomes:
        raise ValueError("there is no labelled utterance to measure")
    queues = [o for o in outcomes if o.is_queue]
    off = [o for o in outcomes if o.expected == OFF_TOPIC]
    routed = [o for o in outcomes if o.match.decision is Decision.ROUTE]
    labels = sorted({o.expected for o in queues})
    return Figures(
        accuracy=_right(outcomes),
        queues=_right(queues),
        macro_f1=_macro_f1(queues, labels),
        routed=Share(sum(o.is_queue for o in routed), len(queues)),
        wrong_routed=Share(sum(not o.right for o in routed), len(routed)),
        off_topic_routed=Share(sum(o.expected == OFF_TOPIC for o in routed), len(off)),
        off_topic_asked=_right(off),
        persons=_right([o for o in outcomes if o.expected == "person"]),
        emergencies=_right([o for o in outcomes if o.expected.startswith("emergency:")]),
        calibration_error=_calibration_error(reliability(outcomes)),
    )


def _right(outcomes: Sequence[Outcome]) -> Share:
    return Share(sum(o.right for o in outcomes), len(outcomes))


def _macro_f1(queues: Sequence[Outcome], labels: list[str]) -> float:
    if not labels:
        return 0.0
    said, found = [o.expected for o in queues], [o.decided for o in queues]
    return float(f1_score(said, found, labels=labels, average="macro", zero_division=0.0))


def _judged(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.is_queue or o.expected == OFF_TOPIC]


def reliability(outcomes: Sequence[Outcome], bins: int = BINS) -> list[Bin]:
    """The reliability table: bins of equal width that hold anything."""
    judged = _judged(outcomes)
    place = [min(bins - 1, int(o.confidence * bins)) for o in judged]
    out = []
    for k in range(bins):
        inside = [o for o, at in zip(judged, place, strict=True) if at == k]
        if inside:
            confidence = sum(o.confidence for o in inside) / len(inside)
            accuracy = sum(o.queue_right for o in inside) / len(inside)
            out.append(Bin(k / bins, (k + 1) / bins, len(inside), confidence, accuracy))
    return out


def _calibration_error(table: Sequence[Bin]) -> float:
    total = sum(b.count for b in table)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in table) / max(1, total)


def coverage(outcomes: Sequence[Outcome]) -> npt.NDArray[np.float64]:
    """The coverage against error curve, shape ``(n, 3)``: threshold, coverage, error.

    A row is what routing from that confidence up would do: the share of all utterances (those of
    queues and off-topic ones) that is routed, and the share of these that is wrong.
    """
    judged = sorted(_judged(outcomes), key=lambda o: -o.confidence)
    if not judged:
        return np.zeros((0, 3))
    confidence = np.array([o.confidence for o in judged])
    wrong = np.cumsum([not o.queue_right for o in judged])
    count = np.arange(1, len(judged) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)  # equal confidences go together
    curve: npt.NDArray[np.float64] = np.stack(
        [confidence, count / len(judged), wrong / count], axis=1
    )
    kept: npt.NDArray[np.float64] = curve[last]
    return kept


def coverage_at(
    outcomes: Sequence[Outcome], thresholds: Sequence[float]
) -> list[tuple[float, float, float | None]]:
    """The curve of :func:`coverage` read at ``thresholds``: threshold, coverage, error.

    The error is None where nothing would be routed.
    """
    judged = _judged(outcomes)
    rows: list[tuple[float, float, float | None]] = []
    for least in thresholds:
        above = [o for o in judged if o.confidence >= least]
        wrong = sum(not o.queue_right for o in above)
        share = len(above) / max(1, len(judged))
        rows.append((least, share, wrong / len(above) if above else None))
    return rows


def threshold(
    outcomes: Sequence[Outcome], error: float, *, least: float = 0.0, places: int | None = 2
) -> tuple[float, float, float] | None:
    """The lowest threshold to route from with at most that error: threshold, coverage, error.

    Args:
        outcomes: labelled ones.
        error: the share of wrong ones among those routed, 0 to 1.
        least: no threshold below it.
        places: decimals of the threshold, as it is printed and written into the file; coverage and
            error are those of that number. None: the confidence of an outcome as it is.

    Returns:
        None where no threshold from ``least`` up that routes anything keeps the error.
    """
    curve = coverage(outcomes)
    if places is not None:
        curve = _at_places(curve, places)
    fit = curve[(curve[:, 2] <= error) & (curve[:, 0] >= least)]
    if not len(fit):
        return None
    lowest, covered, wrong = fit[-1].tolist()
    return lowest, covered, wrong


def _at_places(curve: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """The curve at thresholds of so many decimals, none above the confidence it stands for."""
    confidence, scale = curve[:, 0], 10**places
    # Rounded first: 0.29 * 100 is 28.999999999999996.
    marks = np.unique(np.floor(np.round(confidence * scale, 6)) / scale)[::-1]
    reached = np.array([np.count_nonzero(confidence >= mark) for mark in marks], dtype=np.int64)
    marks, reached = marks[reached > 0], reached[reached > 0]
    found: npt.NDArray[np.float64] = np.column_stack([marks, curve[reached - 1, 1:]])
    return found


def wrong_above(outcomes: Sequence[Outcome]) -> list[float]:
    """For each confidence 0.00, 0.01 ... 1.00 the share of wrong ones among those above.

    No share is below that of a higher confidence, so a lucky stretch lowers no threshold.
    """
    judged = _judged(outcomes)
    confidence = np.array([o.confidence for o in judged])
    wrong = np.array([not o.queue_right for o in judged])
    shares: list[float] = []
    for n in range(STEPS, -1, -1):
        above = confidence >= n / STEPS
        least = shares[-1] if shares else 0.0
        shares.append(max(least, float(wrong[above].mean()) if above.any() else 0.0))
    return shares[::-1]


def confusion(outcomes: Sequence[Outcome]) -> tuple[list[str], dict[str, Counter[str]]]:
    """Names in order, and for each that is expected how often each was decided.

    Labels that only exclude an outcome (``!person``) have no row.
    """
    rows: dict[str, Counter[str]] = {}
    for o in outcomes:
        if o.expected.startswith("!"):
            continue
        rows.setdefault(o.expected, Counter())[o.decided] += 1
    last = {OFF_TOPIC: 1, "person": 2}
    names = {*rows, *(name for row in rows.values() for name in row)}
    return sorted(names, key=lambda n: (last.get(n, 3 if ":" in n else 0), n)), rows


def worst(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Wrong ones: those that send a caller wrong first, the surest first."""
    order = {Decision.ROUTE: 0, Decision.EMERGENCY: 0, Decision.PERSON: 1, Decision.CONFIRM: 1}
    wrong = [o for o in outcomes if not o.right]
    return sorted(wrong, key=lambda o: (order.get(o.match.decision, 2), -o.confidence))
