from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr.errors import ConfigError
from ivr.server.audit import AuditLog, diff_of

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def log(path: Path) -> AuditLog:
    return AuditLog(path, now=lambda: NOON)


def record(audit: AuditLog, who: str) -> None:
    audit.record(who=who, action="edit queues", target="queues.yaml", outcome="taken")


def test_who_when_and_what(tmp_path: Path) -> None:
    path = tmp_path / "var" / "audit.jsonl"
    diff = diff_of("a\nagents: 4\nb", "a\nagents: 5\nb", name="queues.yaml")
    log(path).record(
        who="desk (1f2e3d4c)",
        action="edit queues",
        target="queues.yaml",
        outcome="taken",
        diff=diff,
    )
    entry = json.loads(path.read_text("utf-8"))
    assert (entry["who"], entry["at"]) == ("desk (1f2e3d4c)", "2026-11-25T12:00:00.000+00:00")
    assert "-agents: 4\n+agents: 5" in entry["diff"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_entries_are_added_over_restarts_and_read_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for who in ("a", "b", "c"):
        record(log(path), who)
    assert [entry["who"] for entry in log(path).last(2)] == ["c", "b"]
    assert log(path).verify() == []
    assert log(tmp_path / "none.jsonl").last(5) == []


def test_a_line_cut_off_by_a_power_failure_takes_no_other_along(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    record(log(path), "a")
    record(log(path), "b")
    path.write_bytes(path.read_bytes()[:-30])
    record(log(path), "c")
    assert [entry["who"] for entry in log(path).last(5)] == ["c", "a"]
    assert log(path).verify() == [2]  # the damaged one alone


def test_a_line_nested_too_deep_is_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("[" * 100_000 + "\n", encoding="ascii")
    assert log(path).last(5) == []
    assert log(path).verify() == [1]


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        (lambda lines: [lines[0], lines[2]], [2]),
        (lambda lines: [lines[0], lines[1].replace('"b"', '"x"'), lines[2]], [3]),
        (lambda lines: [lines[0], "garbage", lines[2]], [2, 3]),
        (lambda lines: ["[]", *lines[1:]], [1, 2]),
    ],
)
def test_a_line_taken_out_or_changed_is_noticed(tmp_path: Path, tamper, broken) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "audit.jsonl"
    audit = log(path)
    for who in ("a", "b", "c"):
        record(audit, who)
    path.write_text("\n".join(tamper(path.read_text("utf-8").splitlines())) + "\n")
    assert log(path).verify() == broken
    assert log(path).last(1)[0]["who"] == "c"


def test_what_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    audit = log(tmp_path / "var" / "audit.jsonl")
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"no change is made without it.*server\.audit_log"):
        record(audit, "a")
