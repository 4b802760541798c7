"""Before and after, honestly compared: the same callers and agents in both arms, paired.

    comparison = compare(scenario)
    comparison.figure("mean_to_agent_s").relative   # change, with its interval

Every replication is simulated in both arms from one seed: arrivals, needs, service times, patience
and luck of each caller are the same (common random numbers), so that the difference is what the
front end does; where the streams of the arms ever diverge, the run fails. Intervals are
Student's, over the paired differences; that of a relative change is of a ratio of paired means by
the delta method (Law, "Simulation Modeling and Analysis", ch. 9 and 10).

Which measure is which is said in :mod:`ivr.queues.simulation.results`. By queue, a measure is over
the callers whose need is that queue's, whichever queue they came through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, needs_of, scenario_model
from ivr.queues.simulation.model import CentreModel
from ivr.queues.simulation.results import Calls, Intervals, RunResult
from ivr.queues.simulation.runs import Arms, Engine, LocalThreads, Replications, replicate_all

__all__ = [
    "ALL",
    "MEASURES",
    "TARGET",
    "Comparison",
    "Figure",
    "Interval",
    "Measure",
    "Runner",
    "Values",
    "compare",
    "interval",
    "relative_change",
    "values_of",
]

#: The scope of all callers, beside the queues.
ALL = "all"
#: What the change of −43 % is said of: "waits for a caller to reach an agent".
TARGET = "mean_to_agent_s"

Floats = npt.NDArray[np.float64]
Values = dict[str, dict[str, float]]  # scope -> measure -> value, of one replication


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of the comparison."""

    name: str
    words: str
    unit: Literal["s", "%", ""]
    better: Literal["less", "more", ""]


MEASURES: tuple[Measure, ...] = (
    Measure("mean_to_agent_s", "time to the right agent, mean", "s", "less"),
    Measure("median_to_agent_s", "time to the right agent, median", "s", "less"),
    Measure("p95_to_agent_s", "time to the right agent, 95th percentile", "s", "less"),
    Measure("mean_front_end_s", "of it in the menu or dialogue, mean", "s", "less"),
    Measure("mean_wait_s", "wait in queue, mean", "s", "less"),
    Measure("median_wait_s", "wait in queue, median", "s", "less"),
    Measure("p95_wait_s", "wait in queue, 95th percentile", "s", "less"),
    Measure("service_level", "answered within {answer_within_s:g} s", "%", "more"),
    Measure("abandonment", "gave up waiting", "%", "less"),
    Measure("connection_rate", "reached the right agent", "%", "more"),
    Measure("transfer_rate", "transfers a call", "%", "less"),
    Measure("containment", "served by the machine", "%", ""),
    Measure("utilisation", "agents busy", "%", ""),
)


# --- values and intervals -------------------------------------------------------------------


def values_of(scenario: Scenario, result: RunResult) -> dict[str, dict[str, float]]:
    """The measures of one run, in all and by queue."""
    by_scope = {ALL: result.calls} | {id_: _calls(scenario, result, id_) for id_ in scenario.needs}
    found = {}
    for scope, calls in by_scope.items():
        measures = calls.measures() | {"utilisation": _utilisation(result, scope)}
        found[scope] = {measure.name: measures[measure.name] for measure in MEASURES}
    return found


def _calls(scenario: Scenario, result: RunResult, queue: str) -> Calls:
    return reduce(add, (result.needs[name] for name in needs_of(scenario, queue)))


def _utilisation(result: RunResult, scope: str) -> float:
    """Of all agents, or of the group that is called as the queue."""
    if scope != ALL:
        return result.groups[scope].utilisation if scope in result.groups else math.nan
    return reduce(add, result.groups.values()).utilisation


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval; both ends NaN below two replications."""

    mean: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def interval(values: Floats, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean of independent values (n,); NaN are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(known.mean())
    if len(known) < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(known) - 1) * stats.sem(known))
    return Interval(mean, mean - half, mean + half)


def relative_change(before: Floats, after: Floats, confidence: float = 0.95) -> Interval:
    """Of paired values (n,): mean after over mean before, less one."""
    paired = ~(np.isnan(before) | np.isnan(after))
    before, after = before[paired], after[paired]
    if not len(before) or before.mean() == 0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = after.mean() / before.mean()
    residual = interval((after - ratio * before) / before.mean(), confidence)
    half = (residual.high - residual.low) / 2
    return Interval(float(ratio - 1), float(ratio - 1 - half), float(ratio - 1 + half))


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of one scope in both arms."""

    before: Interval
    after: Interval
    change: Interval  # after - before, paired
    relative: Interval  # after / before - 1, paired


# --- the comparison -------------------------------------------------------------------------


