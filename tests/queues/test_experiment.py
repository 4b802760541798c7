"""Comparisons: paired on the same callers, and every part of the answer."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ivr.errors import SimulationError
from ivr.queues.catalogue import load_catalogue
from ivr.queues.experiment import (
    ALL,
    MEASURES,
    TARGET,
    Comparison,
    Runner,
    compare,
    interval,
    relative_change,
)
from ivr.queues.experiment_decomposition import decompose
from ivr.queues.experiment_map import reach_map
from ivr.queues.experiment_sensitivity import assumptions
from ivr.queues.experiment_staff import agent_hours, staff_saved, with_staff
from ivr.queues.experiment_study import Study, planned_runs, run_study, verdict
from ivr.queues.scenario import Scenario, read_scenario
from ivr.queues.scenario_model import AFTER, BEFORE, scenario_model
from ivr.yamlsource import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "config" / "scenarios"

#: Half an hour of a busy hotline with two queues.
TEXT = """
name: Half an hour
queues: ../queues.yaml
calls:
  a_day: 120
  profile: [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,0,0,
            0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]
callers:
  needs: { social_security: { share: 0.5 }, general: { share: 0.5 } }
  service: { exponential_s: 240 }
  patience: { exponential_s: 300 }
agents:
  - { group: social_security, shifts: { "08:00-12:00": 3 } }
  - { group: general, shifts: { "08:00-12:00": 3 } }
