"""A :class:`CentreModel` as arrays that compiled code can read, and the arrays of its state.

Few arrays of records instead of many columns: what belongs together is read together, and the
compiled functions take few arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ivr.queues.simulation.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Never,
)
from ivr.queues.simulation.histogram import BINS
from ivr.queues.simulation.model import ArrivalRates, CentreModel, Group, Queue, Trace

__all__ = [
    "CALL_LOG",
    "CONSTANT",
    "EMPIRICAL",
    "EXPONENTIAL",
    "LOGNORMAL",
    "WORK_LOG",
    "State",
    "Sums",
    "Tables",
    "new_state",
    "new_sums",
    "tables_of",
]

Records = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONSTANT, EXPONENTIAL, LOGNORMAL, EMPIRICAL = range(4)


def _record(**columns: type) -> np.dtype[np.void]:
    return np.dtype(list(columns.items()), align=True)


_SETTINGS = _record(
    period_s=np.float64, length_s=np.float64, warm_up_s=np.float64, within_s=np.float64,
    interval_s=np.float64, busyness_sd=np.float64, trace=np.int64,
    front_end=np.int64, again=np.int64, contained=np.int64, transfer=np.int64,
    keeps_place=np.int64, fresh_patience=np.int64,
    redial_probability=np.float64, redial_most=np.int64, redial_delay=np.int64,
    call_back=np.int64, offer_wait_s=np.float64, acceptance=np.float64, reached=np.float64,
    no_answer=np.int64,
)  # fmt: skip
_DISTRIBUTION = _record(kind=np.int64, a=np.float64, b=np.float64, first=np.int64, count=np.int64)
_NEED = _record(
    queue=np.int64, service=np.int64, wrap_up=np.int64, patience=np.int64,
    asked_again=np.float64, contained=np.float64, hung_up=np.float64,
)  # fmt: skip
_QUEUE = _record(
    closed_to=np.int64, hours=np.int64, hours_count=np.int64, always=np.int64,
    takers=np.int64, takers_count=np.int64, lines=np.int64, lines_count=np.int64,
)  # fmt: skip
_LINE = _record(queue=np.int64, priority=np.int64)
_SKILL = _record(can=np.int64, level=np.int64, after_s=np.float64, factor=np.float64)
_GROUP = _record(lines=np.int64, lines_count=np.int64)
_STEP = _record(at_s=np.float64, group=np.int64, agents=np.int64)
_CALL = _record(arrival_s=np.float64, need=np.int64, service_s=np.float64, patience_s=np.float64)

_CLOCK = _record(
    now=np.float64, seq=np.int64, heap=np.int64, free=np.int64, waiting=np.int64,
    next_s=np.float64, next_need=np.int64, caller=np.int64, interval=np.int64,
    interval_end_s=np.float64, period_start_s=np.float64, period=np.int64, busyness=np.float64,
    step=np.int64, step_start_s=np.float64, started=np.int64, callers=np.uint64,
    calls_logged=np.int64, work_logged=np.int64,
)  # fmt: skip
_SLOT = _record(
    seq=np.int64, caller=np.int64, pos=np.int32, state=np.int32, need=np.int32, queue=np.int32,
    right=np.int32, line=np.int32, prev=np.int32, next=np.int32, group=np.int32, attempt=np.int32,
    leg=np.int32, fate=np.int32, overflow=np.int32, counts=np.int32, on_line=np.int32,
    interval=np.int32, first_queue=np.int32,
    arrival_s=np.float64, since_s=np.float64, first_s=np.float64, joined_s=np.float64,
    deadline_s=np.float64, waited_s=np.float64, service_s=np.float64, patience_s=np.float64,
)  # fmt: skip
_HEAP = _record(when_s=np.float64, slot=np.int64)
_LINE_STATE = _record(head=np.int64, tail=np.int64, count=np.int64)
_GROUP_STATE = _record(
    staff=np.int64, busy=np.int64, last_s=np.float64, busy_s=np.float64, staffed_s=np.float64,
    answered=np.int64, passed_on=np.int64,
)  # fmt: skip

#: One line for each call of a log, and one for each piece of an agent's work.
CALL_LOG = _record(
    caller=np.int64, attempt=np.int64, need=np.int64, queue=np.int64, group=np.int64,
    outcome=np.int64, transfers=np.int64, on_line=np.int64, arrival_s=np.float64,
    wait_s=np.float64, to_agent_s=np.float64, service_s=np.float64, patience_s=np.float64,
)  # fmt: skip
WORK_LOG = _record(
    caller=np.int64, attempt=np.int64, group=np.int64, start_s=np.float64, end_s=np.float64
)

CALL_COUNTS = _record(
    **dict.fromkeys(
        (
            "offered", "redials", "contained", "hung_up", "closed", "joined", "answered",
            "answered_within", "answered_on_line", "abandoned", "call_backs", "not_reached",
            "unserved", "misrouted", "transfers", "asked_again", "waited",
        ),
        np.int64,
    ),
    **dict.fromkeys(
        (
            "wait_s", "wait_answered_s", "wait_abandoned_s", "to_agent_s", "front_end_s",
            "agent_s",
        ),
        np.float64,
    ),
)  # fmt: skip
QUEUE_COUNTS = _record(
    **dict.fromkeys(
        (
            "joined", "closed", "answered", "answered_within", "abandoned", "call_backs",
            "not_reached", "unserved", "transferred", "overflowed", "waited",
        ),
        np.int64,
    ),
    wait_s=np.float64,
)  # fmt: skip
INTERVAL_COUNTS = _record(
    joined=np.int64, answered=np.int64, answered_within=np.int64, abandoned=np.int64,
    wait_s=np.float64,
)  # fmt: skip


class Tables(NamedTuple):
    """What does not change in a run."""

    settings: Records  # (1,)
    distributions: Records
    values: Floats  # of the empirical distributions, one after the other
    needs: Records
    routes_p: Floats  # (needs, queues) cumulated, the right queue first
    routes_to: Ints  # (needs, queues)
    rates: Floats  # (intervals,) calls a second
    shares: Floats  # (intervals, needs) cumulated
    queues: Records
    hours: Floats  # (spans, 2)
    takers: Ints  # groups of each queue, by delay and level
    lines: Records
    line_of: Ints  # (needs, queues, 3): joined, rejoined, to be called back
    queue_lines: Ints
    skills: Records  # (groups, queues)
    groups: Records
    group_lines: Ints
    steps: Records  # of the staff, by time in the period
    trace: Records


class State(NamedTuple):
    """What changes in a run; ``slots`` holds the live calls and grows with their number alone."""

    clock: Records  # (1,)
    slots: Records
    heap: Records
    lines: Records
    groups: Records


class Sums(NamedTuple):
    """What is measured, and the logs, which may be empty."""

    calls: Records  # (needs,)
    wait: Ints  # (needs, BINS)
    to_agent: Ints  # (needs, BINS)
    queues: Records
    queue_wait: Ints  # (queues, BINS)
    intervals: Records  # (intervals, queues)
    call_log: Records
    work_log: Records


class _Distributions:
    """Distributions by number."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, float, int, int]] = []
        self._values: list[float] = []
        self._known: dict[Distribution, int] = {}

    def number(self, times: Distribution) -> int:
        if times not in self._known:
            self._known[times] = len(self._rows)
            self._rows.append(self._row(times))
        return self._known[times]

    def _row(self, times: Distribution) -> tuple[int, float, float, int, int]:
        match times:
            case Constant(value_s):
                return CONSTANT, value_s, 0.0, 0, 0
            case Never():
                return CONSTANT, math.inf, 0.0, 0, 0
            case Exponential(mean_s):
                return EXPONENTIAL, mean_s, 0.0, 0, 0
            case LogNormal():
                return LOGNORMAL, times.log_mean, times.log_sd, 0, 0
            case Empirical(values_s):
                first = len(self._values)
                self._values += values_s
                return EMPIRICAL, 0.0, 0.0, first, len(values_s)

    def arrays(self) -> tuple[Records, Floats]:
        return np.array(self._rows, _DISTRIBUTION), np.array(self._values or [0.0])


