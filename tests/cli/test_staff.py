"""``ivr staff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from ivr.cli.staff import command
from ivr.queues.scenario import load_scenario
from ivr.queues.scenario_model import AFTER, scenario_model

SMALL = Path(__file__).parents[2] / "config" / "scenarios" / "small.yaml"
QUICK = (str(SMALL), "--target", "0.8", "--replications", "12")


def run(*options: str) -> Result:
    done = CliRunner().invoke(command, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_json_says_what_is_needed_and_what_it_gives() -> None:
    plan = json.loads(run(*QUICK, "--json").stdout)
    assert plan["met"]
    assert plan["service_level"] > 0.8
    model = scenario_model(load_scenario(SMALL), AFTER)
    assert set(plan["groups"]) == {group.name for group in model.groups}
    assert len(plan["intervals"]) == 48
    ten = plan["intervals"][20]
    assert (ten["from_s"], len(ten["agents"])) == (36000, len(plan["groups"]))
    assert min(ten["agents"]) >= 1
    assert sum(plan["intervals"][4]["agents"]) == 0  # at night nobody calls


def test_yaml_takes_the_place_of_the_agents_in_the_scenario(tmp_path: Path) -> None:
    shifts = yaml.safe_load(run(*QUICK, "--yaml").stdout)
    scenario = yaml.safe_load(SMALL.read_text("utf-8")) | shifts
    for name in ("queues.yaml", "phrases"):
        (tmp_path / name).symlink_to(SMALL.parents[1] / name)
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "navigation.yaml").symlink_to(SMALL.parent / "navigation.yaml")
    planned = folder / "planned.yaml"
    planned.write_text(yaml.safe_dump(scenario, allow_unicode=True), "utf-8")
    found = load_scenario(planned)
    assert [spec.group for spec in found.file.agents] == [
        spec.group for spec in load_scenario(SMALL).file.agents
    ]


def test_table_for_the_side_before() -> None:
    shown = run(*QUICK, "--arm", "before").stdout
    assert "10:00" in shown
    assert "answered within 15 s" in shown
    assert "Erlang A alone plans" in shown


@pytest.mark.parametrize("option", ["--target=0", "--target=1", "--replications=2"])
def test_options_out_of_range(option: str) -> None:
    assert CliRunner().invoke(command, [str(SMALL), option]).exit_code == 2
