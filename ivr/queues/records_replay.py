"""The recorded calls themselves in both arms, and whether the arm before is like the records.

Every caller of the records comes when they came, with their need; who was answered talks as long as
they did, who gave up has the patience they had. What the records cannot tell is drawn once, the
same for both arms: the patience of who was answered (above their wait), the talk of who gave up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ivr.queues.experiment import ALL, Comparison, Runner, compare
from ivr.queues.records import CallRecords
from ivr.queues.records_fit import Fit, patience_given_wait
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, needs_of, scenario_model
from ivr.queues.simulation.model import DAY_S, CentreModel, Trace

__all__ = ["CHECKED", "Replay", "recorded_values", "replay_records", "trace_of"]

#: What the records tell as the simulation does.
CHECKED = ("mean_wait_s", "service_level", "abandonment")


@dataclass(frozen=True, slots=True)
class Replay:
    """What was recorded, and the same callers simulated in both arms."""

    recorded: dict[str, float]  # of CHECKED
    comparison: Comparison


def recorded_values(records: CallRecords, *, answer_within_s: float) -> dict[str, float]:
    """The measures of :data:`CHECKED` by the records, over all calls."""
    in_time = ~records.abandoned & (records.wait_s <= answer_within_s)
    return {
        "mean_wait_s": float(records.wait_s.mean()),
        "service_level": float(in_time.mean()),
        "abandonment": float(records.abandoned.mean()),
    }


def trace_of(scenario: Scenario, fit: Fit) -> Trace:
    """The recorded calls for the model of a fitted scenario."""
    records = fit.records
    rng = np.random.default_rng([scenario.file.study.seed, 0x7ACE])
    patience_s = records.wait_s.copy()
    answered = ~records.abandoned
    patience_s[answered] = patience_given_wait(fit.patience, records.wait_s[answered], rng)
    return Trace(
        arrival_s=records.arrived_s,
        need=_needs(scenario, records, rng),
        service_s=records.service_s,
        patience_s=patience_s,
    )


def _needs(
    scenario: Scenario, records: CallRecords, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The model's needs (calls,); which calls any agent can serve is drawn."""
    names = [name for id_ in scenario.needs for name in needs_of(scenario, id_)]
    first = np.array([names.index(id_) for id_ in records.ids], np.int64)
    simple = rng.random(len(records)) < scenario.file.callers.simple
    return first[records.need] + simple


def replay_records(scenario: Scenario, fit: Fit, *, runner: Runner, replications: int) -> Replay:
    """The recorded calls in both arms of a fitted scenario.

    The replications differ in what the front end does with each caller.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: it cannot be simulated.
    """
    trace = trace_of(scenario, fit)

    def with_trace(model: CentreModel) -> CentreModel:
        length_s = math.ceil(fit.records.days) * DAY_S
        return replace(model, arrivals=trace, length_s=length_s)

    models = tuple(with_trace(scenario_model(scenario, side)) for side in (BEFORE, AFTER))
    comparison = Comparison((ALL, *scenario.needs), scenario.file.study.confidence)
    compare(
        scenario,
        runner=runner,
        replications=replications,
        models=(models[0], models[1]),
        into=comparison,
    )
    recorded = recorded_values(fit.records, answer_within_s=scenario.file.study.answer_within_s)
    return Replay(recorded, comparison)