def tables_of(model: CentreModel) -> Tables:
    """The tables of a model."""
    times = _Distributions()
    lines, line_of = _lines(model)
    takers, taker_spans = _flat(list(_takers(model)))
    queue_lines, queue_line_spans = _flat(
        [[i for i, line in enumerate(lines) if line[0] == q] for q in range(len(model.queues))]
    )
    group_lines, group_line_spans = _flat(
        [_lines_of(model, group, lines) for group in model.groups]
    )
    hours, hour_spans = _flat([list(queue.hours_s or ()) for queue in model.queues])
    routes_p, routes_to = _routes(model)
    rates, shares = _rates(model)
    settings = _settings(model, times)
    needs = _needs(model, times)
    distributions, values = times.arrays()
    queues = [
        (
            -1 if queue.closed_to is None else model.queue_index(queue.closed_to),
            *hour_spans[i], queue.hours_s is None, *taker_spans[i], *queue_line_spans[i],
        )
        for i, queue in enumerate(model.queues)
    ]  # fmt: skip
    return Tables(
        settings=settings,
        distributions=distributions,
        values=values,
        needs=needs,
        routes_p=routes_p,
        routes_to=routes_to,
        rates=rates,
        shares=shares,
        queues=np.array(queues, _QUEUE),
        hours=np.array(hours, np.float64).reshape(-1, 2),
        takers=np.array(takers, np.int64),
        lines=np.array(lines, _LINE),
        line_of=line_of,
        queue_lines=np.array(queue_lines, np.int64),
        skills=_skills(model),
        groups=np.array(group_line_spans, _GROUP),
        group_lines=np.array(group_lines, np.int64),
        steps=np.array(list(_steps(model)), _STEP),
        trace=_trace(model.arrivals),
    )


