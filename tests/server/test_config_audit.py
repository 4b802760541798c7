from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr.errors import ConfigError
from ivr.server.audit import AuditLog
from ivr.server.config_audit import ConfigAudit, without_secrets
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from tests.server.installation import write_installation

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def audit_of(home: Path) -> AuditLog:
    return AuditLog(home / "var" / "audit.jsonl", now=lambda: NOON)


def watch(home: Path) -> ConfigAudit:
    return ConfigAudit(audit_of(home), lambda: sorted(home.glob("*.txt")), home=home)


def entries(home: Path) -> list[tuple[str, str, str]]:
    return [(e["target"], e["outcome"], e["diff"]) for e in reversed(audit_of(home).last(99))]


def test_changes_are_told_once_also_over_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    first = watch(tmp_path)
    assert first.look() == 0  # nothing to compare with
    (tmp_path / "a.txt").write_text("two\n")
    assert first.look(outcome="refused", detail="a.txt:1:1: no") == 1
    assert first.look() == 0
    (tmp_path / "b.txt").write_text("new\n")  # while no server runs
    (tmp_path / "a.txt").unlink()
    assert watch(tmp_path).look() == 2
    assert watch(tmp_path).look() == 0
    told = entries(tmp_path)
    assert [(name, outcome) for name, outcome, _ in told] == [
        ("a.txt", "refused"),
        ("a.txt", "taken"),
        ("b.txt", "taken"),
    ]
    assert "-one\n+two" in told[0][2]
    assert "-two" in told[1][2]
    assert "+new" in told[2][2]
    assert (tmp_path / "var" / "audit.jsonl.seen").stat().st_mode & 0o777 == 0o600


def test_what_was_told_by_others_is_not_told_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    looking = watch(tmp_path)
    looking.look()
    path.write_text("two\n")
    looking.told(path, "two\n")
    assert looking.look() == 0


def test_a_log_that_cannot_be_written_forgets_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    looking = watch(tmp_path)
    looking.look()
    path.write_text("two\n")
    log = tmp_path / "var" / "audit.jsonl"
    log.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        looking.look()
    log.rmdir()
    assert looking.look() == 1


def test_settings_queues_and_phrases_are_looked_at(services: Services, tmp_path: Path) -> None:
    installation = write_installation(tmp_path / "kapok")
    phrases = installation.home / "config" / "phrases"
    phrases.mkdir()
    catalogue = services.catalogue.model_copy(update={"phrase_folder": "phrases"})
    operations = Operations(installation.settings(), catalogue=catalogue)
    operations.reloaded(catalogue, None)
    (phrases / "general.txt").write_text("[cmn]\n学校报名\n", encoding="utf-8")
    installation.config.write_text(installation.config.read_text("utf-8") + "# x\n")
    operations.reloaded(None, ConfigError("general.txt:1:1: no"))
    assert [(name, outcome) for name, outcome, _ in entries(installation.home)] == [
        ("config/kapok.yaml", "refused"),
        ("config/phrases/general.txt", "refused"),
    ]


SECRETS = """
webhook: # {{x}}
  url: https://desk.example/kapok
  secret: {one}
store: {{ url: "redis://kapok:{one}@redis:6379/0" }}
genesys:
  keys:
    # who
    pbx: {one}

    other: "{one}"
  after: shown
person: {{ key: "0" }}
tls: {{ certificate: a.pem }}
"""


def test_secrets_are_hidden_and_others_noticed() -> None:
    hidden = without_secrets(SECRETS.format(one="s3cret-word"))
    assert "s3cret" not in hidden
    assert hidden.count("***") == 4
    for shown in ("https://desk.example/kapok", "after: shown", 'key: "0"', "certificate: a.pem"):
        assert shown in hidden
    assert without_secrets(SECRETS.format(one="another")) != hidden
    assert len(hidden.splitlines()) == len(SECRETS.splitlines())
