"""From call records to a scenario: arrivals, service times and patience, fitted and checked.

* **Arrivals**: calls by half hour over the days; the share of each need; with two weeks and more
  the days of the week. What days differ beyond Poisson's law is ``busyness_cv``.
* **Service**: lognormal by maximum likelihood, for each need; where the Kolmogorov-Smirnov distance
  is above :data:`CLOSE`, the empirical distribution is taken. The distance and not its p-value
  decides: of ten thousand calls every parametric law is refuted.
* **Patience**: who is answered had more patience than the wait, so their patience is censored. The
  product-limit estimate (Kaplan and Meier 1958, "Nonparametric estimation from incomplete
  observations"; :func:`scipy.stats.ecdf`), and the exponential law by maximum likelihood: all time
  waited over the number who gave up. Where they are nearer than :data:`CLOSE`, the exponential law
  is taken, else the estimate, continued beyond its last observation by the exponential's rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from ivr.errors import ConfigError
from ivr.queues.records import CallRecords, Floats
from ivr.queues.scenario import (
    HALF_HOUR_S,
    HALF_HOURS,
    WEEK,
    Arm,
    Day,
    NeedSpec,
    Scenario,
    Times,
    WeekDay,
)
from ivr.queues.simulation.model import DAY_S

__all__ = [
    "CLOSE",
    "ArrivalFit",
    "Fit",
    "PatienceFit",
    "ServiceFit",
    "fit_records",
    "fit_service",
    "fitted_scenario",
    "kaplan_meier",
    "patience_given_wait",
]

#: A distance between distribution functions above which the parametric law is not taken.
CLOSE = 0.05
FEWEST = 30  # of calls, below which nothing is fitted
_QUANTILES = 500
_TWO_WEEKS = 14


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalFit:
    """Calls by half hour of a day, float64 (48,), and what days differ."""

    per_half_hour: Floats  # mean over the days
    days: int
    busyness_cv: float
    week: dict[Day, float]  # factor of each day of the week; empty below two weeks
    shares: dict[str, float]  # of the needs
    #: variance over mean of half-hour counts, given the day's total: 1 for a Poisson process
    dispersion: float


@dataclass(frozen=True, slots=True)
class ServiceFit:
    """Service times of one need, s."""

    calls: int
    mean_s: float
    sd_s: float
    log_mean: float
    log_sd: float
    distance: float  # Kolmogorov-Smirnov, of the lognormal
    p_value: float  # optimistic, since the parameters were fitted
    times: Times  # what is simulated

    @property
    def taken(self) -> str:
        """``lognormal`` or ``empirical``."""
        return "empirical" if self.times.empirical_s else "lognormal"


@dataclass(frozen=True, slots=True, eq=False)
class PatienceFit:
    """Patience, s, from waits that end in giving up (observed) or in an answer (censored)."""

    abandoned: int
    censored: int
    median_s: float  # Kaplan-Meier; NaN where fewer than half give up at any time
    mean_s: float  # exponential
    distance: float  # largest, between the two
    at_s: Floats  # (n,) ascending, where the estimate steps
    survival: Floats  # (n,) the share with more patience
    times: Times

    @property
    def taken(self) -> str:
        """``exponential`` or ``empirical``."""
        return "empirical" if self.times.empirical_s else "exponential"


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """All that was fitted of a file of records."""

    records: CallRecords
    arrivals: ArrivalFit
    service: dict[str, ServiceFit]
    patience: PatienceFit


def fit_records(records: CallRecords) -> Fit:
    """Fit arrivals, service times and patience.

    Raises:
        ConfigError: too few calls were answered or given up.
    """
    answered = ~records.abandoned
    if answered.sum() < FEWEST or records.abandoned.sum() < FEWEST:
        raise ConfigError(
            f"{records.name}: {int(answered.sum())} calls were answered and "
            f"{int(records.abandoned.sum())} given up; at least {FEWEST} of each are needed to fit "
            "service times and patience: give records of more days"
        )
    pooled = records.service_s[answered]
    service = {}
    for n, id_ in enumerate(records.ids):
        own = records.service_s[answered & (records.need == n)]
        service[id_] = fit_service(own if len(own) >= FEWEST else pooled)
    return Fit(
        records=records,
        arrivals=_arrivals(records),
        service=service,
        patience=kaplan_meier(records.wait_s, records.abandoned),
    )


# --- arrivals -------------------------------------------------------------------------------


def _arrivals(records: CallRecords) -> ArrivalFit:
    slots = (records.arrived_s // HALF_HOUR_S).astype(int)
    counts = np.bincount(slots, minlength=records.days * HALF_HOURS).reshape(-1, HALF_HOURS)
    totals = counts.sum(axis=1)
    first = records.first_day.weekday()
    weekdays = (first + np.arange(records.days)) % 7
    week: dict[Day, float] = {}
    if records.days >= _TWO_WEEKS:
        week = {WEEK[d]: float(totals[weekdays == d].mean() / totals.mean()) for d in range(7)}
    expected = np.array([week.get(WEEK[d], 1.0) for d in weekdays]) * totals.mean()
    shares = np.bincount(records.need, minlength=len(records.ids)) / len(records)
    return ArrivalFit(
        per_half_hour=counts.mean(axis=0),
        days=records.days,
        busyness_cv=_beyond_poisson(totals, expected),
        week=week,
        shares={id_: float(share) for id_, share in zip(records.ids, shares, strict=True)},
        dispersion=_dispersion(counts),
    )


def _beyond_poisson(totals: Floats, expected: Floats) -> float:
    """Coefficient of variation of the days, less what chance alone gives."""
    if len(totals) < 3:
        return 0.0
    variance = float(np.sum((totals - expected) ** 2) / (len(totals) - 1))
    excess = variance - float(expected.mean())
    return math.sqrt(max(0.0, excess)) / float(expected.mean())


def _dispersion(counts: npt.NDArray[np.int64]) -> float:
    """Pearson's statistic of a table days x half hours over its degrees of freedom."""
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape, default=0) < 2:
        return math.nan
    return float(stats.chi2_contingency(counts).statistic / np.prod(np.array(counts.shape) - 1))


