"""Exact formulas of a single pool of agents: Erlang B, C and A.

Calls arrive at random at a constant rate (Poisson), service times are exponential, agents are
alike, and callers are served in the order in which they came.

* Erlang B (M/M/c/c): nobody can wait. A. K. Erlang (1917), "Solution of some problems in the theory
  of probabilities of significance in automatic telephone exchanges".
* Erlang C (M/M/c): everybody waits for ever. The same paper.
* Erlang A (M/M/c+M): callers abandon after an exponential patience. C. Palm (1957), "Research on
  telephone traffic carried by full availability groups"; O. Garnett, A. Mandelbaum and M. Reiman
  (2002), "Designing a call center with impatient customers".

Erlang A is the birth-death chain of the number of callers, summed in log space, so that it neither
overflows nor loses digits with thousands of agents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from ivr.errors import SimulationError

__all__ = ["Pool", "erlang_a", "erlang_b", "erlang_c", "expected_wait_s", "pool_measures"]

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 46.0  # natural log of 1e20: states rarer than that add nothing to a double
_MOST_STATES = 20_000_000
_MOST_AGENTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What a pool of agents gives its callers, in the long run.

    ``mean_wait_s``: over all callers, with the waits of those who abandon. ``p_wait``: share that
    does not find an idle agent. ``service_level``: share of all callers that is answered within
    ``within_s``. ``abandoned``: share that abandons. ``utilisation``: share of the agents' time on
    calls. ``mean_queue_length``: callers who wait, on average.
    """

    mean_wait_s: float
    p_wait: float
    service_level: float
    abandoned: float
    utilisation: float
    mean_queue_length: float
    within_s: float


def erlang_b(erlangs: float, agents: int) -> float:
    """Erlang B: the share of calls that find all ``agents`` busy and are lost.

    ``erlangs``: offered load, arrivals a second times the mean service time in seconds. By the
    recursion B(n) = a B(n-1) / (n + a B(n-1)), which is stable.

    Raises :class:`SimulationError` for a negative load or number of agents.
    """
    _check(erlangs >= 0 and math.isfinite(erlangs), f"an offered load of {erlangs:g} erlangs")
    _check(0 <= agents <= _MOST_AGENTS, f"{agents} agents")
    blocked = 1.0
    for n in range(1, agents + 1):
        blocked = erlangs * blocked / (n + erlangs * blocked)
    return blocked


def erlang_c(per_hour: float, aht_s: float, agents: int, *, within_s: float = 15.0) -> Pool:
    """Erlang C: callers wait as long as it takes.

    ``per_hour``: calls an hour; ``aht_s``: mean handling time (talk and wrap-up), seconds.

    Raises :class:`SimulationError` where the agents cannot keep up, or a number is out of range.
    """
    _check_pool(per_hour, aht_s, agents, within_s)
    erlangs = per_hour / 3600 * aht_s
    if erlangs >= agents:
        raise SimulationError(
            f"{agents} agents cannot keep up with {erlangs:.6g} erlangs of calls, and the queue "
            f"would grow for ever: it takes at least {math.floor(erlangs) + 1} agents, or say how "
            "long callers wait before they give up (patience)"
        )
    blocked = erlang_b(erlangs, agents)
    p_wait = blocked / (1 - erlangs / agents * (1 - blocked))
    spare = (agents - erlangs) / aht_s  # calls a second that the agents could serve on top
    mean_wait_s = p_wait / spare
    return Pool(
        mean_wait_s=mean_wait_s,
        p_wait=p_wait,
        service_level=1 - p_wait * math.exp(-spare * within_s),
        abandoned=0.0,
        utilisation=erlangs / agents,
        mean_queue_length=per_hour / 3600 * mean_wait_s,
        within_s=within_s,
    )


