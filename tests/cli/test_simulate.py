"""``ivr simulate``: tables, JSON, the page, and what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli import cli
from tests.queues.test_experiment import TEXT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "half-hour.yaml"
    config = ROOT / "config"
    text = TEXT.replace("../queues.yaml", str(config / "queues.yaml"))
    navigation = config / "scenarios" / "navigation.yaml"
    path.write_text(text.replace("navigation.yaml", str(navigation)), encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, ["simulate", *map(str, args)])


def test_tables_and_the_answer_in_words(scenario: Path) -> None:
    result = run(scenario, "--replications", 4)
    assert result.exit_code == 0, result.output
    for words in (
        "time to the right agent, mean",
        "gave up waiting",
        "social_security",
        "switched alone",
        "bold",
        "hangs on",
        "Callers reach the right agent",
    ):
        assert words in result.output


def test_quick_json_is_one_object_with_the_comparison(scenario: Path) -> None:
    result = run(scenario, "--quick", "--json", "--replications", 3, "--seed", 7)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["replications"], found["seed"]) == (3, 7)
    assert "map" not in found
    again = run(scenario, "--quick", "--json", "--replications", 3, "--seed", 7, "--workers", 1)
    assert json.loads(again.stdout) == found


def test_the_page_holds_everything_it_shows(scenario: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pages need the extra kapok-ivr[report]")
    page = tmp_path / "report.html"
    result = run(scenario, "--replications", 4, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    assert "社会保障" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S).lower().split()


def test_a_scenario_is_found_by_its_name() -> None:
    result = run("citty")
    assert "there is no such scenario; there are city" in str(result.exception)


def test_a_page_in_no_folder_is_refused_before_the_simulation(
    scenario: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="pages need the extra kapok-ivr[report]")
    result = run(scenario, "--html", tmp_path / "nowhere" / "report.html")
    assert "there is no folder" in str(result.exception)