# --- service --------------------------------------------------------------------------------


def fit_service(seconds: Floats) -> ServiceFit:
    """The lognormal law of service times (n,), and how near it is.

    Times of less than a second are taken as one: their logarithm says nothing.
    """
    seconds = np.maximum(seconds, 1.0)
    logs = np.log(seconds)
    log_mean, log_sd = float(logs.mean()), float(logs.std())
    if log_sd > 0:
        test = stats.kstest(logs, "norm", args=(log_mean, log_sd))
        distance, p_value = float(test.statistic), float(test.pvalue)
    else:
        distance, p_value = 1.0, 0.0
    near = distance <= _close(len(seconds))
    times = (
        Times(log_mean=log_mean, log_sd=log_sd) if near else Times(empirical_s=_quantiles(seconds))
    )
    return ServiceFit(
        calls=len(seconds),
        mean_s=float(seconds.mean()),
        sd_s=float(seconds.std()),
        log_mean=log_mean,
        log_sd=log_sd,
        distance=distance,
        p_value=p_value,
        times=times,
    )


def _close(observations: int) -> float:
    """What is near: :data:`CLOSE`, or what chance gives so few (critical value at 5 %)."""
    return max(CLOSE, 1.358 / math.sqrt(observations))


def _quantiles(seconds: Floats) -> tuple[float, ...]:
    """The values themselves, or as many quantiles of them as are enough, with the same mean."""
    if len(seconds) <= _QUANTILES:
        return tuple(map(float, np.sort(seconds)))
    parts = np.array_split(np.sort(seconds), _QUANTILES)
    return tuple(float(part.mean()) for part in parts)


# --- patience -------------------------------------------------------------------------------


def kaplan_meier(wait_s: Floats, abandoned: npt.NDArray[np.bool_]) -> PatienceFit:
    """Patience from waits (n,) and who gave up (n,) bool; the others are censored.

    Raises:
        ConfigError: nobody gave up.
    """
    gave_up, answered = wait_s[abandoned], wait_s[~abandoned]
    if not len(gave_up):
        raise ConfigError("nobody gave up waiting: patience cannot be fitted; state it instead")
    found = stats.ecdf(stats.CensoredData(uncensored=gave_up, right=answered)).sf
    at_s, survival = np.asarray(found.quantiles), np.asarray(found.probabilities)
    mean_s = float(wait_s.sum() / len(gave_up))
    before = np.concatenate([[1.0], survival[:-1]])
    law = np.exp(-at_s / mean_s)
    at_risk = len(wait_s) - np.searchsorted(np.sort(wait_s), at_s)
    seen = (at_s <= gave_up.max()) & (at_risk >= min(FEWEST, len(wait_s)))  # the tail is noise
    distance = float(
        np.maximum(np.abs(survival - law), np.abs(before - law))[seen].max(initial=0.0)
    )
    half = np.flatnonzero(survival <= 0.5)
    near = distance <= _close(len(gave_up))
    return PatienceFit(
        abandoned=len(gave_up),
        censored=len(answered),
        median_s=float(at_s[half[0]]) if len(half) else math.nan,
        mean_s=mean_s,
        distance=distance,
        at_s=at_s,
        survival=survival,
        times=Times(exponential_s=mean_s)
        if near
        else Times(empirical_s=_patience_quantiles(at_s, survival, mean_s)),
    )