def erlang_a(
    per_hour: float, aht_s: float, agents: int, *, patience_s: float, within_s: float = 15.0
) -> Pool:
    """Erlang A: callers abandon after an exponential patience with mean ``patience_s``.

    Whoever finds j callers waiting is served after j + 1 departures from the queue, of rates
    c/aht + k/patience for k = 0 … j, if patient that long. The chance of both within a time T is
    (c/aht) / (c/aht + (j+1)/patience) times that of a sum of exponentials with rates
    c/aht + k/patience, k = 1 … j+1, staying below T; exp(-sum/patience) has a beta distribution.

    Raises :class:`SimulationError` where a number is out of range.
    """
    _check_pool(per_hour, aht_s, agents, within_s)
    _check(0 < patience_s < math.inf, f"a patience of {patience_s:g} s")
    if per_hour == 0:
        return _nobody(within_s)
    arrive, serve, leave = per_hour / 3600, 1 / aht_s, 1 / patience_s
    p = _chain(arrive, serve, leave, agents)
    queue = np.arange(len(p) - agents, dtype=np.float64)  # callers waiting, in states c, c+1, …
    waiting = p[agents:]
    length = float(queue @ waiting)
    busy = float(np.minimum(np.arange(len(p)), agents) @ p)
    served = agents * serve / (agents * serve + (queue + 1) * leave)
    soon = 1 - betainc(agents * serve / leave + 1, queue + 1, math.exp(-leave * within_s))
    return Pool(
        mean_wait_s=length / arrive,
        p_wait=float(waiting.sum()),
        service_level=float(p[:agents].sum() + waiting @ (served * soon)),
        abandoned=length * leave / arrive,
        utilisation=busy / agents,
        mean_queue_length=length,
        within_s=within_s,
    )


def pool_measures(
    per_hour: float,
    aht_s: float,
    agents: int,
    *,
    patience_s: float | None = None,
    within_s: float = 15.0,
) -> Pool:
    """Erlang A where a patience is given, else Erlang C."""
    if patience_s is None or patience_s == math.inf:
        return erlang_c(per_hour, aht_s, agents, within_s=within_s)
    return erlang_a(per_hour, aht_s, agents, patience_s=patience_s, within_s=within_s)


def expected_wait_s(
    ahead: int, aht_s: float, agents: int, *, patience_s: float | None = None
) -> float:
    """The mean wait of a patient caller who joins behind ``ahead`` others, all agents busy.

    The sum of 1 / (c/aht + k/patience) for k = 0 … ahead: W. Whitt (1999), "Predicting queueing
    delays".

    Raises :class:`SimulationError` where a number is out of range.
    """
    _check_pool(0.0, aht_s, agents, 0.0)
    _check(ahead >= 0, f"{ahead} callers ahead")
    if patience_s is None or patience_s == math.inf:
        return (ahead + 1) * aht_s / agents
    _check(patience_s > 0, f"a patience of {patience_s:g} s")
    return float(np.sum(1 / (agents / aht_s + np.arange(ahead + 1) / patience_s)))


def _chain(arrive: float, serve: float, leave: float, agents: int) -> Floats:
    """Stationary probabilities of 0, 1, … callers in the system, as far as they matter."""
    crowd = max(0.0, arrive - agents * serve) / leave  # where the queue stops growing
    states = agents + int(crowd + 10 * math.sqrt(arrive / leave + 1)) + 100
    while True:
        if states > _MOST_STATES:
            raise SimulationError(
                "with this overload and patience millions of callers would wait; "
                "give more agents or a shorter patience"
            )
        n = np.arange(1, states + 1, dtype=np.float64)
        down = np.minimum(n, agents) * serve + np.maximum(n - agents, 0) * leave
        log_p = np.concatenate([[0.0], np.cumsum(np.log(arrive) - np.log(down))])
        if log_p[-1] < log_p.max() - _NEGLIGIBLE:
            p = np.exp(log_p - log_p.max())
            return np.asarray(p / p.sum(), np.float64)
        states *= 2


def _nobody(within_s: float) -> Pool:
    return Pool(
        mean_wait_s=0.0,
        p_wait=0.0,
        service_level=1.0,
        abandoned=0.0,
        utilisation=0.0,
        mean_queue_length=0.0,
        within_s=within_s,
    )


def _check_pool(per_hour: float, aht_s: float, agents: int, within_s: float) -> None:
    _check(0 <= per_hour < math.inf, f"{per_hour:g} arrivals an hour")
    _check(0 < aht_s < math.inf, f"a mean handling time of {aht_s:g} s")
    _check(1 <= agents <= _MOST_AGENTS, f"{agents} agents")
    _check(0 <= within_s < math.inf, f"an answer within {within_s:g} s")


def _check(right: bool, what: str) -> None:
    if not right:
        raise SimulationError(f"{what} cannot be computed with; give a number above zero in reason")