@dataclass(slots=True)
class Runner:
    """Runs models over their replications.

    Args:
        engine: where (:mod:`ivr.queues.simulation.runs`); threads of this process by default.
        advance: called with the number of runs that were done.
    """

    engine: Engine = field(default_factory=LocalThreads)
    advance: Callable[[float], None] = lambda _: None

    def replicate(self, scenario: Scenario, arms: Arms, replications: int) -> Replications:
        """Arms that are compared on the same callers; fewer replications after an interrupt.

        Raises:
            SimulationError: the arms did not have the same callers, or cannot be simulated.
        """
        (found,) = self._all(scenario, [arms], replications)
        return found

    def values(
        self, scenario: Scenario, studies: Sequence[Arms], replications: int
    ) -> list[dict[str, list[Values]]]:
        """The measures of every arm of every study, by replication.

        Raises:
            KeyboardInterrupt: interrupted.
            SimulationError: the arms of a study did not have the same callers.
        """
        rows = []
        for start in range(0, len(studies), _AT_ONCE):  # whole results are large: not all at once
            for found in self._all(scenario, studies[start : start + _AT_ONCE], replications):
                if not found.complete:
                    raise KeyboardInterrupt
                rows.append(
                    {
                        arm: [values_of(scenario, result) for result in results]
                        for arm, results in found.results.items()
                    }
                )
        return rows

    def _all(
        self, scenario: Scenario, studies: Sequence[Arms], replications: int
    ) -> list[Replications]:
        runs = sum(map(len, studies)) / len(studies)  # of one piece of work
        told = 0

        def progress(done: int, _: int) -> None:
            nonlocal told
            self.advance(runs * (done - told))
            told = done

        return replicate_all(
            studies,
            seed=scenario.file.study.seed,
            replications=replications,
            engine=self.engine,
            progress=progress,
        )


_AT_ONCE = 8


@dataclass(slots=True)
class Comparison:
    """Two arms over so many replications; grows as they are done."""

    scopes: tuple[str, ...]
    confidence: float
    before: list[Values] = field(default_factory=list)
    after: list[Values] = field(default_factory=list)
    #: visits by half hour and queue, summed over the replications
    before_intervals: Intervals | None = None
    after_intervals: Intervals | None = None

    @property
    def replications(self) -> int:
        """How many are done."""
        return len(self.after)

    def values(self, arm: Literal["before", "after"], measure: str, scope: str = ALL) -> Floats:
        """The values of one arm, float64 (replications,)."""
        rows: list[Values] = getattr(self, arm)
        return np.array([row[scope][measure] for row in rows], dtype=np.float64)

    def add(self, scenario: Scenario, before: RunResult, after: RunResult) -> None:
        """Take in one more replication."""
        self.before.append(values_of(scenario, before))
        self.after.append(values_of(scenario, after))
        self.before_intervals = _added(self.before_intervals, before.intervals)
        self.after_intervals = _added(self.after_intervals, after.intervals)

    def figure(self, measure: str, scope: str = ALL) -> Figure:
        """Before, after and change of a measure."""
        before, after = (self.values(arm, measure, scope) for arm in ("before", "after"))
        return Figure(
            before=interval(before, self.confidence),
            after=interval(after, self.confidence),
            change=interval(after - before, self.confidence),
            relative=relative_change(before, after, self.confidence),
        )

    def correlation(self, measure: str = TARGET) -> float:
        """Between the arms, over replications: what common random numbers gain; NaN below 3."""
        before, after = (self.values(arm, measure) for arm in ("before", "after"))
        if len(before) < 3 or not before.std() or not after.std():
            return math.nan
        return float(np.corrcoef(before, after)[0, 1])


def _added(total: Intervals | None, more: Intervals) -> Intervals:
    return more if total is None else total + more


def compare(
    scenario: Scenario,
    *,
    runner: Runner | None = None,
    replications: int | None = None,
    models: tuple[CentreModel, CentreModel] | None = None,
    into: Comparison | None = None,
) -> Comparison:
    """Both arms of a scenario, or two ``models`` of it, paired over its replications.

    Args:
        into: takes what was done, also where it is interrupted.

    Raises:
        KeyboardInterrupt: interrupted; ``into`` has what was done.
        SimulationError: the arms did not have the same callers, or cannot be simulated.
    """
    study = scenario.file.study
    found = Comparison((ALL, *scenario.needs), study.confidence) if into is None else into
    before, after = models or (scenario_model(scenario, BEFORE), scenario_model(scenario, AFTER))
    arms = {"before": before, "after": after}
    done = (runner or Runner()).replicate(scenario, arms, replications or study.replications)
    for left, right in zip(done.results["before"], done.results["after"], strict=True):
        found.add(scenario, left, right)
    if not done.complete:
        raise KeyboardInterrupt
    return found
