"""What would reach the change that is asked for: recognition accuracy by containment.

Each cell is the arm after with so many callers sent to the right queue, and so many served by the
machine, against the arm before. Wrong ones go where the measured ones went. The time in the
dialogue stays as measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivr.queues.experiment import (
    ALL,
    TARGET,
    Floats,
    Runner,
    relative_change,
)
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, accuracy, scenario_model, with_accuracy

__all__ = ["ACCURACIES", "CONTAINMENTS", "ReachMap", "reach_map"]

ACCURACIES = (0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 1.0)
CONTAINMENTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)


@dataclass(frozen=True, slots=True)
class ReachMap:
    """Relative change of a measure over the grid, float64 (accuracies, containments).

    ``abandonment``: the change of the share that gives up, beside it, for a wait can fall because
    callers leave.
    """

    measure: str
    accuracies: tuple[float, ...]
    containments: tuple[float, ...]
    change: Floats
    abandonment: Floats
    target: float
    measured: float  # accuracy of the arm after, as it was measured
    replications: int

    def reached(self) -> list[tuple[float, float]]:
        """For each accuracy that reaches the target within the grid: the least containment."""
        found = []
        for row, right in zip(self.change, self.accuracies, strict=True):
            within = [c for c, change in zip(self.containments, row, strict=True)
                      if change <= self.target]  # fmt: skip
            if within:
                found.append((right, within[0]))
        return found


def reach_map(
    scenario: Scenario,
    *,
    runner: Runner,
    replications: int,
    accuracies: Sequence[float] = ACCURACIES,
    containments: Sequence[float] = CONTAINMENTS,
    measure: str = TARGET,
) -> ReachMap:
    """The map of a scenario.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: the arms did not have the same callers.
    """
    before, after = scenario_model(scenario, BEFORE), scenario_model(scenario, AFTER)
    rows = [
        {"before": before}
        | {
            str(share): with_accuracy(scenario, after, right, contained=share)
            for share in containments
        }
        for right in accuracies
    ]
    done = runner.values(scenario, rows, replications)
    table = np.array(
        [[[(v[ALL][measure], v[ALL]["abandonment"]) for v in arm] for arm in row.values()]
         for row in done]
    )  # (accuracies, containments + 1, replications, 2); before is first  # fmt: skip
    times, left = table[..., 0], table[..., 1]
    change = [[relative_change(row[0], cell).mean for cell in row[1:]] for row in times]
    return ReachMap(
        measure=measure,
        accuracies=tuple(accuracies),
        containments=tuple(containments),
        change=np.array(change),
        abandonment=(left[:, 1:] - left[:, :1]).mean(axis=2),
        target=scenario.file.study.target_change,
        measured=accuracy(scenario, after),
        replications=replications,
    )
