"""``ivr eval``: how well does the matcher do on labelled text or recordings?"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.cli._cases import load_cases
from ivr.cli._outputs import check_file, check_folder
from ivr.errors import ConfigError, IvrError
from ivr.extras import install
from ivr.intent.cases import judge
from ivr.intent.evaluate import (
    Figures,
    Outcome,
    Share,
    confusion,
    coverage,
    coverage_at,
    measure,
    reliability,
    threshold,
    worst,
)
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.navigation import (
    MeasuredOn,
    Observation,
    measure_navigation,
    write_navigation,
)
from ivr.settings import load_settings

__all__ = ["command"]

_WIDTH = 130  # characters, where there is no terminal to ask
_STYLE = (
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:4px 8px;text-align:left}"
)

_THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)  # of the curve shown
_CURVE = ("route", "coverage", "error")
_LEAST = 0.5  # a queue less likely than not is never routed to
_SHARES = {
    "accuracy": "all right",
    "queues": "queue right (routed or confirmed)",
    "routed": "routed without a question",
    "wrong_routed": "wrong among those routed",
    "off_topic_asked": "off-topic asked again",
    "off_topic_routed": "off-topic routed",
    "persons": "persons right",
    "emergencies": "emergencies right",
}


@click.command("eval")
@click.argument("cases", type=click.Path(path_type=Path))
@click.option(
    "--language",
    type=click.Choice([code.value for code in Language]),
    help="Of lines that name none.",
)
@click.option("--target", type=click.FloatRange(0, 1), default=0.03, show_default=True,
              help="Wrong among those routed, to find thresholds.route for.")  # fmt: skip
@click.option("--worst", "shown", type=click.IntRange(0), default=15, show_default=True,
              help="How many wrong ones to list.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html and pictures here.")
@click.option("--navigation", type=click.Path(path_type=Path),
              help="Write what ivr simulate reads: who is sent where.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--queues", type=click.Path(path_type=Path), help="The queues.yaml to use.")
def command(
    cases: Path,
    language: str | None,
    target: float,
    shown: int,
    out: Path | None,
    navigation: Path | None,
    as_json: bool,
    config: Path | None,
    queues: Path | None,
) -> None:
    """Measure the matcher on CASES: a table of text with labels, or recordings or logs of calls.

    A table (.csv, .tsv, .jsonl) has the columns text, language and expected: a queue's id,
    off_topic, person or emergency:NUMBER. A folder of recordings has a labels.csv; of a log of a
    call (call_log.folder) the label is where the call went.

    \b
        ivr eval calls.csv
        ivr eval audio_fixtures --out report
    """
    catalogue = load_catalogue(queues or load_settings(config).queues)
    spoken = Language(language) if language else None
    matcher = Matcher(catalogue)
    if out is not None:
        check_folder(out)
    if navigation is not None:
        check_file(navigation)
    found = load_cases(cases, catalogue, language=spoken, config=config)
    outcomes = [Outcome(case, judge(matcher, case)) for case in found if case.expected is not None]
    if not outcomes:
        raise ConfigError(
            f"{cases}: no utterance has a label; add a column 'expected', or a labels.csv"
        )
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, quiet=as_json)
    _show(outcomes, target, shown, console)
    if as_json:
        click.echo(json.dumps(_object(outcomes, target), ensure_ascii=False))
    if out is not None:
        _write(out, outcomes, target, shown)
        click.echo(f"wrote {out / 'report.html'}", err=True)
    if navigation is not None:
        prompts = load_settings(config).prompts
        _write_navigation(navigation, cases, outcomes, catalogue, prompts)
        click.echo(f"wrote {navigation}", err=True)


def _write_navigation(
    path: Path, cases: Path, outcomes: list[Outcome], catalogue: Catalogue, prompts: Path
) -> None:
    """Without seconds: nothing is streamed here."""
    seen = [
        Observation(o.expected, o.match.decision, o.match.queue) for o in outcomes if o.is_queue
    ]
    if not seen:
        raise ConfigError(f"{cases}: no utterance is labelled with a queue; nothing to navigate to")
    measured = MeasuredOn(
        by="ivr eval", recordings=str(cases), date=str(date.today()), calls=len(seen)
    )
    found = measure_navigation(seen, measured=measured, catalogue=catalogue, prompts=prompts)
    write_navigation(path, found)


def _object(outcomes: list[Outcome], target: float) -> dict[str, Any]:
    figures = measure(outcomes)
    _, rows = confusion(outcomes)
    lowest = threshold(outcomes, target, least=_LEAST, places=None)
    return {
        "utterances": len(outcomes),
        **{name: _share(getattr(figures, name)) for name in _SHARES},
        "macro_f1": round(figures.macro_f1, 4),
        "calibration_error": round(figures.calibration_error, 4),
        "reliability": [asdict(b) for b in reliability(outcomes)],
        "threshold": None if lowest is None else dict(zip(_CURVE, lowest, strict=True)),
        "coverage": [
            {name: round(value, 4) for name, value in zip(_CURVE, point, strict=True)}
            for point in coverage(outcomes).tolist()
        ],
        "confusion": {name: dict(row) for name, row in rows.items()},
        "wrong": [_wrong(o) for o in worst(outcomes)],
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval()
    return {
        "right": share.right,
        "total": share.total,
        "value": round(share.value, 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def _wrong(o: Outcome) -> dict[str, Any]:
    return {
        "where": o.case.where,
        "text": o.match.text,
        "expected": o.expected,
        "decided": o.decided,
        "decision": o.match.decision.value,
        "confidence": o.confidence,
    }


def _show(outcomes: list[Outcome], target: float, shown: int, console: Console) -> None:
    figures = measure(outcomes)
    console.print(_figures(figures, len(outcomes)))
    console.print(_thresholds(outcomes, target))
    console.print(_coverage(outcomes))
    console.print(_reliability(outcomes))
    console.print(_confusion(outcomes))
    wrong = worst(outcomes)[:shown]
    if wrong:
        console.print(_worst(wrong))


_WORST = ("where", "text", "expected", "decided", "confidence", "nearest phrase")


def _worst_row(o: Outcome) -> tuple[str, ...]:
    nearest = o.match.candidates[0].phrase if o.match.candidates else ""
    what = f"{o.decided} ({o.match.decision.value})"
    return o.case.where, o.match.text or "-", o.expected, what, f"{o.confidence:.2f}", nearest


def _figures(figures: Figures, total: int) -> Table:
    table = Table("figure", "of", "share", "95 %", title=f"{total} utterances")
    for name, words in _SHARES.items():
        share: Share = getattr(figures, name)
        if share.total:
            low, high = share.interval()
            table.add_row(words, f"{share.right} of {share.total}", f"{share.value:.1%}",
                          f"{low:.1%} – {high:.1%}")  # fmt: skip
    table.add_row("macro F1 of the queues", "", f"{figures.macro_f1:.3f}", "")
    table.add_row("expected calibration error", "", f"{figures.calibration_error:.3f}", "")
    return table


def _thresholds(outcomes: list[Outcome], target: float) -> str:
    lowest = threshold(outcomes, target, least=_LEAST)
    if lowest is None:
        return f"No threshold of two decimals keeps the wrong among those routed at {target:.1%}."
    route, covered, error = lowest
    return (
        f"At most {target:.1%} wrong among those routed: thresholds.route {route:.2f} "
        f"routes {covered:.1%} of these utterances, {error:.1%} of them wrong."
    )


def _coverage(outcomes: list[Outcome]) -> Table:
    """What each threshold would do: of all utterances but those for a person or an emergency."""
    table = Table("route from", "routed", "wrong of these", title="Coverage against error")
    for least, share, error in coverage_at(outcomes, _THRESHOLDS):
        table.add_row(f"{least:.2f}", f"{share:.1%}", "" if error is None else f"{error:.1%}")
    return table


def _reliability(outcomes: list[Outcome]) -> Table:
    table = Table("confidence", "utterances", "mean", "right", title="Reliability")
    for b in reliability(outcomes):
        table.add_row(
            f"{b.low:.1f} – {b.high:.1f}", str(b.count), f"{b.confidence:.2f}", f"{b.accuracy:.2f}"
        )
    return table


def _confusion(outcomes: list[Outcome]) -> Table:
    """Columns have letters, so that the table fits a terminal."""
    names, rows = confusion(outcomes)
    letters = [chr(ord("a") + n) for n in range(len(names))]
    table = Table("", "expected \\ decided", *letters, title="Confusion")
    for letter, name in zip(letters, names, strict=True):
        cells = [str(rows[name][other] or "") if name in rows else "" for other in names]
        marked = [f"[bold]{c}[/]" if n == name else c for n, c in zip(names, cells, strict=True)]
        table.add_row(letter, name, *marked)
    return table


def _worst(wrong: list[Outcome]) -> Table:
    """A message of many characters goes over several lines: nothing of it is left out."""
    table = Table(title="Worst first")
    for name in _WORST[1:]:
        table.add_column(name, overflow="fold", ratio=3 if name == "text" else None)
    for o in wrong:
        table.add_row(*_worst_row(o)[1:])
    return table


def _worst_page(wrong: list[Outcome]) -> str:
    """The same as a table of HTML: Chinese in a terminal's frame does not stand straight there."""

    def cells(row: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(c)}</{kind}>" for c in row) + "</tr>"

    rows = "".join(cells(_worst_row(o), "td") for o in wrong)
    head = cells(_WORST, "th")
    return f"<style>{_STYLE}</style><h2>Worst first</h2><table>{head}{rows}</table>"


def _write(out: Path, outcomes: list[Outcome], target: float, shown: int) -> None:
    try:
        from ivr.cli._pictures import write_pictures
    except ImportError as error:
        raise IvrError(f"pictures need matplotlib; {install('report')}") from error
    pictures = write_pictures(out, outcomes)
    text = json.dumps(_object(outcomes, target), ensure_ascii=False, indent=2)
    (out / "confusion.json").write_text(text + "\n", encoding="utf-8")
    console = Console(record=True, file=io.StringIO(), width=_WIDTH)
    _show(outcomes, target, 0, console)
    page = console.export_html(inline_styles=True)
    wrong = _worst_page(worst(outcomes)[:shown])
    images = "".join(
        f'<img src="data:image/png;base64,{data}" alt="{name}" style="max-width:48%">'
        for name, data in pictures.items()
    )
    (out / "report.html").write_text(
        page.replace("</body>", f"{images}{wrong}</body>"), encoding="utf-8"
    )
