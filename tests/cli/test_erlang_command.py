"""``ivr erlang``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from ivr.cli.erlang import command
from ivr.errors import SimulationError


def run(*options: str) -> Result:
    return CliRunner().invoke(command, options)


POOL = ("--arrivals-per-hour", "2880", "--aht", "60", "--agents", "50")


def test_json_without_and_with_patience() -> None:
    endless = json.loads(run(*POOL, "--json").stdout)
    assert endless["mean_wait_s"] == pytest.approx(20.8337, abs=5e-5)
    assert endless["p_wait"] == pytest.approx(0.694456, abs=5e-7)
    assert (endless["abandoned"], endless["utilisation"]) == (0, pytest.approx(0.96))
    impatient = json.loads(run(*POOL, "--patience", "120", "--json").stdout)
    assert impatient["mean_wait_s"] == pytest.approx(3.7095, abs=5e-5)
    assert impatient["abandoned"] == pytest.approx(0.030912, abs=5e-7)
    assert impatient["utilisation"] == pytest.approx(0.9303, abs=5e-5)


def test_the_service_level_is_about_the_wait_that_is_asked_for() -> None:
    pool = ("--arrivals-per-hour", "200", "--aht", "180", "--agents", "14", "--json")
    levels = [json.loads(run(*pool, "--within", w).stdout)["service_level"] for w in ("15", "20")]
    assert levels[0] < levels[1] == pytest.approx(0.88835, abs=5e-6)
    assert json.loads(run(*pool).stdout)["service_level"] == levels[0]


def test_table() -> None:
    shown = run(*POOL, "--patience", "120").stdout
    assert "Erlang A, 48.00 erlangs on 50 agents" in shown
    assert "3.71 s" in shown


def test_too_few_agents_are_one_clear_error() -> None:
    failed = run("--arrivals-per-hour", "210", "--aht", "180", "--agents", "9")
    assert isinstance(failed.exception, SimulationError)
    assert "at least 11 agents" in str(failed.exception)


@pytest.mark.parametrize("missing", ["--arrivals-per-hour", "--aht", "--agents"])
def test_what_is_missing_is_named(missing: str) -> None:
    place = POOL.index(missing)
    failed = run(*POOL[:place], *POOL[place + 2 :])
    assert failed.exit_code == 2
    assert missing in failed.stderr
