"""The gain that follows the level of speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.audio.level import MOST_GAIN, TARGET_PEAK, LevelControl

RATE_HZ = 8000


def pcm(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def samples(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(float)


def syllables(peak: float, seconds: float = 3.0, noise: float = 2.0) -> np.ndarray:
    """A voiced tone that comes and goes four times a second, over noise."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    voice = np.sin(2 * np.pi * 180 * t) * np.clip(np.sin(2 * np.pi * 4 * t), 0, 1)
    return peak * voice + np.random.default_rng(1).standard_normal(len(t)) * noise


def last_second(data: bytes) -> np.ndarray:
    return np.abs(samples(data)[-RATE_HZ:])


def test_the_gain_has_an_end() -> None:
    heard = last_second(LevelControl(RATE_HZ).apply(pcm(syllables(100))))
    assert heard.max() == pytest.approx(100 * MOST_GAIN, rel=0.1)


@pytest.mark.parametrize("peak", [300, 600, 1500])
def test_a_quiet_caller_is_raised_to_the_target(peak: int) -> None:
    heard = last_second(LevelControl(RATE_HZ).apply(pcm(syllables(peak))))
    assert heard.max() == pytest.approx(TARGET_PEAK, rel=0.1)


@pytest.mark.parametrize("peak", [4500, 12000, 32000])
def test_a_caller_loud_enough_is_left_alone(peak: int) -> None:
    spoken = pcm(syllables(peak, noise=0.0))
    assert LevelControl(RATE_HZ).apply(spoken) == spoken


def test_steady_noise_is_not_raised() -> None:
    noise = pcm(np.random.default_rng(2).standard_normal(10 * RATE_HZ) * 60)
    control = LevelControl(RATE_HZ)
    assert control.apply(noise) == noise
    assert control.gain == 1.0


def test_a_voice_that_rises_brings_the_gain_down_at_once() -> None:
    control = LevelControl(RATE_HZ)
    control.apply(pcm(syllables(400)))
    assert control.gain > 8
    out = samples(control.apply(pcm(syllables(20000, seconds=0.5))))
    assert control.gain == 1.0
    assert not (np.abs(out) >= 32767).any()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=4000), st.lists(st.integers(0, 400), max_size=8))
def test_any_audio_keeps_its_length_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    data = data[: len(data) // 2 * 2]
    control, out, at = LevelControl(RATE_HZ), b"", 0
    for cut in cuts:
        out += control.apply(data[at : at + 2 * cut])
        at = min(len(data), at + 2 * cut)
    out += control.apply(data[at:])
    assert len(out) == len(data)
    assert 1.0 <= control.gain <= MOST_GAIN
