"""Reports on a replay: the table, accuracy, the confusion matrix, and JUnit."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite
from rich.table import Table

from ivr.replay.client import Result
from ivr.replay.labels import REJECTED, Kind, Label, is_right

__all__ = ["Outcome", "Report", "Share", "confusion_table", "result_table", "write_junit"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    name: str
    result: Result | None  # None where it could not be read or replayed
    error: str | None = None
    label: Label | None = None

    @property
    def right(self) -> bool | None:
        """Whether the decision is right; None without a label. An error is never right."""
        if self.label is None:
            return None
        return self.result is not None and is_right(self.label, self.result)

    @property
    def decided(self) -> str:
        """The column of the confusion matrix."""
        if self.result is None:
            return "error"
        if self.result.decision in ("route", "confirm") and self.result.queue:
            return self.result.queue
        return self.result.decision


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None of nothing."""
        return self.right / self.total if self.total else None

    def __str__(self) -> str:
        return f"{self.right / self.total:.1%} ({self.right}/{self.total})" if self.total else "-"


def _share(flags: Iterable[bool]) -> Share:
    counted = Counter(flags)
    return Share(counted[True], counted.total())


@dataclass(frozen=True, slots=True)
class Report:
    """Figures over all outcomes that have a label; errors count as wrong."""

    outcomes: Sequence[Outcome]

    @property
    def labelled(self) -> list[Outcome]:
        """The outcomes that have a label."""
        return [outcome for outcome in self.outcomes if outcome.label is not None]

    @property
    def accuracy(self) -> Share:
        """Right decisions over every kind: what ``--min-accuracy`` looks at."""
        return _share(bool(outcome.right) for outcome in self.labelled)

    def of_kind(self, *kinds: Kind) -> Share:
        """Right decisions over recordings of these kinds."""
        chosen = (o for o in self.labelled if o.label and o.label.kind in kinds)
        return _share(bool(outcome.right) for outcome in chosen)

    @property
    def language_accuracy(self) -> Share:
        """Right languages over the recordings whose label names one."""
        return _share(
            outcome.result is not None and outcome.result.language == outcome.label.language
            for outcome in self.labelled
            if outcome.label and outcome.label.language
        )

    @property
    def wrongly_routed(self) -> list[str]:
        """Names of off-topic, silent and noise recordings that were put through without asking."""
        return [
            outcome.name
            for outcome in self.labelled
            if outcome.label
            and outcome.label.kind in REJECTED
            and outcome.result
            and outcome.result.decision == "route"
        ]

    @property
    def latency_ms(self) -> tuple[float, float] | None:
        """Median and 95th percentile of the latencies; None without any."""
        values = [o.result.latency_ms for o in self.outcomes if o.result and _has_latency(o.result)]
        known = sorted(value for value in values if value is not None)
        if not known:
            return None
        return statistics.median(known), known[min(len(known) - 1, int(0.95 * len(known)))]

    def lines(self) -> list[str]:
        """The figures, a line each."""
        lines = [f"accuracy: {self.accuracy}"] if self.labelled else []
        parts = {
            "queues (routed or confirmed)": self.of_kind(Kind.SPEECH),
            "off-topic, silent and noise asked again": self.of_kind(*REJECTED),
            "asked for a person": self.of_kind(Kind.PERSON),
            "emergencies": self.of_kind(Kind.EMERGENCY),
            "language": self.language_accuracy,
        }
        lines += [f"  {name}: {share}" for name, share in parts.items() if share.total]
        if self.labelled:
            if without := len(self.outcomes) - len(self.labelled):
                lines.append(f"  without a label, not counted: {without} of {len(self.outcomes)}")
            wrong = self.wrongly_routed
            lines.append(f"  off-topic, silent or noise, yet routed: {', '.join(wrong) or 'none'}")
        if latency := self.latency_ms:
            lines.append(f"latency: median {latency[0]:.0f} ms, p95 {latency[1]:.0f} ms")
        return lines


def _has_latency(result: Result) -> bool:
    """Only where something was decided: asking again after noise has no end of speech."""
    return result.latency_ms is not None and bool(result.text)


def result_table(outcomes: Sequence[Outcome]) -> Table:
    """The table that ``ivr replay`` prints."""
    labelled = any(outcome.label for outcome in outcomes)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("file", "language", "transcript", "queue"):
        table.add_column(column, overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("decision")
    table.add_column("latency", justify="right")
    if labelled:
        table.add_column("")
    for outcome in outcomes:
        table.add_row(*_row(outcome), *([_mark(outcome)] if labelled else []))
    return table


def _row(outcome: Outcome) -> list[str]:
    result = outcome.result
    if result is None:
        return [outcome.name, "", outcome.error or "", "", "", "error", ""]
    latency = f"{result.latency_ms:.0f} ms" if result.latency_ms is not None else "-"
    target = result.queue or result.emergency or ""
    return [
        outcome.name,
        result.language or "-",
        result.text,
        target,
        f"{result.confidence:.2f}",
        result.decision,
        latency,
    ]


def _mark(outcome: Outcome) -> str:
    if outcome.right is None:
        return ""
    return "[green]right[/]" if outcome.right else f"[red]not {outcome.label.expected}[/]"  # type: ignore[union-attr]


def confusion_table(outcomes: Sequence[Outcome]) -> Table:
    """What was right (rows) against what was decided (columns); zeros stay empty."""
    labelled = [(o.label.expected, o.decided) for o in outcomes if o.label]
    counts = Counter(labelled)
    rows = _ordered({expected for expected, _ in labelled})
    columns = _ordered({decided for _, decided in labelled} | set(rows))
    table = Table(title="right \\ decided", box=None, header_style="bold", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        cells = (counts[row, column] for column in columns)
        table.add_row(row, *(str(count) if count else "" for count in cells))
    return table


_LAST = ("ask_again", "person", "emergency", "error")


def _ordered(names: set[str]) -> list[str]:
    """Queues by name, then the other decisions."""
    return sorted(names - set(_LAST)) + [name for name in _LAST if name in names]


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a JUnit file: a test case a recording, a failure where the decision is wrong."""
    suite = TestSuite("ivr replay")
    for outcome in outcomes:
        suite.add_testcase(_case(outcome))
    report = JUnitXml()
    report.add_testsuite(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    report.write(str(path), pretty=True)


def _case(outcome: Outcome) -> TestCase:
    latency_ms = outcome.result.latency_ms if outcome.result else None
    kind = outcome.label.kind.value if outcome.label else "unlabelled"
    case = TestCase(outcome.name, f"replay.{kind}", (latency_ms or 0.0) / 1000.0)
    if outcome.error is not None:
        case.result = [Error(outcome.error)]
    elif outcome.label and not outcome.right:
        case.result = [Failure(_fault(outcome.label, outcome))]
    return case


def _fault(label: Label, outcome: Outcome) -> str:
    heard = outcome.result.text if outcome.result else ""
    return (
        f"{label.expected} was right, not {outcome.decided}; heard {heard!r}, said {label.text!r}"
    )
