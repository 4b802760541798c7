"""Where the pitch of a voice lies, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.asr.features import COEFFICIENTS, RATE_HZ, mfcc
from ivr.asr.periodicity import LAGS, PITCHES_HZ, WITH_MFCC, periodicity, with_mfcc


def voice(pitch_hz: float, *, lowest: int = 1, seconds: float = 0.4) -> np.ndarray:
    """Harmonics of a pitch up to 3.4 kHz, each as loud as the last one twice as low is."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    orders = np.arange(lowest, int(3400 / pitch_hz) + 1)
    return 3000 * sum(np.sin(2 * np.pi * k * pitch_hz * t + k) / k for k in orders)


def pitch(samples: np.ndarray) -> np.ndarray:
    """(frames,) Hz where the periodicity is greatest, without those at the ends."""
    return PITCHES_HZ[periodicity(samples)[5:-5].argmax(1)]


@given(pitch_hz=st.floats(75, 440))
def test_a_voice_is_periodic_at_its_pitch(pitch_hz: float) -> None:
    found = pitch(voice(pitch_hz))
    # Half a semitone apart; an octave below is the same period twice.
    below = np.log2(pitch_hz / found)
    assert np.abs(below - below.round()).max() < 1.5 / 24
    assert below.max() < 1.1


@pytest.mark.parametrize("pitch_hz", [90.0, 150.0, 210.0])
def test_a_line_without_the_fundamental_tells_it_too(pitch_hz: float) -> None:
    found = pitch(voice(pitch_hz, lowest=int(300 / pitch_hz) + 1))
    assert np.abs(np.log2(found / pitch_hz)).max() < 1.5 / 24


def test_in_noise() -> None:
    speech = voice(180.0)
    noise = np.random.default_rng(1).standard_normal(len(speech)) * speech.std() * 10 ** (-5 / 20)
    assert np.abs(np.log2(pitch(speech + noise) / 180.0)).max() < 1.5 / 24


def test_noise_has_none() -> None:
    noise = 1000 * np.random.default_rng(2).standard_normal(8000)
    assert periodicity(noise).max() < 0.6 * periodicity(voice(150.0))[5:-5].max(1).min()


def test_loudness_is_of_no_account() -> None:
    quiet, loud = periodicity(0.05 * voice(120.0)), periodicity(4 * voice(120.0))
    assert np.abs(quiet - loud).max() < 1e-2


@given(length=st.integers(0, 2000))
def test_frames_are_those_of_the_mfccs(length: int) -> None:
    samples = 500 * np.random.default_rng(length).standard_normal(length)
    found = with_mfcc(samples)
    assert found.shape == (len(mfcc(samples)), WITH_MFCC)
    assert np.array_equal(found[:, :COEFFICIENTS], mfcc(samples))
    assert np.array_equal(found[:, COEFFICIENTS:], periodicity(samples)[: len(found)])


def test_digital_silence_is_finite() -> None:
    found = periodicity(np.zeros(2000))
    assert found.shape == (25, LAGS)
    assert np.isfinite(found).all()
