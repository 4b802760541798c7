"""How many agents fewer give the service of before: the staff saved.

All shifts of the arm after are scaled by one factor. Service is as before where the share answered
in time is not lower and the mean time to the right agent not longer. Both grow with the staff, but
whole agents and chance make them uneven, so the factor is not searched for step by step: service is
simulated on a coarse row of factors, then on a fine one around the crossing, and the crossing is
that of straight lines through the fine row. Whole agents are kept by rounding the running sum, so
that small shifts lose their share too; the hours that come out are a mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ivr.queues.experiment import ALL, TARGET, Floats, Runner, Values
from ivr.queues.scenario import Scenario
from ivr.queues.scenario_model import AFTER, BEFORE, scenario_model
from ivr.queues.simulation.model import DAY_S, CentreModel, Group

__all__ = ["StaffSaved", "agent_hours", "staff_runs", "staff_saved", "with_staff"]

_COARSE = tuple(np.linspace(0.6, 1.2, 7))
_FINE = tuple(np.linspace(-0.06, 0.06, 9))  # around the crossing


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


def staff_runs() -> int:
    """How many runs a replication takes."""
    return 2 + len(_COARSE) + len(_FINE)


def staff_saved(scenario: Scenario, *, runner: Runner, replications: int) -> StaffSaved:
    """The least staff of the arm after that gives the service of the arm before.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: the arms did not have the same callers.
    """
    before, after = scenario_model(scenario, BEFORE), scenario_model(scenario, AFTER)

    def margins(factors: Floats) -> Floats:
        """By how much service is better than before, (factors, 2); zero or more is as good."""
        arms = {"before": before} | {str(f): with_staff(after, f) for f in factors}
        (found,) = runner.values(scenario, [arms], replications)
        was, *now = (np.mean([_service(row) for row in found[arm]], axis=0) for arm in arms)
        better: Floats = np.array(now) - was
        return better

    coarse = np.array(_COARSE)
    near = _crossing(coarse, margins(coarse))
    factor = math.nan
    if near is not None:
        fine = near + np.array(_FINE)
        factor = _on_lines(fine, margins(fine), near)
    return StaffSaved(
        hours_before=agent_hours(before),
        hours_needed=agent_hours(after) * factor,
        days=before.period_s / DAY_S,
        found=near is not None,
        replications=replications,
    )


def _service(values: Values) -> tuple[float, float]:
    """More is better of both."""
    return values[ALL]["service_level"], -values[ALL][TARGET]


def _crossing(factors: Floats, margins: Floats) -> float | None:
    """The least factor at which both margins are zero or more; None where none is."""
    places = []
    for column in np.maximum.accumulate(margins, axis=0).T:
        good = np.flatnonzero(column >= 0)
        if not len(good):
            return None
        first = good[0]
        if first == 0:
            places.append(float(factors[0]))
            continue
        low, high = column[first - 1], column[first]
        step = factors[first] - factors[first - 1]
        places.append(float(factors[first] - step * high / (high - low)))
    return max(places)


def _on_lines(factors: Floats, margins: Floats, near: float) -> float:
    """Where the later of the straight lines through both margins is zero, within the factors."""
    places = []
    for column in margins.T:
        slope, base = np.polyfit(factors, column, 1)
        places.append(float(-base / slope) if slope > 0 else near)
    return float(np.clip(max(places), factors[0], factors[-1]))
