"""``ivr models``: the speech models installed and how good they are; ``get`` fetches others."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr.asr.download import KnownModel, find_known, install, known_models
from ivr.asr.installed import InstalledModel, installed_models
from ivr.cli.progress import progress
from ivr.extras import install as extra
from ivr.language import Language
from ivr.settings import load_settings

__all__ = ["command"]


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, config: Path | None) -> None:
    """List the speech models in models/, and those that the settings name elsewhere.

    A star marks the models in use. Accuracy is what was measured on the test set named, as the
    model's own card (model.json) tells it; official models have no card.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = load_settings(config)
    used = {language: chosen.model for language, chosen in settings.languages.items()}
    in_use = {p.resolve() for _, chosen in settings.languages.items() for p in chosen.directories}
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


@command.command("get")
@click.argument("name", required=False)
@click.option("--from", "url", help="Fetch from this address instead, for example a mirror.")
@click.option("--sha256", help="What the archive's checksum must be.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def get(name: str | None, url: str | None, sha256: str | None, config: Path | None) -> None:
    """Fetch a larger model into models/; without NAME, list those that there are.

    A download that broke off goes on where it ended when the same command is run again.
    """
    if name is None:
        Console().print(_catalogue(known_models()))
        return
    model = find_known(name)
    home = load_settings(config).home
    checked = bool(sha256 or model.sha256)
    if not checked:
        click.echo(
            f"warning: no checksum of {model.name} is published, so the download is not checked; "
            "give one that you trust with --sha256",
            err=True,
        )
    sums: list[str] = []
    with progress(f"fetching {model.name}", model.bytes, is_bytes=True) as advance:
        path = install(
            model,
            home / "models",
            url=url,
            sha256=sha256,
            advance=advance,
            say_total=advance.say_total,
            say_sum=sums.append,
        )
    shown = path.relative_to(home)
    click.echo(f"{shown} is ready ({'checked' if checked else 'not checked'}: sha256 {sums[0]}).")
    click.echo("To use it, change one line of config/kapok.yaml:")
    for language in model.languages:
        click.echo(f"  {language}: {_line(model, language, str(shown))}")
    if model.engine == "sherpa":
        click.echo(f"It needs sherpa-onnx; {extra('sherpa')}")


def _line(model: KnownModel, language: Language, path: str) -> str:
    """The settings of a language with the model."""
    if model.use == "second_pass":
        return f"{{ engine: kapok, model: models/{language}, second_pass: {path} }}"
    return f"{{ engine: {model.engine}, model: {path} }}"


def _catalogue(known: tuple[KnownModel, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    headings = ("model", "engine", "languages", "size", "checksum", "licence", "published error")
    for heading in headings:
        table.add_column(heading, no_wrap=heading == "model")
    for model in known:
        table.add_row(
            model.name,
            model.engine,
            " ".join(model.languages),
            f"{model.bytes / 1e6:.0f} MB" if model.bytes else "not published",
            "sha256" if model.sha256 else "not published",
            model.licence or "not published",
            model.error or "not published",
        )
    return table


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
