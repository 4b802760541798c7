"""The simulator against what is known exactly, and against Ciw."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ivr.queues.simulation import (
    NEVER,
    ArrivalRates,
    CentreModel,
    Exponential,
    FrontEnd,
    Group,
    LogNormal,
    Need,
    Queue,
    RunResult,
    Shift,
    Skill,
    Transfer,
    simulate,
    simulate_logged,
)
from ivr.queues.simulation.kernel import Outcome
from ivr.queues.simulation.runs import replication_seed
from tests.queues.exact import EXACT, Exact
from tests.queues.simulation.centres import HOUR_S, pool

REPLICATIONS, CALLS = 20, 45_000


def measured(result: RunResult, measure: str) -> float:
    match measure:
        case "utilisation":
            return result.groups["agents"].utilisation
        case "mean_queue_length":
            return result.queues["all"].mean_queue_length
        case "abandoned":
            return result.calls.abandonment
    return float(getattr(result.calls, measure))


def replicated(case: Exact, seed: int) -> list[RunResult]:
    hours = CALLS / case.per_hour
    model = pool(
        case.per_hour,
        Exponential(case.aht_s),
        case.agents,
        patience=Exponential(case.patience_s) if case.patience_s else NEVER,
        hours=1.04 * hours,
        warm_up_hours=0.04 * hours,
        within_s=case.within_s,
    )
    return [simulate(model, replication_seed(seed, r)) for r in range(REPLICATIONS)]


def controlled(case: Exact, results: list[RunResult], values: np.ndarray) -> tuple[float, float]:
    """Mean and half width (99.9 %) with a control variate: what callers brought with them.

    How many call, and where all are served how long they take, explains much of the wait by chance;
    what it should be is known. Lavenberg and Welch (1981), "A perspective on the use of control
    variables to increase the efficiency of Monte Carlo simulations".
    """
    per_s = case.per_hour / 3600
    if case.patience_s:
        extra = [r.calls.offered / (r.length_s * per_s) - 1 for r in results]
    else:
        extra = [r.calls.agent_s / (r.length_s * per_s * case.aht_s) - 1 for r in results]
    fit = stats.linregress(np.array(extra), values)
    half = stats.t.ppf(0.9995, len(values) - 2) * fit.intercept_stderr
    return float(fit.intercept), float(half)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_exact_values_within_the_confidence_interval(case: Exact) -> None:
    results = replicated(case, seed=2026)
    for measure, value in case.values.items():
        values = np.array([measured(result, measure) for result in results])
        mean, half = controlled(case, results, values)
        assert abs(mean - value) <= half, f"{measure}: {mean} ± {half}, not {value}"
        assert half < (0.2 if case.name == "M/M/50" else 0.1) * value, "too wide to tell"


def recursion(
    arrival_s: np.ndarray, service_s: np.ndarray, patience_s: np.ndarray, agents: int
) -> tuple[np.ndarray, np.ndarray]:
    """Waits and who is answered, one first-come pool: pop the agent who is free first."""
    free_s = [0.0] * agents
    wait_s, answered = np.empty(len(arrival_s)), np.empty(len(arrival_s), bool)
    for n, (at_s, takes_s, patient_s) in enumerate(
        zip(arrival_s, service_s, patience_s, strict=True)
    ):
        wait_s[n] = max(0.0, free_s[0] - at_s)
        answered[n] = wait_s[n] <= patient_s
        if answered[n]:
            heapq.heapreplace(free_s, at_s + wait_s[n] + takes_s)
        else:
            wait_s[n] = patient_s
    return wait_s, answered


@pytest.mark.parametrize("patience", [NEVER, Exponential(120.0), LogNormal(60.0, 200.0)], ids=str)
def test_every_wait_is_that_of_the_heap_recursion(patience: Any) -> None:
    model = pool(2880, LogNormal(60.0, 80.0), 49, patience=patience, hours=7)
    result, log = simulate_logged(model, 5, calls=30_000)
    assert log.complete
    calls = np.sort(log.calls, order="caller")
    assert len(calls) == result.calls.offered > 19_000
    waits, answered = recursion(calls["arrival_s"], calls["service_s"], calls["patience_s"], 49)
    assert np.array_equal(calls["outcome"] == Outcome.ANSWERED, answered)
    np.testing.assert_allclose(calls["wait_s"], waits, atol=1e-6)
    assert result.calls.mean_wait_s == pytest.approx(waits.mean())
    if patience != NEVER:
        assert 0.01 < 1 - answered.mean() < 0.3


NAMES = ("first", "second", "stray")


@dataclass(frozen=True)
class TwoQueues:
    """Two queues; a third kind of caller comes first in both.

    They join the first queue, whose agents pass them on to the second.
    """

    per_hour: tuple[float, float, float] = (150.0, 60.0, 25.0)
    agents: tuple[int, int] = (8, 6)
    service_s: tuple[float, float, float] = (170.0, 240.0, 240.0)
    pass_on_s: float = 50.0
    patience_s: tuple[float, float, float] = (200.0, 150.0, 120.0)
    hours: float = 30.0
    warm_up_h: float = 2.0

    def model(self) -> CentreModel:
        kinds = zip(NAMES, self.service_s, self.patience_s, (5, 5, 1), strict=True)
        shifts = [(Shift(from_s=0, to_s=HOUR_S, agents=count),) for count in self.agents]
        return CentreModel(
            needs=tuple(
                Need(
                    name=name,
                    queue="first" if name == "first" else "second",
                    service=Exponential(service_s),
                    patience=Exponential(patience_s),
                    priority=priority,
                )
                for name, service_s, patience_s, priority in kinds
            ),
            queues=(Queue(name="first"), Queue(name="second")),
            groups=tuple(
                Group(name=name, skills=(Skill(queue=name),), shifts=own)
                for name, own in zip(("first", "second"), shifts, strict=True)
            ),
            arrivals=ArrivalRates(per_hour=(self.per_hour,), interval_s=HOUR_S),
            front_end=FrontEnd(routing=((1.0, 0.0), (0.0, 1.0), (1.0, 0.0))),
            transfer=Transfer(seconds=Exponential(self.pass_on_s)),
            period_s=HOUR_S,
            length_s=self.hours * HOUR_S,
            warm_up_s=self.warm_up_h * HOUR_S,
        )

    def ciw_records(self, seed: int) -> list[Any]:
        ciw = pytest.importorskip("ciw")
        often = [ciw.dists.Exponential(calls / 3600) for calls in self.per_hour]
        served = [ciw.dists.Exponential(1 / mean_s) for mean_s in self.service_s]
        patient = [ciw.dists.Exponential(1 / mean_s) for mean_s in self.patience_s]
        passed_on = ciw.dists.Exponential(1 / self.pass_on_s)
        leave, on = [[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]
        first, second = [0, 1], [1, 0]  # None stands where nobody comes

        def at(queue: list[int], what: Any) -> list[Any]:
            return [None if place else what for place in queue]

        network = ciw.create_network(
            priority_classes={"stray": 0, "first": 1, "second": 1},
            arrival_distributions={
                "first": at(first, often[0]),
                "second": at(second, often[1]),
                "stray": at(first, often[2]),
            },
            service_distributions={
                "first": [served[0], served[0]],
                "second": [served[1], served[1]],
                "stray": [passed_on, served[2]],
            },
            reneging_time_distributions={
                "first": at(first, patient[0]),
                "second": at(second, patient[1]),
                "stray": [patient[2], patient[2]],
            },
            routing={"first": leave, "second": leave, "stray": on},
            number_of_servers=list(self.agents),
        )
        ciw.seed(seed)
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_time(self.hours * HOUR_S)
        records = simulation.get_all_records()
        return [r for r in records if r.arrival_date >= self.warm_up_h * HOUR_S]

    def ciw_measures(self, seed: int) -> dict[str, float]:
        found = {}
        records = self.ciw_records(seed)
        for node, queue in enumerate(("first", "second"), start=1):
            visits = [r for r in records if r.node == node]
            found[f"wait in {queue}"] = np.mean([r.waiting_time for r in visits])
            found[f"abandoned in {queue}"] = np.mean([r.record_type == "renege" for r in visits])
        for name in NAMES:
            own = [r for r in records if r.customer_class == name]
            callers = sum(r.node == (2 if name == "second" else 1) for r in own)
            found[f"wait of {name}"] = sum(r.waiting_time for r in own) / callers
            found[f"abandoned of {name}"] = sum(r.record_type == "renege" for r in own) / callers
        return found

    def measures(self, seed: int) -> dict[str, float]:
        result = simulate(self.model(), seed)
        found = {}
        for name, queue in result.queues.items():
            found[f"wait in {name}"] = queue.mean_wait_s
            found[f"abandoned in {name}"] = queue.abandonment
        for name, calls in result.needs.items():
            found[f"wait of {name}"] = calls.mean_wait_s
            found[f"abandoned of {name}"] = calls.abandonment
        return found


def test_agreement_with_ciw_on_two_queues_with_reneging_priority_and_transfer() -> None:
    """Two simulators that share no code give the same means (ten measures, 99.9 % each)."""
    case, runs = TwoQueues(), 14
    ours = [case.measures(seed) for seed in range(3 * runs)]
    theirs = [case.ciw_measures(seed) for seed in range(runs)]
    for measure in ours[0]:
        left = np.array([found[measure] for found in ours])
        right = np.array([found[measure] for found in theirs])
        error = np.hypot(stats.sem(left), stats.sem(right))
        assert abs(left.mean() - right.mean()) < 3.3 * error, measure
        assert error < 0.06 * right.mean(), f"{measure}: too few runs to tell"
