"""How many agents fewer give the service of before: the staff saved.

All shifts of the arm after are scaled by one factor, until the service is as before: the share
answered in time not lower, and the mean time to the right agent not longer. The least factor is
found by bisection; whole agents are kept by rounding the running sum, so that small shifts lose
their share too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ivr.queues.experiment import ALL, TARGET, Runner, Values
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, scenario_model
from ivr.queues.simulation.model import DAY_S, CentreModel, Group

__all__ = ["STEPS", "StaffSaved", "agent_hours", "staff_saved", "with_staff"]

STEPS = 7  # of the bisection: to one part in 128 of the range
_RANGE = (0.6, 1.2)


@dataclass(frozen=True, slots=True)
class StaffSaved:
    """Agent hours of a period (a day, or a week)."""

    hours_before: float
    hours_needed: float  # by the arm after, for the service of before
    days: float
    #: False where even the most that was tried does not give the service of before
    found: bool
    replications: int

    @property
    def share(self) -> float:
        """The share saved; negative where more are needed."""
        return 1 - self.hours_needed / self.hours_before


def agent_hours(model: CentreModel) -> float:
    """Hours that agents are at work in a period."""
    return math.fsum(
        shift.agents * (shift.to_s - shift.from_s) / 3600
        for group in model.groups
        for shift in group.shifts
    )


def with_staff(model: CentreModel, factor: float) -> CentreModel:
    """The model with every group's agents scaled; a group's shift keeps at least one agent."""
    planned = given = 0.0
    groups: list[Group] = []
    for group in model.groups:
        shifts = []
        for shift in group.shifts:
            planned += factor * shift.agents
            agents = max(1 if shift.agents else 0, round(planned - given))
            given += agents
            shifts.append(replace(shift, agents=agents))
        groups.append(replace(group, shifts=tuple(shifts)))
    return replace(model, groups=tuple(groups))


def staff_saved(scenario: Scenario, *, runner: Runner, replications: int) -> StaffSaved:
    """The least staff of the arm after that gives the service of the arm before.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: the arms did not have the same callers.
    """
    before, after = scenario_model(scenario, BEFORE), scenario_model(scenario, AFTER)

    def as_good(factor: float) -> bool:
        arms = {"before": before, "after": with_staff(after, factor)}
        (found,) = runner.values(scenario, [arms], replications)
        was, is_now = (np.mean([_service(row) for row in found[arm]], axis=0) for arm in arms)
        return bool(is_now[0] >= was[0] and is_now[1] <= was[1])

    low, high = _RANGE
    found = as_good(high)
    for _ in range(STEPS if found else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if as_good(middle) else (middle, high)
    return StaffSaved(
        hours_before=agent_hours(before),
        hours_needed=agent_hours(with_staff(after, high)),
        days=before.period_s / DAY_S,
        found=found,
        replications=replications,
    )


def _service(values: Values) -> tuple[float, float]:
    return values[ALL]["service_level"], values[ALL][TARGET]
