"""``ivr match``: to which queue does this text go?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.errors import IvrError
from ivr.intent import Decision, Match, Matcher, slots
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.settings import load_settings

__all__ = ["command"]


@click.command("match")
@click.option(
    "--language",
    type=click.Choice([language.value for language in Language]),
    required=True,
    help="The language spoken: cmn Mandarin, yue Cantonese.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--queues", type=click.Path(path_type=Path), help="The queues.yaml to use.")
@click.argument("text", nargs=-1)
def command(
    text: tuple[str, ...], language: str, as_json: bool, config: Path | None, queues: Path | None
) -> None:
    """Match each TEXT, or each line of standard input, to a queue.

    Traditional characters, spaces and punctuation are welcome. The queue named is the nearest one
    even where the decision is to ask again.

    \b
        ivr match --language yue 我想查吓社保
        ivr match --language cmn --json < transcripts.txt
    """
    catalogue = load_catalogue(queues or load_settings(config).queues)
    matcher = Matcher(catalogue, languages=[Language(language)])
    matches = (matcher.match(line, Language(language)) for line in text or _lines())
    if as_json:
        for match in matches:
            click.echo(json.dumps(_object(match, Language(language)), ensure_ascii=False))
        return
    Console().print(_table(matches, catalogue, Language(language)))


def _lines() -> Iterator[str]:
    """Lines of standard input that hold anything."""
    if sys.stdin.isatty():
        click.echo("Type what a caller says, one utterance a line; Ctrl-D ends.", err=True)
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            line = raw.decode("utf-8").strip().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise IvrError(
                f"standard input, line {number}: not UTF-8 text; convert it first, "
                "for example with: iconv -f GB18030 -t UTF-8"
            ) from error
        if line:
            yield line


def _object(match: Match, language: Language) -> dict[str, Any]:
    found = slots.find(match.text, today=date.today(), language=language)
    return {
        "text": match.text,
        "queue": match.queue,
        "confidence": match.confidence,
        "decision": match.decision.value,
        "candidates": [asdict(candidate) for candidate in match.candidates],
        **(
            {"slots": [{"kind": s.kind, "value": s.value, "text": s.text} for s in found]}
            if found
            else {}
        ),
        **({"needs": list(match.needs)} if match.needs else {}),
    }


def _table(matches: Iterable[Match], catalogue: Catalogue, language: Language) -> Table:
    table = Table()
    for heading in ("text", "decision", "queue", "confidence", "nearest phrase"):
        table.add_column(
            heading,
            justify="right" if heading == "confidence" else "left",
            no_wrap=heading == "queue",
        )
    for match in matches:
        nearest = match.candidates[0].phrase if match.candidates else ""
        table.add_row(
            match.text,
            _decision(match),
            f"{catalogue.queue(match.queue).name[language]}\n{match.queue}" if match.queue else "",
            f"{match.confidence:.2f}",
            nearest,
        )
    return table


def _decision(match: Match) -> str:
    style = {Decision.ROUTE: "green", Decision.CONFIRM: "yellow", Decision.EMERGENCY: "bold red"}
    shown = match.decision.value + (f" {match.emergency}" if match.emergency else "")
    colour = style.get(match.decision)
    return f"[{colour}]{shown}[/{colour}]" if colour else shown
