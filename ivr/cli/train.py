"""``ivr train``: fit the matcher's weights on the phrases of the queues."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.cli.progress import progress
from ivr.intent.calibration import CALIBRATION_FILE
from ivr.intent.evaluate import Figures, Outcome, Share, measure, threshold
from ivr.intent.train import FOLDS, Form, Trained, train
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

__all__ = ["command"]

_COLUMNS = {
    "queues": "queue right",
    "routed": "routed",
    "wrong_routed": "wrong of these",
    "off_topic_routed": "off-topic routed",
    "emergencies": "emergencies",
}


@click.command("train")
@click.option("--queues", type=click.Path(path_type=Path), help="The queues.yaml to use.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--target", default=0.03, show_default=True, help="Wrong share among those routed.")
@click.option("--dry-run", is_flag=True, help="Measure, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    queues: Path | None, config: Path | None, target: float, dry_run: bool, as_json: bool
) -> None:
    """Fit how the matcher weighs its evidence to your phrases, and say how well it finds them.

    Each phrase is judged by a matcher that does not know its wording, and by one that knows no
    wording of the same matter; as written, with simulated recognition errors, and as Kapok's
    recognisers heard it on noisy lines; alone and amid the talk of a longer message. The weights go
    into calibration.json beside queues.yaml, which a running server takes up; delete it to go back
    to Kapok's own.
    """
    path = queues or load_settings(config).queues
    catalogue = load_catalogue(path)
    with progress("fitting", 4 * FOLDS) as advance:
        trained = train(catalogue, workers=os.cpu_count() or 1, advance=advance)
    file = path.parent / CALIBRATION_FILE
    if not dry_run:
        trained.calibration.save(file)
    if as_json:
        click.echo(json.dumps(_object(trained, target), ensure_ascii=False))
        return
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(_table(trained))
    console.print(_threshold(trained, target))
    if not dry_run:
        click.echo(f"wrote {file}")


def _by_language(outcomes: list[Outcome]) -> dict[Language, list[Outcome]]:
    return {k: [o for o in outcomes if o.case.language is k] for k in Language}


def _table(trained: Trained) -> Table:
    table = Table(
        "language", "unknown", "put as", "errors", *_COLUMNS.values(), "calibration error"
    )
    for language in Language:
        for (dealt, form, rate), outcomes in trained.outcomes.items():
            spoken = _by_language(outcomes)[language]
            if not spoken:
                continue
            figures = measure(spoken)
            cells = [_cell(getattr(figures, name)) for name in _COLUMNS]
            table.add_row(
                language,
                dealt,
                form,
                "as heard" if form is Form.HEARD else f"{rate:.0%}",
                *cells,
                f"{figures.calibration_error:.3f}",
            )
    return table


def _cell(share: Share) -> str:
    return f"{share.value:.1%} of {share.total}" if share.total else "-"


def _threshold(trained: Trained, target: float) -> str:
    together = [o for outcomes in trained.outcomes.values() for o in outcomes]
    found = threshold(together, target)
    if found is None:
        return f"No threshold keeps the wrong among those routed at {target:.1%}."
    route, covered, wrong = found
    return (
        f"At most {target:.1%} wrong among those routed: thresholds.route {route:.2f} routes "
        f"{covered:.1%} of these utterances, {wrong:.1%} of them wrong."
    )


def _object(trained: Trained, target: float) -> dict[str, Any]:
    def figures(outcomes: list[Outcome]) -> dict[str, Any]:
        found: Figures = measure(outcomes)
        shares = {name: round(getattr(found, name).value, 4) for name in _COLUMNS}
        return {**shares, "calibration_error": round(found.calibration_error, 4)}

    together = [o for outcomes in trained.outcomes.values() for o in outcomes]
    found = threshold(together, target)
    return {
        "calibration": trained.calibration.model_dump(),
        "route": round(found[0], 4) if found else None,
        "held_out": [
            {
                "language": language.value,
                "unknown": dealt.value,
                "form": form.value,
                "errors": rate,
                **figures(_by_language(o)[language]),
            }
            for (dealt, form, rate), o in trained.outcomes.items()
            for language in Language
            if _by_language(o)[language]
        ],
    }
