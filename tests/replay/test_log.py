from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ReplayError
from ivr.replay.log import read_log


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    assert len(read_log(written(tmp_path, '{"seq":0}\n{"seq":1}\n{"se'))) == 2


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no record in it"),
        ("hello\n", ":1: no JSON"),
        ("[1]\n", ":1: no JSON object"),
        ('{"seq":0}\n{"seq":2}\n', ":2: record 1 is missing"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ReplayError, match=what):
        read_log(written(tmp_path, text))


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "c.jsonl"
    path.write_bytes(data)
    with pytest.raises(ReplayError):
        read_log(path)
