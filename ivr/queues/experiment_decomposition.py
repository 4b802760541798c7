"""Why it changes: the change of a measure by factor, one switched at a time.

From the arm before to the arm after the factors are switched in the order of
:data:`~ivr.queues.scenario_model.FACTORS`: less time in the menu, fewer callers in a wrong queue,
separate queues in place of one (pooling lost), and what the machine serves itself. The steps sum
to the whole change. What a step brings depends on the order, so each factor is also switched alone
from the arm before; where both figures are near each other, the order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivr.queues.experiment import (
    ALL,
    TARGET,
    Interval,
    Runner,
    interval,
)
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, FACTORS, Side, scenario_model, switched

__all__ = ["FACTOR_WORDS", "Decomposition", "Step", "decompose", "decomposition_runs"]

FACTOR_WORDS = {
    "time": "time in the menu or dialogue",
    "routing": "fewer callers in a wrong queue",
    "pooling": "separate queues in place of one",
    "containment": "served by the machine",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one factor brings, in the unit of the measure."""

    factor: str
    in_order: Interval  # switched after those before it
    alone: Interval  # switched alone from the arm before
    differs: bool  # whether the arms differ in it


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The steps of a measure, in order; the sum of their means is ``whole.mean``."""

    measure: str
    steps: tuple[Step, ...]
    whole: Interval
    replications: int


def _sides() -> tuple[list[Side], list[Side]]:
    """The chain from before to after, and each factor alone."""
    chain = [BEFORE]
    for factor in FACTORS:
        chain.append(switched(chain[-1], factor))
    assert chain[-1] == AFTER
    return chain, [switched(BEFORE, factor) for factor in FACTORS]


def decomposition_runs() -> int:
    """How many runs a replication takes."""
    chain, alone = _sides()
    return len(chain) + len(alone) - 1  # the first factor alone is the first step


def decompose(
    scenario: Scenario,
    *,
    runner: Runner,
    replications: int,
    measure: str = TARGET,
) -> Decomposition:
    """The change of ``measure`` over all callers, by factor.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: the arms did not have the same callers.
    """
    chain, alone = _sides()
    models = [scenario_model(scenario, side) for side in (*chain, *alone[1:])]
    arms = {str(n): model for n, model in enumerate(models)}
    (found,) = runner.values(scenario, [arms], replications)
    values = np.array([[row[ALL][measure] for row in found[arm]] for arm in arms]).T
    links, singles = values[:, : len(chain)], values[:, len(chain) - 1 :].copy()
    singles[:, 0] = links[:, 1]
    level = scenario.file.study.confidence
    steps = tuple(
        Step(
            factor=factor,
            in_order=interval(links[:, n + 1] - links[:, n], level),
            alone=interval(singles[:, n] - links[:, 0], level),
            differs=models[n].front_end != models[n + 1].front_end
            and bool(np.any(links[:, n] != links[:, n + 1])),
        )
        for n, factor in enumerate(FACTORS)
    )
    return Decomposition(measure, steps, interval(links[:, -1] - links[:, 0], level), replications)
