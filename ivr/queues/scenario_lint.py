"""Warnings about a scenario that is valid, but hardly meant: calls without agents for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ivr.queues.live import Plan, planned
from ivr.queues.scenario import HALF_HOURS, WEEK, Scenario
from ivr.queues.scenario_model import AFTER, scenario_model

__all__ = ["scenario_warnings"]


def scenario_warnings(scenario: Scenario) -> tuple[str, ...]:
    """Half hours in which more calls come than agents can serve, one sentence a stretch of them.

    Agents that other groups lend later (a ``level``, or ``after_s``) are not counted.
    """
    model = scenario_model(scenario, AFTER)
    plans = {id_: planned(scenario, model, id_) for id_ in scenario.needs}
    return tuple(warning for id_ in plans for warning in _of(scenario, plans[id_], id_))


def _of(scenario: Scenario, plans: list[Plan], queue: str) -> Iterator[str]:
    for short, places in groupby(range(len(plans)), key=lambda n: _short(plans[n])):
        stretch = list(places)
        if not short:
            continue
        worst = max((plans[n] for n in stretch), key=lambda plan: _erlangs(plan) - plan.agents)
        when = f"{_clock(scenario, stretch[0])} to {_clock(scenario, stretch[-1] + 1)}"
        agents = f"{worst.agents:g} agents" if worst.agents else "no agent"
        yield (
            f"{queue}, {when}: calls keep {_erlangs(worst):.1f} agents busy and {agents} answer "
            "them at once; callers will wait until they give up"
        )


def _erlangs(plan: Plan) -> float:
    return plan.per_hour * plan.aht_s / 3600


def _short(plan: Plan) -> bool:
    return plan.per_hour > 0 and _erlangs(plan) >= plan.agents


def _clock(scenario: Scenario, place: int) -> str:
    day, half_hour = divmod(place, HALF_HOURS)
    start = WEEK.index(scenario.file.study.weekday)
    shown = f"{half_hour // 2:02}:{30 * (half_hour % 2):02}"
    return f"{WEEK[(start + day) % 7]} {shown}" if day else shown
