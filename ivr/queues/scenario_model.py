"""From a scenario to the models of its arms (:class:`~ivr.queues.simulation.model.CentreModel`).

Everything but the front end is the same in all arms: callers, agents, queues, rules. Two things of
the hotline become parts of the model:

* The share ``callers.simple`` of every need can be served by any agent: these callers are needs of
  their own, whose skill (the queue :data:`ANY`) all groups have. One queue for all (``queues:
  one``) is the same queue: every call is sent to it, and who gets a call for a specialist of
  another group passes it on. So pooling is a matter of routing, and can be switched like the rest.
* Out of its hours the calls for a queue are calls for the default queue, whose agents take them on
  (as on a call, :mod:`ivr.call.session`).

:class:`Side` says of each factor (time, routing, pooling, containment) which arm it is taken from;
``BEFORE`` and ``AFTER`` are the arms, what lies between is for the decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ivr.queues.hours import OpeningHours
from ivr.queues.navigation import DialoguePath, SpeechSeconds, dialogue_paths
from ivr.queues.scenario import (
    HALF_HOUR_S,
    HALF_HOURS,
    WEEK,
    Arm,
    Day,
    GroupSpec,
    Menu,
    Scenario,
    Speech,
)
from ivr.queues.simulation.distributions import NOTHING, Distribution, Empirical
from ivr.queues.simulation.model import (
    DAY_S,
    ArrivalRates,
    CallBack,
    CentreModel,
    FrontEnd,
    Group,
    Need,
    Queue,
    Redial,
    Shift,
    Skill,
    Transfer,
)

__all__ = [
    "AFTER",
    "ANY",
    "BEFORE",
    "FACTORS",
    "Factor",
    "Side",
    "accuracy",
    "front_end",
    "needs_of",
    "scenario_model",
    "switched",
    "with_accuracy",
]

#: The queue that every agent answers, and the skill for calls that any agent can serve.
ANY = "any agent"
_SIMPLE = " (any agent)"
_QUANTILES = 400  # of a dialogue's seconds

Which = Literal["before", "after"]
Factor = Literal["time", "routing", "pooling", "containment"]
FACTORS: tuple[Factor, ...] = get_args(Factor)


@dataclass(frozen=True, slots=True)
class Side:
    """Which arm each factor is taken from."""

    time: Which  # seconds in the menu or dialogue, and who gives up there
    routing: Which  # who is sent to a wrong queue
    pooling: Which  # separate queues, or one for all
    containment: Which  # what the machine serves to the end


BEFORE = Side("before", "before", "before", "before")
AFTER = Side("after", "after", "after", "after")


def switched(side: Side, factor: Factor) -> Side:
    """The side with one factor taken from the arm after."""
    match factor:
        case "time":
            return replace(side, time="after")
        case "routing":
            return replace(side, routing="after")
        case "pooling":
            return replace(side, pooling="after")
        case "containment":
            return replace(side, containment="after")


def needs_of(scenario: Scenario, queue: str) -> tuple[str, ...]:
    """The names of the model's needs whose callers want ``queue``."""
    return (queue, queue + _SIMPLE) if scenario.file.callers.simple > 0 else (queue,)


def scenario_model(scenario: Scenario, side: Side = AFTER) -> CentreModel:
    """The model of one arm, or of a mixture of both.

    Raises:
        SimulationError: it cannot be simulated; the message says why.
    """
    file = scenario.file
    days = 1 if file.study.days == 1 and not file.week else 7
    return CentreModel(
        name=f"{file.name}: {_name(scenario, side)}",
        needs=_needs(scenario),
        queues=_queues(scenario),
        groups=tuple(_group(scenario, spec, days) for spec in file.agents),
        arrivals=_arrivals(scenario, days),
        front_end=front_end(scenario, side),
        transfer=_transfer(scenario),
        redial=_redial(scenario),
        call_back=_call_back(scenario),
        period_s=days * DAY_S,
        length_s=file.study.days * DAY_S,
        answer_within_s=file.study.answer_within_s,
    )


def _name(scenario: Scenario, side: Side) -> str:
    if side in (BEFORE, AFTER):
        arm: Arm = getattr(scenario.file, side.time)
        return arm.name or side.time
    return ", ".join(f"{factor} {getattr(side, factor)}" for factor in FACTORS)


