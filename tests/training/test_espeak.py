"""Voices of espeak-ng that are drawn: it reads them, no two alike, none of those kept for tests."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from audio_fixtures.make import VARIANTS

pytest.importorskip("scipy", reason="the extra training is not installed")

from training import espeak

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


def said_by(data: Path | None, variant: str = espeak.DRAWN) -> np.ndarray:
    return espeak.speak(
        ["ni3", "hao3"], "cmn", variant=variant, words_per_minute=160, pitch=50, data=data
    )


def test_a_drawn_voice_is_the_same_for_a_seed_and_another_for_another(tmp_path: Path) -> None:
    first, again, other = (espeak.drawn_voice(np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other
    sounds = [
        said_by(espeak.with_voice(tmp_path / str(i), voice))
        for i, voice in enumerate((first, other))
    ]
    sounds.append(said_by(None, ""))
    assert all(len(x) > 2000 and np.abs(x).max() > 300 for x in sounds)
    shortest = min(map(len, sounds))
    for i in range(3):
        assert np.abs(sounds[i][:shortest] - sounds[i - 1][:shortest]).mean() > 30


def test_drawn_voices_speak_at_every_pitch(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for i in range(12):
        x = said_by(espeak.with_voice(tmp_path / str(i), espeak.drawn_voice(rng)))
        assert 0.15 < len(x) / 8000 < 2
        assert np.isfinite(x).all()
        assert np.abs(x).max() > 300


def test_voices_of_the_fixtures_teach_nobody() -> None:
    assert not set(VARIANTS) & {*espeak.TRAINING_VARIANTS, espeak.DRAWN}


def test_what_espeak_cannot_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "espeak-ng-data").mkdir()
    with pytest.raises(RuntimeError, match=r"espeak-ng: .*phontab"):
        said_by(tmp_path)