def _flat(parts: Sequence[Sequence[Any]]) -> tuple[list[Any], list[tuple[int, int]]]:
    """Lists one after the other, and (first, count) of each."""
    whole: list[Any] = []
    spans = []
    for part in parts:
        spans.append((len(whole), len(part)))
        whole += part
    return whole, spans


def _settings(model: CentreModel, times: _Distributions) -> Records:
    back, front, arrivals = model.call_back, model.front_end, model.arrivals
    cv = arrivals.busyness_cv if isinstance(arrivals, ArrivalRates) else 0.0
    row = np.zeros(1, _SETTINGS)
    for name, value in {
        "period_s": model.period_s,
        "length_s": model.length_s,
        "warm_up_s": model.warm_up_s,
        "within_s": model.answer_within_s,
        "interval_s": model.interval_s,
        "busyness_sd": math.sqrt(math.log1p(cv * cv)),
        "trace": isinstance(arrivals, Trace),
        "front_end": times.number(front.seconds),
        "again": times.number(front.again_seconds),
        "contained": times.number(front.contained_seconds),
        "transfer": times.number(model.transfer.seconds),
        "keeps_place": model.transfer.keeps_place,
        "fresh_patience": model.transfer.fresh_patience,
        "redial_probability": model.redial.probability,
        "redial_most": model.redial.most,
        "redial_delay": times.number(model.redial.delay),
        "call_back": back is not None,
        "offer_wait_s": back.offer_wait_s if back else math.inf,
        "acceptance": back.acceptance if back else 0.0,
        "reached": back.reached if back else 0.0,
        "no_answer": times.number(back.no_answer if back else Constant(0.0)),
    }.items():
        row[name] = value
    return row


def _needs(model: CentreModel, times: _Distributions) -> Records:
    none = (0.0,) * len(model.needs)
    front = model.front_end
    shares = zip(
        front.asked_again or none, front.contained or none, front.hung_up or none, strict=True
    )
    rows = [
        (
            model.queue_index(need.queue),
            times.number(need.service), times.number(need.wrap_up), times.number(need.patience),
            *share,
        )
        for need, share in zip(model.needs, shares, strict=True)
    ]  # fmt: skip
    return np.array(rows, _NEED)


def _lines(model: CentreModel) -> tuple[list[tuple[int, int]], Ints]:
    """Lines (queue, priority) and the line of each need and queue, for the three ways to join."""
    lines: dict[tuple[int, int], int] = {}
    line_of = np.zeros((len(model.needs), len(model.queues), 3), np.int64)
    back = model.call_back.priority if model.call_back else None
    for n, need in enumerate(model.needs):
        for q, queue in enumerate(model.queues):
            usual = queue.priority if need.priority is None else need.priority
            for way, own in enumerate((None, model.transfer.priority, back)):
                line = (q, usual if own is None else own)
                line_of[n, q, way] = lines.setdefault(line, len(lines))
    return list(lines), line_of


def _lines_of(model: CentreModel, group: Group, lines: Iterable[tuple[int, int]]) -> list[int]:
    """The lines that a group may take calls from, the most urgent first."""
    skills = {model.queue_index(skill.queue) for skill in group.skills}
    own = [(priority, i) for i, (queue, priority) in enumerate(lines) if queue in skills]
    return [i for _, i in sorted(own)]


def _takers(model: CentreModel) -> Iterator[list[int]]:
    """For each queue its groups, by delay, then level."""
    for queue in model.queues:
        yield [g for *_, g in sorted(_ranks(model, queue))]


def _ranks(model: CentreModel, queue: Queue) -> Iterator[tuple[float, int, int]]:
    for g, group in enumerate(model.groups):
        for skill in group.skills:
            if skill.queue == queue.name:
                yield skill.after_s, skill.level, g


