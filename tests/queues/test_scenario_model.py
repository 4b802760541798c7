"""From scenarios to models: same callers and agents in both arms, factors switched one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ivr.queues.scenario import Scenario, load_scenario
from ivr.queues.scenario_model import (
    AFTER,
    ANY,
    BEFORE,
    Side,
    accuracy,
    front_end,
    scenario_model,
    with_accuracy,
)
from ivr.queues.simulation.model import DAY_S, ArrivalRates

ROOT = Path(__file__).resolve().parents[2]


@cache
def load(name: str) -> Scenario:
    return load_scenario(ROOT / "config" / "scenarios" / f"{name}.yaml")


def edited(scenario: Scenario, **sections: object) -> Scenario:
    return replace(scenario, file=scenario.file.model_copy(update=sections))


def rates(scenario: Scenario) -> np.ndarray:
    arrivals = scenario_model(scenario).arrivals
    assert isinstance(arrivals, ArrivalRates)
    return np.asarray(arrivals.per_hour)


@pytest.mark.parametrize("name", ["city", "small"])
def test_arms_differ_in_the_front_end_alone(name: str) -> None:
    before, after = (scenario_model(load(name), side) for side in (BEFORE, AFTER))
    assert replace(before, front_end=after.front_end, name=after.name) == after
    assert before.front_end != after.front_end


def test_calls_of_a_day_and_their_needs() -> None:
    scenario = load("small")
    per_half_hour = rates(scenario) / 2
    assert per_half_hour.sum() == pytest.approx(400)
    simple, share = scenario.file.callers.simple, 0.35
    assert per_half_hour[:, :2].sum(axis=0) == pytest.approx(
        [400 * share * (1 - simple), 400 * share * simple]
    )


def test_callers_of_a_closed_queue_are_the_default_queues() -> None:
    model = scenario_model(load("city"))
    names = [need.name for need in model.needs]
    night, morning = rates(load("city"))[4], rates(load("city"))[20]
    enterprise, general = names.index("enterprise_services"), names.index("general")
    assert night[enterprise] == 0
    assert morning[enterprise] > 0
    assert night[general] / night.sum() > morning[general] / morning.sum()


def test_a_week_has_its_weekend() -> None:
    scenario = load("small")
    week = edited(
        scenario,
        study=scenario.file.study.model_copy(update={"days": 7, "weekday": "mon"}),
        week={"sun": scenario.file.week.get("sun") or _half()},
    )
    model = scenario_model(week)
    assert (model.period_s, model.length_s) == (7 * DAY_S, 7 * DAY_S)
    a_day = rates(week).reshape(7, 48, -1).sum(axis=(1, 2))
    assert a_day[6] == pytest.approx(a_day[0] / 2)
    shifts = [s for s in model.groups[0].shifts if s.from_s >= 6 * DAY_S]
    assert shifts[0].agents == round(0.5 * 4)


def _half() -> object:
    from ivr.queues.scenario import WeekDay

    return WeekDay(calls=0.5, agents=0.5)


def test_one_queue_takes_every_call() -> None:
    model = scenario_model(load("small"), BEFORE)
    place = model.queue_index(ANY)
    assert model.front_end.routing is not None
    assert all(row[place] == 1 for row in model.front_end.routing)
    assert all(any(skill.queue == ANY for skill in group.skills) for group in model.groups)


def test_speech_routes_as_it_was_measured() -> None:
    scenario = load("city")
    ((name, navigation),) = scenario.navigation.items()
    # Asked about and denied, hence not routed.
    counts = navigation.needs["consumer_rights"].model_copy(
        update={
            "routed": {"consumer_rights": 15},
            "confirmed": {"consumer_rights": 3, "public_security": 1, "urban_housing_fund": 1},
        }
    )
    needs = {**navigation.needs, "consumer_rights": counts}
    measured = {name: navigation.model_copy(update={"needs": needs})}
    model = scenario_model(replace(scenario, navigation=measured), AFTER)
    assert model.front_end.routing is not None
    assert all(math.isclose(sum(row), 1) for row in model.front_end.routing)
    row = dict(zip([q.name for q in model.queues], model.front_end.routing[0], strict=True))
    assert row["public_security"] == row["urban_housing_fund"] == 0
    assert 0.95 < row["consumer_rights"] < 1  # whom nothing fits goes to the default queue


def test_seconds_of_speech_are_those_of_its_parts() -> None:
    scenario = load("city")
    (navigation,) = scenario.navigation.values()
    front = front_end(scenario, AFTER)
    prompts, seconds = navigation.prompts, navigation.seconds
    assert seconds is not None
    least = prompts.greeting_s + seconds.speech_s + seconds.decision_s + prompts.route_s
    assert front.seconds.mean_s >= least
    assert front.seconds.values_s[0] == pytest.approx(least)  # type: ignore[union-attr]
    assert front.asked_again is not None
    counts = navigation.needs["consumer_rights"]
    wrong = sum(n for queue, n in counts.confirmed.items() if queue != "consumer_rights")
    again = counts.asked_again + wrong + counts.emergency
    assert front.asked_again[0] == pytest.approx(again / counts.calls)


def test_factors_are_switched_one_by_one() -> None:
    scenario = load("city")
    before, after = front_end(scenario, BEFORE), front_end(scenario, AFTER)
    time = front_end(scenario, replace(BEFORE, time="after"))
    assert (time.seconds, time.routing) == (after.seconds, before.routing)
    routing = front_end(scenario, replace(BEFORE, routing="after"))
    assert (routing.seconds, routing.routing) == (before.seconds, after.routing)
    assert front_end(scenario, Side("after", "after", "after", "after")) == after


def test_accuracy_is_set_with_the_measured_confusions() -> None:
    scenario = load("city")
    model = scenario_model(scenario, AFTER)
    measured = model.front_end.routing
    assert measured is not None
    # general is mistaken for consumer rights, and for no other queue
    general = tuple({0: 0.1, 4: 0.9}.get(queue, 0.0) for queue in range(len(measured[8])))
    routing = (*measured[:8], general, *measured[9:])
    model = replace(model, front_end=replace(model.front_end, routing=routing))
    for right in (0.6, 0.9, 1.0):
        changed = with_accuracy(scenario, model, right, contained=0.1)
        assert accuracy(scenario, changed) == pytest.approx(right)
        assert changed.front_end.contained == (0.1,) * len(model.needs)
        assert changed.front_end.routing is not None
        assert all(math.isclose(sum(row), 1) for row in changed.front_end.routing)
    worse = with_accuracy(scenario, model, 0.6).front_end.routing
    was = model.front_end.routing
    assert worse is not None
    assert was is not None
    assert worse[8][0] == pytest.approx(0.4 * was[8][0] / (1 - was[8][4]))
