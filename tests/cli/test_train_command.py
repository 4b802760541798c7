"""``ivr train`` on a small hotline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ivr.cli import cli
from ivr.intent.calibration import CALIBRATION_FILE, read_calibration
from ivr.queues.catalogue import load_catalogue

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two queues with phrases enough to be dealt into five folds."""
    shipped = load_catalogue(ROOT / "config/queues.yaml")
    lines = ["default_queue: general", "person:", '  key: "0"']
    lines.append("  phrases: {cmn: [人工, 转人工, 我要人工], yue: [人工, 转人工, 揾人听]}")
    lines.append("queues:")
    for queue_id in ("social_security", "general"):
        queue = shipped.queue(queue_id)
        lines += [f"  - id: {queue_id}", f"    name: {{cmn: {queue.name.cmn}, yue: 甲, en: A}}"]
        lines += ["    agents: 2", "    hours: 24x7", "    phrases:"]
        for language, phrases in queue.phrases.items():
            lines += [f"      {language}:", *(f"        - {p}" for p in phrases[:30])]
    path = tmp_path_factory.mktemp("config") / "queues.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["train", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_measures_and_writes_the_weights(queues: Path) -> None:
    said = run("--queues", str(queues))
    file = queues.parent / CALIBRATION_FILE
    assert f"wrote {file}" in said
    assert "wrong among those routed" in said
    assert "matter" in said
    assert "wording" in said
    assert load_catalogue(queues).calibration == read_calibration(file)


def test_a_dry_run_writes_nothing_and_json_tells_all(queues: Path) -> None:
    file = queues.parent / CALIBRATION_FILE
    file.unlink(missing_ok=True)
    answer = json.loads(run("--queues", str(queues), "--dry-run", "--json"))
    assert not file.exists()
    assert len(answer["held_out"]) == 20
    assert answer["calibration"]["ridge"] > 0
    first = answer["held_out"][0]
    assert (first["language"], first["unknown"], first["errors"]) == ("cmn", "wording", 0.0)
    assert 0.5 < first["queues"] <= 1.0
