"""Scenarios: every fault with its place and mend; the models they become."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.scenario import Scenario, Times, load_scenario, read_scenario
from ivr.queues.simulation.distributions import (
    Constant,
    Empirical,
    Exponential,
    LogNormal,
    Never,
)
from ivr.yamlsource import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "config" / "scenarios"
SMALL = SCENARIOS / "small.yaml"
TEXT = SMALL.read_text(encoding="utf-8")


@cache
def queues() -> Catalogue:
    return load_catalogue(ROOT / "config" / "queues.yaml")


def scenario(text: str) -> Scenario:
    source = parse_yaml(text, name="s.yaml")
    return read_scenario(source, path=SCENARIOS / "s.yaml", catalogue=queues())


@pytest.mark.parametrize(
    "path", [p for p in sorted(SCENARIOS.glob("*.yaml")) if p.name != "navigation.yaml"], ids=str
)
def test_the_committed_scenarios_are_valid(path: Path) -> None:
    found = load_scenario(path)
    assert found.file.study.replications >= 30
    assert math.isclose(sum(n.share for n in found.file.callers.needs.values()), 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a_day: 400", "a_day: 0", "must be greater than 0"),
        ("a_day:", "a_dya:", "did you mean 'a_day'?"),
        ("  simple: 0.5", "  simple: 1.5", "must be less than or equal to 1"),
        ("general: { share: 0.40 }", "general: { share: 0.50 }", "sum to 1.100, not to 1"),
        ("general: { share: 0.40 }", "genral: { share: 0.40 }", "did you mean 'general'?"),
        ("- group: general", "- group: generl", "there is no queue 'generl'"),
        ("- group: general", "- group: social_security", "twice, first in line"),
        ('{ "08:30-12:00": 2,', '{ "08:30": 5,', "is no span of time"),
        ('{ "08:30-12:00": 2,', '{ "08:30-12:00": 5.5,', "a whole number is needed"),
        ("queue: general, level: 1", "queue: genral, level: 1", "did you mean 'general'?"),
        ("  queues: one", "  queues: two", "is not allowed"),
        ("patience: { exponential_s: 413 }", "patience: { exponential: 413 }", "unknown key"),
        ("patience: { exponential_s: 413 }", "patience: long", "this is no time"),
        ("patience: { exponential_s: 413 }", "patience: { mean_s: 413 }", "no way to say a time"),
        ("    seconds: 4 ", "    misroute: 0.1 ", "'seconds' is missing"),
        ("  menu:\n", "  speech:\n    navigation: navigation.yaml\n  menu:\n", "either a menu"),
        ("navigation: navigation.yaml", "navigation: navigaton.yaml", "there is no file"),
        ("replications: 100", "replications: 1", "greater than or equal to 2"),
        ("    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "    0]", "a day has 48 half hours, not 37"),
    ],
)
def test_faults_have_place_and_mend(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as error:
        scenario(TEXT.replace(old, new, 1))
    lines = str(error.value).splitlines()
    assert any(expected in line for line in lines), error.value
    for line in lines:
        place, _, mend = line.partition("; ")
        assert place.startswith("s.yaml:")
        assert all(number.isdigit() for number in place.split(":")[1:3])
        assert mend


def test_a_need_that_nobody_answers_is_refused() -> None:
    text = TEXT.replace("queue: general, level: 1", "queue: consumer_rights, level: 1")
    text = text.replace("- group: general", "- group: public_security")
    with pytest.raises(ConfigError) as error:
        scenario(text)
    assert "no group of agents answers 'general';" in str(error.value)
    assert "'general', the default queue" in str(error.value)


def test_a_navigation_file_must_have_measured_every_need(tmp_path: Path) -> None:
    short = tmp_path / "navigation.yaml"
    text = (SCENARIOS / "navigation.yaml").read_text(encoding="utf-8")
    start = text.index("  social_security:\n")
    cut = text[:start] + text[text.index("  urban_housing_fund:\n") :]
    short.write_text(cut.replace("calls: 122", "calls: 102"), encoding="utf-8")
    with pytest.raises(ConfigError, match="has not measured social_security"):
        scenario(TEXT.replace("navigation: navigation.yaml", f"navigation: {short}"))


def test_seconds_that_were_not_measured_must_be_stated(tmp_path: Path) -> None:
    silent = tmp_path / "navigation.yaml"
    text = (SCENARIOS / "navigation.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("seconds:")]
    silent.write_text("\n".join(lines), encoding="utf-8")
    other = TEXT.replace("navigation: navigation.yaml", f"navigation: {silent}")
    with pytest.raises(ConfigError, match="has no seconds"):
        scenario(other)
    stated = other.replace("retries_", "speech_s: 4\n    decision_s: 1\n    retries_")
    assert scenario(stated).file.after.speech is not None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"constant_s": 4}, Constant(4.0)),
        ({"exponential_s": 300}, Exponential(300.0)),
        ({"mean_s": 300, "sd_s": 200}, LogNormal(300.0, 200.0)),
        ({"log_mean": 4.62, "log_sd": 1.2}, LogNormal.of_logs(4.62, 1.2)),
        ({"empirical_s": [9, 5]}, Empirical((5.0, 9.0))),
        ({"never": True}, Never()),
    ],
)
def test_ways_to_say_a_time(given: dict[str, object], expected: object) -> None:
    assert Times.model_validate(given).distribution == expected


def test_the_queues_must_be_there() -> None:
    source = parse_yaml(TEXT.replace("../queues.yaml", "../queue.yaml"), name="s.yaml")
    with pytest.raises(ConfigError, match=r"s\.yaml:\d+:9: there is no file"):
        read_scenario(source, path=SCENARIOS / "s.yaml")


@given(st.text(max_size=60), st.integers(0, len(TEXT)))
@settings(max_examples=30, deadline=None)
def test_any_edit_is_read_or_refused(inserted: str, at: int) -> None:
    with suppress(ConfigError):
        scenario(TEXT[:at] + inserted + TEXT[at:])
