from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.caller_list import CallerList
from ivr.errors import ConfigError


def listed(tmp_path: Path, text: str) -> CallerList:
    (tmp_path / "elders.txt").write_text(text, encoding="utf-8")
    return CallerList.load(tmp_path / "elders.txt")


@pytest.mark.parametrize(
    "caller", ["13800138000", "+8613800138000", "8613800138000", "+86 138-0013-8000"]
)
def test_a_number_is_known_however_it_is_written(tmp_path: Path, caller: str) -> None:
    assert listed(tmp_path, "# 长者\n138 0013 8000  # 陈伯\n").has(caller)


def test_a_fixed_number_with_and_without_trunk_zero(tmp_path: Path) -> None:
    numbers = listed(tmp_path, "020-81234567\n")
    assert numbers.has("02081234567")
    assert numbers.has("+862081234567")
    assert not numbers.has("81234568")


def test_who_is_not_known_is_not_listed(tmp_path: Path) -> None:
    numbers = listed(tmp_path, "13800138000\n")
    assert not numbers.has(None)
    assert not numbers.has("")
    assert not numbers.has("13800138001")


def test_no_file_lists_nobody(tmp_path: Path) -> None:
    assert not CallerList.load(tmp_path / "none.txt").numbers


def test_a_line_that_is_no_number_is_named_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"elders\.txt:2: no telephone number; write digits") as e:
        listed(tmp_path, "13800138000\n陈伯\n")
    assert "陈伯" not in str(e.value)


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_any_file_is_read_or_refused_by_one_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("list") / "elders.txt"
    path.write_text(text, encoding="utf-8")
    with suppress(ConfigError):
        assert all(number.isdecimal() for number in CallerList.load(path).numbers)
