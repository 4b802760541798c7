"""Synthetic speech for training: which voices say it, and that the label is what is said."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra training is not installed")
pytest.importorskip("torch", reason="the extra training is not installed")
if shutil.which("espeak-ng") is None:
    pytest.skip("needs espeak-ng", allow_module_level=True)

from training.corpus import Clip
from training.espeak import DRAWN, TRAINING_VARIANTS
from training.prepare import UTTERANCES_PER_VOICE, synthetic

TEXTS = [["我想查社保"], ["你好广州"], ["公积金"]]


def made(drawn_share: float) -> list[Clip]:
    rng = np.random.default_rng(3)
    return synthetic("cmn", TEXTS, 2 * UTTERANCES_PER_VOICE, rng, drawn_share=drawn_share)


def test_voices_are_those_of_training_unless_others_are_wanted() -> None:
    assert {c.speaker for c in made(0.0)} <= {f"espeak {v}".rstrip() for v in TRAINING_VARIANTS}


def test_so_many_utterances_are_in_drawn_voices() -> None:
    clips = made(0.5)
    drawn = [c for c in clips if c.speaker.startswith(f"espeak {DRAWN} ")]
    assert len({c.speaker for c in drawn}) == 1  # a voice for twenty utterances
    assert 10 <= len(drawn) <= 30
    for clip in clips:
        assert clip.kind == "espeak"
        assert len(clip.syllables) >= 3
        assert clip.audio.dtype == np.int16
        assert len(clip.audio) >= 1500


def test_the_same_seed_says_the_same() -> None:
    for one, other in zip(made(0.5), made(0.5), strict=True):
        assert (one.speaker, one.label) == (other.speaker, other.label)
        assert np.array_equal(one.audio, other.audio)
