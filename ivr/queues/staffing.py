"""The least agents for each interval that answer a share of the callers in time.

In two steps. **Erlang A** for each group and interval by itself gives a first plan (the stationary
independent period by period approach; L. Green, P. Kolesar and J. Soares, 2001, "Improving the SIPP
approach for staffing service systems that have cyclic demands"). It knows no shared agents, no
transfers, no calls that reach over from the interval before. **Simulation** checks the plan on the
whole model and mends it: a group gets one agent more in every interval in which it missed the
target, and one less wherever that still meets it, until nothing can be taken away; at last the plan
is checked, and topped up if need be, on callers that it was not made with.

The groups that are planned are those that *own* a queue: the first choice for its calls. Others, as
a reserve that calls overflow to, keep the shifts they have. The target is asked of every interval:
for each group over the visits to the queues that it owns, and over those to the queues that several
groups share, for which the group that is worst off gets the agent. In intervals with next to no
callers (fewer than :data:`FEW` visits over all replications) the plan of Erlang A stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ivr.errors import SimulationError
from ivr.queues.erlang import erlang_a
from ivr.queues.simulation.model import ArrivalRates, CentreModel, Group, Need, Shift, Trace
from ivr.queues.simulation.runs import Engine, LocalThreads, replicate

__all__ = ["FEW", "StaffingPlan", "agents_needed", "erlang_plan", "plan_staff", "with_agents"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Visits of a group and interval, over all replications, that are too few to judge.
FEW = 40
_ROUNDS = 40  # of a search that mostly ends after about ten
_TOP_UPS = 12
_CLEARLY = 0.2  # of the way from the target to 1: worth trying one agent less
_PHASES = 3  # intervals that are tried together: far enough apart not to disturb each other
_PATIENT_S = 1e7  # for Erlang A, whoever never gives up
_MOST_AGENTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StaffingPlan:
    """Agents by interval of the period and group; arrays (intervals, groups).

    ``service_level``: share of visits answered in time by the last check, NaN where nobody came;
    ``margin``: half the width of its 95 % confidence interval. ``met``: every interval and group
    with callers enough met the target.
    """

    groups: tuple[str, ...]
    interval_s: float
    period_s: float
    agents: Ints
    by_erlang: Ints
    service_level: Floats
    margin: Floats
    overall: float
    target: float
    within_s: float
    met: bool
    replications: int
    runs: int

    @property
    def agent_hours(self) -> float:
        """Hours of agents in a period."""
        return self._hours(self.agents)

    @property
    def erlang_hours(self) -> float:
        """Hours of agents in a period by Erlang A alone."""
        return self._hours(self.by_erlang)

    def _hours(self, agents: Ints) -> float:
        ends = np.minimum(self.period_s, self.interval_s * np.arange(1, len(agents) + 1))
        return float(np.diff(ends, prepend=0.0) @ agents.sum(axis=1)) / 3600


def agents_needed(
    per_hour: float,
    aht_s: float,
    *,
    patience_s: float | None = None,
    target: float = 0.95,
    within_s: float = 15.0,
    busyness_cv: float = 0.0,
) -> int:
    """The least agents of one pool that answer the share ``target`` within ``within_s`` seconds.

    By Erlang A; without ``patience_s`` nobody gives up. No calls need no agents. ``busyness_cv``:
    days differ by a lognormal factor with this coefficient of variation; the share is over all.

    Raises :class:`SimulationError` for a target outside 0 to 1 or another number out of range.
    """
    _check_target(target)
    if per_hour == 0:
        return 0

    days = _days(busyness_cv)

    def enough(agents: int) -> bool:
        if patience_s is None and agents <= per_hour / 3600 * aht_s * days[-1][0]:
            return False
        patience = _PATIENT_S if patience_s is None else min(patience_s, _PATIENT_S)
        in_time = (
            weight
            * factor
            * erlang_a(
                per_hour * factor, aht_s, agents, patience_s=patience, within_s=within_s
            ).service_level
            for factor, weight in days
        )
        return math.fsum(in_time) >= target

    most = max(1, math.ceil(per_hour / 3600 * aht_s))
    while not enough(most):
        most *= 2
        if most > _MOST_AGENTS:
            raise SimulationError(f"no number of agents answers {target:.1%} within {within_s:g} s")
    least = 0
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most


def _days(cv: float) -> list[tuple[float, float]]:
    """Factors and weights of busy and quiet days, by Gauss-Hermite quadrature; mean factor 1."""
    if cv == 0:
        return [(1.0, 1.0)]
    sd = math.sqrt(math.log1p(cv * cv))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    factors = np.exp(sd * nodes - sd * sd / 2)
    weights = weights / (weights @ factors)
    return [(float(f), float(w)) for f, w in zip(factors, weights, strict=True)]


def plan_staff(
    model: CentreModel,
    *,
    target: float = 0.95,
    replications: int = 60,
    seed: int = 1,
    engine: Engine | None = None,
    progress: Callable[[str], None] | None = None,
) -> StaffingPlan:
    """The least agents of ``model`` that answer ``target`` of the callers in time.

    In time is ``model.answer_within_s``. The shifts that the owning groups have are not looked at.
    ``progress`` is told what is being done.

    Raises :class:`SimulationError` for a target outside 0 to 1, or a model whose arrivals are a
    trace (fit rates to it first).
    """
    _check_target(target)
    search = _Search(model, target, replications, seed, engine, progress or (lambda _: None))
    return search.plan()


def erlang_plan(model: CentreModel, *, target: float = 0.95) -> Ints:
    """The first plan, by Erlang A: agents (intervals, owning groups)."""
    owners = _owners(model)
    plan = np.zeros((model.intervals, len(owners)), np.int64)
    for column, queues in enumerate(owners.values()):
        for i in range(model.intervals):
            plan[i, column] = _erlang_cell(model, list(_loads(model, i, queues)), target)
    return plan


def with_agents(
    model: CentreModel, groups: tuple[str, ...], agents: Ints, *, interval_s: float
) -> CentreModel:
    """The model with these agents (intervals, groups) in place of the shifts of the groups."""

    def shifts(column: int) -> Iterator[Shift]:
        start = 0
        counts = [int(count) for count in agents[:, column]]
        for i, count in enumerate(counts):
            if i + 1 < len(counts) and counts[i + 1] == count:
                continue
            if count > 0:
                to_s = min(model.period_s, (i + 1) * interval_s)
                yield Shift(from_s=start * interval_s, to_s=to_s, agents=count)
            start = i + 1

    planned = {name: tuple(shifts(column)) for column, name in enumerate(groups)}
    return replace(
        model,
        groups=tuple(
            replace(group, shifts=planned.get(group.name, group.shifts)) for group in model.groups
        ),
    )


# -- which group answers for which queue ------------------------------------------------------


def _owners(model: CentreModel) -> dict[int, list[int]]:
    """Owning group -> its queues. A queue that several kinds of groups share has no owner."""
    found: dict[int, list[int]] = {}
    for q, queue in enumerate(model.queues):
        ranks = {
            g: (skill.after_s, skill.level)
            for g, group in enumerate(model.groups)
            for skill in group.skills
            if skill.queue == queue.name
        }
        first = [g for g, rank in ranks.items() if rank == min(ranks.values())]
        if len({frozenset(model.groups[g].skills) for g in first}) == 1:
            found.setdefault(first[0], []).append(q)
    if not found:
        raise SimulationError("no queue has a group of its own: there is nobody to plan")
    return dict(sorted(found.items()))


def _without_doubles(model: CentreModel, owners: dict[int, list[int]]) -> CentreModel:
    """Groups with the very skills of an owner (a night team) are part of what is planned."""
    planned = {frozenset(model.groups[g].skills) for g in owners}

    def kept(g: int, group: Group) -> Group:
        double = g not in owners and frozenset(group.skills) in planned
        return replace(group, shifts=()) if double else group

    return replace(model, groups=tuple(kept(g, group) for g, group in enumerate(model.groups)))


# -- Erlang A ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Load:
    per_hour: float
    aht_s: float
    patience_s: float


def _loads(model: CentreModel, interval: int, queues: list[int]) -> Iterator[_Load]:
    """What comes to the queues of a group, misrouted calls and shared queues among it."""
    if isinstance(model.arrivals, Trace):
        raise SimulationError("staff is planned from arrival rates, not from a trace: fit rates")
    owners = _owners(model)
    shared = _shared(model)
    share = len(queues) / sum(map(len, owners.values()))
    for n, need in enumerate(model.needs):
        joining = _joining(model, model.arrivals, interval, n)
        patience_s = min(_PATIENT_S, need.patience.mean_s)
        served_s = need.service.mean_s + need.wrap_up.mean_s
        passed_on = 0.0
        for q in range(len(model.queues)):
            calls = joining * _route(model, n, q)
            served = _is_served(model, need, q)
            passed_on += 0.0 if served else calls
            part = share if q in shared else float(q in queues)
            if calls * part > 0:
                aht_s = served_s if served else model.transfer.seconds.mean_s
                yield _Load(calls * part, aht_s, patience_s)
        if passed_on > 0 and model.queue_index(need.queue) in queues:
            yield _Load(passed_on, served_s, patience_s)


def _shared(model: CentreModel) -> set[int]:
    return set(range(len(model.queues))) - {q for own in _owners(model).values() for q in own}


def _joining(model: CentreModel, arrivals: ArrivalRates, interval: int, n: int) -> float:
    front = model.front_end
    hung_up = front.hung_up[n] if front.hung_up else 0.0
    contained = front.contained[n] if front.contained else 0.0
    return arrivals.per_hour[interval][n] * (1 - hung_up) * (1 - contained)


def _route(model: CentreModel, n: int, q: int) -> float:
    if model.front_end.routing is None:
        return float(model.queues[q].name == model.needs[n].queue)
    return model.front_end.routing[n][q]


def _is_served(model: CentreModel, need: Need, q: int) -> bool:
    """Whether most agents who answer queue q can serve the need themselves."""
    name = model.queues[q].name
    answering = [
        any(skill.queue == need.queue for skill in group.skills)
        for group in model.groups
        if any(skill.queue == name for skill in group.skills)
    ]
    return 2 * sum(answering) > len(answering)


def _erlang_cell(model: CentreModel, loads: list[_Load], target: float) -> int:
    per_hour = math.fsum(load.per_hour for load in loads)
    if not per_hour:
        return 0
    arrivals = model.arrivals
    aht_s = math.fsum(load.per_hour * load.aht_s for load in loads) / per_hour
    leaving = math.fsum(load.per_hour / load.patience_s for load in loads) / per_hour
    return agents_needed(
        per_hour,
        max(aht_s, 1e-3),
        patience_s=1 / leaving,
        target=target,
        within_s=model.answer_within_s,
        busyness_cv=arrivals.busyness_cv if isinstance(arrivals, ArrivalRates) else 0.0,
    )


# -- simulation -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Check:
    """What a simulation of a plan showed; arrays (intervals, owning groups)."""

    level: Floats
    margin: Floats
    missed: Bools  # too few agents: of the group's own callers, or for a shared queue
    spare: Bools  # perhaps one too many
    overall: float


class _Search:
    """Agents up and down until the plan is the least that meets the target."""

    def __init__(
        self,
        model: CentreModel,
        target: float,
        replications: int,
        seed: int,
        engine: Engine | None,
        progress: Callable[[str], None],
    ) -> None:
        self._owners = _owners(model)
        self._shared = sorted(_shared(model))
        self._model = _without_doubles(model, self._owners)
        self._groups = tuple(model.groups[g].name for g in self._owners)
        self._target = target
        self._replications = replications
        self._seed = seed
        self._engine = engine or LocalThreads()  # processes would start anew for every check
        self._progress = progress
        self._runs = 0

    def plan(self) -> StaffingPlan:
        first = erlang_plan(self._model, target=self._target)
        agents, check = self._topped_up(self._trimmed(self._settled(first)), fresh=True)
        return StaffingPlan(
            groups=self._groups,
            interval_s=self._model.interval_s,
            period_s=self._model.period_s,
            agents=agents,
            by_erlang=first,
            service_level=check.level,
            margin=check.margin,
            overall=check.overall,
            target=self._target,
            within_s=self._model.answer_within_s,
            met=not check.missed.any(),
            replications=self._replications,
            runs=self._runs,
        )

    def _settled(self, agents: Ints) -> Ints:
        """From the first plan to one where one agent less was seen to be too few."""
        too_few = np.zeros_like(agents)
        for _ in range(_ROUNDS):
            check = self._check(agents)
            too_few = np.where(check.missed, np.maximum(too_few, agents), too_few)
            spare = check.spare & (agents - 1 > too_few)
            if not check.missed.any() and not spare.any():
                break
            more = np.where(check.missed, _steps(agents, check.level, self._target), 0)
            agents = agents + more - spare
        return self._topped_up(agents)[0]

    def _trimmed(self, agents: Ints) -> Ints:
        """One agent less wherever this interval and those after it still meet the target.

        Tried for one group and every third interval at a time, so that no trial disturbs another.
        """
        for column in range(agents.shape[1]):
            for phase in range(_PHASES):
                cells = np.zeros(agents.shape, bool)
                cells[phase::_PHASES, column] = agents[phase::_PHASES, column] > 1
                if cells.any():
                    agents = self._less(agents, cells)
        return agents

    def _less(self, agents: Ints, cells: Bools) -> Ints:
        missed = self._check(agents - cells).missed.any(axis=1)
        harmed = missed | np.roll(missed, -1) | np.roll(missed, -2)
        kept = cells & ~harmed[:, None]
        return self._topped_up(agents - kept)[0] if kept.any() else agents

    def _topped_up(self, agents: Ints, *, fresh: bool = False) -> tuple[Ints, _Check]:
        """One agent more wherever the target is missed, until it is nowhere; and the last check."""
        for _ in range(_TOP_UPS):
            check = self._check(agents, fresh=fresh)
            if not check.missed.any():
                break
            agents = agents + check.missed
        else:
            check = self._check(agents, fresh=fresh)
        return agents, check

    def _check(self, agents: Ints, *, fresh: bool = False) -> _Check:
        self._runs += 1
        hours = agents.sum() * self._model.interval_s / 3600
        self._progress(f"simulation {self._runs}: {hours:.1f} agent hours")
        model = with_agents(self._model, self._groups, agents, interval_s=self._model.interval_s)
        study = replicate(
            {"plan": model},
            seed=self._seed + fresh,
            replications=self._replications * (2 if fresh else 1),
            engine=self._engine,
        )
        if not study.complete:
            raise KeyboardInterrupt
        results = study.results["plan"]
        joined = np.array([r.intervals.joined for r in results])
        within = np.array([r.intervals.answered_within for r in results])
        own = [_levels(joined[:, :, q], within[:, :, q]) for q in self._owners.values()]
        level, margin, visits = (np.stack(parts, axis=1) for parts in zip(*own, strict=True))
        missed = (visits >= FEW) & (level < self._target)
        enough = self._target + _CLEARLY * (1 - self._target)
        spare = ~missed & (agents > 1) & ((visits < FEW) | (level > enough))
        return _Check(
            level=level,
            margin=margin,
            missed=missed | self._worst_off(joined, within, agents, level),
            spare=spare & self._shared_has_spare(joined, within, visits, enough)[:, None],
            overall=study.merged("plan").calls.service_level,
        )

    def _worst_off(self, joined: Ints, within: Ints, agents: Ints, level: Floats) -> Bools:
        """Where shared queues miss the target, the group that is to get an agent for them."""
        found = np.zeros(agents.shape, bool)
        shared, _, visits = _levels(joined[:, :, self._shared], within[:, :, self._shared])
        worst = np.argmin(np.nan_to_num(level, nan=2.0) - 1e-6 * agents, axis=1)
        found[np.arange(len(found)), worst] = (visits >= FEW) & (shared < self._target)
        return found

    def _shared_has_spare(
        self, joined: Ints, within: Ints, own_visits: Ints, enough: float
    ) -> Bools:
        """Intervals with callers enough in which the shared queues, if any, do well."""
        shared, _, visits = _levels(joined[:, :, self._shared], within[:, :, self._shared])
        known = own_visits.sum(axis=1) + visits >= FEW
        return np.asarray(known & ((visits < FEW) | (shared > enough)), np.bool_)


def _steps(agents: Ints, level: Floats, target: float) -> Ints:
    """Agents to add: one, or more of a large group that is far off."""
    short = np.nan_to_num(target - level, nan=0.0)
    return np.maximum(1, np.rint(short * np.sqrt(np.maximum(agents, 1)) * 2.5)).astype(np.int64)


def _levels(joined: Ints, within: Ints) -> tuple[Floats, Floats, Ints]:
    """Share in time by interval, half its 95 % confidence interval, and visits.

    From counts (replications, intervals, queues). A ratio of means; variance by the delta method.
    """
    joined, within = joined.sum(axis=2), within.sum(axis=2)
    visits = joined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = within.sum(axis=0) / visits
        errors = within - level * joined
        runs = len(joined)
        deviation = np.sqrt((errors**2).sum(axis=0) / max(1, runs - 1))
        return level, 1.96 * deviation * math.sqrt(runs) / visits, visits


def _check_target(target: float) -> None:
    if not 0 < target < 1:
        raise SimulationError(f"a target of {target:g} cannot be met; give a share such as 0.95")
