"""The wait that a caller is told to expect, from the simulator's model and the real counts.

    waits = ExpectedWaits(plans_of(scenario))
    waits.arrived("general", at_s)
    waits.expected_wait_s("general", at_s)   # of whoever joins now

Each queue is an Erlang-A pool (:mod:`ivr.queues.erlang`) whose state is counted and whose rates are
learnt. With k callers waiting all agents are busy, and one who joins and does not give up waits for
k + 1 departures, those of answered calls and of callers who give up: the sum of
1 / (answers a second + j / patience) for j = 0 … k (Whitt 1999, "Predicting queueing delays by
exploiting system state information"). With none waiting an agent may be free: not with Erlang B's
probability (the state of the pool, given that nobody waits, is that of a pool where nobody can).

The rates begin as the scenario plans them, for the time of day, and give way to what is seen: how
fast calls were answered while callers waited, how often waiting callers gave up, how many came.
What is older counts less, by half every :data:`HALF_LIFE_S`. So a hotline with fewer agents than
planned soon tells longer waits.

Sans-I/O: times are passed in, Unix seconds, and may be a little out of order. Not for several
threads at once. ``bench/live_waits.py`` measures its error against simulated truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from ivr.queues.erlang import erlang_b
from ivr.queues.scenario import HALF_HOUR_S, HALF_HOURS, WEEK, Scenario
from ivr.queues.scenario_model import AFTER, needs_of, scenario_model
from ivr.queues.simulation.model import ArrivalRates, CentreModel

__all__ = ["HALF_LIFE_S", "MOST_S", "ExpectedWaits", "Plan", "planned", "plans_of", "table_of"]

#: After so long what was seen counts half.
HALF_LIFE_S = 1800.0
#: How long the plan counts as if it had been seen, s of waiting for answers, and of waits for
#: patience: below it the plan says more than what was seen.
_PLAN_S = 300.0
_PATIENCE_PLAN_S = 20_000.0
#: Longer waits are not told from each other.
MOST_S = 3600.0
_MOST_WAITING = 100_000  # counted; beyond it something is wrong with the reports


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planned for a queue at a time."""

    agents: float  # at work
    aht_s: float  # mean handling time: talk and wrap-up
    patience_s: float  # mean; infinite where nobody gives up
    per_hour: float  # calls


Plans = Callable[[str, float], Plan | None]  # (queue, Unix seconds) -> plan; None: not known


class _Faded:
    """A sum whose older parts count less."""

    __slots__ = ("_at_s", "value")

    def __init__(self) -> None:
        self.value: float = 0.0
        self._at_s = -math.inf

    def add(self, amount: float, at_s: float) -> None:
        self.fade(at_s)
        self.value += amount

    def fade(self, at_s: float) -> float:
        if at_s > self._at_s:
            if math.isfinite(self._at_s):
                self.value *= math.pow(0.5, (at_s - self._at_s) / HALF_LIFE_S)
            self._at_s = at_s
        return self.value


class _Line:
    """What is counted of one queue."""

    def __init__(self, at_s: float) -> None:
        self.waiting = 0
        self._since_s = self._begun_s = at_s
        self.arrivals = _Faded()
        self.answers = _Faded()  # while others waited
        self.abandons = _Faded()
        self.busy_s = _Faded()  # time in which somebody waited
        self.waited_s = _Faded()  # the same, times how many

    def pass_time(self, at_s: float) -> None:
        passed_s = max(0.0, at_s - self._since_s)
        if self.waiting and passed_s:
            self.busy_s.add(passed_s, at_s)
            self.waited_s.add(passed_s * self.waiting, at_s)
        self._since_s = max(self._since_s, at_s)

    def join(self, at_s: float) -> None:
        self.pass_time(at_s)
        self.arrivals.add(1, at_s)
        self.waiting = min(_MOST_WAITING, self.waiting + 1)

    def leave(self, at_s: float, *, answered: bool) -> None:
        """Whoever is answered as they join found an agent free, which tells nothing of the rate."""
        waited = at_s > self._since_s or self.waiting > 1
        self.pass_time(at_s)
        if not answered:
            self.abandons.add(1, at_s)
        elif waited:
            self.answers.add(1, at_s)
        self.waiting = max(0, self.waiting - 1)

    def arrival_rate(self, planned_per_s: float, at_s: float) -> float:
        """Calls a second: what was seen, and the plan until enough was."""
        seen_s = (
            HALF_LIFE_S
            / math.log(2)
            * (1 - math.pow(0.5, max(0.0, at_s - self._begun_s) / HALF_LIFE_S))
        )
        return (self.arrivals.fade(at_s) + planned_per_s * _PLAN_S) / (max(0.0, seen_s) + _PLAN_S)

    def answer_rate(self, planned_per_s: float, at_s: float) -> float:
        """Answers a second while callers wait."""
        seen = self.answers.fade(at_s) + planned_per_s * _PLAN_S
        return seen / (self.busy_s.fade(at_s) + _PLAN_S)

    def abandon_rate(self, planned_per_s: float, at_s: float) -> float:
        """How often a waiting caller gives up, a second."""
        seen = self.abandons.fade(at_s) + planned_per_s * _PATIENCE_PLAN_S
        return seen / (self.waited_s.fade(at_s) + _PATIENCE_PLAN_S)


