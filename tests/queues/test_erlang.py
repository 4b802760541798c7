"""The exact formulas: published values, limits, and what must hold whatever the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from ivr.errors import SimulationError
from ivr.queues.erlang import (
    Pool,
    erlang_a,
    erlang_b,
    erlang_c,
    expected_wait_s,
    pool_measures,
)
from tests.queues.exact import EXACT, Exact

POOLS = st.tuples(
    st.floats(1.0, 20_000.0), st.floats(1.0, 1000.0), st.integers(1, 400), st.floats(1.0, 5000.0)
)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_exact_values(case: Exact) -> None:
    found = pool_measures(
        case.per_hour, case.aht_s, case.agents, patience_s=case.patience_s, within_s=case.within_s
    )
    for measure, value in case.values.items():
        # the published value is rounded; half a unit of its last digit
        assert getattr(found, measure) == pytest.approx(value, abs=case.rounding(measure))


def test_erlang_b_of_published_tables() -> None:
    # ITU-T Handbook Teletraffic Engineering, table of Erlang B: 1 % at 10 circuits is 4.461 erlangs
    assert erlang_b(4.461, 10) == pytest.approx(0.01, abs=2e-5)
    assert erlang_b(20.0, 1) == pytest.approx(20 / 21)
    assert erlang_b(0.0, 3) == 0.0
    assert erlang_b(7.5, 0) == 1.0


def test_erlang_a_is_erlang_c_for_callers_who_never_give_up() -> None:
    patient = erlang_a(2880, 60, 50, patience_s=1e9)
    endless = erlang_c(2880, 60, 50)
    for measure in ("mean_wait_s", "p_wait", "service_level", "utilisation"):
        assert getattr(patient, measure) == pytest.approx(getattr(endless, measure), rel=1e-4)


def test_erlang_a_is_erlang_b_for_callers_who_give_up_at_once() -> None:
    assert erlang_a(600, 60, 8, patience_s=1e-6).abandoned == pytest.approx(
        erlang_b(10.0, 8), rel=1e-5
    )


def test_service_level_of_erlang_a_by_the_first_passage_of_the_queue() -> None:
    """An independent way: the queue ahead of a caller as a pure death process, by matrix."""
    per_hour, aht_s, agents, patience_s, within_s = 300.0, 100.0, 7, 90.0, 15.0
    serve, leave, arrive = 1 / aht_s, 1 / patience_s, per_hour / 3600
    states = agents + 120
    p = np.ones(states + 1)
    for n in range(1, states + 1):
        p[n] = p[n - 1] * arrive / (min(n, agents) * serve + max(0, n - agents) * leave)
    p /= p.sum()
    level = p[:agents].sum()
    # states 0 … j: callers ahead; then "served" and "gave up"; the caller gives up at rate leave
    size = states - agents + 1
    rates = np.zeros((size + 2, size + 2))
    for ahead in range(size):
        forward = agents * serve + ahead * leave
        rates[ahead, ahead - 1 if ahead else size] += forward
        rates[ahead, size + 1] += leave
        rates[ahead, ahead] = -forward - leave
    soon = linalg.expm(rates * within_s)[:size, size]
    level += p[agents : agents + size] @ soon
    found = erlang_a(per_hour, aht_s, agents, patience_s=patience_s, within_s=within_s)
    assert found.service_level == pytest.approx(level, rel=1e-9)


@given(POOLS)
@settings(max_examples=60, deadline=None)
def test_what_comes_in_goes_out(pool: tuple[float, float, int, float]) -> None:
    per_hour, aht_s, agents, patience_s = pool
    found = erlang_a(per_hour, aht_s, agents, patience_s=patience_s)
    arrive = per_hour / 3600
    assert found.utilisation * agents / aht_s == pytest.approx(
        arrive * (1 - found.abandoned), rel=1e-6, abs=1e-12
    )
    assert found.mean_queue_length == pytest.approx(arrive * found.mean_wait_s, rel=1e-9)
    for share in (found.p_wait, found.service_level, found.abandoned, found.utilisation):
        assert -1e-12 <= share <= 1 + 1e-9


@given(POOLS)
@settings(max_examples=40, deadline=None)
def test_more_agents_never_harm(pool: tuple[float, float, int, float]) -> None:
    per_hour, aht_s, agents, patience_s = pool
    few = erlang_a(per_hour, aht_s, agents, patience_s=patience_s)
    more = erlang_a(per_hour, aht_s, agents + 1, patience_s=patience_s)
    assert more.mean_wait_s <= few.mean_wait_s * (1 + 1e-9) + 1e-12
    assert more.service_level >= few.service_level - 1e-9


def test_a_large_centre_neither_overflows_nor_loses_digits() -> None:
    # square-root staffing, 1 % above the load: (agents - erlangs) / sqrt(erlangs) = 1
    found = erlang_c(200_000, 180, 10_100)
    beta = 1.0
    p_wait = 1 / (1 + beta * stats.norm.cdf(beta) / stats.norm.pdf(beta))  # Halfin and Whitt, 1981
    assert found.p_wait == pytest.approx(p_wait, rel=0.01)
    assert erlang_a(200_000, 180, 10_100, patience_s=1e7).p_wait == pytest.approx(
        found.p_wait, rel=0.01
    )


def test_expected_wait_behind_others() -> None:
    assert expected_wait_s(0, 180.0, 6) == pytest.approx(30.0)
    assert expected_wait_s(4, 180.0, 6) == pytest.approx(150.0)
    assert expected_wait_s(1, 180.0, 6, patience_s=300.0) == pytest.approx(
        30.0 + 1 / (6 / 180 + 1 / 300)
    )


def test_agents_who_cannot_keep_up_are_told_how_many_it_takes() -> None:
    with pytest.raises(SimulationError, match=r"9 agents cannot keep up with 10\.5 .* 11 agents"):
        erlang_c(210, 180, 9)
    with pytest.raises(SimulationError, match="at least 11 agents"):
        erlang_c(200, 180, 10)
    assert erlang_c(200, 180, 11).mean_wait_s > 0


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ((-1.0, 180.0, 9), "-1 arrivals"),
        ((math.nan, 180.0, 9), "nan arrivals"),
        ((100.0, 0.0, 9), "handling time of 0 s"),
        ((100.0, 180.0, 0), "0 agents"),
        ((100.0, 180.0, 2_000_000), "2000000 agents"),
    ],
)
def test_numbers_out_of_range(values: tuple[float, float, int], what: str) -> None:
    with pytest.raises(SimulationError, match=what):
        erlang_c(*values)
    with pytest.raises(SimulationError, match=what):
        erlang_a(*values, patience_s=60.0)


def test_a_queue_of_millions_is_refused() -> None:
    with pytest.raises(SimulationError, match="millions"):
        erlang_a(1e7, 1000.0, 1, patience_s=1e8)


def test_nobody_calls() -> None:
    assert erlang_a(0.0, 180.0, 3, patience_s=60.0) == Pool(
        mean_wait_s=0.0,
        p_wait=0.0,
        service_level=1.0,
        abandoned=0.0,
        utilisation=0.0,
        mean_queue_length=0.0,
        within_s=15.0,
    )
    assert erlang_c(0.0, 180.0, 3).mean_wait_s == 0.0
