"""What a simulation measures. Everything adds up, so that replications and parts can be merged.

A *call* is one dialling; who abandons and rings again makes a second call. Every call ends in
exactly one way, and these always hold::

    offered = contained + hung_up + closed + joined
    joined  = answered + abandoned + not_reached + unserved

The measures of calls (:class:`Calls`: in all, and by the caller's true need):

offered
    Calls that arrived, redials among them.
redials
    Those of them that are a renewed attempt.
contained
    Served by the machine; never joined a queue.
hung_up
    Gave up in the menu or the speech navigation.
closed
    Came to a queue out of its hours; never joined one.
joined
    Joined a queue to be served by an agent.
answered
    Reached an agent who could serve the need; by call-back as well.
answered_within
    Answered with a wait (all queues of the call together) of ``answer_within_s`` at most.
    ``service_level`` is their share of joined.
abandoned
    Left a queue before. ``abandonment`` is their share of joined. Their waits count.
call_backs
    Accepted to be called back; not_reached: did not answer then.
unserved
    Still waited at the end of the run.
misrouted
    Were sent to another queue than that of the need.
transfers
    Times that an agent passed a caller on. ``transfer_rate``: a call that joined.
asked_again
    Were asked again by the front end.
wait
    Seconds in queues, from joining to the right agent's answer, without talk to wrong agents; for
    those who abandon until they do, for the unserved until the end. Callers who accept a call-back
    do not wait on the line and are left out: they count in ``to_agent``. ``p_wait``: the share with
    a wait above zero.
to_agent
    Seconds from dialling to the answer of the right agent: front end, queues, wrong agents, and the
    time until a call-back. Over the answered. This is what a caller feels.
front_end
    Seconds in the front end, over all offered.
connection_rate
    answered / joined: who asked for an agent and got the right one.

The measures of a queue (:class:`QueueCalls`) count every *visit*: a transferred call visits two
queues, and an answer by a wrong agent is an answer there. ``mean_queue_length`` is the sum of waits
over time (Little's law). The measures of a group (:class:`GroupWork`): ``utilisation`` is the
time busy (talk, calls passed on, wrap-up, call-backs not answered) over the time at work, overtime
in both. The measures by interval (:class:`Intervals`) count a visit where it began.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ivr.queues.simulation.histogram import BINS, quantile_s

__all__ = ["Calls", "GroupWork", "Intervals", "QueueCalls", "RunResult", "merge"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Additive:
    """Dataclasses whose every field is added, one by one."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return type(self)(**{n: _sum(getattr(self, n), getattr(other, n)) for n in names})

    def measures(self) -> dict[str, float]:
        """All measures by name: counts, means, quantiles and shares."""
        counts = [f.name for f in fields(self) if f.type == "int"]  # type: ignore[arg-type]
        means = [n for n, value in vars(type(self)).items() if isinstance(value, property)]
        return {n: getattr(self, n) for n in counts} | {n: float(getattr(self, n)) for n in means}


