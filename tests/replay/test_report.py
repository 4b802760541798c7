from __future__ import annotations

import io
from pathlib import Path

import pytest
from junitparser import JUnitXml
from rich.console import Console

from ivr.language import Language
from ivr.replay.client import Result
from ivr.replay.labels import Kind, Label
from ivr.replay.report import (
    Outcome,
    Report,
    Share,
    confusion_table,
    result_table,
    write_junit,
)

CMN, YUE = Language.MANDARIN, Language.CANTONESE


def outcome(
    name: str,
    decision: str,
    queue: str | None,
    label: Label | None,
    *,
    language: str | None = "cmn",
    latency_ms: float | None = 500.0,
) -> Outcome:
    text = "" if language is None else "社保"
    result = Result(Path(name), language, text, queue, 0.9, decision, latency_ms, (), None, ())
    return Outcome(name, result, None, label)


OUTCOMES = [
    outcome("a.wav", "route", "social", Label("a.wav", Kind.SPEECH, CMN, "social", "查社保")),
    outcome(
        "b.wav",
        "confirm",
        "fund",
        Label("b.wav", Kind.SPEECH, YUE, "fund"),
        language="yue",
        latency_ms=700.0,
    ),
    outcome("c.wav", "route", "fund", Label("c.wav", Kind.SPEECH, YUE, "social"), latency_ms=900.0),
    outcome("d.wav", "ask_again", None, Label("d.wav", Kind.SILENCE), language=None),
    outcome("e.wav", "route", "fund", Label("e.wav", Kind.OFF_TOPIC, CMN)),
    outcome("f.wav", "person", None, Label("f.wav", Kind.PERSON, CMN)),
    Outcome("g.wav", None, "g.wav: broken WAV file", Label("g.wav", Kind.SPEECH, CMN, "fund")),
    outcome("h.wav", "route", "fund", None),
]
REPORT = Report(OUTCOMES)


def test_the_figures() -> None:
    assert REPORT.accuracy == Share(4, 7)
    assert REPORT.of_kind(Kind.SPEECH) == Share(2, 4)
    assert REPORT.of_kind(Kind.OFF_TOPIC, Kind.SILENCE) == Share(1, 2)
    assert REPORT.language_accuracy == Share(4, 6)  # c is wrong, g broken
    assert REPORT.wrongly_routed == ["e.wav"]


def test_latency_is_over_what_was_heard() -> None:
    assert REPORT.latency_ms == (500.0, 900.0)
    assert Report([]).latency_ms is None


def test_shares() -> None:
    assert Share(0, 0).value is None
    assert str(Share(1, 8)) == "12.5% (1/8)"


def test_lines_say_what_was_routed_by_mistake() -> None:
    lines = REPORT.lines()
    assert lines[0] == "accuracy: 57.1% (4/7)"
    assert "  off-topic, silent or noise, yet routed: e.wav" in lines
    assert "  without a label, not counted: 1 of 8" in lines
    assert not any("without a label" in line for line in Report(OUTCOMES[:-1]).lines())
    assert lines[-1] == "latency: median 500 ms, p95 900 ms"


def printed(table: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(table)
    return stream.getvalue()


def test_the_table_has_a_row_a_file() -> None:
    text = printed(result_table(OUTCOMES))
    rows = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert set(rows) == {o.name for o in OUTCOMES}
    assert "social" in rows["a.wav"]
    assert "right" in rows["a.wav"]
    assert "not social" in rows["c.wav"]
    assert "broken WAV file" in rows["g.wav"]
    assert rows["h.wav"].rstrip().endswith("500 ms")


def test_the_confusion_matrix() -> None:
    lines = printed(confusion_table(OUTCOMES)).splitlines()
    columns = lines[1].split()
    assert columns == ["fund", "social", "ask_again", "person", "error"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[2:] if line.strip()}
    assert cells == {
        "fund": ["1", "1"],
        "social": ["1", "1"],
        "ask_again": ["1", "1"],
        "person": ["1"],
    }


def test_junit(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "junit.xml"
    write_junit(path, OUTCOMES)
    suite = next(iter(JUnitXml.fromfile(str(path))))
    assert (suite.tests, suite.failures, suite.errors) == (8, 2, 1)
    cases = {case.name: case for case in suite}
    assert cases["a.wav"].time == pytest.approx(0.5)
    assert cases["a.wav"].is_passed
    assert "social was right, not fund" in cases["c.wav"].result[0].message
    assert cases["h.wav"].classname == "replay.unlabelled"
