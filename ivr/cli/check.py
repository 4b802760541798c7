"""``ivr check``: is ``config/queues.yaml`` (or ``kapok.yaml``) right, and what is in it?"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.asr.hot_words import supports_hot_words
from ivr.asr.models import read_units
from ivr.asr.second_pass import check_second_pass
from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import load_prompts
from ivr.errors import ConfigError, ModelError
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.experiment_staff import agent_hours
from ivr.queues.lint import lints, read_vocabulary
from ivr.queues.scenario import Scenario, load_scenario
from ivr.queues.scenario_lint import scenario_warnings
from ivr.queues.scenario_model import scenario_model
from ivr.settings import SETTINGS_FILE, Settings, load_settings
from ivr.yamlsource import FaultsError, read_yaml

__all__ = ["command"]

_MAKE = "python -m scripts.make_prompts"
#: From here up practically nobody is put through: confidences are below 1 (four decimals).
_HIGHEST_ROUTE = 0.999


@click.command("check")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--strict", is_flag=True, help="Exit with status 1 where there are warnings.")
def command(path: Path | None, config: Path | None, as_json: bool, strict: bool) -> None:
    """Check PATH: a queues.yaml (without PATH, the settings' own), a kapok.yaml or a scenario.

    Every fault is printed in a line of its own, with line, column and how to mend it; so is every
    warning: too few phrases, phrases of different queues that sound alike, queues to which none of
    their phrases leads, phrases that the speech models of the settings cannot write, prompts whose
    recording is missing, cannot be read or says an older text. Of a kapok.yaml it is also checked
    that a second pass goes with the speech models it names. The exit status is 0 where the file can
    be used, even with warnings, and 1 where it cannot.
    """
    try:
        if path is not None and path.name == SETTINGS_FILE.name:
            settings = load_settings(path)
            _check_second_passes(settings)
            _report_settings(path, settings, as_json=as_json)
            return
        if path is not None and _is_scenario(path):
            _report_scenario(path, load_scenario(path), as_json=as_json, strict=strict)
            return
        if path is None:
            path = load_settings(config).queues
        catalogue = load_catalogue(path)
        found = lints(path, vocabulary=_vocabulary(config), units=_units(config))
        warnings = [
            *catalogue.warnings(),
            *_threshold_warnings(catalogue),
            *map(str, found),
            *_prompt_warnings(path, catalogue, config),
        ]
        _report_catalogue(path, catalogue, warnings, as_json=as_json)
        if strict and warnings:
            sys.exit(1)
    except ConfigError as error:
        _report_error(path or config, error, as_json=as_json)
        sys.exit(1)


def _threshold_warnings(catalogue: Catalogue) -> list[str]:
    route = catalogue.thresholds.route
    if route <= _HIGHEST_ROUTE:
        return []
    return [
        f"thresholds.route is {_number(route)}: practically nobody is put through without a "
        "question; write a lower number, or a larger wrong_at_most"
    ]


def _number(share: float) -> str:
    """With two decimals, or as many as it has."""
    return f"{share:.2f}" if share == round(share, 2) else f"{share:g}"


def _prompt_warnings(path: Path, catalogue: Catalogue, config: Path | None) -> list[str]:
    """What is wrong with the recordings of the prompts; ConfigError where their texts are."""
    folder = _prompt_folder(path, config)
    if folder is None:
        return []
    texts, audio = load_prompts(folder), PromptAudio(folder)
    numbers = [emergency.number for emergency in catalogue.emergencies]
    faults = (
        fault
        for language in Language
        for fault in audio.faults(
            language,
            texts.pieces(language, {q.id: q.name[language] for q in catalogue.queues}, numbers),
        )
    )
    make = _MAKE + _make_options(path, folder)
    return [
        f"{folder / fault.file}: {fault.what}; {fault.mend.replace(_MAKE, make)}"
        for fault in faults
    ]


def _make_options(path: Path, folder: Path) -> str:
    """What tells scripts.make_prompts of prompts that are not the installation's own."""
    with suppress(ConfigError):
        ours = load_settings(None)
        if (ours.queues.absolute(), ours.prompts.absolute()) == (
            path.absolute(),
            folder.absolute(),
        ):
            return ""
    beside = folder == path.parent / "prompts"
    options = f" --queues {shlex.quote(str(path))}"
    return options if beside else f"{options} --prompts {shlex.quote(str(folder))}"


def _prompt_folder(path: Path, config: Path | None) -> Path | None:
    """The prompts beside the queues, or those of the settings where the queues are theirs."""
    beside = path.parent / "prompts"
    if beside.is_dir():
        return beside
    try:
        settings = load_settings(config)
    except ConfigError:
        return None
    ours = path.absolute() == settings.queues.absolute()
    return settings.prompts if ours and settings.prompts.is_dir() else None


def _vocabulary(config: Path | None) -> dict[Language, frozenset[str]]:
    """What the speech models of the settings can write, where they are installed."""
    try:
        chosen = load_settings(config).languages
    except ConfigError:
        return {}
    return {k: read_vocabulary(v.model / "graph" / "words.txt") for k, v in chosen.items()}


def _units(config: Path | None) -> dict[Language, tuple[str, ...]]:
    """What the networks of Kapok's own models emit; other models take no hot words."""
    try:
        chosen = load_settings(config).languages
    except ConfigError:
        return {}
    return {k: read_units(v.model) for k, v in chosen.items() if supports_hot_words(v.model)}


def _report_error(path: Path | None, error: ConfigError, *, as_json: bool) -> None:
    if as_json:
        _print_json({"file": str(path) if path else None, "ok": False, "errors": _errors(error)})
        return
    click.echo(str(error), err=True)
    count = len(str(error).splitlines())
    click.echo(f"{count} error{'s' if count > 1 else ''}", err=True)


def _errors(error: ConfigError) -> list[dict[str, Any]]:
    if not isinstance(error, FaultsError):
        return [
            {"file": None, "line": None, "column": None, "what": line, "mend": None}
            for line in str(error).splitlines()
        ]
    return [
        {
            "file": error.name,
            "line": fault.place.line,
            "column": fault.place.column,
            "what": fault.what,
            "mend": fault.mend,
        }
        for fault in error.faults
    ]


def _report_catalogue(
    path: Path, catalogue: Catalogue, warnings: list[str], *, as_json: bool
) -> None:
    if as_json:
        _print_json(_catalogue_json(path, catalogue, warnings))
        return
    Console().print(_table(catalogue))
    route, confirm = catalogue.thresholds.route, catalogue.thresholds.confirm
    click.echo(f"thresholds: route {_number(route)}, confirm {_number(confirm)}")
    person = catalogue.person
    click.echo(f"person: key {person.key}, {_counts(person.phrases)} phrases")
    for emergency in catalogue.emergencies:
        phrases = _counts(emergency.phrases)
        click.echo(f"emergency {emergency.number} {emergency.name.cmn}: {phrases} phrases")
    _print_warnings(warnings)
    click.echo(f"OK {path}")


def _counts(phrases: Any) -> str:
    return " + ".join(f"{len(entries)} {language}" for language, entries in phrases.items())


def _table(catalogue: Catalogue) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("queue", no_wrap=True)
    table.add_column("name", min_width=12)
    for heading in (*Language, "agents"):  # under a language its phrases
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("hours")
    table.add_column("priority", justify="right", no_wrap=True)
    for queue in catalogue.queues:
        default = " (default)" if queue.id == catalogue.default_queue else ""
        names = dict.fromkeys((queue.name.cmn, queue.name.yue, queue.name.en))
        counts = [str(len(phrases)) for phrases in queue.phrases.values()]
        row = (*counts, str(queue.agents), str(queue.hours), str(queue.priority))
        table.add_row(queue.id + default, "\n".join(names), *row)
    return table


def _catalogue_json(path: Path, catalogue: Catalogue, warnings: list[str]) -> dict[str, Any]:
    queues = [
        {
            "id": queue.id,
            "name": queue.name.model_dump(),
            "phrases": {str(code): len(phrases) for code, phrases in queue.phrases.items()},
            "agents": queue.agents,
            "hours": str(queue.hours),
            "priority": queue.priority,
        }
        for queue in catalogue.queues
    ]
    return {
        "file": str(path),
        "ok": True,
        "errors": [],
        "warnings": warnings,
        "default_queue": catalogue.default_queue,
        "thresholds": catalogue.thresholds.model_dump(),
        "queues": queues,
        "emergencies": [emergency.number for emergency in catalogue.emergencies],
    }


def _is_scenario(path: Path) -> bool:
    data = read_yaml(path).data
    return isinstance(data, dict) and {"callers", "agents"} <= set(data)


def _report_scenario(path: Path, scenario: Scenario, *, as_json: bool, strict: bool) -> None:
    file, warnings = scenario.file, scenario_warnings(scenario)
    hours = agent_hours(scenario_model(scenario))
    if as_json:
        answer = {"file": str(path), "ok": True, "errors": [], "warnings": list(warnings)}
        _print_json({**answer, "name": file.name, "agent_hours": hours})
    else:
        click.echo(f"{file.name}: {file.calls.a_day:,.0f} calls a day, {hours:,.0f} agent hours")
        for named, navigation in scenario.navigation.items():
            click.echo(f"{named}: measured on {navigation.calls} recordings, "
                       f"{navigation.share('routed'):.0%} routed at once")  # fmt: skip
        _print_warnings(warnings)
        click.echo(f"OK {path}")
    if strict and warnings:
        sys.exit(1)


def _check_second_passes(settings: Settings) -> None:
    """ConfigError where a second pass is none, or does not go with its model; both are there."""
    faults = []
    for language, chosen in settings.languages.items():
        second = chosen.second_pass
        if second is not None and second.is_dir() and chosen.model.is_dir():
            try:
                check_second_pass(second, language, first=chosen.model)
            except ModelError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))


def _report_settings(path: Path, settings: Settings, *, as_json: bool) -> None:
    warnings = _settings_warnings(settings)
    if as_json:
        shown = settings.model_dump(mode="json")
        answer = {"file": str(path), "ok": True, "errors": [], "warnings": warnings}
        _print_json({**answer, "settings": shown})
        return
    for language, chosen in settings.languages.items():
        click.echo(f"{language}: {chosen}")
    click.echo(f"queues: {settings.queues}")
    click.echo(f"server: {settings.server.host}:{settings.server.port}")
    _print_warnings(warnings)
    click.echo(f"OK {path}")


def _settings_warnings(settings: Settings) -> list[str]:
    models = dict.fromkeys(
        m for _, chosen in settings.languages.items() for m in chosen.directories
    )
    warnings = [f"there is no model directory {model}" for model in models if not model.is_dir()]
    if not settings.queues.is_file():
        warnings.append(f"there is no file {settings.queues}")
    return warnings


def _print_warnings(warnings: list[str] | tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer, ensure_ascii=False))
