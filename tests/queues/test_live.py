"""Expected waits: exact where the state is known, learnt where the plan is wrong, true enough."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.live_waits import errors, one_day
from ivr.queues.erlang import erlang_b, expected_wait_s
from ivr.queues.live import MOST_S, ExpectedWaits, Plan, plans_of, table_of
from ivr.queues.scenario import load_scenario
from ivr.server.metrics import Metrics
from ivr.server.queue_board import QueueBoard

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(agents=10, aht_s=200.0, patience_s=400.0, per_hour=170.0)
AT_S = 1_790_000_000.0


def waits(**plans: Plan) -> ExpectedWaits:
    return ExpectedWaits(table_of(plans or {"general": PLAN}))


def test_before_anything_is_seen_it_is_the_plans_pool() -> None:
    found = waits()
    blocked = erlang_b(170 * 200 / 3600, 10)
    assert found.expected_wait_s("general", AT_S) == pytest.approx(blocked * 20.0)
    for ahead in range(3):
        found.arrived("general", AT_S)
        expected = expected_wait_s(ahead + 1, 200.0, 10, patience_s=400.0)
        assert found.expected_wait_s("general", AT_S) == pytest.approx(expected)


def test_callers_leave_as_they_came() -> None:
    found = waits()
    for _ in range(3):
        found.arrived("general", AT_S)
    found.answered("general", AT_S + 5)
    found.abandoned("general", AT_S + 6)
    assert found.waiting("general") == 1
    for _ in range(5):  # reports that were lost do no harm
        found.answered("general", AT_S + 7)
    assert found.waiting("general") == 0


def test_nobody_at_work_and_unknown_queues_have_no_expected_wait() -> None:
    found = waits(night=Plan(0, 200.0, 400.0, 10.0))
    assert found.expected_wait_s("night", AT_S) is None
    assert found.expected_wait_s("elsewhere", AT_S) is None


def test_slow_answers_are_learnt() -> None:
    planned, slow = waits(), waits()
    for found in (planned, slow):
        for _ in range(5):
            found.arrived("general", AT_S)
    for n in range(1, 60):  # an answer a minute instead of one in 20 s
        slow.arrived("general", AT_S + 60 * n)
        slow.answered("general", AT_S + 60 * n)
    told = slow.expected_wait_s("general", AT_S + 3600)
    plan = planned.expected_wait_s("general", AT_S)
    assert told is not None
    assert plan is not None
    assert 1.8 * plan < told < 3.2 * plan


def test_the_plan_follows_the_clock_of_the_hotline() -> None:
    scenario = load_scenario(ROOT / "config" / "scenarios" / "city.yaml")
    plans = plans_of(scenario)

    def at(hour: int, minute: int = 0) -> Plan | None:
        when = datetime(2026, 11, 24, hour, minute, tzinfo=ZoneInfo("Asia/Shanghai"))
        return plans("general", when.timestamp())

    morning, night = at(10, 15), at(3)
    assert morning is not None
    assert night is not None
    assert (morning.agents, night.agents) == (24, 3)
    assert morning.per_hour > 5 * night.per_hour
    assert morning.aht_s == pytest.approx(208.5 + 60, abs=0.5)
    assert morning.patience_s == 413
    assert plans("nowhere", AT_S) is None


EVENT = st.tuples(st.sampled_from(["arrived", "answered", "abandoned"]), st.floats(-5, 4000))


@given(st.lists(EVENT, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_reports_give_a_wait_in_bounds(events: list[tuple[str, float]]) -> None:
    found, at_s = waits(), AT_S
    for kind, later_s in events:
        at_s += later_s  # also a little back
        getattr(found, kind)("general", at_s)
        told = found.expected_wait_s("general", at_s)
        assert told is not None
        assert 0 <= told <= MOST_S
        assert math.isfinite(told)


def test_told_waits_are_near_the_truth_of_a_simulated_day() -> None:
    scenario = load_scenario(ROOT / "config" / "scenarios" / "city.yaml")
    told = one_day(scenario, staff=0.75, seed=5)
    waiting = [t for t in told if t.waited]
    assert len(waiting) > 500
    mean_s = float(np.mean([t.truth_s for t in waiting]))
    bias_s, off_s = errors(waiting, "model")
    assert abs(bias_s) < 0.2 * mean_s
    assert off_s < 0.9 * errors(waiting, "last")[1]  # better than the last caller's wait
    assert off_s < 0.7 * errors(waiting, "mean")[1]


def test_the_server_tells_it_from_what_the_telephone_system_reports() -> None:
    board = QueueBoard(Metrics(queues=("general",), gateways=()), waits=waits())
    at = datetime.fromtimestamp(AT_S, ZoneInfo("Asia/Shanghai"))
    for n in range(3):
        board.report("general", "arrived", f"call-{n}", at)
    assert board.line("general").expected_wait_s == pytest.approx(
        expected_wait_s(3, 200.0, 10, patience_s=400.0)
    )
    board.report("general", "answered", "call-0", at + timedelta(seconds=20))
    assert board.line("general").waiting == 2
    assert board.expected_waits_s()["general"] < 80
