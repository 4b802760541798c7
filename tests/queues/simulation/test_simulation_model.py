"""Models that cannot be simulated are refused, with every fault named."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ivr.errors import SimulationError
from ivr.queues.simulation import (
    NEVER,
    ArrivalRates,
    CallBack,
    CentreModel,
    Constant,
    Empirical,
    Exponential,
    Group,
    LogNormal,
    Need,
    Queue,
    Redial,
    Shift,
    Skill,
    Trace,
)
from tests.queues.simulation.centres import HOUR_S, full_centre, with_front_end

FULL = full_centre()


def refused(**changes: Any) -> str:
    with pytest.raises(SimulationError) as error:
        replace(FULL, **changes)
    return str(error.value)


def test_the_model_itself_is_fine() -> None:
    assert FULL.intervals == 48
    assert FULL.queue_index("tax") == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"needs": ()}, "has no needs"),
        ({"queues": (*FULL.queues, Queue(name="tax"))}, "two queues are called 'tax'"),
        ({"length_s": 0.0}, "length_s must be"),
        ({"warm_up_s": 1e9}, "warm_up_s must be less"),
        ({"answer_within_s": -1.0}, "answer_within_s"),
        ({"needs": (replace(FULL.needs[0], queue="nowhere"), *FULL.needs[1:])}, "'nowhere'"),
        ({"needs": (replace(FULL.needs[0], service=NEVER), *FULL.needs[1:])}, "never ends"),
        (
            {"queues": (replace(FULL.queues[0], closed_to="general"), *FULL.queues[1:])},
            "closes to 'general', which is no other queue",
        ),
        (
            {"queues": (replace(FULL.queues[0], hours_s=((5.0, 1e9),)), *FULL.queues[1:])},
            "not within the period",
        ),
        (
            {"groups": (Group(name="g", skills=(Skill(queue="x"),), shifts=()),)},
            "'g' has the skill 'x', no queue",
        ),
        (
            {"groups": (Group(name="g", skills=(Skill(queue="tax"),) * 2, shifts=()),)},
            "same skill twice",
        ),
        (
            {"groups": (Group(name="g", skills=(Skill(queue="tax", after_s=-1.0),), shifts=()),)},
            "negative time",
        ),
        (
            {
                "groups": (
                    Group(
                        name="g",
                        skills=(Skill(queue="tax"),),
                        shifts=(Shift(from_s=50.0, to_s=20.0, agents=1),),
                    ),
                )
            },
            "shift that is none",
        ),
        ({"arrivals": ArrivalRates(per_hour=((1.0, 1.0, 1.0),))}, "48 intervals, not 1"),
        ({"arrivals": ArrivalRates(per_hour=((1.0,),) * 48)}, "must have 3 numbers"),
        ({"arrivals": ArrivalRates(per_hour=((0.0,) * 3,) * 48)}, "nobody calls"),
        ({"arrivals": Trace(arrival_s=np.array([]), need=np.array([]))}, "no calls"),
        (
            {"arrivals": Trace(arrival_s=np.array([5.0, 1.0]), need=np.array([0, 0]))},
            "ascending order",
        ),
        ({"arrivals": Trace(arrival_s=np.array([5.0]), need=np.array([7]))}, "a need that is not"),
        ({"arrivals": Trace(arrival_s=np.array([5.0]), need=np.array([0, 1]))}, "1 arrivals and 2"),
        (
            {
                "arrivals": Trace(
                    arrival_s=np.array([5.0]), need=np.array([0]), service_s=np.array([-1.0])
                )
            },
            "negative or infinite",
        ),
        ({"redial": Redial(probability=2.0)}, "redial probability"),
        ({"redial": Redial(most=99)}, "15 times at most"),
        ({"call_back": CallBack(offer_wait_s=1.0, acceptance=7.0)}, "shares of call-backs"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], what: str) -> None:
    assert what in refused(**changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"routing": ((1.0, 0.0, 0.0),)}, "3 rows"),
        ({"routing": ((0.5, 0.0, 0.0),) * 3}, "sum to 1"),
        ({"contained": (0.1, 2.0, 0.0)}, "contained must be 3 shares"),
        ({"seconds": NEVER}, "never end"),
    ],
)
def test_faults_of_the_front_end(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(SimulationError, match=what):
        with_front_end(FULL, **changes)


def test_all_faults_are_named_at_once() -> None:
    found = refused(length_s=-1.0, redial=Redial(probability=-1.0))
    assert "length_s" in found
    assert "redial" in found


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1.0),
        lambda: Exponential(0.0),
        lambda: Exponential(math.inf),
        lambda: LogNormal(math.nan, 1.0),
        lambda: Empirical(()),
        lambda: Empirical((3.0, -2.0)),
    ],
)
def test_times_that_cannot_be_drawn(make: Any) -> None:
    with pytest.raises(SimulationError, match="cannot be drawn"):
        make()


def test_a_lognormal_by_its_logarithm() -> None:
    # the Anonymous Bank: mean 185 s, log-mean 4.62, log-deviation 1.20 fit different parts of it
    times = LogNormal.of_logs(4.62, 1.20)
    assert times.mean_s == pytest.approx(208.5, abs=0.1)
    assert (times.log_mean, times.log_sd) == (pytest.approx(4.62), pytest.approx(1.20))


def test_an_empirical_distribution_is_sorted_and_has_its_mean() -> None:
    assert Empirical((3, 1, 2)).values_s == (1.0, 2.0, 3.0)
    assert Empirical((3, 1, 2)).mean_s == 2.0
    assert Empirical((1, math.inf)).mean_s == math.inf


def test_a_day_of_any_length() -> None:
    day = CentreModel(
        needs=(Need(name="n", queue="q", service=Constant(1.0)),),
        queues=(Queue(name="q"),),
        groups=(
            Group(
                name="g",
                skills=(Skill(queue="q"),),
                shifts=(Shift(from_s=0, to_s=2.4 * HOUR_S, agents=1),),
            ),
        ),
        arrivals=ArrivalRates(per_hour=((5.0,), (6.0,), (7.0,)), interval_s=HOUR_S),
        period_s=2.4 * HOUR_S,
    )
    assert day.intervals == 3  # the last one shorter


def test_a_model_does_without_the_compiler() -> None:
    """What only reads scenarios, as the server does, need not load numba."""
    script = (
        "import sys; from ivr.queues.simulation import CentreModel\n"
        "assert 'numba' not in sys.modules\n"
        "from ivr.queues.simulation import *; assert simulate and replicate"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