# --- callers --------------------------------------------------------------------------------


def _needs(scenario: Scenario) -> tuple[Need, ...]:
    callers = scenario.file.callers

    def need(id_: str, name: str) -> Need:
        spec = callers.needs[id_]
        return Need(
            name=name,
            queue=id_ if name == id_ else ANY,
            service=(spec.service or callers.service).distribution,
            wrap_up=(spec.wrap_up or callers.wrap_up).distribution,
            patience=(spec.patience or callers.patience).distribution,
            priority=scenario.catalogue.queue(id_).priority,
        )

    return tuple(need(id_, name) for id_ in scenario.needs for name in needs_of(scenario, id_))


def _arrivals(scenario: Scenario, days: int) -> ArrivalRates:
    calls = scenario.file.calls
    total = math.fsum(calls.profile)
    rows: list[tuple[float, ...]] = []
    for day in range(days):
        weekday = _weekday(scenario, day)
        found = scenario.file.week.get(weekday)
        factor = found.calls if found else 1.0
        for half_hour, weight in enumerate(calls.profile):
            per_hour = 2 * factor * calls.a_day * weight / total
            rows.append(_rates(scenario, weekday, half_hour, per_hour))
    return ArrivalRates(per_hour=tuple(rows), interval_s=HALF_HOUR_S, busyness_cv=calls.busyness_cv)


def _rates(scenario: Scenario, weekday: Day, half_hour: int, per_hour: float) -> tuple[float, ...]:
    """Calls an hour of each need of the model; those of closed queues want the default one."""
    callers, default = scenario.file.callers, scenario.catalogue.default_queue
    shares = {id_: callers.needs[id_].share for id_ in scenario.needs}
    for id_ in scenario.needs:
        hours = scenario.catalogue.queue(id_).hours
        if id_ != default and default in shares and not _open(hours, weekday, half_hour):
            shares[default] += shares[id_]
            shares[id_] = 0.0
    rates: list[float] = []
    for id_ in scenario.needs:
        simple = callers.simple
        parts = (1 - simple, simple) if simple > 0 else (1.0,)
        rates += [per_hour * shares[id_] * part for part in parts]
    return tuple(rates)


def _weekday(scenario: Scenario, day: int) -> Day:
    return WEEK[(WEEK.index(scenario.file.study.weekday) + day) % 7]


def _open(hours: OpeningHours, weekday: Day, half_hour: int) -> bool:
    minute = 30 * half_hour + 15
    today = hours.week[WEEK.index(weekday)]
    yesterday = hours.week[WEEK.index(weekday) - 1]
    return any(start <= minute < end for start, end in today) or any(
        minute + 24 * 60 < end for _, end in yesterday
    )


def _redial(scenario: Scenario) -> Redial:
    spec = scenario.file.callers.redial
    if spec is None:
        return Redial()
    return Redial(probability=spec.probability, delay=spec.delay.distribution, most=spec.most)


# --- queues, agents and rules ---------------------------------------------------------------


def _pooled(scenario: Scenario) -> bool:
    """Whether there is the queue of all agents."""
    file = scenario.file
    return file.callers.simple > 0 or "one" in (file.before.queues, file.after.queues)


def _queue_ids(scenario: Scenario) -> tuple[str, ...]:
    """The queues of the catalogue that are used, with :data:`ANY` where it is."""
    answered = {skill.queue for group in scenario.file.agents for skill in group.all_skills}
    used = [id_ for id_ in scenario.catalogue.queue_ids if id_ in answered]
    return (*used, ANY) if _pooled(scenario) else tuple(used)


def _queues(scenario: Scenario) -> tuple[Queue, ...]:
    known = scenario.catalogue
    return tuple(
        Queue(name=id_, priority=5 if id_ == ANY else known.queue(id_).priority)
        for id_ in _queue_ids(scenario)
    )


