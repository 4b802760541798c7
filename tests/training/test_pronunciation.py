"""Text to syllables and syllables to units."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("ToJyutping")

from hypothesis import given
from hypothesis import strategies as st

from ivr.intent.sounds import plain
from training.pronunciation import in_context, parse, simplified, syllables, unit_inventory, units


@pytest.mark.parametrize(
    ("syllable", "parts"),
    [
        ("zhong1", ("zh", "ong", "1")),
        ("zhi1", ("zh", "ii", "1")),
        ("yu2", ("", "v", "2")),
        ("jun1", ("j", "vn", "1")),
        ("lv4", ("l", "v", "4")),
        ("you3", ("", "iou", "3")),
        ("liu2", ("l", "iou", "2")),
        ("wen2", ("", "uen", "2")),
        ("lun2", ("l", "uen", "2")),
        ("wu3", ("", "u", "3")),
        ("er2", ("", "er", "2")),
    ],
)
def test_pinyin_is_taken_apart_by_sound(syllable: str, parts: tuple[str, str, str]) -> None:
    assert parse(syllable, "cmn") == parts


@pytest.mark.parametrize(
    ("syllable", "parts"),
    [
        ("gwong2", ("gw", "ong", "2")),
        ("ngo5", ("ng", "o", "5")),
        ("ng5", ("", "ng", "5")),
        ("m4", ("", "m", "4")),
        ("aak1", ("", "aak", "1")),
        ("jyut6", ("j", "yut", "6")),
        ("heoi3", ("h", "eoi", "3")),
        ("sik6", ("s", "ik", "6")),
    ],
)
def test_jyutping_is_taken_apart(syllable: str, parts: tuple[str, str, str]) -> None:
    assert parse(syllable, "yue") == parts


def test_malformed_syllables_are_none() -> None:
    assert parse("zhong", "cmn") is None
    assert parse("gwong7", "yue") is None
    assert parse("ngyun1", "yue") is None


def test_sentences() -> None:
    assert syllables("我想查社保。", "cmn") == ["wo3", "xiang3", "cha2", "she4", "bao3"]
    assert syllables("有人霸咗我個車位", "yue") == [
        "jau5", "jan4", "baa3", "zo2", "ngo5", "go3", "ce1", "wai2",
    ]  # fmt: skip
    assert syllables("打110", "cmn") is None, "digits cannot be read for sure"


def test_cantonese_characters_survive_simplification() -> None:
    assert simplified("嗰個車位俾人霸咗，搵唔到佢哋") == "嗰个车位俾人霸咗，揾唔到佢哋"


@given(st.text(max_size=12), st.sampled_from(["cmn", "yue"]))
def test_any_text_gives_none_or_spelled_syllables(text: str, language: str) -> None:
    found = syllables(text, language)
    if found is not None:
        spelled = units(found, language)
        inventory = unit_inventory(Counter(found), language)
        assert set(spelled) <= set(inventory)
        finer = unit_inventory(Counter(found), language, least=1)
        told_apart = in_context(spelled, language, finer)
        assert set(told_apart) <= set(finer)
        assert [plain(u) for u in told_apart] == spelled
        assert in_context(spelled, language, inventory) == spelled


def test_units_are_told_apart_by_context_where_it_is_common() -> None:
    said = {"zhong1": 9, "dong1": 20, "gong1": 3, "zha1": 30, "gu1": 5}
    assert unit_inventory(said, "cmn", least=4) == [
        "<blk>", "a1", "d", "g", "ong1", "t_ong1", "u1", "zh", "zh_o",
    ]  # fmt: skip
    # dong1 is commonest, gong1 rare: both keep the plain name.
    assert unit_inventory(said, "cmn", least=3) == [
        "<blk>", "a1", "d", "g", "g_o", "g_ong1", "ong1", "t_ong1", "u1", "zh", "zh_o",
    ]  # fmt: skip
    assert "ng_aa" in unit_inventory({"ngaa4": 5, "ngo5": 9}, "yue", least=5)
