"""How far are the expected waits that callers are told from the waits that they have?

    python -m bench.live_waits

A day of the large scenario is simulated, with each caller in the right queue; its arrivals, answers
and hang-ups are reported to :class:`ivr.queues.live.ExpectedWaits` as the telephone system would,
and every caller who joins is told a wait. The truth is the caller's own wait; who gave up would
have been answered no later than the next caller who was. Beside it the same error of three other
predictors: the mean wait of the day, the wait of the last caller who was answered (Ibrahim and
Whitt 2009), and the callers waiting over the planned rate of answers. A second day has a fifth
fewer agents than planned, which nobody tells the predictor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from ivr.queues.experiment_staff import with_staff
from ivr.queues.live import ExpectedWaits, Plans, plans_of
from ivr.queues.scenario import Scenario, load_scenario
from ivr.queues.scenario_model import AFTER, scenario_model, with_accuracy
from ivr.queues.simulation.kernel import Outcome
from ivr.queues.simulation.model import CentreModel, FrontEnd
from ivr.queues.simulation.run import simulate_logged

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Told:
    """One caller: what was told by each predictor, and the truth; seconds."""

    truth_s: float
    told_s: dict[str, float]
    waited: bool  # somebody waited as the caller joined


def right_queues(scenario: Scenario) -> CentreModel:
    """The scenario's model where every caller joins the queue of the need at once."""
    model = with_accuracy(scenario, scenario_model(scenario, AFTER), 1.0)
    return replace(model, front_end=FrontEnd(routing=model.front_end.routing))


def one_day(scenario: Scenario, *, staff: float = 1.0, seed: int = 1) -> list[Told]:
    """Every caller of a simulated day with the waits told."""
    model = with_staff(right_queues(scenario), staff)
    _, log = simulate_logged(model, seed, calls=200_000)
    calls = [call for call in log.calls if call["outcome"] in (Outcome.ANSWERED, Outcome.ABANDONED)]
    midnight = datetime(2026, 11, 24, tzinfo=ZoneInfo(scenario.catalogue.timezone)).timestamp()
    found: list[Told] = []
    for name in [queue.name for queue in model.queues]:
        own = [call for call in calls if model.queues[call["queue"]].name == name]
        found += list(_queue(name, own, midnight, plans_of(scenario)))
    return found


def _queue(name: str, calls: list[np.void], midnight: float, plans: Plans) -> Iterator[Told]:
    truths = _truths(calls)
    events = [(float(c["arrival_s"]), 1, n) for n, c in enumerate(calls)]
    events += [(float(c["arrival_s"] + c["wait_s"]), 0 if c["wait_s"] > 0 else 2, n)
               for n, c in enumerate(calls)]  # fmt: skip
    waits, last_s, waiting = ExpectedWaits(plans), 0.0, 0
    mean_s = float(np.mean([c["wait_s"] for c in calls])) if calls else 0.0
    for at_s, kind, n in sorted(events):
        call, now_s = calls[n], midnight + at_s
        if kind == 1:
            plan, model_s = plans(name, now_s), waits.expected_wait_s(name, now_s)
            if plan is not None and model_s is not None and not math.isnan(truths[n]):
                rate = plan.agents / plan.aht_s
                told = {"model": model_s, "mean": mean_s, "last": last_s,
                        "plan": (waiting + 1) / rate if waiting else 0.0}  # fmt: skip
                yield Told(truths[n], told, waiting > 0)
            waits.arrived(name, now_s)
            waiting += 1
            continue
        waiting -= 1
        if call["outcome"] == Outcome.ANSWERED:
            waits.answered(name, now_s)
            last_s = float(call["wait_s"])
        else:
            waits.abandoned(name, now_s)


def _truths(calls: list[np.void]) -> list[float]:
    """What each caller waited, or would have: NaN where nobody after them was answered."""
    truths, next_s = [math.nan] * len(calls), math.nan
    order = sorted(range(len(calls)), key=lambda n: float(calls[n]["arrival_s"]))
    for n in reversed(order):
        call = calls[n]
        if call["outcome"] == Outcome.ANSWERED:
            next_s = float(call["arrival_s"] + call["wait_s"])
            truths[n] = float(call["wait_s"])
        else:
            truths[n] = max(float(call["wait_s"]), next_s - float(call["arrival_s"]))
    return truths


def errors(told: list[Told], predictor: str) -> tuple[float, float]:
    """Mean error and mean absolute error, s."""
    found = np.array([t.told_s[predictor] - t.truth_s for t in told])
    return float(found.mean()), float(np.abs(found).mean())


def main() -> None:
    """Print the errors."""
    scenario = load_scenario(ROOT / "config" / "scenarios" / "city.yaml")
    for title, staff in (("agents as planned", 1.0), ("a fifth fewer agents than planned", 0.8)):
        told = one_day(scenario, staff=staff)
        waiting = [t for t in told if t.waited]
        print(f"{title}: {len(told)} callers, mean wait "
              f"{np.mean([t.truth_s for t in told]):.1f} s; {len(waiting)} joined behind others, "
              f"mean wait {np.mean([t.truth_s for t in waiting]):.1f} s")  # fmt: skip
        base = errors(waiting, "model")[1]
        for name in ("model", "last", "plan", "mean"):
            bias, off = errors(told, name)
            bias_w, off_w = errors(waiting, name)
            print(f"  {name:6} all: error {bias:+6.1f} s, absolute {off:5.1f} s   behind others: "
                  f"error {bias_w:+6.1f} s, absolute {off_w:5.1f} s, {off_w / base:.2f} times the "
                  "model's")  # fmt: skip


if __name__ == "__main__":
    main()
