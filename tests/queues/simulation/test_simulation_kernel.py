"""The rules of a call centre, one by one, on calls that are given; and what always holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ivr.queues.simulation import (
    NEVER,
    ArrivalRates,
    CallBack,
    CentreModel,
    Constant,
    Empirical,
    Exponential,
    FrontEnd,
    Group,
    LogNormal,
    Need,
    Queue,
    Redial,
    RunResult,
    Shift,
    Skill,
    Trace,
    Transfer,
    simulate,
    simulate_logged,
)
from ivr.queues.simulation.kernel import Outcome
from ivr.queues.simulation.run import Log
from tests.queues.simulation.centres import HOUR_S, full_centre, pool, with_front_end

FOREVER = math.inf


def group(name: str, agents: int, *skills: str | Skill, shifts: Any = None) -> Group:
    own = tuple(Skill(queue=s) if isinstance(s, str) else s for s in skills)
    return Group(
        name=name,
        skills=own,
        shifts=shifts or (Shift(from_s=0, to_s=HOUR_S, agents=agents),),
    )


def centre(
    calls: Sequence[tuple[float, int, float, float]], groups: tuple[Group, ...], **options: Any
) -> CentreModel:
    """Queues and needs "a" and "b"; calls are (arrival, need, service, patience)."""
    arrival_s, need, service_s, patience_s = map(np.array, zip(*calls, strict=True))
    usual: dict[str, Any] = {
        "needs": tuple(Need(name=n, queue=n, service=Exponential(60.0)) for n in "ab"),
        "queues": (Queue(name="a"), Queue(name="b")),
        "period_s": HOUR_S,
        "length_s": HOUR_S,
    }
    trace = Trace(arrival_s=arrival_s, need=need, service_s=service_s, patience_s=patience_s)
    return CentreModel(groups=groups, arrivals=trace, **(usual | options))


def run(model: CentreModel) -> tuple[RunResult, Log]:
    result, log = simulate_logged(model, 1, calls=1000)
    assert log.complete
    return result, log


def by_caller(log: Log, column: str) -> list[float]:
    return [float(value) for value in np.sort(log.calls, order=["caller", "attempt"])[column]]


def outcomes(log: Log) -> list[Outcome]:
    return [Outcome(int(value)) for value in by_caller(log, "outcome")]


A, B = 0, 1


def test_first_come_first_served() -> None:
    calls = [(0, A, 100, FOREVER), (10, A, 50, FOREVER), (20, A, 50, FOREVER)]
    _, log = run(centre(calls, (group("g", 1, "a"),)))
    assert by_caller(log, "wait_s") == [0, 90, 130]


def test_patience_ends_a_wait_and_the_wait_counts() -> None:
    calls = [(0, A, 100, FOREVER), (10, A, 50, 30), (20, A, 50, FOREVER)]
    result, log = run(centre(calls, (group("g", 1, "a"),)))
    assert outcomes(log) == [Outcome.ANSWERED, Outcome.ABANDONED, Outcome.ANSWERED]
    assert by_caller(log, "wait_s") == [0, 30, 80]
    assert result.calls.mean_wait_s == pytest.approx(110 / 3)
    assert result.calls.mean_wait_answered_s == pytest.approx(40)
    assert result.calls.mean_wait_abandoned_s == pytest.approx(30)
    assert result.calls.abandonment == pytest.approx(1 / 3)
    assert result.calls.connection_rate == pytest.approx(2 / 3)


def test_wrap_up_keeps_the_agent() -> None:
    needs = (Need(name="a", queue="a", service=Constant(100), wrap_up=Constant(25)),)
    calls = [(0, 0, math.nan, FOREVER), (10, 0, math.nan, FOREVER)]
    result, log = run(centre(calls, (group("g", 1, "a"),), needs=needs, queues=(Queue(name="a"),)))
    assert by_caller(log, "wait_s") == [0, 115]
    assert result.groups["g"].busy_s == 250
    assert result.groups["g"].utilisation == pytest.approx(250 / 3600)


def test_priority_goes_before_the_longer_wait() -> None:
    calls = [(0, A, 100, FOREVER), (10, A, 50, FOREVER), (20, B, 50, FOREVER)]
    queues = (Queue(name="a", priority=5), Queue(name="b", priority=4))
    _, log = run(centre(calls, (group("g", 1, "a", "b"),), queues=queues))
    assert by_caller(log, "wait_s") == [0, 140, 80]


def test_the_priority_of_a_need_goes_before_that_of_its_queue() -> None:
    needs = tuple(
        Need(name=n, queue="a", service=Constant(1), priority=p) for n, p in (("x", None), ("y", 1))
    )
    calls = [(0, A, 100, FOREVER), (10, A, 50, FOREVER), (20, B, 50, FOREVER)]
    _, log = run(centre(calls, (group("g", 1, "a"),), needs=needs))
    assert by_caller(log, "wait_s") == [0, 140, 80]


def test_without_priority_the_longest_wait_of_all_queues_is_next() -> None:
    calls = [(0, A, 100, FOREVER), (10, B, 50, FOREVER), (20, A, 50, FOREVER)]
    _, log = run(centre(calls, (group("g", 1, "a", "b"),)))
    assert by_caller(log, "wait_s") == [0, 90, 130]


def test_the_lower_level_is_chosen_first_then_the_less_busy_group() -> None:
    groups = (
        group("late", 2, Skill(queue="a", level=1)),
        group("one", 2, "a"),
        group("two", 4, "a"),
    )
    _, log = run(centre([(t, A, 1000, FOREVER) for t in range(7)], groups))
    assert by_caller(log, "group") == [1, 2, 2, 1, 2, 2, 0]


def test_overflow_after_a_delay_while_the_other_group_is_idle() -> None:
    groups = (group("own", 1, "a"), group("other", 1, Skill(queue="a", after_s=30.0)))
    calls = [(0, A, 100, FOREVER), (10, A, 100, FOREVER), (20, A, 5, FOREVER)]
    result, log = run(centre(calls, groups))
    assert by_caller(log, "wait_s") == [0, 30, 80]
    assert by_caller(log, "group") == [0, 1, 0]
    assert result.queues["a"].overflowed == 1


def test_overflow_of_a_call_that_is_due_when_the_other_agent_becomes_free() -> None:
    groups = (group("own", 1, "a"), group("other", 1, "b", Skill(queue="a", after_s=30.0)))
    calls = [(0, A, 500, FOREVER), (0, B, 60, FOREVER), (10, A, 1, FOREVER), (55, A, 1, FOREVER)]
    _, log = run(centre(calls, groups))
    assert by_caller(log, "wait_s") == [0, 0, 50, 30]


def test_several_overflows_come_one_after_the_other() -> None:
    groups = (
        group("own", 1, "a"),
        group("soon", 1, Skill(queue="a", after_s=10.0)),
        group("late", 1, Skill(queue="a", after_s=40.0)),
    )
    _, log = run(centre([(0, A, 500, FOREVER)] * 4, groups))
    assert by_caller(log, "wait_s") == [0, 10, 40, 500]


def test_service_takes_less_skilled_agents_longer() -> None:
    groups = (group("g", 1, Skill(queue="a", service_factor=1.5)),)
    _, log = run(centre([(0, A, 100, FOREVER), (0, A, 10, FOREVER)], groups))
    assert by_caller(log, "wait_s") == [0, 150]


MISROUTED = FrontEnd(routing=((1.0, 0.0), (1.0, 0.0)))  # everybody to queue a


def test_a_misroute_costs_the_wrong_agent_and_a_second_queue() -> None:
    model = centre(
        [(0, B, 70, FOREVER), (10, A, 50, FOREVER)],
        (group("for a", 1, "a"), group("for b", 1, "b")),
        front_end=MISROUTED,
        transfer=Transfer(seconds=Constant(40)),
    )
    result, log = run(model)
    assert by_caller(log, "wait_s") == [0, 30]
    assert by_caller(log, "to_agent_s") == [40, 30]
    assert by_caller(log, "group") == [1, 0]
    assert result.calls.misrouted == result.calls.transfers == 1
    assert result.groups["for a"].passed_on == 1
    assert result.groups["for a"].busy_s == 90
    assert result.queues["a"].transferred == 1
    assert result.queues["b"].joined == 1
    assert result.needs["b"].agent_s == 110


def test_an_agent_with_the_skill_serves_a_misrouted_caller() -> None:
    model = centre([(0, B, 70, FOREVER)], (group("g", 1, "a", "b"),), front_end=MISROUTED)
    result, _ = run(model)
    assert (result.calls.misrouted, result.calls.transfers, result.calls.answered) == (1, 0, 1)


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({}, [0, 0, 60 + 100, 60 + 130]),  # behind who came to b meanwhile
        ({"priority": 1}, [0, 0, 60 + 80, 60 + 150]),
        ({"keeps_place": True}, [0, 0, 60 + 80, 60 + 150]),
    ],
)
def test_where_the_transferred_rejoin(options: dict[str, Any], waits: list[float]) -> None:
    # the third caller waits 60 s for an agent of a, who takes 20 s to pass the call on at 80 s
    model = centre(
        [
            (0, A, 60, FOREVER),
            (0, B, 160, FOREVER),
            (0, B, 50, FOREVER),
            (60, B, 20, FOREVER),
        ],
        (group("for a", 1, "a"), group("for b", 1, "b")),
        transfer=Transfer(seconds=Constant(20), **options),
        needs=(
            Need(name="a", queue="a", service=Constant(1)),
            Need(name="b", queue="b", service=Constant(1)),
        ),
    )
    model = replace(model, front_end=FrontEnd(routing=((1.0, 0.0), (0.0, 1.0))))
    direct = run(model)[1]
    assert by_caller(direct, "wait_s")[:2] == [0, 0]
    third = replace(
        model,
        needs=(*model.needs, Need(name="stray", queue="b", service=Constant(1))),
        front_end=FrontEnd(routing=((1.0, 0.0), (0.0, 1.0), (1.0, 0.0))),
    )
    trace = third.arrivals
    assert isinstance(trace, Trace)
    _, log = run(replace(third, arrivals=replace(trace, need=np.array([A, B, 2, B]))))
    found = by_caller(log, "wait_s")
    rejoined_first = options != {}
    assert found[:2] == [0, 0]
    # b's agent is free at 160: the stray rejoined at 80, the fourth joined at 60
    assert found[2] == 60 + (80 if rejoined_first else 100)
    assert found[3] == (150 if rejoined_first else 100)


@pytest.mark.parametrize(("fresh", "abandons_after"), [(True, 60 + 90), (False, 90)])
def test_patience_after_a_transfer(fresh: bool, abandons_after: float) -> None:
    needs = (
        Need(name="a", queue="a", service=Constant(1)),
        Need(name="b", queue="b", service=Constant(1), patience=Constant(90)),
    )
    model = centre(
        [(0, A, 60, FOREVER), (0, B, 1, math.nan)],
        (group("for a", 1, "a"), group("for b", 0, "b")),
        needs=needs,
        front_end=MISROUTED,
        transfer=Transfer(seconds=Constant(20), fresh_patience=fresh),
    )
    _, log = run(model)
    assert outcomes(log) == [Outcome.ANSWERED, Outcome.ABANDONED]
    assert by_caller(log, "wait_s") == [0, abandons_after]


def test_redials_are_new_calls_of_the_same_caller() -> None:
    model = centre(
        [(0, A, 500, FOREVER), (10, A, 5, 20)],
        (group("g", 1, "a"),),
        needs=(Need(name="a", queue="a", service=Constant(1), patience=Constant(20)),),
        redial=Redial(probability=1.0, delay=Constant(100), most=2),
    )
    result, log = run(model)
    assert by_caller(log, "arrival_s") == [0, 10, 130, 250]
    assert by_caller(log, "caller") == [0, 1, 1, 1]
    assert outcomes(log)[1:] == [Outcome.ABANDONED] * 3
    assert (result.calls.offered, result.calls.redials) == (4, 2)


def test_nobody_redials_after_the_end() -> None:
    model = centre(
        [(0, A, 4000, FOREVER), (3550, A, 5, 20)],
        (group("g", 1, "a"),),
        redial=Redial(probability=1.0, delay=Constant(100)),
    )
    assert run(model)[0].calls.offered == 2


def test_a_call_back_keeps_the_place_and_does_not_wait_on_the_line() -> None:
    model = centre(
        [(0, A, 300, FOREVER), (10, A, 50, FOREVER), (100, A, 20, 30), (110, A, 5, FOREVER)],
        (group("g", 1, "a"),),
        call_back=CallBack(offer_wait_s=60.0, acceptance=1.0),
    )
    result, log = run(model)
    assert by_caller(log, "on_line") == [1, 1, 0, 0]
    assert by_caller(log, "to_agent_s") == [0, 290, 250, 260]
    assert result.calls.call_backs == 2
    assert result.calls.answered == 4
    assert result.calls.waits == 2
    assert result.calls.mean_wait_s == pytest.approx(145)


def test_who_is_not_reached_by_a_call_back_costs_the_agent() -> None:
    model = centre(
        [(0, A, 300, FOREVER), (10, A, 50, FOREVER), (100, A, 20, 30)],
        (group("g", 1, "a"),),
        call_back=CallBack(offer_wait_s=60.0, acceptance=1.0, reached=0.0, no_answer=Constant(33)),
    )
    result, log = run(model)
    assert outcomes(log)[2] == Outcome.NOT_REACHED
    assert result.calls.not_reached == 1
    assert result.groups["g"].busy_s == 383


def test_the_front_end_takes_its_time_before_the_queue() -> None:
    front = FrontEnd(seconds=Constant(20), asked_again=(1.0, 0.0), again_seconds=Constant(7))
    calls = [(0, A, 100, FOREVER), (0, B, 100, FOREVER)]
    result, log = run(centre(calls, (group("g", 2, "a", "b"),), front_end=front))
    assert by_caller(log, "to_agent_s") == [27, 20]
    assert by_caller(log, "wait_s") == [0, 0]
    assert result.calls.asked_again == 1
    assert result.calls.mean_front_end_s == pytest.approx(23.5)


def test_the_contained_and_who_hangs_up_need_no_agent() -> None:
    front = FrontEnd(contained=(1.0, 0.0), hung_up=(0.0, 1.0))
    calls = [(0, A, 100, FOREVER), (0, B, 100, FOREVER)]
    result, log = run(centre(calls, (group("g", 1, "a", "b"),), front_end=front))
    assert outcomes(log) == [Outcome.CONTAINED, Outcome.HUNG_UP]
    assert result.calls.joined == 0
    assert math.isnan(result.calls.mean_wait_s)


def test_opening_hours_turn_callers_away_or_elsewhere() -> None:
    hours = ((0.0, 100.0), (200.0, 300.0))
    calls = [(50, A, 1, FOREVER), (150, A, 1, FOREVER), (250, A, 1, FOREVER)]
    groups = (group("for a", 1, "a"), group("for b", 1, "b"))
    closed = (Queue(name="a", hours_s=hours), Queue(name="b"))
    result, log = run(centre(calls, groups, queues=closed))
    assert outcomes(log) == [Outcome.ANSWERED, Outcome.CLOSED, Outcome.ANSWERED]
    assert result.calls.closed == result.queues["a"].closed == 1
    elsewhere = (replace(closed[0], closed_to="b"), closed[1])
    result, log = run(centre(calls, groups, queues=elsewhere))
    assert by_caller(log, "group") == [0, 1, 0]
    assert result.calls.transfers == 0


def test_shifts_bring_agents_and_send_them_home_after_their_call() -> None:
    shifts = (
        Shift(from_s=0, to_s=100, agents=2),
        Shift(from_s=200, to_s=300, agents=1),
    )
    calls = [(90, A, 50, FOREVER), (95, A, 200, FOREVER), (99, A, 10, FOREVER)]
    result, log = run(centre(calls, (group("g", 0, "a", shifts=shifts),)))
    assert by_caller(log, "wait_s") == [0, 0, 196]  # one of b is still busy at 200, and counts
    assert result.groups["g"].busy_s == 260
    # two until 140, one until 200, the shift's one until 300, overtime until 305
    assert result.groups["g"].staffed_s == pytest.approx(2 * 140 + 60 + 100 + 5)


def test_a_night_shift_begins_the_first_period_too() -> None:
    shifts = (Shift(from_s=3000, to_s=3000 + 1200, agents=1),)
    calls = [(10, A, 5, FOREVER), (700, A, 5, FOREVER), (3100, A, 5, FOREVER)]
    _, log = run(centre(calls, (group("g", 0, "a", shifts=shifts),)))
    assert by_caller(log, "wait_s") == [0, 2300, 0]


def test_who_waits_when_the_run_is_over_is_unserved_and_the_wait_counts() -> None:
    shifts = (Shift(from_s=0, to_s=10, agents=1),)
    model = centre([(20, A, 5, FOREVER)], (group("g", 0, "b", shifts=shifts),))
    result, log = run(model)
    assert outcomes(log) == [Outcome.UNSERVED]
    assert by_caller(log, "wait_s") == [2 * HOUR_S - 20]
    assert result.calls.unserved == 1


def test_who_waits_at_the_end_is_served_by_the_shifts_that_follow() -> None:
    shifts = (Shift(from_s=100, to_s=200, agents=1),)
    _, log = run(centre([(3000, A, 5, FOREVER)], (group("g", 0, "a", shifts=shifts),)))
    assert by_caller(log, "wait_s") == [700]


def test_arrivals_follow_the_rates_of_each_interval_and_need() -> None:
    rates = ((60.0, 0.0), (0.0, 0.0), (240.0, 600.0))
    model = CentreModel(
        needs=tuple(Need(name=n, queue=n, service=Constant(0)) for n in "ab"),
        queues=(Queue(name="a"), Queue(name="b")),
        groups=(group("g", 1, "a", "b"),),
        arrivals=ArrivalRates(per_hour=rates, interval_s=1200.0),
        period_s=HOUR_S,
        length_s=300 * HOUR_S,
    )
    joined = simulate(model, 3).intervals.joined
    expected = np.array(rates) * 300 / 3
    assert np.all(joined[expected == 0] == 0)
    np.testing.assert_allclose(
        (joined - expected)[expected > 0] / np.sqrt(expected[expected > 0]), 0, atol=3
    )


def test_gaps_between_arrivals_are_exponential() -> None:
    _, log = simulate_logged(pool(600, Constant(0), 1, hours=30), 3, calls=20_000)
    gaps = np.diff(log.calls["arrival_s"])
    assert stats.kstest(gaps, stats.expon(scale=6.0).cdf).pvalue > 0.01


def test_busy_days_vary_more_than_poisson() -> None:
    def days(cv: float) -> np.ndarray:
        arrivals = ArrivalRates(per_hour=((20.0,),) * 24, interval_s=HOUR_S, busyness_cv=cv)
        model = replace(
            pool(100, Constant(0), 1), arrivals=arrivals, period_s=86400.0, length_s=150 * 86400.0
        )
        _, log = simulate_logged(replace(model, groups=(group("g", 1, "all"),)), 5, calls=100_000)
        return np.bincount((log.calls["arrival_s"] // 86400).astype(int))

    plain, varied = days(0.0), days(0.2)
    assert plain.std() / plain.mean() == pytest.approx(1 / math.sqrt(480), rel=0.2)
    assert varied.std() / varied.mean() == pytest.approx(0.2, rel=0.2)
    assert varied.mean() == pytest.approx(480, rel=0.06)


@pytest.mark.parametrize(
    "times",
    [
        Exponential(100.0),
        LogNormal(185.0, 363.0),
        Empirical((5.0, 60.0, 400.0)),
        Constant(7.0),
    ],
    ids=str,
)
def test_service_times_have_their_distribution(times: Any) -> None:
    _, log = simulate_logged(pool(3600, times, 1, hours=10), 9, calls=60_000)
    drawn = log.calls["service_s"]
    match times:
        case Constant(value_s):
            assert np.all(drawn == value_s)
        case Empirical(values_s):
            shares = [np.mean(drawn == value) for value in values_s]
            assert shares == pytest.approx([1 / 3] * 3, abs=0.01)
        case Exponential(mean_s):
            assert stats.kstest(drawn, stats.expon(scale=mean_s).cdf).pvalue > 0.01
        case LogNormal():
            # the real data: mean 185 s and deviation 363 s are log-mean 4.43 and log-deviation 1.26
            normal = stats.norm(times.log_mean, times.log_sd)
            assert stats.kstest(np.log(drawn), normal.cdf).pvalue > 0.01


def test_calls_of_the_warm_up_do_not_count() -> None:
    whole, log = simulate_logged(pool(100, Constant(60), 5, hours=4), 3, calls=1000)
    late = simulate(pool(100, Constant(60), 5, hours=4, warm_up_hours=1), 3)
    assert late.calls.offered == np.sum(log.calls["arrival_s"] >= HOUR_S)
    assert late.groups["agents"].staffed_s == pytest.approx(3 * 5 * HOUR_S)
    assert late.callers == whole.callers


# -- what always holds ------------------------------------------------------------------------


@st.composite
def centres(draw: st.DrawFn) -> CentreModel:
    """Small centres with any mixture of the features."""
    share = st.sampled_from([0.0, 0.2, 0.7, 1.0])
    times = st.sampled_from(
        [
            Constant(0.0),
            Constant(30.0),
            Exponential(90.0),
            LogNormal(60.0, 90.0),
            Empirical((5.0, 200.0)),
        ]
    )
    patience = st.one_of(times, st.just(NEVER), st.just(Empirical((1.0, 50.0, math.inf))))
    names = ("a", "b", "c")
    queues = tuple(
        Queue(
            name=name,
            priority=draw(st.integers(1, 3)),
            hours_s=draw(st.sampled_from([None, ((600.0, 3000.0),)])),
            closed_to=draw(st.sampled_from([None, "c"])) if name != "c" else None,
        )
        for name in names
    )
    needs = tuple(
        Need(
            name=name, queue=name, service=draw(times), wrap_up=draw(times),
            patience=draw(patience), priority=draw(st.sampled_from([None, 0])),
        )
        for name in names
    )  # fmt: skip
    skills = st.lists(
        st.builds(
            Skill,
            queue=st.sampled_from(names),
            level=st.integers(0, 1),
            after_s=st.sampled_from([0.0, 0.0, 20.0, 60.0]),
            service_factor=st.sampled_from([1.0, 1.3]),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda skill: skill.queue,
    ).map(tuple)
    shifts = st.lists(
        st.builds(
            lambda start, span, agents: Shift(from_s=start, to_s=start + span, agents=agents),
            st.integers(0, 3500),
            st.integers(1, 3600),
            st.integers(0, 4),
        ),
        max_size=3,
    ).map(tuple)
    groups = tuple(
        Group(name=f"g{i}", skills=draw(skills), shifts=draw(shifts))
        for i in range(draw(st.integers(1, 3)))
    )
    rows = st.sampled_from([(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.2, 0.3, 0.5)])
    shares = st.tuples(share, share, share)
    rates = st.tuples(*[st.sampled_from([0.0, 20.0, 150.0])] * 3)
    return CentreModel(
        needs=needs,
        queues=queues,
        groups=groups,
        arrivals=ArrivalRates(
            per_hour=(draw(rates), (10.0, 0.0, 40.0)), busyness_cv=draw(st.sampled_from([0.0, 0.3]))
        ),
        front_end=FrontEnd(
            seconds=draw(times), routing=draw(st.tuples(rows, rows, rows)),
            asked_again=draw(shares), again_seconds=draw(times),
            contained=draw(st.sampled_from([None, (0.1, 0.0, 0.3)])),
            hung_up=draw(st.sampled_from([None, (0.1, 0.0, 0.3)])),
        ),
        transfer=draw(
            st.builds(
                Transfer, seconds=times, priority=st.sampled_from([None, 0]),
                keeps_place=st.booleans(), fresh_patience=st.booleans(),
            )
        ),
        redial=Redial(probability=draw(share), delay=draw(times), most=draw(st.integers(0, 2))),
        call_back=draw(
            st.none()
            | st.builds(
                CallBack, offer_wait_s=st.sampled_from([0.0, 30.0]), acceptance=share,
                reached=share, no_answer=times,
            )
        ),
        period_s=3600.0,
        length_s=7200.0,
    )  # fmt: skip


@given(centres(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_call_ends_in_one_way(model: CentreModel, seed: int) -> None:
    result, log = simulate_logged(model, seed, calls=5000)
    assert log.complete
    for calls in (result.calls, *result.needs.values()):
        assert calls.offered == calls.contained + calls.hung_up + calls.closed + calls.joined
        ended = calls.answered + calls.abandoned + calls.not_reached + calls.unserved
        assert calls.joined == ended
        assert calls.answered_within <= calls.answered
    assert len(log.calls) == result.calls.offered
    for outcome in Outcome:
        name = outcome.name.lower()
        assert np.sum(log.calls["outcome"] == outcome) == getattr(result.calls, name)
    visits = sum(q.joined for q in result.queues.values())
    rejoined = sum(q.transferred for q in result.queues.values())
    # who is being passed on when the run ends has left one queue and not joined the next
    assert 0 <= result.calls.joined + rejoined - visits <= result.calls.unserved
    for queue in result.queues.values():
        ended = queue.answered + queue.abandoned + queue.not_reached + queue.unserved
        assert queue.joined == ended


@given(centres(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_waits_are_not_negative_and_agents_serve_one_at_a_time(
    model: CentreModel, seed: int
) -> None:
    result, log = simulate_logged(model, seed, calls=5000)
    assert np.all(log.calls["wait_s"] >= 0)
    answered = log.calls[log.calls["outcome"] == Outcome.ANSWERED]
    assert np.all(answered["to_agent_s"] >= answered["wait_s"] - 1e-6)
    for g, own in enumerate(model.groups):
        work = log.work[log.work["group"] == g]
        assert result.groups[own.name].busy_s <= result.groups[own.name].staffed_s + 1e-6
        for start_s in work["start_s"]:
            at_once = np.sum((work["start_s"] <= start_s) & (work["end_s"] > start_s))
            assert at_once <= staff(own, start_s, model.period_s)


def staff(own: Group, at_s: float, period_s: float) -> int:
    """How many are on shift, by the words of the model."""
    place = at_s % period_s
    return sum(
        shift.agents
        for shift in own.shifts
        if shift.from_s <= place < shift.to_s or place + period_s < shift.to_s
    )


@given(centres(), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_the_same_seed_gives_the_same_run(model: CentreModel, seed: int) -> None:
    (_, one), (_, other) = (simulate_logged(model, seed, calls=5000) for _ in range(2))
    assert one.calls.tobytes() == other.calls.tobytes()
    assert one.work.tobytes() == other.work.tobytes()


def fixed(log: Log) -> list[tuple[float, ...]]:
    """Of each caller who was logged: number, arrival, need, service time and patience."""
    first = log.calls[log.calls["attempt"] == 0]
    columns = ("caller", "arrival_s", "need", "service_s", "patience_s")
    return [tuple(row[name].item() for name in columns) for row in np.sort(first, order="caller")]


@given(centres(), centres(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_both_arms_have_the_same_callers(model: CentreModel, other: CentreModel, seed: int) -> None:
    """Everything but the callers may differ between two arms: no draw gets out of step."""
    arms = [
        model,
        replace(
            other,
            arrivals=model.arrivals,
            needs=tuple(
                replace(need, wrap_up=b.wrap_up, priority=b.priority)
                for need, b in zip(model.needs, other.needs, strict=True)
            ),
        ),
    ]
    results, logs = zip(*(simulate_logged(arm, seed, calls=5000) for arm in arms), strict=True)
    assert fixed(logs[0]) == fixed(logs[1])
    assert results[0].callers == results[1].callers


def test_the_sum_over_callers_shows_a_single_one_that_differs() -> None:
    calls = [(float(t), A, 10.0, 100.0) for t in range(50)]
    whole = simulate(centre(calls, (group("g", 1, "a"),)), 1).callers
    for column in range(4):
        other = [list(call) for call in calls]
        other[20][column] = [20.5, B, 10.001, 100.001][column]
        changed = centre([tuple(c) for c in other], (group("g", 1, "a"),))  # type: ignore[misc]
        assert simulate(changed, 1).callers != whole


def test_the_same_luck_in_the_front_end_whatever_its_quality() -> None:
    """Who is misrouted by the better front end is so by the worse: what makes arms comparable."""
    always = tuple(replace(queue, hours_s=None) for queue in full_centre().queues)
    good = replace(full_centre(), redial=Redial(), queues=always)
    worse = with_front_end(good, routing=((0.7, 0.2, 0.1), (0.3, 0.65, 0.05), (0.2, 0.3, 0.5)))

    def strays(arm: CentreModel) -> set[int]:
        joined = simulate_logged(arm, 4, calls=5000)[1].calls
        joined = joined[joined["queue"] >= 0]
        return set(joined["caller"][joined["queue"] != joined["need"]].tolist())

    assert len(strays(good)) > 50
    assert strays(good) < strays(worse)
