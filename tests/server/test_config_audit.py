from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from ivr.cli.token import command as token_command
from ivr.errors import ConfigError
from ivr.server.access import Role, TokenFile, new_token
from ivr.server.audit import AuditLog
from ivr.server.config_audit import ConfigAudit, without_secrets
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from ivr.settings import Settings, load_settings
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


def test_one_file_is_looked_at_without_the_others(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for path in paths:
        path.write_text("one\n")
    looking = watch(tmp_path)
    looking.look()
    for path in paths:
        path.write_text("two\n")
    paths[2].unlink()
    assert looking.look(only=paths[:1], outcome="refused") == 1
    assert looking.look(but=paths[1:2]) == 1
    assert looking.look() == 1
    assert [name for name, *_ in entries(tmp_path)] == ["a.txt", "c.txt", "b.txt"]


def test_numbers_of_persons_are_hidden_and_another_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# 长者\n020-8123 4567\n")
    looking = ConfigAudit(audit_of(tmp_path), lambda: (path,), home=tmp_path, personal=(path,))
    looking.look()
    path.write_text("# 长者\n020-8123 4568\n13800138000  # 陈伯\n")
    assert looking.look() == 1
    ((_, _, diff),) = entries(tmp_path)
    assert diff.count("***") == 3
    assert not re.search(r"\d{4} ?\d{4}", diff)
    assert "陈伯" in diff


def test_a_recording_is_compared_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "greeting.wav"
    path.write_bytes(b"RIFF\xff\xfe")
    looking = ConfigAudit(audit_of(tmp_path), lambda: (path,), home=tmp_path)
    looking.look()
    path.write_bytes(b"RIFF\xff\xfd")
    assert looking.look() == 1
    assert entries(tmp_path)[0][2].count("SHA-256") == 2


def test_a_name_need_not_be_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode("备份.txt".encode("gbk"))  # out of an archive
    path.write_text("one\n")
    looking = watch(tmp_path)
    looking.look()
    path.write_text("two\n")
    assert looking.look(outcome="refused", detail=f"{path}:1:1: no") == 1
    assert looking.look() == 0
    assert watch(tmp_path).look() == 0
    ((name, outcome, diff),) = entries(tmp_path)
    assert (name, outcome) == ("\\udcb1\\udcb8\\udcb7\\udcdd.txt", "refused")
    assert "-one\n+two" in diff


def started(services: Services, home: Path, settings: Settings) -> Operations:
    """As a server that has looked at its files once."""
    (home / "config" / "phrases").mkdir(exist_ok=True)
    catalogue = services.catalogue.model_copy(update={"phrase_folder": "phrases"})
    operations = Operations(settings, catalogue=catalogue)
    operations.reloaded(catalogue, None)
    return operations


def test_all_that_a_reload_reads_is_looked_at(services: Services, tmp_path: Path) -> None:
    installation = write_installation(tmp_path / "kapok")
    config = installation.home / "config"
    operations = started(services, installation.home, installation.settings())
    (config / "phrases" / "general.txt").write_text("[cmn]\n学校报名\n", encoding="utf-8")
    (config / "elders.txt").write_text("13800138000\n")
    (config / "prompts").mkdir(exist_ok=True)
    (config / "prompts" / "prompts.yaml").write_text("{}\n")
    operations.reloaded(None, ConfigError("general.txt:1:1: no"))
    assert [(name, outcome) for name, outcome, _ in entries(installation.home)] == [
        ("config/elders.txt", "refused"),
        ("config/phrases/general.txt", "refused"),
        ("config/prompts/prompts.yaml", "refused"),
    ]
    assert "13800138000" not in (installation.home / "var" / "audit.jsonl").read_text()


def test_settings_and_tokens_edited_by_hand_are_noticed_while_it_runs(
    services: Services, tmp_path: Path
) -> None:
    installation = write_installation(tmp_path / "kapok")
    tokens = installation.home / "config" / "tokens.yaml"
    operations = started(services, installation.home, installation.settings())
    before = installation.config.read_text("utf-8")
    installation.config.write_text(before + "# x\n")
    _, token = new_token("pbx-1", Role.GATEWAY, now=NOON)
    TokenFile(tokens).add(token)
    operations.look_at_files()
    operations.look_at_files()  # each is told once
    installation.config.write_text("languages: 3\n")
    tokens.write_text("tokens: 3\n")
    operations.look_at_files()
    assert [(name, outcome) for name, outcome, _ in entries(installation.home)] == [
        ("config/kapok.yaml", "at the next start"),
        ("config/tokens.yaml", "taken"),
        ("config/kapok.yaml", "refused"),
        ("config/tokens.yaml", "refused"),
    ]


def test_other_settings_are_watched_in_their_place(services: Services, tmp_path: Path) -> None:
    installation = write_installation(tmp_path / "kapok")
    other = installation.config.with_name("other.yaml")
    other.write_text(installation.config.read_text("utf-8"))
    operations = started(services, installation.home, load_settings(other))
    other.write_text(other.read_text("utf-8") + "# x\n")
    installation.config.write_text("not read\n")
    operations.look_at_files()
    assert [name for name, *_ in entries(installation.home)] == ["config/other.yaml"]


def test_a_token_made_by_the_command_is_told_once(services: Services, tmp_path: Path) -> None:
    installation = write_installation(tmp_path / "kapok")
    operations = started(services, installation.home, installation.settings())
    new = ["new", "--role", "view", "--name", "desk", "--config", str(installation.config)]
    made = CliRunner().invoke(token_command, new)
    assert made.exit_code == 0, made.output
    operations.look_at_files()
    (entry,) = audit_of(installation.home).last(9)
    assert entry["action"] == "new token"


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
