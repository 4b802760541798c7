"""``ivr token`` and ``ivr audit``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli import audit, token
from ivr.errors import ConfigError
from ivr.server.access import Access, Permission
from ivr.server.audit import AuditLog
from ivr.settings import load_settings
from tests.server.installation import SETTINGS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "kapok.yaml"
    path.parent.mkdir()
    path.write_text(SETTINGS, encoding="utf-8")
    return path


def run(config: Path, *args: str) -> Result:
    group = {"token": token.command, "audit": audit.command}[args[0]]
    return CliRunner().invoke(group, [*args[1:], "--config", str(config)], catch_exceptions=False)


def test_a_token_is_made_listed_used_and_revoked(config: Path) -> None:
    assert "nobody is asked" in run(config, "token", "list").output
    made = run(config, "token", "new", "--role", "edit", "--name", "desk 木棉", "--days", "30")
    text = made.stdout.strip()
    token_id = text.split("_")[1]
    door = Access(
        load_settings(config).server.access,
        host="127.0.0.1",
        now=lambda: datetime.now(UTC),
        now_s=lambda: 0.0,
    )
    assert door.identify(address="10.0.0.1", query=text).may(Permission.EDIT)
    listed = run(config, "token", "list").output
    assert token_id in listed
    assert "desk 木棉" in listed
    assert text not in listed
    assert "revoked" in run(config, "token", "revoke", token_id).output
    with pytest.raises(ConfigError, match="there is no token"):
        run(config, "token", "revoke", token_id)


def test_changes_are_shown_and_a_line_taken_out_is_noticed(config: Path) -> None:
    running = AuditLog(load_settings(config).server.audit_log, now=lambda: datetime.now(UTC))
    running.record(who="a", action="edit queues", target="q", outcome="taken", diff="-a\n+b")
    run(config, "token", "new", "--role", "view", "--name", "board")  # another process would do so
    running.record(who="b", action="edit queues", target="q", outcome="refused", detail="q:1:1: no")
    assert run(config, "audit", "--verify").exit_code == 0
    shown = run(config, "audit", "--diff").output
    assert [line.split("  ")[1][0] for line in shown.splitlines() if line[0] != " "] == list("aub")
    assert "    +b" in shown
    assert "    q:1:1: no" in shown
    entries = [json.loads(line) for line in run(config, "audit", "--json").output.splitlines()]
    assert [entry["action"] for entry in entries] == ["edit queues", "new token", "edit queues"]
    assert "kapok_" not in running.path.read_text("utf-8")
    lines = running.path.read_text("utf-8").splitlines(keepends=True)
    running.path.write_text(lines[0] + lines[2], encoding="utf-8")
    damaged = run(config, "audit", "--verify")
    assert damaged.exit_code == 1
    assert "audit.jsonl:2: does not follow" in damaged.output
