"""Syllables and how alike they sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.intent.sounds import (
    Syllable,
    character_syllables,
    distance,
    fold,
    parse,
    syllables,
    table,
)
from ivr.language import Language

CMN, YUE = Language.MANDARIN, Language.CANTONESE
HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=8)


def test_pinyin_is_toned_with_v_and_5() -> None:
    assert syllables("中国绿的", CMN) == ("zhong1", "guo2", "lv4", "de5")


def test_jyutping_reads_cantonese_characters() -> None:
    assert syllables("廣州喺邊度", YUE) == ("gwong2", "zau1", "hai2", "bin1", "dou6")


def test_what_has_no_reading_keeps_its_place() -> None:
    assert character_syllables("a社b保", CMN) == ("", "she4", "", "bao3")
    assert syllables("a社b保!", CMN) == ("she4", "bao3")


@pytest.mark.parametrize(
    ("written", "language", "parts"),
    [
        ("zhong1", CMN, Syllable("zh", "ong", 1)),
        ("yu3", CMN, Syllable("", "v", 3)),
        ("jun1", CMN, Syllable("j", "vn", 1)),
        ("zhi1", CMN, Syllable("zh", "ii", 1)),
        ("liu2", CMN, Syllable("l", "iou", 2)),
        ("er2", CMN, Syllable("", "er", 2)),
        ("gwong2", YUE, Syllable("gw", "ong", 2)),
        ("ng5", YUE, Syllable("", "ng", 5)),
        ("ngo5", YUE, Syllable("ng", "o", 5)),
        ("jyut6", YUE, Syllable("j", "yut", 6)),
    ],
)
def test_syllables_are_taken_apart_by_sound(
    written: str, language: Language, parts: Syllable
) -> None:
    assert parse(written, language) == parts


@pytest.mark.parametrize("text", ["", "zhong", "zhong6", "x", "1", "社", "zzz1", "ng9"])
def test_what_is_no_syllable_is_refused(text: str) -> None:
    assert parse(text, CMN) is None
    assert parse(text, YUE) is None


@pytest.mark.parametrize("language", list(Language))
def test_every_common_character_has_a_syllable_of_the_table(language: Language) -> None:
    sounds = table(language)
    unknown = [
        char
        for high in range(0xB0, 0xD7)
        for low in range(0xA1, 0xFF)
        if (char := bytes((high, low)).decode("gb2312", "ignore"))
        and sounds.code(character_syllables(char, language)[0]) < 0
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("language", "alike", "unlike"),
    [
        (CMN, ("zhang1", "zang1"), ("zhang1", "fang1")),
        (CMN, ("nan2", "lan2"), ("nan2", "kan2")),
        (CMN, ("hua1", "fa1"), ("hua1", "shuo1")),
        (CMN, ("min2", "ming2"), ("min2", "mu2")),
        (YUE, ("nei5", "lei5"), ("nei5", "gei5")),
        (YUE, ("ngo5", "o5"), ("ngo5", "so5")),
        (YUE, ("gwok3", "gok3"), ("gwok3", "baak3")),
        (YUE, ("baat3", "baak3"), ("baat3", "baan3")),
        (YUE, ("si2", "si5"), ("si2", "si1")),
    ],
)
def test_southern_confusions_cost_little(
    language: Language, alike: tuple[str, str], unlike: tuple[str, str]
) -> None:
    assert distance(*alike, language) < 0.25
    assert distance(*alike, language) < distance(*unlike, language)


def test_a_tone_costs_little() -> None:
    assert 0 < distance("ma1", "ma4", CMN) <= 0.101
    assert distance("ma1", "xun2", CMN) > 0.8


@settings(max_examples=60, deadline=None)
@given(HAN, HAN, st.sampled_from(list(Language)))
def test_distance_is_symmetric_bounded_and_zero_for_the_same(
    a: str, b: str, language: Language
) -> None:
    sounds = table(language)
    codes_a, codes_b = (sounds.codes(character_syllables(t, language)) for t in (a, b))
    apart = sounds.distances(codes_a, codes_b)
    assert apart.shape == (len(a), len(b))
    assert ((apart >= 0) & (apart <= 1)).all()
    assert np.allclose(apart, sounds.distances(codes_b, codes_a).T)
    known = codes_a[codes_a >= 0]
    assert np.allclose(sounds.distances(known, known).diagonal(), 0)


def test_confused_syllables_fold_together_and_others_do_not() -> None:
    assert fold("zhang3", CMN) == fold("zan4", CMN)
    assert fold("nei5", YUE) == fold("lei4", YUE)
    assert fold("ma1", CMN) != fold("ba1", CMN)
    assert fold("?", CMN) == ""
