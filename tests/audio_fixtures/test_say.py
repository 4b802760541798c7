"""Readings of the fixtures' text, and how espeak-ng is told them."""

from __future__ import annotations

import pytest

from audio_fixtures.make import catalogue
from audio_fixtures.say import espeak_text, syllables


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("cmn", "我想提取公积金", "wo3 xiang3 ti2 qu3 gong1 ji1 jin1"),
        ("cmn", "一个一张一百一直", "yi2 ge4 yi4 zhang1 yi4 bai3 yi4 zhi2"),
        ("cmn", "十一个", "shi2 yi1 ge4"),
        ("cmn", "要不要不行", "yao4 bu2 yao4 bu4 xing2"),
        ("cmn", "失业女", "shi1 ye4 nv3"),
        ("cmn", "睡不着", "shui4 bu4 zhao2"),
        ("yue", "医保", "ji1 bou2"),  # 医 as a traditional character would be ai3
        ("yue", "几多钱", "gei2 do1 cin2"),
        ("yue", "问吓", "man6 haa5"),
        ("yue", "攞返", "lo2 faan1"),
        ("yue", "我喺广州", "ngo5 hai2 gwong2 zau1"),
    ],
)
def test_readings(language: str, text: str, expected: str) -> None:
    assert " ".join(syllables(text, language)) == expected


def test_a_character_without_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="no reading"):
        syllables("\u3400\U0002a6d0", "yue")


def test_syllabic_nasals_are_given_as_phonemes_with_their_tone() -> None:
    assert espeak_text("唔该，五十", "yue") == "[[m-4]] goi1, [[ng5]] sap6"


def test_every_phrase_can_be_read() -> None:
    for row in catalogue():
        if row.text:
            han = sum(0x3400 <= ord(c) <= 0x9FFF for c in row.text)
            line = espeak_text(row.text, row.language)
            assert len(line.split()) == han, row.text
