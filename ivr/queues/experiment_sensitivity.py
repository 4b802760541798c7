"""Which assumptions the answer hangs on: each moved alone, down and up, and ranked.

An assumption is moved in both arms where both have it (patience, service times, calls), so that
the comparison stays honest. The swing is how far the relative change of the measure moves between
the low and the high value, or from the scenario's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ivr.queues.experiment import ALL, TARGET, Floats, Runner, Values, relative_change
from ivr.queues.experiment_staff import with_staff
from ivr.queues.scenario import RedialSpec, Scenario, Speech, Times
from ivr.queues.scenario_model import AFTER, BEFORE, accuracy, scenario_model, with_accuracy
from ivr.queues.simulation.model import CentreModel

__all__ = ["Assumption", "Sensitivity", "assumptions", "sensitivity"]

Arms = tuple[CentreModel, CentreModel]


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that is assumed, with a lower and a higher value of it."""

    name: str
    words: str
    own: str  # the scenario's value, as it is shown
    low: str
    high: str
    low_arms: Callable[[], Arms]
    high_arms: Callable[[], Arms]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The relative change of the measure where one assumption is moved."""

    name: str
    words: str
    own: str
    low: str
    high: str
    change_own: float
    change_low: float
    change_high: float

    @property
    def swing(self) -> float:
        """How far the answer moves."""
        return max(self.change_low, self.change_high, self.change_own) - min(
            self.change_low, self.change_high, self.change_own
        )


# --- edits of a scenario --------------------------------------------------------------------


def _set(scenario: Scenario, path: str, value: Any) -> Scenario:
    """The scenario with another value at ``path``, as ``callers.patience``."""

    def put(model: Any, steps: list[str]) -> Any:
        first, *rest = steps
        inner = value if not rest else put(getattr(model, first), rest)
        return model.model_copy(update={first: inner})

    return replace(scenario, file=put(scenario.file, path.split(".")))


def _get(scenario: Scenario, path: str) -> Any:
    value: Any = scenario.file
    for step in path.split("."):
        value = getattr(value, step)
    return value


def _scaled(times: Times, factor: float) -> Times:
    """The same distribution, so many times as long."""
    given: dict[str, Any] = times.model_dump(exclude_none=True, exclude_unset=True)
    if "log_mean" in given:
        return Times.model_validate(given | {"log_mean": given["log_mean"] + math.log(factor)})
    if "never" in given:
        return times
    scaled = {
        name: tuple(factor * v for v in value) if isinstance(value, tuple) else factor * value
        for name, value in given.items()
    }
    return Times.model_validate(scaled)


def _mean_s(times: Times) -> str:
    mean = times.distribution.mean_s
    return "never" if np.isinf(mean) else f"{mean:.0f} s"


def _arms(scenario: Scenario) -> Arms:
    return scenario_model(scenario, BEFORE), scenario_model(scenario, AFTER)


def assumptions(scenario: Scenario) -> Iterator[Assumption]:
    """What can be moved in this scenario."""
    yield from _callers(scenario)
    yield from _agents(scenario)
    yield from _before(scenario)
    yield from _after(scenario)


def _edit(
    scenario: Scenario, name: str, words: str, path: str, low: Any, high: Any,
    show: Callable[[Any], str],
) -> Assumption:  # fmt: skip
    return Assumption(
        name,
        words,
        show(_get(scenario, path)),
        show(low),
        show(high),
        lambda: _arms(_set(scenario, path, low)),
        lambda: _arms(_set(scenario, path, high)),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _callers(scenario: Scenario) -> Iterator[Assumption]:
    file = scenario.file
    calls, patience, simple = file.calls.a_day, file.callers.patience, file.callers.simple
    yield _edit(scenario, "calls", "calls a day", "calls.a_day", 0.95 * calls, 1.05 * calls,
                lambda v: f"{v:,.0f}")  # fmt: skip
    yield _edit(scenario, "patience", "patience of callers", "callers.patience",
                _scaled(patience, 0.7), _scaled(patience, 1.3), _mean_s)  # fmt: skip
    for name, words, low, high in (
        ("service", "talk with an agent", 0.95, 1.05),
        ("wrap_up", "work after the call", 0.5, 1.5),
    ):
        times: Times = getattr(file.callers, name)
        if times.distribution.mean_s > 0:
            yield _edit(scenario, name, words, f"callers.{name}", _scaled(times, low),
                        _scaled(times, high), _mean_s)  # fmt: skip
    yield _edit(scenario, "simple", "calls that any agent can serve", "callers.simple",
                max(0.01, simple - 0.2), min(1.0, simple + 0.2), _percent)  # fmt: skip
    redial = file.callers.redial or RedialSpec(probability=0.0)
    yield _edit(
        scenario, "redial", "who gives up rings again", "callers.redial",
        redial.model_copy(update={"probability": 0.0}),
        redial.model_copy(update={"probability": min(1.0, redial.probability + 0.3)}),
        lambda v: _percent(v.probability if v else 0.0),
    )  # fmt: skip
    cv = file.calls.busyness_cv
    yield _edit(scenario, "busyness", "how much days differ", "calls.busyness_cv", 0.0,
                2 * cv or 0.1, _percent)  # fmt: skip


def _agents(scenario: Scenario) -> Iterator[Assumption]:
    before, after = _arms(scenario)

    def staffed(factor: float) -> Callable[[], Arms]:
        return lambda: (with_staff(before, factor), with_staff(after, factor))

    yield Assumption("agents", "agents at work, both arms", "as planned", "-5 %", "+5 %",
                     staffed(0.95), staffed(1.05))  # fmt: skip
    transfer = scenario.file.transfer
    seconds = transfer.seconds
    yield _edit(scenario, "transfer", "time of the wrong agent", "transfer.seconds",
                _scaled(seconds, 0.5), _scaled(seconds, 2.0), _mean_s)  # fmt: skip
    other = "afresh" if transfer.patience == "goes_on" else "goes_on"
    yield _edit(scenario, "transfer_patience", "patience after a transfer", "transfer.patience",
                transfer.patience, other, lambda v: str(v).replace("_", " "))  # fmt: skip


def _before(scenario: Scenario) -> Iterator[Assumption]:
    menu = scenario.file.before.menu
    if menu is None:
        return
    yield _edit(scenario, "menu", "seconds in the menu", "before.menu.seconds",
                _scaled(menu.seconds, 0.7), _scaled(menu.seconds, 1.3), _mean_s)  # fmt: skip
    if menu.misroute > 0 and scenario.file.before.queues == "separate":
        yield _edit(scenario, "misroute", "wrong queue from the menu", "before.menu.misroute",
                    0.5 * menu.misroute, min(1.0, 1.5 * menu.misroute), _percent)  # fmt: skip


def _after(scenario: Scenario) -> Iterator[Assumption]:
    contained = scenario.file.after.contained
    yield _edit(scenario, "containment", "served by the machine", "after.contained",
                max(0.0, contained - 0.05), contained + 0.05, _percent)  # fmt: skip
    speech = scenario.file.after.speech
    if speech is None:
        return
    yield _recognition(scenario, speech)
    fewer = max(0.0, speech.retries_understood - 0.3)
    yield _edit(scenario, "retries", "a second try is understood",
                "after.speech.retries_understood", fewer, 1.0, _percent)  # fmt: skip
    yield _edit(scenario, "barge_in", "callers talk into the greeting", "after.speech.barge_in",
                0.0, 0.8, _percent)  # fmt: skip
    seconds = scenario.navigation[speech.navigation].seconds
    stated = speech.speech_s
    said_s = stated if stated is not None else seconds.speech_s if seconds else 0.0
    yield replace(
        _edit(scenario, "speech", "how long callers speak", "after.speech.speech_s",
              0.7 * said_s, 1.5 * said_s, lambda v: f"{v or said_s:.1f} s"),
        own=f"{said_s:.1f} s",
    )  # fmt: skip


def _recognition(scenario: Scenario, speech: Speech) -> Assumption:
    """By the Wilson interval of what was measured: so many recordings say no more."""
    before, after = _arms(scenario)
    right = accuracy(scenario, after)
    calls = scenario.navigation[speech.navigation].calls
    found = binomtest(round(right * calls), calls).proportion_ci(0.95, method="wilson")
    low, high = float(found.low), float(found.high)

    def at(share: float) -> Callable[[], Arms]:
        return lambda: (
            before,
            with_accuracy(scenario, after, share, contained=scenario.file.after.contained),
        )

    words = f"right queue by speech ({calls} recordings)"
    return Assumption("recognition", words, _percent(right), _percent(low), _percent(high),
                      at(low), at(high))  # fmt: skip


# --- running --------------------------------------------------------------------------------


def _column(rows: list[Values], measure: str) -> Floats:
    return np.array([values[ALL][measure] for values in rows])


def sensitivity(
    scenario: Scenario, *, runner: Runner, replications: int, measure: str = TARGET
) -> list[Sensitivity]:
    """Every assumption moved alone, the largest swing first.

    Raises:
        KeyboardInterrupt: interrupted.
        SimulationError: the arms did not have the same callers.
    """
    moved = list(assumptions(scenario))
    pairs = [_arms(scenario)]
    for assumption in moved:
        pairs += [assumption.low_arms(), assumption.high_arms()]
    studies = [dict(zip(("before", "after"), pair, strict=True)) for pair in pairs]
    own, *changes = (
        relative_change(_column(row["before"], measure), _column(row["after"], measure)).mean
        for row in runner.values(scenario, studies, replications)
    )
    found = [
        Sensitivity(
            name=a.name,
            words=a.words,
            own=a.own,
            low=a.low,
            high=a.high,
            change_own=own,
            change_low=low,
            change_high=high,
        )
        for a, low, high in zip(moved, changes[::2], changes[1::2], strict=True)
    ]
    return sorted(found, key=lambda s: -s.swing)
