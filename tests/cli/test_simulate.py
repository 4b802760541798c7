"""``ivr simulate``: tables, JSON, the page, and what is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ivr.cli import cli
from tests.queues.test_experiment import TEXT

ROOT = Path(__file__).resolve().parents[2]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or ""


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
    pytest.importorskip("matplotlib", reason="pages need the extra report")
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
    pytest.importorskip("matplotlib", reason="pages need the extra report")
    result = run(scenario, "--html", tmp_path / "nowhere" / "report.html")
    assert "there is no folder" in str(result.exception)


# --- call records ---------------------------------------------------------------------------


def write_calls(path: Path, calls: int = 400) -> None:
    rng = np.random.default_rng(1)
    rows = ["came,answered,ended,skill"]
    for n in range(calls):
        came = datetime(2026, 11, 3 + n // 200, 9) + timedelta(seconds=float(rng.uniform(0, 7200)))
        offered_s, patience_s = rng.exponential(60), rng.exponential(300)
        until = came + timedelta(seconds=float(min(offered_s, patience_s)))
        served = offered_s <= patience_s
        ended = until + timedelta(seconds=float(rng.lognormal(4.6, 1.2)) if served else 0)
        skill = "general" if n % 2 else "SB"
        rows.append(f"{came},{until if served else ''},{ended},{skill}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_own_call_records_are_fitted_shown_and_replayed(scenario: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pages need the extra report")
    calls, page = tmp_path / "cdr.csv", tmp_path / "page.html"
    write_calls(calls)
    columns = "{ arrived: came, answered: answered, ended: ended, queue: skill, "
    columns += "queues: { SB: social_security } }"
    text = scenario.read_text(encoding="utf-8")
    scenario.write_text(f"{text}call_records: {columns}\n", encoding="utf-8")
    result = run(scenario, "--calls", calls, "--quick", "--replications", 6, "--html", page)
    assert result.exit_code == 0, result.output
    for words in ("Kaplan-Meier median", "lognormal", "replayed: before", "400 in 2 days"):
        assert words in result.output
    assert "Your own records" in page.read_text(encoding="utf-8")
    result = run(scenario, "--calls", calls, "--quick", "--replications", 6, "--json")
    found = json.loads(result.stdout)["records"]
    assert found["calls"] == 400
    assert found["replay"]["recorded"]["abandonment"] == found["patience"]["abandoned"] / 400


def test_records_without_columns_named(scenario: Path, tmp_path: Path) -> None:
    write_calls(tmp_path / "cdr.csv")
    result = run(scenario, "--calls", tmp_path / "cdr.csv")
    assert "call_records: { arrived: call_start" in str(result.exception)


@pytest.mark.skipif(not BROWSER, reason="no chromium to open the page in")
def test_the_page_fits_a_browsers_window(scenario: Path, tmp_path: Path) -> None:
    """In a real browser: every plot is laid out, and nothing is wider than the window."""
    pytest.importorskip("matplotlib", reason="pages need the extra report")
    page = tmp_path / "report.html"
    assert run(scenario, "--replications", 4, "--html", page).exit_code == 0
    probe = """<script>
      const wide = document.documentElement.scrollWidth - window.innerWidth;
      const plots = [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect());
      const small = plots.filter(r => r.width < 200 || r.height < 60).length;
      document.title = `wide ${wide} small ${small} plots ${plots.length}`;
    </script>"""
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    shown = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,900",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", shown.stdout)
    assert title is not None
    wide, small, plots = map(int, re.findall(r"-?\d+", title[1]))
    assert wide <= 0
    assert (small, plots) == (0, 5)
