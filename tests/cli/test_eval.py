"""``ivr eval``."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli import cli
from ivr.errors import ConfigError, IvrError
from ivr.intent.matcher import Matcher
from ivr.queues.catalogue import parse_catalogue
from ivr.queues.navigation import load_navigation
from tests.replay.test_log_cases import Server
from tests.server import installation

ROOT = Path(__file__).resolve().parents[2]
PARAPHRASES = ROOT / "tests" / "intent" / "paraphrases.tsv"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, args)])


def test_json_of_the_paraphrases() -> None:
    result = run(PARAPHRASES, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    total = sum(n for row in figures["confusion"].values() for n in row.values())
    assert figures["utterances"] >= total > 300
    assert figures["queues"]["value"] > 0.9
    assert figures["off_topic_routed"]["value"] < 0.05
    assert len(figures["wrong"]) == figures["utterances"] - figures["accuracy"]["right"]
    curve = figures["coverage"]
    assert len(curve) > 50
    for sure, less_sure in pairwise(curve):
        assert sure["route"] > less_sure["route"]
        assert sure["coverage"] < less_sure["coverage"]
    assert curve[-1]["coverage"] == 1.0
    best = figures["threshold"]
    assert any(round(best["route"], 4) == at["route"] for at in curve)


def test_tables_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra report")
    result = run(PARAPHRASES, "--out", tmp_path, "--worst", "3")
    assert result.exit_code == 0, result.output
    for words in ("queue right", "Reliability", "Confusion", "Worst first", "thresholds.route",
                  "Coverage against error"):  # fmt: skip
        assert words in result.output
    for name in ("confusion", "reliability", "coverage"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "confusion" in json.loads((tmp_path / "confusion.json").read_text(encoding="utf-8"))


def test_recordings_are_recognised_first(tmp_path: Path) -> None:
    name = "yue_social_security_001.wav"
    (tmp_path / name).write_bytes((ROOT / "audio_fixtures" / name).read_bytes())
    (tmp_path / "labels.csv").write_text(
        f"file,kind,language,queue\n{name},speech,yue,social_security\n"
    )
    for cases in (tmp_path, tmp_path / "labels.csv"):
        result = run(cases, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["queues"] == {
            "right": 1, "total": 1, "value": 1.0, "interval": [0.2065, 1.0]
        }  # fmt: skip


def test_navigation_file_of_text_has_no_seconds(tmp_path: Path) -> None:
    result = run(PARAPHRASES, "--json", "--navigation", tmp_path / "navigation.yaml")
    assert result.exit_code == 0, result.output
    found, figures = load_navigation(tmp_path / "navigation.yaml"), json.loads(result.stdout)
    assert found.seconds is None
    assert found.calls == figures["queues"]["total"]
    right = sum(
        row.routed.get(need, 0) + row.confirmed.get(need, 0) for need, row in found.needs.items()
    )
    assert right == figures["queues"]["right"]


def test_calls_without_labels_cannot_be_measured(tmp_path: Path) -> None:
    (tmp_path / "calls.txt").write_text("我想查社保\n", encoding="utf-8")
    result = run(tmp_path / "calls.txt", "--language", "cmn")
    assert result.exit_code != 0
    assert "add a column 'expected'" in str(result.exception)


def test_logs_of_calls_are_measured(tmp_path: Path) -> None:
    catalogue = parse_catalogue(installation.QUEUES)
    server = Server(tmp_path / "calls", catalogue, Matcher(catalogue))
    server.call("医保卡丢了")
    server.call("天上有月亮")  # hung up: no label
    result = run(tmp_path / "calls", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["utterances"], figures["queues"]["right"]) == (1, 1)


def test_a_printed_threshold_can_be_written_into_the_file(tmp_path: Path) -> None:
    """As written with two decimals it still puts the callers through."""
    calls = tmp_path / "calls.csv"
    calls.write_text(
        "text,language,expected\n我想攞公积金,yue,urban_housing_fund\n今天天气不错,cmn,off_topic\n",
        encoding="utf-8",
    )
    shipped = (ROOT / "config" / "queues.yaml").read_text(encoding="utf-8")
    queues = tmp_path / "queues.yaml"
    (tmp_path / "phrases").symlink_to(ROOT / "config" / "phrases")
    for written in ("1.0", "0.99"):
        text = re.sub(r"^  route: .*$", f"  route: {written}", shipped, flags=re.MULTILINE)
        queues.write_text(text, encoding="utf-8")
        result = run(calls, "--queues", queues)
        assert result.exit_code == 0, result.output
        assert "thresholds.route 0.99 routes 50.0% of these utterances, 0.0%" in result.output
    assert re.search(r"routed without a question\s*│ 1 of 1", result.output)


def test_a_report_goes_into_a_folder_and_navigation_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(PARAPHRASES, "--out", tmp_path / "file")
    assert isinstance(result.exception, IvrError)
    assert "file: cannot be written (Not a directory); name another" in str(result.exception)
    assert result.output == ""  # nothing was measured before
    result = run(PARAPHRASES, "--navigation", tmp_path)
    assert isinstance(result.exception, IvrError)
    assert f"{tmp_path}: cannot be written (Is a directory)" in str(result.exception)
    assert result.output == ""


def test_labels_for_other_recordings_are_named(tmp_path: Path) -> None:
    """Before anything is recognised: no settings, no models are read."""
    (tmp_path / "a.wav").touch()
    labels = tmp_path / "labels.csv"
    labels.write_text("file,kind,language,queue\nx.wav,speech,yue,social_security\n")
    result = run(tmp_path, "--queues", ROOT / "config" / "queues.yaml")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(
        f"{labels}: no row names a recording of the folder; it names x.wav, and the folder holds "
        "a.wav"
    )
