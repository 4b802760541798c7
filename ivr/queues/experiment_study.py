"""The whole answer of a scenario: the comparison, why, what would reach the target, what is saved.

    study = run_study(scenario)

Parts are worked out in this order, and an interrupt (Ctrl-C) keeps what is done: the replications
of the comparison so far, and every part that was finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ivr.queues.experiment import ALL, MEASURES, Comparison, Interval, Measure, Runner, compare
from ivr.queues.experiment_decomposition import Decomposition, decompose, decomposition_runs
from ivr.queues.experiment_map import ACCURACIES, CONTAINMENTS, ReachMap, reach_map
from ivr.queues.experiment_sensitivity import Sensitivity, assumptions, sensitivity
from ivr.queues.experiment_staff import StaffSaved, staff_runs, staff_saved
from ivr.queues.records_fit import Fit
from ivr.queues.records_replay import Replay, replay_records
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, accuracy, scenario_model

__all__ = ["Study", "fewer", "plain", "planned_runs", "run_study", "verdict"]


@dataclass(slots=True)
class Study:
    """What is known of a scenario; parts that were not asked for, or interrupted, are None."""

    scenario: Scenario
    comparison: Comparison
    decomposition: Decomposition | None = None
    reach: ReachMap | None = None
    staff: StaffSaved | None = None
    sensitivities: Sequence[Sensitivity] = field(default_factory=list)
    interrupted: bool = False
    #: where call records were given: what was fitted, and the recorded calls themselves
    fit: Fit | None = None
    replay: Replay | None = None

    @property
    def target(self) -> Measure:
        """The measure that the change asked for is said of."""
        name = self.scenario.file.study.target_measure
        return next(measure for measure in MEASURES if measure.name == name)

    @property
    def right_queue(self) -> tuple[float | None, float | None]:
        """The share of callers sent to the queue of their need, before and after.

        None for an arm with one queue for all.
        """
        file = self.scenario.file
        shares = [
            None if arm.queues == "one" else accuracy(self.scenario, model)
            for arm, side in ((file.before, BEFORE), (file.after, AFTER))
            for model in [scenario_model(self.scenario, side)]
        ]
        return shares[0], shares[1]

    def as_json(self) -> dict[str, Any]:
        """Everything as one JSON object; times in seconds, shares from 0 to 1, NaN as null."""
        file, comparison = self.scenario.file, self.comparison
        figures = {
            scope: {m.name: asdict(comparison.figure(m.name, scope)) for m in MEASURES}
            for scope in comparison.scopes
        }
        found: dict[str, Any] = {
            "scenario": file.name,
            "replications": comparison.replications,
            "seed": file.study.seed,
            "confidence": comparison.confidence,
            "target": {"measure": self.target.name, "change": file.study.target_change},
            "interrupted": self.interrupted,
            "figures": figures,
            "right_queue": dict(zip(("before", "after"), self.right_queue, strict=True)),
            "correlation": comparison.correlation(),
        }
        if self.decomposition:
            found["decomposition"] = asdict(self.decomposition)
        if self.reach:
            found["map"] = asdict(self.reach) | {
                "change": self.reach.change.tolist(),
                "abandonment": self.reach.abandonment.tolist(),
            }
        if self.staff:
            found["staff"] = asdict(self.staff) | {"share": self.staff.share}
        if self.sensitivities:
            found["sensitivity"] = [asdict(s) | {"swing": s.swing} for s in self.sensitivities]
        if self.fit:
            found["records"] = _records(self.fit, self.replay)
        cleaned: dict[str, Any] = plain(found)
        return cleaned


def _records(fit: Fit, replay: Replay | None) -> dict[str, Any]:
    arrivals, patience = fit.arrivals, fit.patience
    found: dict[str, Any] = {
        "file": fit.records.name,
        "calls": len(fit.records),
        "days": fit.records.days,
        "arrivals": {
            "per_half_hour": arrivals.per_half_hour.tolist(),
            "shares": arrivals.shares,
            "week": arrivals.week,
            "busyness_cv": arrivals.busyness_cv,
            "dispersion": arrivals.dispersion,
        },
        "service": {
            id_: {"calls": s.calls, "mean_s": s.mean_s, "sd_s": s.sd_s, "log_mean": s.log_mean,
                  "log_sd": s.log_sd, "distance": s.distance, "p_value": s.p_value,
                  "taken": s.taken}
            for id_, s in fit.service.items()
        },
        "patience": {
            "abandoned": patience.abandoned,
            "censored": patience.censored,
            "median_s": patience.median_s,
            "mean_s": patience.mean_s,
            "distance": patience.distance,
            "taken": patience.taken,
        },
    }  # fmt: skip
    if replay:
        measures = (MEASURES[0].name, *replay.recorded)
        found["replay"] = {
            "recorded": replay.recorded,
            "figures": {name: asdict(replay.comparison.figure(name)) for name in measures},
        }
    return found


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def fewer(replications: int) -> int:
    """Replications of the parts that explore: a third, from two to thirty."""
    return max(2, min(30, replications // 3))


def planned_runs(
    scenario: Scenario, replications: int, *, quick: bool = False, records: bool = False
) -> int:
    """How many runs a study takes, for a progress bar."""
    runs, some = 2 * replications, fewer(replications)
    runs += 2 * some if records else 0
    if quick:
        return runs
    runs += decomposition_runs() * replications
    runs += len(ACCURACIES) * (1 + len(CONTAINMENTS)) * some
    runs += staff_runs() * some
    return runs + 2 * some * (1 + 2 * len(list(assumptions(scenario))))


def run_study(
    scenario: Scenario,
    *,
    runner: Runner | None = None,
    replications: int | None = None,
    quick: bool = False,
    fit: Fit | None = None,
) -> Study:
    """Work out a scenario; ``quick``: the comparison alone.

    Args:
        fit: of the call records that the scenario was fitted to, which are then replayed too.

    Raises:
        KeyboardInterrupt: interrupted before two replications were done.
        SimulationError: the scenario cannot be simulated.
    """
    runner, study = runner or Runner(), scenario.file.study
    count = replications or study.replications
    found = Study(scenario, Comparison((ALL, *scenario.needs), study.confidence), fit=fit)
    try:
        compare(scenario, runner=runner, replications=count, into=found.comparison)
        if fit is not None:
            found.replay = replay_records(scenario, fit, runner=runner, replications=fewer(count))
        if not quick:
            _explore(found, runner, count)
    except KeyboardInterrupt:
        if found.comparison.replications < 2:
            raise
        found.interrupted = True
    return found


def _explore(found: Study, runner: Runner, count: int) -> None:
    scenario, some = found.scenario, fewer(count)
    measure = scenario.file.study.target_measure
    found.decomposition = decompose(scenario, runner=runner, replications=count, measure=measure)
    found.reach = reach_map(scenario, runner=runner, replications=some, measure=measure)
    found.staff = staff_saved(scenario, runner=runner, replications=some)
    found.sensitivities = sensitivity(scenario, runner=runner, replications=some, measure=measure)


def verdict(study: Study) -> tuple[str, Interval]:
    """Whether the target is met: ``reached``, ``missed`` or ``uncertain``; with the change."""
    change = study.comparison.figure(study.target.name).relative
    target = study.scenario.file.study.target_change
    if change.high <= target:
        return "reached", change
    return ("missed" if change.low > target else "uncertain"), change
