"""``ivr diff``: what does an edit of the queues change?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.cli._cases import load_cases_of_each
from ivr.cli.progress import progress
from ivr.cli.simulate import scenario_file
from ivr.intent.cases import decided
from ivr.intent.compare import Change, Comparison, Edit, compare, other_edits
from ivr.intent.matcher import Matcher
from ivr.intent.types import Match
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.queues.experiment import MEASURES, Runner
from ivr.queues.experiment import Comparison as Waits
from ivr.queues.experiment import compare as simulate
from ivr.queues.experiment_edit import edited_scenario
from ivr.queues.experiment_study import plain
from ivr.queues.navigation import Observation
from ivr.queues.report_words import change_of, value_of
from ivr.queues.scenario import Scenario, load_scenario

__all__ = ["command"]

_NAMED = 3  # more queues of the same edit are counted
_COLOURS = {"worse": "red", "better": "green", "unknown": "yellow", "same": "default"}


@click.command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--calls",
    type=click.Path(path_type=Path),
    required=True,
    help="Transcripts (.csv, .tsv, .jsonl, .txt), logs of calls, or recordings.",
)
@click.option(
    "--language",
    type=click.Choice([code.value for code in Language]),
    help="Of lines that name none.",
)
@click.option("--scenario", type=click.Path(path_type=Path),
              help="Simulate what the edit does to waiting in this hotline.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--fail-on-worse", is_flag=True, help="Exit with status 1 where accuracy falls.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(
    old: Path,
    new: Path,
    calls: Path,
    language: str | None,
    scenario: Path | None,
    as_json: bool,
    fail_on_worse: bool,
    config: Path | None,
) -> None:
    """Show which of the stored calls go elsewhere by NEW than by OLD, two queues.yaml.

    A folder may hold recordings, which are recognised and matched twice (recognised once where the
    hot words are the same), and what a server keeps of its calls (call_log.folder): the logs, of
    which each request is matched anew. Where calls have labels (a column expected, or a labels.csv;
    for a log where the call went), the accuracy before and after is shown too. A label may name a
    queue of either file. What else the edit changes, and these calls cannot show, is named: hours,
    agents, priorities, and hot words where calls are text.

    \b
        ivr diff config/queues.yaml draft/queues.yaml --calls calls.jsonl
        ivr diff config/queues.yaml draft/queues.yaml --calls var/calls
        ivr diff config/queues.yaml draft/queues.yaml --calls audio_fixtures --scenario city
    """
    hotline = load_scenario(scenario_file(scenario)) if scenario is not None else None
    before, after = load_catalogue(old), load_catalogue(new)
    spoken = Language(language) if language else None
    cases, anew = load_cases_of_each(calls, [before, after], language=spoken, config=config)
    comparison = compare(Matcher(before), Matcher(after), cases, anew)
    # Text and logs are the same for both: no hot word is heard in them.
    written = any(was is now for was, now in zip(cases, anew, strict=True))
    others = other_edits(before, after, hot_words=written)
    waits = _waits(hotline, comparison, str(calls)) if hotline is not None else None
    if as_json:
        found = _object(comparison) | {"also_changed": [asdict(edit) for edit in others]}
        found |= {"waits": _waits_object(waits)} if waits else {}
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        _show(comparison, Console())
        if others:
            click.echo(f"Also changed, and not measured by these calls: {_also(others)}.")
        if waits is not None:
            Console().print(_waits_table(waits))
    accuracy = comparison.accuracy()
    if fail_on_worse and accuracy is not None and accuracy[1] < accuracy[0]:
        sys.exit(1)


def _object(comparison: Comparison) -> dict[str, Any]:
    accuracy = comparison.accuracy()
    return {
        "calls": len(comparison.changes),
        "moved": [_moved(change) for change in comparison.moved],
        "shares": {name: list(pair) for name, pair in comparison.shares().items()},
        "asked": list(comparison.questions()),
        "accuracy": None if accuracy is None else [round(a, 4) for a in accuracy],
        "p_value": None if accuracy is None else round(comparison.p_value(), 4),
    }


def _moved(change: Change) -> dict[str, Any]:
    return {
        "where": change.case.where,
        "text": change.after.text,
        "text_before": change.before.text,
        "before": _outcome(change, after=False),
        "after": _outcome(change, after=True),
        "expected": change.case.expected,
        "verdict": change.verdict,
    }


def _outcome(change: Change, *, after: bool) -> str:
    match = change.after if after else change.before
    return f"{decided(match)} ({match.decision.value} {match.confidence:.2f})"


def _show(comparison: Comparison, console: Console) -> None:
    moved = comparison.moved
    total = len(comparison.changes)
    if not moved:
        console.print(f"All {total} calls go where they went before.")
    else:
        title = f"{len(moved)} of {total} calls go elsewhere"
        table = Table("call", "before", "after", "expected", "", title=title)
        for change in moved:
            colour = _COLOURS[change.verdict]
            table.add_row(
                f"{_said(change)}\n[dim]{change.case.where}[/]",
                _outcome(change, after=False),
                _outcome(change, after=True),
                change.case.expected or "",
                f"[{colour}]{change.verdict}[/]",
            )
        console.print(table)
        console.print(_shares(comparison))
    asked_before, asked_after = comparison.questions()
    console.print(f"Callers asked a question: {asked_before} before, {asked_after} after.")
    accuracy = comparison.accuracy()
    if accuracy is not None:
        console.print(
            f"Right: {accuracy[0]:.1%} before, {accuracy[1]:.1%} after, "
            f"of {len(comparison.labelled)} with a label; "
            f"by chance alone with probability {comparison.p_value():.2f} (McNemar)."
        )


def _said(change: Change) -> str:
    """What was heard, and what it was before where other words are heard after the edit."""
    before, after = (match.text or "-" for match in (change.before, change.after))
    return after if before == after else f"{before} → {after}"


def _also(edits: Sequence[Edit]) -> str:
    """``hours of 5 queues, agents of social_security (80 → 1)``: each key once."""
    parts = []
    for what in dict.fromkeys(edit.what for edit in edits):
        alike = [edit for edit in edits if edit.what == what]
        queues = [edit.of for edit in alike if edit.of]
        whose = ", ".join(queues) if len(queues) <= _NAMED else f"{len(queues)} queues"
        values = {f"{edit.before} → {edit.after}" for edit in alike}
        change = f" ({values.pop()})" if len(values) == 1 else ""
        parts.append(f"{what} of {whose}{change}" if queues else f"{what}{change}")
    return ", ".join(parts)


def _shares(comparison: Comparison) -> Table:
    table = Table("goes to", "before", "after", "change")
    for name, (before, after) in comparison.shares().items():
        table.add_row(
            name, str(before), str(after), f"{after - before:+d}" if after != before else ""
        )
    return table


# --- waiting --------------------------------------------------------------------------------

_MEASURES = [measure for measure in MEASURES if measure.name in (
    "mean_to_agent_s", "mean_wait_s", "service_level", "abandonment", "transfer_rate")]  # fmt: skip


def _waits(scenario: Scenario, comparison: Comparison, calls: str) -> Waits:
    """The hotline navigated by the old and by the new queues; labels say what callers need."""

    def seen(side: str) -> list[Observation]:
        found = []
        for change in comparison.labelled:
            match: Match = getattr(change, side)
            found.append(Observation(change.case.expected or "", match.decision, match.queue))
        return found

    edited = edited_scenario(scenario, seen("before"), seen("after"), calls=calls)
    with progress("simulating", 2 * edited.file.study.replications) as advance:
        return simulate(edited, runner=Runner(advance=advance))


def _waits_object(waits: Waits) -> dict[str, Any]:
    found: dict[str, Any] = plain(
        {
            scope: {m.name: asdict(waits.figure(m.name, scope)) for m in _MEASURES}
            for scope in waits.scopes
        }
    )
    return found


def _waits_table(waits: Waits) -> Table:
    table = Table("callers who need", title="What the edit does to waiting: before → after")
    for words in ("to the agent", "change", "wait", "in time", "gave up", "transfers"):
        table.add_column(words, justify="right")
    for scope in waits.scopes:
        cells = []
        for measure in _MEASURES:
            figure = waits.figure(measure.name, scope)
            pair = (value_of(measure, i.mean) for i in (figure.before, figure.after))
            cells.append(" → ".join(pair))
            if measure.name == "mean_to_agent_s":
                cells.append(change_of(measure, figure.change, figure.relative))
        table.add_row(scope, *cells)
    return table