class ExpectedWaits:
    """The expected waits of all queues; see the module.

    Args:
        plans: what is planned for a queue at a time; a queue without a plan has no expected wait.
    """

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._lines: dict[str, _Line] = {}

    def arrived(self, queue: str, at_s: float) -> None:
        """A caller joined the queue."""
        self._line(queue, at_s).join(at_s)

    def answered(self, queue: str, at_s: float) -> None:
        """A caller of the queue was answered."""
        self._line(queue, at_s).leave(at_s, answered=True)

    def abandoned(self, queue: str, at_s: float) -> None:
        """A caller of the queue gave up."""
        self._line(queue, at_s).leave(at_s, answered=False)

    def waiting(self, queue: str) -> int:
        """How many wait in the queue."""
        line = self._lines.get(queue)
        return line.waiting if line else 0

    def expected_wait_s(self, queue: str, at_s: float) -> float | None:
        """The mean wait of a caller who joins now and does not give up, s, at most :data:`MOST_S`.

        None where nothing is planned for the queue, or nobody is at work.
        """
        plan = self._plans(queue, at_s)
        if plan is None or plan.agents <= 0:
            return None
        line = self._line(queue, at_s)
        line.pass_time(at_s)
        answers = line.answer_rate(plan.agents / plan.aht_s, at_s)
        gives_up = 0.0 if math.isinf(plan.patience_s) else 1 / plan.patience_s
        gives_up = line.abandon_rate(gives_up, at_s) if gives_up else 0.0
        wait_s = float(np.sum(1 / (answers + gives_up * np.arange(line.waiting + 1))))
        if not line.waiting:
            erlangs = line.arrival_rate(plan.per_hour / 3600, at_s) * plan.aht_s
            agents = max(1, round(answers * plan.aht_s))
            wait_s *= erlang_b(erlangs, agents)
        return min(MOST_S, wait_s)

    def _line(self, queue: str, at_s: float) -> _Line:
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = _Line(at_s)
        return line


# --- the plan of a scenario -----------------------------------------------------------------


def plans_of(scenario: Scenario) -> Plans:
    """What a scenario plans, by its hotline's clock: agents of the first level, and callers."""
    model = scenario_model(scenario, AFTER)
    zone = ZoneInfo(scenario.catalogue.timezone)
    table = {id_: planned(scenario, model, id_) for id_ in scenario.needs}

    def plan(queue: str, at_s: float) -> Plan | None:
        row = table.get(queue)
        if row is None:
            return None
        local = datetime.fromtimestamp(at_s, zone)
        second = 3600 * local.hour + 60 * local.minute + local.second
        place = int(second // HALF_HOUR_S)
        if len(row) > HALF_HOURS:
            place += HALF_HOURS * ((local.weekday() - WEEK.index(scenario.file.study.weekday)) % 7)
        return row[place]

    return plan


def planned(scenario: Scenario, model: CentreModel, queue: str) -> list[Plan]:
    """The plan of a queue for each half hour of the period, by a model of the scenario."""
    assert isinstance(model.arrivals, ArrivalRates)
    spec, callers = scenario.file.callers.needs[queue], scenario.file.callers
    aht_s = sum((own or every).distribution.mean_s for own, every in (
        (spec.service, callers.service), (spec.wrap_up, callers.wrap_up)))  # fmt: skip
    patience_s = (spec.patience or callers.patience).distribution.mean_s
    names = needs_of(scenario, queue)
    columns = [n for n, need in enumerate(model.needs) if need.name in names]
    rates = np.asarray(model.arrivals.per_hour)[:, columns].sum(axis=1)
    return [
        Plan(_agents(model, queue, place * HALF_HOUR_S), aht_s, patience_s, float(rate))
        for place, rate in enumerate(rates)
    ]


def _agents(model: CentreModel, queue: str, from_s: float) -> float:
    """At work in the middle of the half hour, of groups that answer the queue at once."""
    at_s = from_s + HALF_HOUR_S / 2
    total = 0.0
    for group in model.groups:
        skill = next((s for s in group.skills if s.queue == queue), None)
        if skill is None or skill.level > 0 or skill.after_s > 0:
            continue
        total += sum(
            shift.agents
            for shift in group.shifts
            for when in (at_s, at_s + model.period_s)
            if shift.from_s <= when < shift.to_s
        )
    return total


def table_of(plans: Mapping[str, Plan]) -> Plans:
    """Plans that are the same at all times."""
    return lambda queue, _: plans.get(queue)