def _skills(model: CentreModel) -> Records:
    table = np.zeros((len(model.groups), len(model.queues)), _SKILL)
    for g, group in enumerate(model.groups):
        for skill in group.skills:
            row = (1, skill.level, skill.after_s, skill.service_factor)
            table[g, model.queue_index(skill.queue)] = row
    return table


def _routes(model: CentreModel) -> tuple[Floats, Ints]:
    """The right queue first: who is misrouted by a good front end is so by a worse one as well."""
    shape = (len(model.needs), len(model.queues))
    p, to = np.ones(shape), np.zeros(shape, np.int64)
    for n, need in enumerate(model.needs):
        right = model.queue_index(need.queue)
        order = [right, *(q for q in range(shape[1]) if q != right)]
        to[n] = order
        if model.front_end.routing is not None:
            row = np.cumsum([model.front_end.routing[n][q] for q in order])
            p[n] = row / row[-1]
            # a sum that rounds below 1 must not fall through to a queue of probability 0
            p[n, np.flatnonzero(np.diff(row, prepend=0.0))[-1] :] = 1.0
    return p, to


def _rates(model: CentreModel) -> tuple[Floats, Floats]:
    arrivals = model.arrivals
    if isinstance(arrivals, Trace):
        return np.zeros(1), np.ones((1, len(model.needs)))
    per_s = np.array(arrivals.per_hour, np.float64) / 3600
    rates = per_s.sum(axis=1)
    shares = np.cumsum(per_s, axis=1) / np.where(rates > 0, rates, 1.0)[:, None]
    for row, rate in zip(shares, per_s, strict=True):
        if rate.any():
            row[np.flatnonzero(rate)[-1] :] = 1.0
    return rates, shares


def _steps(model: CentreModel) -> Iterator[tuple[float, int, int]]:
    """(time in the period, group, agents from then on), ascending; each group starts at 0."""
    found = []
    for g, group in enumerate(model.groups):
        cuts = {0.0}
        for shift in group.shifts:
            cuts |= {shift.from_s, shift.to_s % model.period_s}
        last = -1
        for at_s in sorted(cuts):
            agents = sum(
                shift.agents
                for shift in group.shifts
                if shift.from_s <= at_s < shift.to_s or at_s + model.period_s < shift.to_s
            )
            if agents != last or at_s == 0.0:
                found.append((at_s, g, agents))
            last = agents
    yield from sorted(found)


def _trace(arrivals: ArrivalRates | Trace) -> Records:
    if not isinstance(arrivals, Trace):
        return np.zeros(0, _CALL)
    rows = np.zeros(len(arrivals.arrival_s), _CALL)
    rows["arrival_s"], rows["need"] = arrivals.arrival_s, arrivals.need
    rows["service_s"] = math.nan if arrivals.service_s is None else arrivals.service_s
    rows["patience_s"] = math.nan if arrivals.patience_s is None else arrivals.patience_s
    return rows


def new_state(model: CentreModel, tables: Tables, *, slots: int = 256) -> State:
    """An empty call centre at 0 s."""
    clock = np.zeros(1, _CLOCK)
    clock["free"] = -1
    lines = np.zeros(len(tables.lines), _LINE_STATE)
    lines["head"] = lines["tail"] = -1
    state = State(
        clock, np.zeros(0, _SLOT), np.zeros(0, _HEAP), lines,
        np.zeros(len(model.groups), _GROUP_STATE),
    )  # fmt: skip
    return grown(state, slots)


def grown(state: State, more: int) -> State:
    """The same state with room for ``more`` live calls; the new slots are free."""
    old = len(state.slots)
    slots = np.concatenate([state.slots, np.zeros(more, _SLOT)])
    slots["pos"][old:] = -1
    slots["next"][old:] = np.arange(old + 1, old + more + 1)
    slots["next"][-1] = state.clock["free"][0]
    state.clock["free"] = old
    heap = np.concatenate([state.heap, np.zeros(more, _HEAP)])
    return state._replace(slots=slots, heap=heap)


def new_sums(model: CentreModel, *, call_log: int = 0, work_log: int = 0) -> Sums:
    """Nothing measured yet; the logs have room for so many lines."""
    needs, queues = len(model.needs), len(model.queues)
    return Sums(
        calls=np.zeros(needs, CALL_COUNTS),
        wait=np.zeros((needs, BINS), np.int64),
        to_agent=np.zeros((needs, BINS), np.int64),
        queues=np.zeros(queues, QUEUE_COUNTS),
        queue_wait=np.zeros((queues, BINS), np.int64),
        intervals=np.zeros((model.intervals, queues), INTERVAL_COUNTS),
        call_log=np.zeros(call_log, CALL_LOG),
        work_log=np.zeros(work_log, WORK_LOG),
    )
