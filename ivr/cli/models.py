"""``ivr models``: which speech models are installed, and how good they are."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr.asr.models import InstalledModel, installed_models
from ivr.settings import load_settings

__all__ = ["command"]


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(as_json: bool, config: Path | None) -> None:
    """List the speech models in models/, and those that the settings name elsewhere.

    A star marks the models in use. Accuracy is what was measured on the test set named, as the
    model's own card (model.json) tells it; official models have no card.
    """
    settings = load_settings(config)
    used = {language: chosen.model for language, chosen in settings.languages.items()}
    in_use = {path.resolve() for path in used.values()}
    found = installed_models(settings.home / "models", also=used)
    if as_json:
        for model in found:
            entry = {**model.as_json(), "in_use": model.path.resolve() in in_use}
            click.echo(json.dumps(entry, ensure_ascii=False))
        return
    Console().print(_table(found, in_use))
    for model in found:
        if model.problem:
            click.echo(f"warning: {model.problem}", err=True)


def _table(found: tuple[InstalledModel, ...], in_use: set[Path]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("model", "language", "size", "rate", "units", "accuracy", "licence", "source"):
        right = heading in ("size", "rate", "units")
        table.add_column(
            heading,
            justify="right" if right else "left",
            no_wrap=heading not in ("source", "licence"),
        )
    for model in found:
        card = model.card
        star = " *" if model.path.resolve() in in_use else ""
        table.add_row(
            model.name + star,
            model.language or "?",
            f"{model.size_bytes / 1e6:.1f} MB",
            f"{model.rate_hz} Hz" if model.rate_hz else "?",
            str(card.units or "?"),
            "broken" if model.problem else _accuracy(model) or "not measured",
            card.licence or "?",
            card.source or "?",
        )
    return table


def _accuracy(model: InstalledModel) -> str:
    """One line a figure: ``dev: base syllable error 41.2 %``; what is no rate stays a number."""
    return "\n".join(
        f"{test_set}: {measure.replace('_', ' ')} "
        + (f"{100 * value:.1f} %" if measure.endswith(("error", "accuracy")) else f"{value:g}")
        for test_set, measures in model.card.accuracy.items()
        for measure, value in measures.items()
    )
