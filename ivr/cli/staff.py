"""``ivr staff``: how many agents each half hour needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from ivr.cli._kernel import ready_kernel
from ivr.cli.simulate import scenario_file
from ivr.errors import ConfigError
from ivr.queues.experiment_staff import agent_hours
from ivr.queues.scenario import WEEK, Scenario, load_scenario
from ivr.queues.scenario_model import AFTER, BEFORE, scenario_model
from ivr.queues.simulation.model import DAY_S
from ivr.queues.simulation.runs import LocalThreads
from ivr.queues.staffing import StaffingPlan, plan_staff

__all__ = ["command"]

_PIPE_WIDTH = 120


@click.command("staff")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--arm",
    type=click.Choice(["before", "after"]),
    default="after",
    show_default=True,
    help="Which side of the scenario to plan for.",
)
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="The share of callers to answer in time, in every half hour and group.",
)
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(0),
    help="In time: seconds in the queue; without, the scenario's.",
)
@click.option("--replications", type=click.IntRange(10), default=60, show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Instead of the scenario's.")
@click.option("--workers", type=click.IntRange(1), help="Threads; one for each core without.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print shifts to paste into the scenario.")
def command(
    scenario: Path,
    arm: str,
    target: float,
    within_s: float | None,
    replications: int,
    seed: int | None,
    workers: int | None,
    as_json: bool,
    as_yaml: bool,
) -> None:
    """Plan the least agents for each half hour of SCENARIO that answer callers in time.

    First by Erlang A, then checked by simulation and mended until every half hour and group meets
    the target. The agents of the scenario are what is planned: their skills count, their shifts
    do not.

    \b
        ivr staff city
        ivr staff config/scenarios/small.yaml --target 0.8 --yaml
    """
    found = _one_period(load_scenario(scenario_file(scenario)))
    if as_yaml and found.file.week:
        raise ConfigError(
            f"{found.path}: shifts in a scenario are the same every day, so those of a week "
            "cannot be written as YAML; use --json"
        )
    model = scenario_model(found, BEFORE if arm == "before" else AFTER)
    if within_s is not None:
        model = replace(model, answer_within_s=within_s)
    ready_kernel()
    with _status() as told:
        plan = plan_staff(
            model,
            target=target,
            replications=replications,
            seed=found.file.study.seed if seed is None else seed,
            engine=LocalThreads(workers),
            progress=told,
        )
    hours = agent_hours(model)
    if as_json:
        click.echo(json.dumps(_json(plan, arm, hours), ensure_ascii=False))
    elif as_yaml:
        click.echo(_yaml(found, plan), nl=False)
    else:
        _show(plan, hours, first_day=WEEK.index(found.file.study.weekday))


def _one_period(scenario: Scenario) -> Scenario:
    """A day, or a week where its days differ."""
    return scenario.with_study(days=7 if scenario.file.week else 1)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True)
    with console.status("planning") as status:
        yield lambda text: status.update(text) if console.is_terminal else None


def _json(plan: StaffingPlan, arm: str, hours: float) -> dict[str, Any]:
    return {
        "arm": arm,
        "target": plan.target,
        "within_s": plan.within_s,
        "met": plan.met,
        "service_level": plan.overall,
        "agent_hours": plan.agent_hours,
        "agent_hours_by_erlang_a": plan.erlang_hours,
        "agent_hours_of_scenario": hours,
        "replications": plan.replications,
        "groups": list(plan.groups),
        "intervals": [
            {
                "from_s": i * plan.interval_s,
                "agents": [int(count) for count in plan.agents[i]],
                "by_erlang_a": [int(count) for count in plan.by_erlang[i]],
                "service_level": _numbers(plan.service_level[i]),
                "margin": _numbers(plan.margin[i]),
            }
            for i in range(len(plan.agents))
        ],
    }


def _numbers(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def _yaml(scenario: Scenario, plan: StaffingPlan) -> str:
    """The scenario's ``agents:`` with the shifts of the plan."""
    entries = []
    for spec in scenario.file.agents:
        entry = spec.model_dump(exclude_defaults=True, mode="json")
        if spec.group in plan.groups:
            entry["shifts"] = dict(_spans(plan, plan.groups.index(spec.group)))
        entries.append(entry)
    return yaml.safe_dump(
        {"agents": entries}, allow_unicode=True, sort_keys=False, default_flow_style=None, width=100
    )


def _spans(plan: StaffingPlan, column: int) -> Iterator[tuple[str, int]]:
    """("08:00-09:30", agents) of each time with the same number of agents."""
    counts = [*plan.agents[:, column], -1]
    start = 0
    for i in range(1, len(counts)):
        if counts[i] != counts[start]:
            if counts[start] > 0:
                ends = f"{_clock(plan, start)}-{_clock(plan, i)}"
                yield ends, int(counts[start])
            start = i


def _clock(plan: StaffingPlan, interval: int) -> str:
    minutes = round(min(interval * plan.interval_s, plan.period_s)) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _show(plan: StaffingPlan, hours: float, *, first_day: int) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("from", no_wrap=True)
    for group in plan.groups:
        table.add_column(group, justify="right")
    table.add_column("in time", justify="right", no_wrap=True)
    for i, row in enumerate(plan.agents):
        if row.any():
            table.add_row(_when(plan, i, first_day), *map(str, row), _worst(plan.service_level[i]))
    console = Console()
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(table)
    click.echo(f"in time: answered within {plan.within_s:g} s, in the group that is worst off")
    click.echo(
        f"{plan.agent_hours:g} agent hours answer {plan.overall:.1%} within {plan.within_s:g} s; "
        f"the scenario has {hours:g}, Erlang A alone plans {plan.erlang_hours:g}"
    )
    if not plan.met:
        click.echo(f"The target of {plan.target:.1%} was not met in every half hour.")


def _when(plan: StaffingPlan, interval: int, first_day: int) -> str:
    at_s = interval * plan.interval_s
    clock = f"{int(at_s % DAY_S) // 3600:02}:{int(at_s % 3600) // 60:02}"
    days = plan.period_s / DAY_S
    return clock if days <= 1 else f"{WEEK[(first_day + int(at_s // DAY_S)) % 7]} {clock}"


def _worst(levels: Any) -> str:
    known = levels[~np.isnan(levels)]
    return f"{known.min():.1%}" if len(known) else ""
