"""Staffing: the least agents by Erlang A, and plans that a simulation of their own confirms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import SimulationError
from ivr.queues.erlang import erlang_a, erlang_c
from ivr.queues.simulation import (
    ArrivalRates,
    CentreModel,
    Exponential,
    FrontEnd,
    Group,
    LocalThreads,
    Need,
    Queue,
    Shift,
    Skill,
    Trace,
    replicate,
)
from ivr.queues.staffing import (
    StaffingPlan,
    agents_needed,
    erlang_plan,
    plan_staff,
    with_agents,
)
from tests.queues.simulation.centres import HOUR_S, pool

ENGINE = LocalThreads(2)


@given(st.floats(1, 3000), st.floats(20, 600), st.floats(20, 900), st.floats(0.5, 0.99))
@settings(max_examples=40, deadline=None)
def test_one_agent_less_would_miss_the_target(
    per_hour: float, aht_s: float, patience_s: float, target: float
) -> None:
    least = agents_needed(per_hour, aht_s, patience_s=patience_s, target=target)
    levels = [
        erlang_a(per_hour, aht_s, agents, patience_s=patience_s).service_level
        for agents in (least, least - 1)
        if agents > 0
    ]
    assert levels[0] >= target
    assert all(level < target for level in levels[1:])


def test_callers_who_never_give_up() -> None:
    least = agents_needed(200, 180, target=0.8, within_s=20)
    assert erlang_c(200, 180, least, within_s=20).service_level >= 0.8
    assert erlang_c(200, 180, least - 1, within_s=20).service_level < 0.8
    assert least == 14  # 88.8 % within 20 s; 13 agents: 79.6 %


def test_no_calls_need_nobody_and_busy_days_need_more() -> None:
    assert agents_needed(0, 180) == 0
    plain = agents_needed(600, 180, patience_s=300)
    assert agents_needed(600, 180, patience_s=300, busyness_cv=0.2) > plain


@pytest.mark.parametrize("target", [0.0, 1.0, 95.0])
def test_a_target_that_is_no_share(target: float) -> None:
    with pytest.raises(SimulationError, match="target"):
        agents_needed(100, 180, target=target)


def centre(*, routing: tuple[tuple[float, ...], ...] | None = None) -> CentreModel:
    """Two queues with groups of their own over six hours, one shared, and a reserve."""
    profile = (20.0, 60.0, 120.0, 120.0, 70.0, 30.0)
    patience, service = Exponential(300.0), Exponential(150.0)
    return CentreModel(
        needs=tuple(Need(name=n, queue=n, service=service, patience=patience) for n in "abc"),
        queues=tuple(Queue(name=n) for n in "abc"),
        groups=(
            Group(name="for a", skills=(Skill(queue="a"), Skill(queue="c")), shifts=()),
            Group(name="for b", skills=(Skill(queue="b"), Skill(queue="c")), shifts=()),
            Group(
                name="reserve",
                skills=(Skill(queue="a", level=1, after_s=10.0),),
                shifts=(Shift(from_s=0, to_s=6 * HOUR_S, agents=1),),
            ),
        ),
        arrivals=ArrivalRates(
            per_hour=tuple((calls, 0.7 * calls, 0.5 * calls) for calls in profile),
            interval_s=HOUR_S,
        ),
        front_end=FrontEnd(routing=routing),
        period_s=6 * HOUR_S,
        length_s=6 * HOUR_S,
    )


def levels(model: CentreModel, plan: StaffingPlan, agents: np.ndarray, seed: int) -> np.ndarray:
    """Shares answered in time of the owned queues, by interval, in a simulation of our own."""
    staffed = with_agents(model, plan.groups, agents, interval_s=plan.interval_s)
    found = replicate({"plan": staffed}, seed=seed, replications=60, engine=ENGINE)
    return found.merged("plan").intervals.service_level[:, :2]


def test_a_plan_meets_the_target_and_one_agent_less_does_not() -> None:
    model = centre(routing=((0.9, 0.1, 0.0), (0.1, 0.9, 0.0), (0.0, 0.0, 1.0)))
    plan = plan_staff(model, target=0.9, replications=40, seed=3, engine=ENGINE)
    assert plan.met
    assert plan.groups == ("for a", "for b")
    # as good for callers that the plan was not made with
    assert np.all(levels(model, plan, plan.agents, seed=99) > 0.9 - 0.025)
    assert plan.overall == pytest.approx(0.95, abs=0.04)
    cells = list(zip(*np.nonzero(plan.agents > 1), strict=True))
    missing = 0
    for cell in cells[::3]:
        fewer = plan.agents.copy()
        fewer[cell] -= 1
        missing += bool(np.any(levels(model, plan, fewer, seed=99) < 0.905))
    assert missing >= 0.8 * len(cells[::3])


def test_the_first_plan_of_a_plain_pool_is_erlang_a_and_simulation_agrees() -> None:
    model = replace(pool(300, Exponential(120.0), 1, patience=Exponential(240.0)), length_s=HOUR_S)
    least = agents_needed(300, 120.0, patience_s=240.0, target=0.9)
    assert erlang_plan(model, target=0.9).tolist() == [[least]]
    plan = plan_staff(
        replace(model, length_s=20 * HOUR_S), target=0.9, replications=30, engine=ENGINE
    )
    assert plan.agents.tolist() == [[least]]
    assert plan.agent_hours == least


def test_a_misrouted_call_is_work_of_two_groups() -> None:
    def hours(routing: tuple[tuple[float, ...], ...]) -> int:
        return int(erlang_plan(centre(routing=routing)).sum())

    right = hours(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert hours(((0.7, 0.3, 0.0), (0.3, 0.7, 0.0), (0.0, 0.0, 1.0))) > right


def test_shifts_of_a_plan_join_equal_intervals() -> None:
    agents = np.array([[0, 2], [3, 2], [3, 0], [1, 0], [0, 0], [0, 1]])
    model = with_agents(centre(), ("for a", "for b"), agents, interval_s=HOUR_S)
    assert [(s.from_s / HOUR_S, s.to_s / HOUR_S, s.agents) for s in model.groups[0].shifts] == [
        (1, 3, 3),
        (3, 4, 1),
    ]
    assert [(s.from_s / HOUR_S, s.to_s / HOUR_S, s.agents) for s in model.groups[1].shifts] == [
        (0, 2, 2),
        (5, 6, 1),
    ]
    assert model.groups[2].shifts == centre().groups[2].shifts


def test_a_night_team_with_the_same_skills_is_part_of_the_plan() -> None:
    model = centre()
    night = replace(model.groups[1], name="night", shifts=model.groups[2].shifts)
    plan = plan_staff(
        replace(model, groups=(*model.groups, night)), target=0.8, replications=20, engine=ENGINE
    )
    assert plan.groups == ("for a", "for b")


def test_what_cannot_be_planned_is_said() -> None:
    model = centre()
    trace = Trace(arrival_s=np.array([1.0]), need=np.array([0]))
    with pytest.raises(SimulationError, match="trace"):
        plan_staff(replace(model, arrivals=trace), engine=ENGINE)
    skills = (Skill(queue="a"), Skill(queue="b"), Skill(queue="c"))
    shared = replace(
        model,
        groups=(
            Group(name="x", skills=skills, shifts=()),
            Group(name="z", skills=(*skills[1:], Skill(queue="a", service_factor=2.0)), shifts=()),
        ),
    )
    with pytest.raises(SimulationError, match="no queue has a group of its own"):
        erlang_plan(shared)