def _group(scenario: Scenario, spec: GroupSpec, days: int) -> Group:
    skills = [
        Skill(
            queue=skill.queue,
            level=skill.level,
            after_s=skill.after_s,
            service_factor=skill.service_factor,
        )
        for skill in spec.all_skills
    ]
    if _pooled(scenario):
        skills.append(Skill(queue=ANY))
    shifts = [
        Shift(from_s=from_s + day * DAY_S, to_s=to_s + day * DAY_S, agents=agents)
        for day in range(days)
        for from_s, to_s, planned in spec.spans_s()
        for agents in [round(planned * _staffing(scenario, day))]
        if agents > 0
    ]
    return Group(name=spec.group, skills=tuple(skills), shifts=tuple(shifts))


def _staffing(scenario: Scenario, day: int) -> float:
    found = scenario.file.week.get(_weekday(scenario, day))
    return found.agents if found else 1.0


def _transfer(scenario: Scenario) -> Transfer:
    spec = scenario.file.transfer
    return Transfer(
        seconds=spec.seconds.distribution,
        priority=spec.priority,
        keeps_place=spec.keeps_place,
        fresh_patience=spec.patience == "afresh",
    )


def _call_back(scenario: Scenario) -> CallBack | None:
    spec = scenario.file.call_back
    if spec is None:
        return None
    return CallBack(
        offer_wait_s=spec.offer_wait_s,
        acceptance=spec.acceptance,
        reached=spec.reached,
        no_answer=spec.no_answer.distribution,
    )


# --- the front end --------------------------------------------------------------------------

Rows = dict[str, dict[str, float]]  # need -> queue -> probability


def front_end(scenario: Scenario, side: Side) -> FrontEnd:
    """What stands before the queues, each factor from the arm that ``side`` names."""
    arms: Mapping[Which, Arm] = {"before": scenario.file.before, "after": scenario.file.after}
    timed, contained = arms[side.time], arms[side.containment]
    if arms[side.pooling].queues == "one":
        rows: Rows = {id_: {ANY: 1.0} for id_ in scenario.needs}
    else:
        rows = _routing(scenario, arms[side.routing])
    seconds, asked_again, again_seconds, hung_up = _timing(scenario, timed)

    def of_each(value: Callable[[str], float]) -> tuple[float, ...]:
        return tuple(value(id_) for id_ in scenario.needs for _ in needs_of(scenario, id_))

    return FrontEnd(
        name=_name(scenario, side),
        seconds=seconds,
        routing=tuple(
            tuple(rows[id_].get(queue, 0.0) for queue in _queue_ids(scenario))
            for id_ in scenario.needs
            for _ in needs_of(scenario, id_)
        ),
        asked_again=of_each(lambda id_: asked_again[id_]),
        again_seconds=again_seconds,
        contained=of_each(lambda _: contained.contained),
        contained_seconds=contained.contained_seconds.distribution,
        hung_up=of_each(lambda _: hung_up),
    )


def _routing(scenario: Scenario, arm: Arm) -> Rows:
    if arm.menu is not None:
        return {id_: _menu_row(scenario, arm.menu, id_) for id_ in scenario.needs}
    assert arm.speech is not None
    default = scenario.catalogue.default_queue
    used = set(_queue_ids(scenario))
    rows: Rows = {}
    for id_, paths in _paths(scenario, arm.speech).items():
        row = rows[id_] = {}
        for path in paths:
            queue = path.queue if path.queue in used else default
            row[queue] = row.get(queue, 0.0) + path.probability
        total = math.fsum(row.values())
        rows[id_] = {queue: p / total for queue, p in row.items()}
    return rows


def _menu_row(scenario: Scenario, menu: Menu, need: str) -> dict[str, float]:
    others = [id_ for id_ in _queue_ids(scenario) if id_ not in (need, ANY)]
    default = scenario.catalogue.default_queue
    if menu.misrouted_to == "default" and need != default:
        others = [default]
    if not others:
        return {need: 1.0}
    wrong = dict.fromkeys(others, menu.misroute / len(others))
    return wrong | {need: 1.0 - menu.misroute}


def _paths(scenario: Scenario, speech: Speech) -> dict[str, tuple[DialoguePath, ...]]:
    navigation = scenario.navigation[speech.navigation]
    seconds = navigation.seconds or SpeechSeconds(speech_s=0.0, decision_s=0.0)
    stated = {
        name: value
        for name in ("speech_s", "decision_s")
        if (value := getattr(speech, name)) is not None
    }
    return {
        id_: dialogue_paths(
            navigation,
            id_,
            seconds=seconds.model_copy(update=stated),
            retries_understood=speech.retries_understood,
            barge_in=speech.barge_in,
        )
        for id_ in scenario.needs
    }


