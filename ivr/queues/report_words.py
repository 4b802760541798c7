"""The figures of a study in words, for the table on the terminal and for the page alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ivr.queues.experiment import MEASURES, TARGET, Interval, Measure
from ivr.queues.experiment_staff import agent_hours
from ivr.queues.experiment_study import Study, verdict
from ivr.queues.records_fit import Fit
from ivr.queues.scenario import Arm, Times
from ivr.queues.scenario_model import scenario_model
from ivr.queues.simulation.distributions import Constant, Exponential, LogNormal, Never

__all__ = [
    "change_of",
    "fit_rows",
    "input_rows",
    "measure_words",
    "percent",
    "replay_rows",
    "summary",
    "target_words",
    "value_of",
]


#: Relative changes above it are of a base near zero and say less than seconds.
_LARGEST = 2.0


def percent(share: float, *, signed: bool = False, digits: int = 0) -> str:
    """``0.183`` as ``18 %``; ``–`` where there is none."""
    if not math.isfinite(share):
        return "–"
    sign = "+" if signed else ""
    return _minus(f"{100 * share:{sign}.{digits}f}") + " %"


def _minus(number: str) -> str:
    """With a real minus sign, and none before a zero."""
    if float(number.replace(",", "")) == 0:
        number = number.lstrip("+-")
    return number.replace("-", "−")


def value_of(measure: Measure, value: float) -> str:
    """A value with its unit."""
    if not math.isfinite(value):
        return "–"
    return percent(value, digits=1) if measure.unit == "%" else f"{value:.1f} s"


def change_of(measure: Measure, change: Interval, relative: Interval) -> str:
    """The change with its interval: of times relative, of shares in points."""
    if not math.isfinite(change.mean):
        return "–"
    if measure.unit == "%":
        ends = (change.low, change.high)
        middle = f"{_minus(f'{100 * change.mean:+.1f}')} points"
        shown = [_minus(f"{100 * end:+.1f}") for end in ends if math.isfinite(end)]
    elif abs(relative.mean) <= _LARGEST:
        middle = percent(relative.mean, signed=True)
        ends = (relative.low, relative.high)
        shown = [_minus(f"{100 * end:+.0f}") for end in ends if math.isfinite(end)]
    else:
        middle = f"{_minus(f'{change.mean:+.1f}')} s"
        ends = (change.low, change.high)
        shown = [_minus(f"{end:+.1f}") for end in ends if math.isfinite(end)]
    return (
        f"{middle} ({' to '.join(shown)})" if len(shown) == 2 and shown[0] != shown[1] else middle
    )


def measure_words(study: Study, measure: Measure) -> str:
    """What a measure is called."""
    return measure.words.format(answer_within_s=study.scenario.file.study.answer_within_s)


def target_words(study: Study) -> str:
    """The measure of the change that is asked for, as it stands in a sentence."""
    return "mean " + study.target.words.removesuffix(", mean")


def summary(study: Study) -> Iterator[str]:
    """The answer in a few sentences, for somebody who reads nothing else."""
    comparison = study.comparison
    figure = comparison.figure(TARGET)
    change = figure.relative
    met, of_target = verdict(study)
    target = study.scenario.file.study.target_change
    way = "sooner" if change.mean < 0 else "later"
    least, most = sorted((abs(change.low), abs(change.high)))
    between = (
        f" (between {percent(least)} and {percent(most)})"
        if change.low * change.high > 0
        else " (which may be chance)"
    )
    yield (
        f"Callers reach the right agent after {figure.after.mean:.0f} s on average, against "
        f"{figure.before.mean:.0f} s before: {percent(abs(change.mean))} {way}{between}."
    )
    yield _beside(study)
    yield _right_queue(study)
    more = "" if met == "reached" else _reached(study)
    yield (
        f"The {target_words(study)} changes by {percent(of_target.mean, signed=True)}; the change "
        f"asked for, {percent(target, signed=True)}, is {_MET[met]}.{more}"
    )
    if study.staff is not None:
        yield _staff(study)


_MET = {
    "reached": "reached",
    "missed": "not reached by this scenario",
    "uncertain": "neither reached nor missed for sure: simulate more replications",
}


def _beside(study: Study) -> str:
    """A wait can fall because callers leave, so what they do stands beside it."""
    left = study.comparison.figure("abandonment")
    served = study.comparison.figure("service_level")
    within_s = study.scenario.file.study.answer_within_s
    sooner = study.comparison.figure(TARGET).change.high < 0
    leaves = ""
    if sooner:
        more = left.change.low > 0
        leaves = (
            ": part of the shorter time comes from callers who leave"
            if more
            else ": the shorter time does not come from callers who leave"
        )
    return (
        f"{percent(left.after.mean, digits=1)} give up waiting, "
        f"{percent(left.before.mean, digits=1)} before{leaves}. "
        f"{percent(served.after.mean)} are answered within {within_s:g} s of joining a queue, "
        f"{percent(served.before.mean)} before."
    )


def _right_queue(study: Study) -> str:
    before, after = study.right_queue
    shown = [
        "all join one queue" if share is None else f"{percent(share)} are sent to the right queue"
        for share in (before, after)
    ]
    return f"Before, {shown[0]}; after, {shown[1]}{_recordings(study)}."


def _recordings(study: Study) -> str:
    speech = study.scenario.file.after.speech
    if speech is None:
        return ""
    measured = study.scenario.navigation[speech.navigation].measured
    return f"; this is measured on {measured.calls} recordings ({measured.recordings})"


def _reached(study: Study) -> str:
    reach = study.reach
    if reach is None:
        return ""
    found = reach.reached()
    if not found:
        closest = float(reach.change.min())
        return (
            f" Nothing on the map reaches it: the closest, with {percent(max(reach.accuracies))} "
            f"in the right queue and {percent(max(reach.containments))} served by the machine, is "
            f"{percent(closest, signed=True)}."
        )
    near = min(found, key=lambda pair: (abs(pair[0] - reach.measured), pair[1]))
    return (
        f" It takes {percent(near[1])} served by the machine, with {percent(near[0])} in the right "
        "queue."
    )


def _staff(study: Study) -> str:
    staff = study.staff
    assert staff is not None
    if not staff.found:
        return "Even a fifth more agents do not give the service of before."
    per = "a day" if staff.days == 1 else "a week"
    if staff.share <= 0:
        return (
            f"Equal service takes {staff.hours_needed - staff.hours_before:.0f} agent hours more "
            f"{per} ({percent(-staff.share, digits=1)})."
        )
    return (
        f"The service of before would take {staff.hours_before - staff.hours_needed:.0f} agent "
        f"hours less {per} ({percent(staff.share, digits=1)} of {staff.hours_before:.0f})."
    )


# --- what went in ---------------------------------------------------------------------------


def input_rows(study: Study) -> Iterator[tuple[str, str]]:
    """What the scenario says, in words: a reader must see what the answer was made from."""
    file = study.scenario.file
    callers, transfer = file.callers, file.transfer
    hours = agent_hours(scenario_model(study.scenario))
    period = "a day" if file.study.days == 1 and not file.week else "a week"
    yield "calls", f"{file.calls.a_day:,.0f} a day, for {len(callers.needs)} queues"
    yield "agents", f"{hours:,.0f} hours {period}; {percent(callers.simple)} of calls any can serve"
    own = any(need.service or need.wrap_up for need in callers.needs.values())
    talk = f"{_times(callers.service)}; {_times(callers.wrap_up)}"
    yield "talk, and work after it", "by queue" if own else talk
    yield "patience", _times(callers.patience)
    again = callers.redial.probability if callers.redial else 0.0
    yield "who gives up rings again", percent(again)
    after = "goes on" if transfer.patience == "goes_on" else "begins afresh"
    yield "wrong agent", f"{_times(transfer.seconds)}; patience {after} in the next queue"
    for side in ("before", "after"):
        arm: Arm = getattr(file, side)
        yield f"{side}: {arm.name or side}", _arm(study, arm)


def _times(times: Times) -> str:
    law = times.distribution
    if isinstance(law, Never):
        return "nobody gives up"
    kinds = {Constant: "", Exponential: ", exponential", LogNormal: ", lognormal"}
    return f"mean {law.mean_s:.0f} s{kinds.get(type(law), ', as recorded')}"


def _arm(study: Study, arm: Arm) -> str:
    queues = "one queue for all; " if arm.queues == "one" else ""
    served = f"; {percent(arm.contained)} served by the machine" if arm.contained else ""
    if arm.menu is not None:
        missed = "" if queues else f", {percent(arm.menu.misroute)} to a wrong queue"
        return f"{queues}{_times(arm.menu.seconds)} in the menu{missed}{served}"
    assert arm.speech is not None
    found = study.scenario.navigation[arm.speech.navigation]
    wrong, routed = found.wrong_of_routed()
    return (
        f"{queues}measured on {found.calls} recordings ({found.measured.recordings}, "
        f"{found.measured.date}): {percent(found.share('routed'))} routed at once ({wrong} of "
        f"{routed} wrongly), {percent(found.share('confirmed'))} asked a question, "
        f"{percent(found.share('asked_again'))} asked again{served}"
    )


# --- call records ---------------------------------------------------------------------------


def fit_rows(fit: Fit) -> Iterator[tuple[str, str, str]]:
    """What was fitted, how well, and what is simulated of it."""
    arrivals, patience = fit.arrivals, fit.patience
    yield (
        "calls",
        f"{len(fit.records):,} in {arrivals.days} days, {arrivals.per_half_hour.sum():,.0f} a day",
        f"by half hour; days differ by {percent(arrivals.busyness_cv)} beyond chance; half hours "
        f"{arrivals.dispersion:.2f} times as much as chance",
    )
    for id_, service in fit.service.items():
        yield (
            f"talk, {id_}",
            f"{service.calls:,} calls: mean {service.mean_s:.0f} s, SD {service.sd_s:.0f} s, "
            f"of logarithms {service.log_mean:.2f} and {service.log_sd:.2f}",
            f"{service.taken}; distance of the lognormal {service.distance:.3f} "
            f"(p {service.p_value:.2f})",
        )
    median = f"{patience.median_s:.0f} s" if math.isfinite(patience.median_s) else "not reached"
    yield (
        "patience",
        f"{patience.abandoned:,} gave up, {patience.censored:,} censored: Kaplan-Meier median "
        f"{median}, exponential mean {patience.mean_s:.0f} s",
        f"{patience.taken}; distance of the exponential {patience.distance:.3f}",
    )


def replay_rows(study: Study) -> Iterator[tuple[str, str, str, str, str]]:
    """The records, the same calls in both arms, and the fitted arm before."""
    replay = study.replay
    assert replay is not None
    for measure in MEASURES:
        if measure.name not in (TARGET, *replay.recorded):
            continue
        figure = replay.comparison.figure(measure.name)
        recorded = replay.recorded.get(measure.name, math.nan)
        yield (
            measure_words(study, measure),
            value_of(measure, recorded),
            value_of(measure, figure.before.mean),
            value_of(measure, figure.after.mean),
            value_of(measure, study.comparison.figure(measure.name).before.mean),
        )
