"""What is simulated: a call centre with several queues, as frozen dataclasses.

A call goes this way::

    arrival ─▶ front end ─▶ queue ─▶ agent ─▶ wrap-up
                  │           │        └─ not the right one: transfer ─▶ queue of the need ─▶ …
                  │           ├─ patience ends: abandoned ─▶ perhaps redials
                  │           └─ offered a call-back ─▶ keeps the place, hangs up
                  └─ contained (served by the machine), or hangs up there

Times are seconds. All patterns in time (arrival rates, shifts, opening hours) are given for one
*period* from 0 to ``period_s`` (a day, a week, a part of a day) and repeat until ``length_s``.
After that nobody arrives any more; who still waits is served by the shifts of one more period.
A run starts empty.

Who takes what:

* A call that joins a queue goes to an idle agent: of the groups that have the queue among their
  skills and may take it at once, the one with the lowest ``level``; then the one with the smallest
  share of busy agents; then the first.
* An agent who becomes free takes, of all calls that the group may take, the one with the lowest
  priority number, and of these the one that has waited longest.
* A shift that ends sends idle agents home at once and busy ones when their call is wrapped up.
* An agent whose group has the skill for the caller's true need serves the caller, whichever queue
  the call came through. Another one spends ``Transfer.seconds`` and passes the caller on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ivr.errors import SimulationError
from ivr.queues.simulation.distributions import NEVER, NOTHING, Constant, Distribution, Exponential

__all__ = [
    "DAY_S",
    "ArrivalRates",
    "CallBack",
    "CentreModel",
    "FrontEnd",
    "Group",
    "Need",
    "Queue",
    "Redial",
    "Shift",
    "Skill",
    "Trace",
    "Transfer",
]

DAY_S = 86400.0

Floats = npt.NDArray[np.float64]
Span = tuple[float, float]

_WRONG_AGENT = Constant(45.0)  # finds out what it is about and passes the caller on
_BEFORE_REDIAL = Exponential(300.0)
_RINGING = Constant(30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue that callers wait in.

    ``priority``: the lower, the sooner served, as in ``config/queues.yaml``. ``hours_s``: spans of
    the period in which calls may join; None: always. Who comes outside goes to the queue
    ``closed_to``, or hears that it is closed and the call is over. Callers who wait when the queue
    closes go on waiting.
    """

    name: str
    priority: int = 5
    hours_s: tuple[Span, ...] | None = None
    closed_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a caller needs: the queue whose agents can serve it, and how long that takes them."""

    name: str
    queue: str
    service: Distribution
    wrap_up: Distribution = NOTHING
    patience: Distribution = NEVER
    priority: int | None = None  # before the priority of the queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A group may take calls of ``queue``.

    ``level``: groups of a lower level are chosen first. ``after_s``: overflow, only calls that have
    waited so many seconds in this queue. ``service_factor``: how many times as long these agents
    take.
    """

    queue: str
    level: int = 0
    after_s: float = 0.0
    service_factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """``agents`` work from ``from_s`` to ``to_s`` of the period.

    A shift may run past the end of the period (a night shift): it goes on in the next one, and the
    first period begins with it.
    """

    from_s: float
    to_s: float
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Agents with the same skills."""

    name: str
    skills: tuple[Skill, ...]
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalRates:
    """A Poisson process with piecewise constant rates.

    ``per_hour[i][n]``: calls an hour with need n in the interval i of the period. ``busyness_cv``:
    coefficient of variation of a factor (lognormal, mean 1) that is drawn for each period and
    multiplies its rates; 0 for a plain Poisson process. Real days vary more than Poisson
    (Avramidis, Deslauriers and L'Ecuyer, 2004, "Modeling daily arrivals to a telephone call
    center").
    """

    per_hour: tuple[tuple[float, ...], ...]
    interval_s: float = 1800.0
    busyness_cv: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Given calls, in order of arrival; arrays of one length, n.

    ``arrival_s`` float64 (n,), ascending; ``need`` integer (n,), index into ``CentreModel.needs``;
    ``service_s`` and ``patience_s`` float64 (n,), NaN where they are to be drawn from the need.
    """

    arrival_s: Floats
    need: npt.NDArray[np.int64]
    service_s: Floats | None = None
    patience_s: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """What hears the caller before a queue: a voice menu, speech navigation, or nothing.

    ``routing[n][q]``: the probability that a caller with need n is sent to queue q (rows sum to 1);
    None: always to the queue of the need. The shares are one for each need. ``asked_again``: spends
    ``again_seconds`` more. ``contained``: served by the machine, which takes ``contained_seconds``
    more. ``hung_up``: gives up in the front end after its seconds.
    """

    name: str = "none"
    seconds: Distribution = NOTHING
    routing: tuple[tuple[float, ...], ...] | None = None
    asked_again: tuple[float, ...] | None = None
    again_seconds: Distribution = NOTHING
    contained: tuple[float, ...] | None = None
    contained_seconds: Distribution = NOTHING
    hung_up: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What a misrouted call costs: ``seconds`` of the wrong agent, then the caller queues again.

    ``priority``: in the queue joined again; None: as anybody. ``keeps_place``: ordered there by the
    time of the first queue, not of the transfer. ``fresh_patience``: True: patience starts afresh;
    False: what was waited before is used up.
    """

    seconds: Distribution = _WRONG_AGENT
    priority: int | None = None
    keeps_place: bool = False
    fresh_patience: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Redial:
    """Who abandons rings again with ``probability`` after ``delay``, at most ``most`` times.

    A redial is a new call of the same caller: same need and service time, patience drawn anew.
    """

    probability: float = 0.0
    delay: Distribution = _BEFORE_REDIAL
    most: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBack:
    """Virtual hold: whoever joins behind a long wait may hang up and keep the place.

    Offered where the first caller of the queue has already waited ``offer_wait_s`` (the
    head-of-line delay; Ibrahim and Whitt, 2009, "Real-time delay estimation based on delay
    history"). Of those offered ``acceptance`` accept; when their turn comes they are rung,
    ``reached`` of them answer, and the agent loses ``no_answer`` on each of the others.
    """

    offer_wait_s: float
    acceptance: float
    reached: float = 1.0
    no_answer: Distribution = _RINGING
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreModel:
    """A whole call centre; see the head of this module for its rules.

    ``answer_within_s``: the wait that the share answered in time is counted by. ``warm_up_s``:
    calls that arrive before do not count (for a stationary queue; a day needs none).

    Raises :class:`~ivr.errors.SimulationError` with every fault that is found.
    """

    needs: tuple[Need, ...]
    queues: tuple[Queue, ...]
    groups: tuple[Group, ...]
    arrivals: ArrivalRates | Trace
    front_end: FrontEnd = field(default_factory=FrontEnd)
    transfer: Transfer = field(default_factory=Transfer)
    redial: Redial = field(default_factory=Redial)
    call_back: CallBack | None = None
    period_s: float = DAY_S
    length_s: float = DAY_S
    warm_up_s: float = 0.0
    answer_within_s: float = 15.0
    name: str = ""

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise SimulationError("this call centre cannot be simulated: " + "; ".join(faults))

    @property
    def intervals(self) -> int:
        """How many intervals of statistics a period has (those of the rates, else half hours)."""
        return max(1, math.ceil(self.period_s / self.interval_s - 1e-9))

    @property
    def interval_s(self) -> float:
        """Length of an interval of the statistics, seconds."""
        rates = self.arrivals
        return rates.interval_s if isinstance(rates, ArrivalRates) else min(1800.0, self.period_s)

    def queue_index(self, name: str) -> int:
        """The place of the queue ``name`` in ``queues``."""
        return [queue.name for queue in self.queues].index(name)


def _faults(model: CentreModel) -> Iterable[str]:
    for kind in ("needs", "queues", "groups"):
        names = [part.name for part in getattr(model, kind)]
        if not names:
            yield f"it has no {kind}"
        yield from (
            f"two {kind} are called {n!r}" for n in {n for n in names if names.count(n) > 1}
        )
    if not (0 < model.period_s < math.inf and 0 < model.length_s < math.inf):
        yield "period_s and length_s must be seconds above zero"
    if not 0 <= model.warm_up_s < model.length_s:
        yield "warm_up_s must be less than length_s"
    if not 0 <= model.answer_within_s < math.inf:
        yield "answer_within_s must be seconds, zero or more"
    yield from _need_and_queue_faults(model)
    for group in model.groups:
        yield from _group_faults(model, group)
    yield from _arrival_faults(model)
    yield from _front_end_faults(model)
    yield from _rule_faults(model)


def _finite(times: Distribution) -> bool:
    return math.isfinite(times.mean_s)


def _need_and_queue_faults(model: CentreModel) -> Iterable[str]:
    known = {queue.name for queue in model.queues}
    for need in model.needs:
        if need.queue not in known:
            yield f"the need {need.name!r} belongs to the queue {need.queue!r}, which is not there"
        if not (_finite(need.service) and _finite(need.wrap_up)):
            yield f"the service or wrap-up of the need {need.name!r} never ends"
    for queue in model.queues:
        if queue.closed_to is not None and queue.closed_to not in known - {queue.name}:
            yield f"{queue.name!r} closes to {queue.closed_to!r}, which is no other queue"
        for start, end in queue.hours_s or ():
            if not 0 <= start < end <= model.period_s:
                yield f"{queue.name!r} is open from {start} to {end} s, not within the period"


def _group_faults(model: CentreModel, group: Group) -> Iterable[str]:
    known = {queue.name for queue in model.queues}
    skills = [skill.queue for skill in group.skills]
    yield from (f"{group.name!r} has the skill {n!r}, no queue" for n in set(skills) - known)
    if len(skills) != len(set(skills)):
        yield f"{group.name!r} has the same skill twice"
    for skill in group.skills:
        if not (0 <= skill.after_s < math.inf and 0 < skill.service_factor < math.inf):
            yield f"the skill {skill.queue!r} of {group.name!r} has a negative time or factor"
    for shift in group.shifts:
        if shift.agents < 0 or not 0 <= shift.from_s < shift.to_s <= shift.from_s + model.period_s:
            yield f"{group.name!r} has a shift that is none: {shift}"
        elif shift.from_s >= model.period_s:
            yield f"a shift of {group.name!r} begins after the period: {shift}"


def _arrival_faults(model: CentreModel) -> Iterable[str]:
    arrivals, needs = model.arrivals, len(model.needs)
    if isinstance(arrivals, Trace):
        yield from _trace_faults(arrivals, needs)
        return
    if not 0 < arrivals.interval_s < math.inf:
        yield "the interval of the arrival rates must be seconds above zero"
    elif len(arrivals.per_hour) != model.intervals:
        yield f"the period has {model.intervals} intervals, not {len(arrivals.per_hour)} of rates"
    for row in arrivals.per_hour:
        if len(row) != needs or not all(0 <= rate < math.inf for rate in row):
            yield f"a row of arrival rates must have {needs} numbers, zero or more: {row}"
            return
    if not any(map(any, arrivals.per_hour)):
        yield "nobody calls: every arrival rate is zero"
    if not 0 <= arrivals.busyness_cv < math.inf:
        yield "busyness_cv must be zero or more"


def _trace_faults(trace: Trace, needs: int) -> Iterable[str]:
    calls = len(trace.arrival_s)
    if not calls:
        yield "the trace has no calls"
        return
    for name in ("need", "service_s", "patience_s"):
        column = getattr(trace, name)
        if column is not None and len(column) != calls:
            yield f"the trace has {calls} arrivals and {len(column)} entries of {name}"
            return
    if not np.all(np.isfinite(trace.arrival_s)) or np.any(np.diff(trace.arrival_s) < 0):
        yield "the arrivals of the trace are not in ascending order"
    elif trace.arrival_s[0] < 0:
        yield "the trace has an arrival before 0 s"
    if np.any((trace.need < 0) | (trace.need >= needs)):
        yield "the trace has a need that is not there"
    if trace.service_s is not None and np.any((trace.service_s < 0) | np.isinf(trace.service_s)):
        yield "the trace has a service time that is negative or infinite"
    if trace.patience_s is not None and np.any(trace.patience_s < 0):
        yield "the trace has a negative patience"


def _front_end_faults(model: CentreModel) -> Iterable[str]:
    front, needs, queues = model.front_end, len(model.needs), len(model.queues)
    for name in ("asked_again", "contained", "hung_up"):
        shares = getattr(front, name)
        if shares is not None and (len(shares) != needs or not all(0 <= p <= 1 for p in shares)):
            yield f"the front end's {name} must be {needs} shares from 0 to 1"
    for name in ("seconds", "again_seconds", "contained_seconds"):
        if not _finite(getattr(front, name)):
            yield f"the front end's {name} never end"
    if front.routing is None:
        return
    if len(front.routing) != needs or any(len(row) != queues for row in front.routing):
        yield f"the front end's routing must have {needs} rows (needs) of {queues} (queues)"
        return
    for need, row in zip(model.needs, front.routing, strict=True):
        if not all(0 <= p <= 1 + 1e-9 for p in row) or abs(sum(row) - 1) > 1e-6:
            yield f"the routing of {need.name!r} must be probabilities that sum to 1"


def _rule_faults(model: CentreModel) -> Iterable[str]:
    if not _finite(model.transfer.seconds):
        yield "a transfer never ends"
    if not (0 <= model.redial.probability <= 1 and model.redial.most >= 0):
        yield "the redial probability must be from 0 to 1, and most zero or more"
    if model.redial.most > 15:
        yield "a caller can redial 15 times at most"
    if not _finite(model.redial.delay):
        yield "the redial delay never ends"
    back = model.call_back
    if back is not None:
        if not (0 <= back.acceptance <= 1 and 0 <= back.reached <= 1 and back.offer_wait_s >= 0):
            yield "the shares of call-backs must be from 0 to 1, offer_wait_s zero or more"
        if not _finite(back.no_answer):
            yield "a call-back that is not answered never ends"