before: { menu: { seconds: 30, misroute: 0.25 } }
after: { speech: { navigation: navigation.yaml } }
study: { replications: 6 }
"""


@cache
def scenario(text: str = TEXT) -> Scenario:
    catalogue = load_catalogue(ROOT / "config" / "queues.yaml")
    source = parse_yaml(text, name="s.yaml")
    return read_scenario(source, path=SCENARIOS / "s.yaml", catalogue=catalogue)


@cache
def study() -> Study:
    done: list[float] = []
    found = run_study(scenario(), runner=Runner(advance=done.append))
    assert sum(done) == planned_runs(scenario(), 6)
    return found


def test_arms_have_the_same_callers_and_the_same_seed_the_same_figures() -> None:
    again = compare(scenario())
    assert again.before == study().comparison.before
    assert again.after == study().comparison.after
    few = compare(scenario(), replications=3)
    assert few.after == again.after[:3]
    assert again.correlation() > 0.5


def test_arms_with_other_callers_are_refused() -> None:
    other = scenario(TEXT.replace("a_day: 120", "a_day: 130"))
    models = scenario_model(scenario(), BEFORE), scenario_model(other, AFTER)
    with pytest.raises(SimulationError, match="same callers"):
        compare(scenario(), models=models, replications=2)


def test_every_measure_of_all_and_of_each_queue() -> None:
    comparison = study().comparison
    assert comparison.scopes == (ALL, "social_security", "general")
    for scope in comparison.scopes:
        for measure in MEASURES:
            figure = comparison.figure(measure.name, scope)
            assert math.isfinite(figure.after.mean), (scope, measure.name)
    assert comparison.figure("transfer_rate").change.high < 0
    front = comparison.figure("mean_front_end_s")
    assert front.before.mean == pytest.approx(30)


def test_the_whole_is_between_its_queues() -> None:
    figures = [study().comparison.figure(TARGET, scope).after.mean for scope in
               study().comparison.scopes]  # fmt: skip
    assert min(figures[1:]) <= figures[0] <= max(figures[1:])


def test_steps_sum_to_the_whole_change() -> None:
    found = study().decomposition
    assert found is not None
    assert [step.factor for step in found.steps] == ["time", "routing", "pooling", "containment"]
    assert sum(step.in_order.mean for step in found.steps) == pytest.approx(found.whole.mean)
    assert found.whole.mean == pytest.approx(study().comparison.figure(TARGET).change.mean)
    assert [step.differs for step in found.steps] == [True, True, False, False]
    assert found.steps[2].in_order.mean == 0


def test_pooling_is_lost_where_one_queue_becomes_two() -> None:
    text = TEXT.replace(
        "menu: { seconds: 30, misroute: 0.25 }", "queues: one, menu: { seconds: 4 }"
    )
    text = text.replace("patience:", "simple: 1.0\n  patience:")
    found = decompose(scenario(text), runner=Runner(), replications=6)
    pooling = found.steps[2]
    assert pooling.differs
    assert pooling.in_order.mean > 0  # no transfer is saved, since every agent can serve every call


def test_better_recognition_and_more_containment_shorten_the_time() -> None:
    found = reach_map(
        scenario(), runner=Runner(), replications=4, accuracies=(0.6, 1.0), containments=(0.0, 0.3)
    )
    assert found.change.shape == (2, 2)
    assert found.change[1, 1] == found.change.min()
    assert found.change[0, 0] == found.change.max()
    target = replace(found, target=float(found.change[1, 1]))
    assert target.reached() == [(1.0, 0.3)]
    assert replace(found, target=-1.0).reached() == []


def test_staff_is_scaled_to_whole_agents() -> None:
    model = scenario_model(scenario(), AFTER)
    assert agent_hours(model) == 24
    assert agent_hours(with_staff(model, 1.0)) == 24
    assert agent_hours(with_staff(model, 2 / 3)) == 16
    assert agent_hours(with_staff(model, 0.01)) == 8  # one agent a shift is kept


def test_staff_saved_gives_the_service_of_before() -> None:
    found = study().staff
    assert found is not None
    assert found.found
    assert 16 <= found.hours_needed <= found.hours_before
    worse = TEXT.replace("seconds: 30, misroute: 0.25", "seconds: 0, misroute: 0")
    none = staff_saved(scenario(worse), runner=Runner(), replications=2)
    assert not none.found  # no agents make up for seconds of the dialogue


def test_assumptions_are_ranked_by_their_swing() -> None:
    found = study().sensitivities
    assert {s.name for s in found} == {a.name for a in assumptions(scenario())}
    swings = [s.swing for s in found]
    assert swings == sorted(swings, reverse=True)
    by_name = {s.name: s for s in found}
    menu = by_name["menu"]
    assert menu.change_high < menu.change_own < menu.change_low  # a longer menu, a better change
    recognition = by_name["recognition"]  # worse at the lower end of what was measured
    assert recognition.change_low > recognition.change_own


def test_json_has_everything_and_no_nan() -> None:
    text = json.dumps(study().as_json(), allow_nan=False)
    found = json.loads(text)
    assert found["figures"]["all"][TARGET]["relative"]["mean"] < 0
    assert {"decomposition", "map", "staff", "sensitivity"} <= set(found)


def test_an_interrupt_keeps_what_was_done() -> None:
    def interrupt(_: float) -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            raise KeyboardInterrupt

    runs = 0
    found = run_study(scenario(), runner=Runner(advance=interrupt))
    assert found.interrupted
    assert 2 <= found.comparison.replications < 6
    assert all(values in study().comparison.after for values in found.comparison.after)
    assert found.decomposition is None
    runs = 3
    with pytest.raises(KeyboardInterrupt):  # nothing to report on
        run_study(scenario(), runner=Runner(advance=interrupt))


# --- intervals ------------------------------------------------------------------------------


def test_student_interval() -> None:
    found = interval(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.low) == (2.0, pytest.approx(2.0 - 4.302653 / math.sqrt(3)))
    assert 2.0 in found
    assert 5.0 not in found
    assert math.isnan(interval(np.array([1.0])).low)
    assert math.isnan(interval(np.array([math.nan])).mean)


def test_relative_change_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        day = rng.gamma(4.0, 10.0, 30)  # what both arms share
        before, after = day + rng.gamma(2.0, 5.0, 30), 0.6 * day + rng.gamma(2.0, 5.0, 30)
        covered += (0.6 * 40 + 10) / 50 - 1 in relative_change(before, after)
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("after", "expected"), [([5.0, 5.1, 5.2], "reached"), ([9.0, 9.1, 9.2], "missed")]
)
def test_verdict(after: list[float], expected: str) -> None:
    rows = [{ALL: {TARGET: 10.0}}] * 3
    done = Comparison((ALL,), 0.95, list(rows), [{ALL: {TARGET: value}} for value in after])
    assert verdict(Study(scenario(), done))[0] == expected