def _patience_quantiles(at_s: Floats, survival: Floats, mean_s: float) -> tuple[float, ...]:
    uniform = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return tuple(map(float, _quantile(at_s, survival, mean_s, 1 - uniform)))


def _quantile(at_s: Floats, survival: Floats, mean_s: float, left: Floats) -> Floats:
    """The patience that the share ``left`` (n,) exceeds; by the exponential law past the end."""
    place = np.searchsorted(-survival, -left, side="left")  # first step at or below ``left``
    inside = place < len(at_s)
    last = max(float(survival[-1]), 1e-12)
    beyond = at_s[-1] + mean_s * np.log(last / np.minimum(left, last))
    longest = DAY_S  # as a scenario allows
    return np.minimum(
        np.where(inside, at_s[np.minimum(place, len(at_s) - 1)], beyond), longest
    ).astype(np.float64)


def patience_given_wait(fit: PatienceFit, wait_s: Floats, rng: np.random.Generator) -> Floats:
    """Patience (n,) of callers who were answered after ``wait_s``: drawn above it."""
    if fit.taken == "exponential":
        drawn: Floats = wait_s + rng.exponential(fit.mean_s, len(wait_s))
        return drawn
    place = np.searchsorted(fit.at_s, wait_s, side="right") - 1
    alive = np.where(place >= 0, fit.survival[np.maximum(place, 0)], 1.0)
    left = alive * (1 - rng.random(len(wait_s)))
    return np.maximum(wait_s, _quantile(fit.at_s, fit.survival, fit.mean_s, left))


# --- the scenario ---------------------------------------------------------------------------


def fitted_scenario(scenario: Scenario, fit: Fit) -> Scenario:
    """The scenario with what was fitted in place of what it states.

    Agents, arms and rules stay; the first day is that of the records.

    Raises:
        ConfigError: the records have a queue that no agent of the scenario answers.
    """
    _check_queues(scenario, fit.records)
    arrivals, callers = fit.arrivals, scenario.file.callers
    needs = {
        id_: NeedSpec(
            share=arrivals.shares[id_],
            service=fit.service[id_].times,
            wrap_up=callers.needs[id_].wrap_up if id_ in callers.needs else None,
        )
        for id_ in fit.records.ids
    }
    stated = scenario.file.week
    week = {
        day: WeekDay(calls=arrivals.week[day], agents=stated[day].agents if day in stated else 1.0)
        for day in WEEK
        if day in arrivals.week
    }
    file = scenario.file.model_copy(
        update={
            "calls": scenario.file.calls.model_copy(
                update={
                    "a_day": float(arrivals.per_half_hour.sum()),
                    "profile": tuple(map(float, arrivals.per_half_hour)),
                    "busyness_cv": arrivals.busyness_cv,
                }
            ),
            "week": week or scenario.file.week,
            "callers": callers.model_copy(
                update={"needs": needs, "patience": fit.patience.times, "redial": None}
            ),
            "study": scenario.file.study.model_copy(
                update={"weekday": WEEK[fit.records.first_day.weekday()]}
            ),
            "before": _before(scenario, fit.records),
        }
    )
    return replace(scenario, file=file)


def _check_queues(scenario: Scenario, records: CallRecords) -> None:
    answered = {skill.queue for group in scenario.file.agents for skill in group.all_skills}
    missing = [id_ for id_ in records.ids if id_ not in answered]
    if missing:
        raise ConfigError(
            f"{records.name}: calls for {', '.join(missing)}, which no group of agents in "
            f"{scenario.path} answers; add a group with that skill"
        )
    for named, navigation in scenario.navigation.items():
        unknown = [id_ for id_ in records.ids if id_ not in navigation.needs]
        if unknown:
            raise ConfigError(
                f"{records.name}: calls for {', '.join(unknown)}, which {named} has not measured; "
                "measure it on recordings of every need with ivr replay"
            )


def _before(scenario: Scenario, records: CallRecords) -> Arm:
    """With the misroutes of the records, where they know what callers needed."""
    arm, columns = scenario.file.before, scenario.file.call_records
    if arm.menu is None or columns is None or columns.need is None:
        return arm
    menu = arm.menu.model_copy(update={"misroute": records.misrouted})
    return arm.model_copy(update={"menu": menu})
