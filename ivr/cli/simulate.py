"""``ivr simulate``: what a change before the queues does to waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr.cli._kernel import ready_kernel
from ivr.cli.progress import progress
from ivr.errors import ConfigError, IvrError
from ivr.extras import install
from ivr.queues.experiment import ALL, MEASURES, Runner
from ivr.queues.experiment_decomposition import FACTOR_WORDS
from ivr.queues.experiment_study import Study, planned_runs, run_study
from ivr.queues.records import read_records
from ivr.queues.records_fit import Fit, fit_records, fitted_scenario
from ivr.queues.report_words import (
    change_of,
    fit_rows,
    measure_words,
    percent,
    replay_rows,
    summary,
    target_words,
    value_of,
)
from ivr.queues.scenario import Scenario, load_scenario
from ivr.queues.simulation.runs import DaskCluster, Engine, LocalThreads, compile_kernel
from ivr.settings import find_home

__all__ = ["command", "scenario_file"]

_FOLDER = Path("config", "scenarios")
_BY_QUEUE = ("mean_to_agent_s", "mean_wait_s", "service_level", "abandonment", "transfer_rate")
_SHORT = {
    "mean_to_agent_s": "to the agent",
    "mean_wait_s": "wait",
    "service_level": "in time",
    "abandonment": "gave up",
    "transfer_rate": "transfers",
}
#: Tables are drawn so wide where the output is no terminal.
_PIPE_WIDTH = 120


@click.command("simulate")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--calls", type=click.Path(path_type=Path), help="Call records (CSV) to fit and replay."
)
@click.option("--replications", type=click.IntRange(2), help="Instead of the scenario's.")
@click.option("--seed", type=click.IntRange(0), help="Instead of the scenario's.")
@click.option("--days", type=click.IntRange(1, 366), help="Instead of the scenario's.")
@click.option("--quick", is_flag=True, help="Before, after and change alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with plots here.")
@click.option("--workers", type=click.IntRange(1), help="Threads; one for each core without.")
@click.option("--cluster", help="Address of a Dask scheduler, to compute there.")
def command(
    scenario: Path,
    calls: Path | None,
    replications: int | None,
    seed: int | None,
    days: int | None,
    quick: bool,
    as_json: bool,
    html: Path | None,
    workers: int | None,
    cluster: str | None,
) -> None:
    """Simulate SCENARIO: how long callers wait before and after, and why.

    SCENARIO is a YAML file, or the name of one in config/scenarios. Ctrl-C ends it and reports on
    what is done.

    \b
        ivr simulate city
        ivr simulate config/scenarios/small.yaml --html report.html
        ivr simulate mine.yaml --calls calls-of-november.csv
    """
    found = _changed(load_scenario(scenario_file(scenario)), replications, seed, days)
    write = _page(html) if html is not None else None
    ready_kernel()
    engine: Engine = DaskCluster(cluster) if cluster else LocalThreads(workers)
    fit = None
    if calls is not None:
        fit = _fit(found, calls)
        found = fitted_scenario(found, fit)
    study = _run(found, engine, quick=quick, fit=fit)
    if as_json:
        click.echo(json.dumps(study.as_json(), ensure_ascii=False))
    else:
        _show(study, Console() if Console().is_terminal else Console(width=_PIPE_WIDTH))
    if write is not None:
        write(study)


def scenario_file(given: Path) -> Path:
    """The file itself, or the scenario of that name."""
    if given.is_file() or given.suffix or len(given.parts) > 1:
        return given
    folder = find_home() / _FOLDER
    named = folder / f"{given}.yaml"
    if not named.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml") if p.stem != "navigation"))
        raise ConfigError(f"{named}: there is no such scenario; there are {names or 'none'}")
    return named


def _changed(
    scenario: Scenario, replications: int | None, seed: int | None, days: int | None
) -> Scenario:
    given = {"replications": replications, "seed": seed, "days": days}
    return scenario.with_study(**{name: v for name, v in given.items() if v is not None})


def _fit(scenario: Scenario, calls: Path) -> Fit:
    columns = scenario.file.call_records
    if columns is None:
        raise ConfigError(
            f"{scenario.path}: does not say which columns of {calls} hold what; add for example\n"
            "call_records: { arrived: call_start, answered: answer_time, ended: call_end, "
            "queue: skill }"
        )
    return fit_records(read_records(calls, columns, scenario.catalogue))


def _run(scenario: Scenario, engine: Engine, *, quick: bool, fit: Fit | None) -> Study:
    with Console(stderr=True).status("making the simulator ready (the first time half a minute)"):
        compile_kernel()
    count, records = scenario.file.study.replications, fit is not None
    total = planned_runs(scenario, count, quick=quick, records=records)
    with progress("simulating", total) as advance:
        study = run_study(scenario, runner=Runner(engine, advance), quick=quick, fit=fit)
    if study.interrupted:
        click.echo(
            f"ivr: interrupted; {study.comparison.replications} of "
            f"{scenario.file.study.replications} replications were done",
            err=True,
        )
    return study


def _page(path: Path) -> Callable[[Study], None]:
    """Writes the page; what is missing for it is said before the simulation, not after."""
    try:
        from ivr.queues.report import report_html
    except ImportError as error:
        raise IvrError(f"the page needs matplotlib and Jinja2; {install('report')}") from error
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it, or name another")

    def write(study: Study) -> None:
        path.write_text(report_html(study, today=date.today()), encoding="utf-8")
        click.echo(f"wrote {path}", err=True)

    return write


# --- printing -------------------------------------------------------------------------------


def _show(study: Study, console: Console) -> None:
    if study.fit:
        console.print(_fitted(study.fit))
    if study.replay:
        console.print(_replayed(study))
    console.print(_all_callers(study))
    console.print(_by_queue(study))
    if study.decomposition:
        console.print(_why(study))
    if study.reach:
        console.print(_map(study))
    if study.sensitivities:
        console.print(_assumptions(study))
    for sentence in summary(study):
        console.print(sentence, highlight=False, markup=False)


def _fitted(fit: Fit) -> Table:
    table = Table("", "recorded", "simulated", title=f"Fitted to {fit.records.name}")
    for row in fit_rows(fit):
        table.add_row(*row)
    return table


def _replayed(study: Study) -> Table:
    table = Table("the recorded calls", title="Are the records and the arm before alike?")
    for column in ("recorded", "replayed: before", "replayed: after", "fitted: before"):
        table.add_column(column, justify="right")
    for row in replay_rows(study):
        table.add_row(*row)
    return table


def _all_callers(study: Study) -> Table:
    file, count = study.scenario.file, study.comparison.replications
    title = f"{file.name}: {count} replications"
    level = percent(file.study.confidence)
    table = Table("all callers", title=title)
    for column in (file.before.name or "before", file.after.name or "after", f"change ({level})"):
        table.add_column(column, justify="right")
    for measure in MEASURES:
        figure = study.comparison.figure(measure.name)
        table.add_row(
            measure_words(study, measure),
            value_of(measure, figure.before.mean),
            value_of(measure, figure.after.mean),
            change_of(measure, figure.change, figure.relative),
        )
    return table


def _by_queue(study: Study) -> Table:
    table = Table("callers who need", title="Queue by queue: before → after")
    measures = [measure for measure in MEASURES if measure.name in _BY_QUEUE]
    for measure in measures:
        table.add_column(_SHORT[measure.name], justify="right")
    for scope in study.comparison.scopes:
        if scope == ALL:
            continue
        cells = []
        for measure in measures:
            figure = study.comparison.figure(measure.name, scope)
            before, after = (value_of(measure, i.mean) for i in (figure.before, figure.after))
            cells.append(f"{before} → {after}")
        table.add_row(scope, *cells)
    return table


def _why(study: Study) -> Table:
    assert study.decomposition is not None
    table = Table("factor, in this order", title=f"Why: {target_words(study)}")
    table.add_column("change", justify="right")
    table.add_column("switched alone", justify="right")
    for step in study.decomposition.steps:
        shown = [f"{i.mean:+.1f} s".replace("-", "−") for i in (step.in_order, step.alone)]
        table.add_row(
            FACTOR_WORDS[step.factor], *(shown if step.differs else ("the same in both", ""))
        )
    whole = f"{study.decomposition.whole.mean:+.1f} s".replace("-", "−")
    table.add_row("in all", whole, "")
    return table


def _map(study: Study) -> Table:
    reach = study.reach
    assert reach is not None
    title = (
        f"Change of the {target_words(study)}; bold: {percent(reach.target, signed=True)} or better"
    )
    table = Table("to the right queue \\ served by the machine", title=title)
    for share in reach.containments:
        table.add_column(percent(share), justify="right")
    for right, row in zip(reach.accuracies, reach.change, strict=True):
        cells = [
            f"[bold green]{percent(change, signed=True)}[/]"
            if change <= reach.target
            else percent(change, signed=True)
            for change in row
        ]
        table.add_row(percent(right), *cells)
    return table


def _assumptions(study: Study) -> Table:
    table = Table("assumption", "here", "lower", title="What the answer hangs on, first the most")
    table.add_column("change then", justify="right")
    table.add_column("higher")
    table.add_column("change then", justify="right")
    for row in study.sensitivities:
        table.add_row(
            row.words,
            row.own,
            row.low,
            percent(row.change_low, signed=True),
            row.high,
            percent(row.change_high, signed=True),
        )
    return table