def _sum(left: Any, right: Any) -> Any:
    if isinstance(left, Mapping):
        return {key: left[key] + right[key] for key in left}
    return left + right


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _no_bins() -> Ints:
    return np.zeros(BINS, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calls(_Additive):
    """Counts and sums over calls; histograms int64 (BINS,). NaN where nothing was counted."""

    offered: int = 0
    redials: int = 0
    contained: int = 0
    hung_up: int = 0
    closed: int = 0
    joined: int = 0
    answered: int = 0
    answered_within: int = 0
    abandoned: int = 0
    call_backs: int = 0
    not_reached: int = 0
    unserved: int = 0
    misrouted: int = 0
    transfers: int = 0
    asked_again: int = 0
    waited: int = 0
    answered_on_line: int = 0  # not by call-back
    wait_s: float = 0.0
    wait_answered_s: float = 0.0
    wait_abandoned_s: float = 0.0
    to_agent_s: float = 0.0
    front_end_s: float = 0.0
    agent_s: float = 0.0  # time of agents that these calls took, wrap-up among it
    wait_histogram: Ints = field(default_factory=_no_bins)
    to_agent_histogram: Ints = field(default_factory=_no_bins)

    @property
    def waits(self) -> int:
        """Over how many calls the wait is taken."""
        return int(self.wait_histogram.sum())

    @property
    def mean_wait_s(self) -> float:
        """Mean wait in queue, abandoned among them."""
        return _ratio(self.wait_s, self.waits)

    @property
    def median_wait_s(self) -> float:
        """Median wait in queue."""
        return self.wait_quantile_s(0.5)

    @property
    def p95_wait_s(self) -> float:
        """95th percentile of the wait in queue."""
        return self.wait_quantile_s(0.95)

    def wait_quantile_s(self, share: float) -> float:
        """The wait that ``share`` of the callers do not exceed."""
        return quantile_s(self.wait_histogram, share)

    @property
    def mean_wait_answered_s(self) -> float:
        """Mean wait of those who were answered, call-backs left out."""
        return _ratio(self.wait_answered_s, self.answered_on_line)

    @property
    def mean_wait_abandoned_s(self) -> float:
        """Mean wait of those who abandoned."""
        return _ratio(self.wait_abandoned_s, self.abandoned)

    @property
    def mean_to_agent_s(self) -> float:
        """Mean time from dialling to the right agent."""
        return _ratio(self.to_agent_s, self.answered)

    @property
    def median_to_agent_s(self) -> float:
        """Median time from dialling to the right agent."""
        return quantile_s(self.to_agent_histogram, 0.5)

    @property
    def p95_to_agent_s(self) -> float:
        """95th percentile of the time from dialling to the right agent."""
        return quantile_s(self.to_agent_histogram, 0.95)

    @property
    def mean_front_end_s(self) -> float:
        """Mean time in the front end."""
        return _ratio(self.front_end_s, self.offered)

    @property
    def p_wait(self) -> float:
        """Share of callers who waited at all."""
        return _ratio(self.waited, self.waits)

    @property
    def service_level(self) -> float:
        """Share of those who joined a queue that were answered in time."""
        return _ratio(self.answered_within, self.joined)

    @property
    def abandonment(self) -> float:
        """Share of those who joined a queue that abandoned."""
        return _ratio(self.abandoned, self.joined)

    @property
    def connection_rate(self) -> float:
        """Share of those who joined a queue that reached the right agent."""
        return _ratio(self.answered, self.joined)

    @property
    def transfer_rate(self) -> float:
        """Transfers a call that joined a queue."""
        return _ratio(self.transfers, self.joined)

    @property
    def containment(self) -> float:
        """Share of the calls that the machine served."""
        return _ratio(self.contained, self.offered)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueueCalls(_Additive):
    """Counts and sums over the visits to one queue; histogram int64 (BINS,)."""

    length_s: float = 0.0  # simulated time that counts
    joined: int = 0
    closed: int = 0  # turned away out of hours
    answered: int = 0
    answered_within: int = 0
    abandoned: int = 0
    call_backs: int = 0
    not_reached: int = 0
    unserved: int = 0
    transferred: int = 0  # answered, and passed on
    overflowed: int = 0  # answered by a group whose skill has a delay
    waited: int = 0
    wait_s: float = 0.0
    wait_histogram: Ints = field(default_factory=_no_bins)

    @property
    def waits(self) -> int:
        """Over how many visits the wait is taken."""
        return int(self.wait_histogram.sum())

    @property
    def mean_wait_s(self) -> float:
        """Mean wait in this queue, abandoned among them."""
        return _ratio(self.wait_s, self.waits)

    @property
    def median_wait_s(self) -> float:
        """Median wait in this queue."""
        return quantile_s(self.wait_histogram, 0.5)

    @property
    def p95_wait_s(self) -> float:
        """95th percentile of the wait in this queue."""
        return quantile_s(self.wait_histogram, 0.95)

    @property
    def p_wait(self) -> float:
        """Share of visits that waited at all."""
        return _ratio(self.waited, self.waits)

    @property
    def service_level(self) -> float:
        """Share of visits that some agent answered in time."""
        return _ratio(self.answered_within, self.joined)

    @property
    def abandonment(self) -> float:
        """Share of visits that were abandoned."""
        return _ratio(self.abandoned, self.joined)

    @property
    def connection_rate(self) -> float:
        """Share of visits that some agent answered."""
        return _ratio(self.answered, self.joined)

    @property
    def mean_queue_length(self) -> float:
        """Mean number of callers who wait on the line."""
        return _ratio(self.wait_s, self.length_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWork(_Additive):
    """What a group of agents did; seconds are summed over its agents."""

    answered: int = 0
    passed_on: int = 0
    busy_s: float = 0.0
    staffed_s: float = 0.0

    @property
    def utilisation(self) -> float:
        """Share of the time at work that the agents were busy."""
        return _ratio(self.busy_s, self.staffed_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals(_Additive):
    """Visits by interval of the period and queue; arrays (intervals, queues)."""

    joined: Ints
    answered: Ints
    answered_within: Ints
    abandoned: Ints
    wait_s: Floats

    @property
    def service_level(self) -> Floats:
        """Share answered in time, float64 (intervals, queues); NaN where nobody came."""
        with np.errstate(invalid="ignore"):
            return self.answered_within / self.joined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult(_Additive):
    """The statistics of one run, or of several merged.

    ``callers``: a sum over all callers of what is fixed for each (arrival, need, service time,
    patience); two arms of a comparison have the same one, or they were not the same callers.
    """

    calls: Calls
    needs: Mapping[str, Calls]
    queues: Mapping[str, QueueCalls]
    groups: Mapping[str, GroupWork]
    intervals: Intervals
    length_s: float
    replications: int
    callers: int


def merge(results: Iterable[RunResult]) -> RunResult:
    """The results of several runs of models with the same needs, queues and groups, added up."""
    return reduce(lambda left, right: left + right, results)