Timing = tuple[Distribution, dict[str, float], Distribution, float]


def _timing(scenario: Scenario, arm: Arm) -> Timing:
    """Seconds, who is asked again and in how many more seconds, and who gives up."""
    if arm.menu is not None:
        never = dict.fromkeys(scenario.needs, 0.0)
        return arm.menu.seconds.distribution, never, NOTHING, arm.menu.hung_up
    assert arm.speech is not None
    paths = _paths(scenario, arm.speech)
    weighed = [
        (scenario.file.callers.needs[id_].share * path.probability, path)
        for id_ in scenario.needs
        for path in paths[id_]
    ]
    once = [(w, path.seconds) for w, path in weighed if path.tries == 1]
    again = [(w, path.seconds) for w, path in weighed if path.tries > 1]
    if not once:
        once, again = again, []
    first_s = _mean(once)
    more = [(w, max(0.0, seconds - first_s)) for w, seconds in again]
    asked = {
        id_: math.fsum(p.probability for p in paths[id_] if p.tries > 1) if again else 0.0
        for id_ in scenario.needs
    }
    return _empirical(once), asked, _empirical(more) if more else NOTHING, arm.speech.hung_up


def _mean(weighed: Iterable[tuple[float, float]]) -> float:
    pairs = list(weighed)
    return math.fsum(w * s for w, s in pairs) / math.fsum(w for w, _ in pairs)


def _empirical(weighed: Sequence[tuple[float, float]]) -> Empirical:
    """Quantiles of weighed values: a distribution in equal shares."""
    order = sorted(weighed, key=lambda pair: pair[1])
    edges = np.cumsum([w for w, _ in order])
    at = edges[-1] * (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    places = np.minimum(np.searchsorted(edges, at), len(order) - 1)
    return Empirical(tuple(order[place][1] for place in places))


def accuracy(scenario: Scenario, model: CentreModel) -> float:
    """The share of callers whom the front end sends to the queue of their need, 0 to 1."""
    routing = model.front_end.routing
    if routing is None:
        return 1.0
    queues = [queue.name for queue in model.queues]
    right = [
        routing[row][queues.index(id_)]
        for row, id_ in enumerate(id_ for id_ in scenario.needs for _ in needs_of(scenario, id_))
    ]
    weights = _weights(model)
    return math.fsum(w * p for w, p in zip(weights, right, strict=True))


def _weights(model: CentreModel) -> list[float]:
    assert isinstance(model.arrivals, ArrivalRates)
    sums = np.asarray(model.arrivals.per_hour).sum(axis=0)
    return [float(s) for s in sums / sums.sum()]


def with_accuracy(
    scenario: Scenario, model: CentreModel, right: float, *, contained: float | None = None
) -> CentreModel:
    """The model with the share ``right`` of every need sent to the right queue.

    The wrong ones go where they went in the same proportions; to every other queue alike where
    none went wrong. With ``contained`` that share of every need is served by the machine.
    """
    front = model.front_end
    queues = [queue.name for queue in model.queues]
    ids = [id_ for id_ in scenario.needs for _ in needs_of(scenario, id_)]
    assert front.routing is not None
    rows = []
    for id_, row in zip(ids, front.routing, strict=True):
        here = queues.index(id_)
        wrong = [0.0 if q == here else p for q, p in enumerate(row)]
        if not any(wrong):
            wrong = [float(q != here and name != ANY) for q, name in enumerate(queues)]
        scale = (1 - right) / math.fsum(wrong) if any(wrong) else 0.0
        rows.append(
            tuple(
                (right if any(wrong) else 1.0) if q == here else scale * p
                for q, p in enumerate(wrong)
            )
        )
    changed = replace(front, routing=tuple(rows))
    if contained is not None:
        changed = replace(changed, contained=(contained,) * len(ids))
    return replace(model, front_end=changed)


assert HALF_HOURS * HALF_HOUR_S == DAY_S
