from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import soundfile

from ivr.server.call_files import CallFiles
from ivr.settings import CallLogSettings

BEGAN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def test_nothing_is_kept_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[Any] = []
    keep = CallFiles(CallLogSettings()).keep("c", began=BEGAN, listeners=(told.append,))
    keep.record({"seq": 0})
    keep.audio(bytes(100), 8000)
    keep.close()
    assert list(tmp_path.iterdir()) == []
    assert told == [{"seq": 0, "leg": "20261124T100000.000000"}]


def test_a_call_is_a_file_of_json_lines_for_the_user_alone(tmp_path: Path) -> None:
    keep = CallFiles(CallLogSettings(folder=tmp_path)).keep("c-1", began=BEGAN)
    keep.record({"seq": 0, "text": "社保"})
    keep.record({"seq": 1})
    keep.audio(bytes(100), 8000)
    keep.close()
    keep.close()
    (path,) = tmp_path.rglob("*.*")
    assert path == tmp_path / "2026-11-24" / "c-1.jsonl"
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [0, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_recording_is_a_wav_file_beside_it_where_it_is_turned_on(tmp_path: Path) -> None:
    files = CallFiles(CallLogSettings(folder=tmp_path, recording=True))
    keep = files.keep("c-1", began=BEGAN)
    for _ in range(10):
        keep.audio(b"\x10\x00" * 1600, 16_000)
    keep.close()
    samples, rate_hz = soundfile.read(tmp_path / "2026-11-24" / "c-1.wav")
    assert (len(samples), rate_hz) == (16_000, 16_000)


@pytest.mark.parametrize("call_id", ["../../etc/passwd", "a/b", "", "x" * 500, "木棉"])
def test_no_call_id_leaves_the_folder(tmp_path: Path, call_id: str) -> None:
    CallFiles(CallLogSettings(folder=tmp_path)).keep(call_id, began=BEGAN).close()
    (path,) = tmp_path.rglob("*.jsonl")
    assert path.parent == tmp_path / "2026-11-24"


def test_a_call_id_that_comes_again_keeps_both(tmp_path: Path) -> None:
    files = CallFiles(CallLogSettings(folder=tmp_path))
    for _ in range(3):
        files.keep("c", began=BEGAN).close()
    assert sorted(p.name for p in tmp_path.rglob("*.jsonl")) == [
        "c-1.jsonl",
        "c-2.jsonl",
        "c.jsonl",
    ]


def test_a_folder_that_cannot_be_written_costs_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    files = CallFiles(CallLogSettings(folder=tmp_path / "file"))
    keep = files.keep("c", began=BEGAN)
    keep.record({"seq": 0})
    keep.close()
    assert "a call cannot be kept in" in caplog.text
