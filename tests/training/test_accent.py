"""Habits of speakers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training import accent
from training.accent import HABITS, Accent
from training.factory import Speech
from training.pronunciation import parse


def speaker(language: str, *habits: int) -> Accent:
    made = Accent(language, np.random.default_rng(0))
    made.habits = [HABITS[language][i] for i in habits]
    return made


@pytest.mark.parametrize(
    ("language", "habit", "syllable", "heard"),
    [
        ("cmn", 0, "zhi1", "zi1"),
        ("cmn", 0, "shang4", "sang4"),
        ("cmn", 1, "ni3", "li3"),
        ("cmn", 2, "jing1", "jin1"),
        ("cmn", 3, "feng1", "fen1"),
        ("yue", 0, "nei5", "lei5"),
        ("yue", 0, "ngo5", "ngo5"),
        ("yue", 1, "ngo5", "o5"),
        ("yue", 1, "ng5", "ng5"),
        ("yue", 2, "aa3", "ngaa3"),
        ("yue", 3, "gwok3", "gok3"),
        ("yue", 3, "gwaa3", "gwaa3"),
        ("yue", 4, "nei5", "nei2"),
        ("yue", 5, "si6", "si3"),
    ],
)
def test_habits(language: str, habit: int, syllable: str, heard: str) -> None:
    assert speaker(language, habit).spoken(syllable) == heard
    assert parse(heard, language)


def test_some_speakers_have_none() -> None:
    rng = np.random.default_rng(1)
    having = sum(bool(Accent("yue", rng).habits) for _ in range(400)) / 400
    assert abs(having - accent.ACCENTED) < 0.08


def test_a_dropped_initial_keeps_its_label() -> None:
    heard = Speech(np.zeros(800, np.float32), ["o5"], np.array([[0.0, 0.1]], np.float32))
    label = heard.read_as(["ngo5"], "yue")
    assert label.syllables == ["ngo5"]
    assert np.allclose(label.spans, [[0, 0.02], [0.02, 0.1]])
    assert np.allclose(label.read_as(["o5"], "yue").spans, [[0, 0.1]])
