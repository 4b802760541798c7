"""The effects do to the signal what they say, measured on the signal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_fixtures import effects

RATE_HZ = effects.RATE_HZ


def tone(hertz: float, *, length_s: float = 1.0, level: float = 0.1) -> effects.Samples:
    return level * np.sin(2 * np.pi * hertz * np.arange(int(length_s * RATE_HZ)) / RATE_HZ)


def rms_db(samples: effects.Samples) -> float:
    return float(10 * np.log10(np.mean(samples**2)))


@pytest.mark.parametrize("hertz", [400, 1000, 3000])
def test_the_telephone_band_lets_speech_through(hertz: float) -> None:
    before = tone(hertz)
    assert rms_db(effects.telephone_band(before)) == pytest.approx(rms_db(before), abs=1.0)


@pytest.mark.parametrize("hertz", [50, 120, 3900])
def test_the_telephone_band_stops_what_is_outside(hertz: float) -> None:
    before = tone(hertz)
    assert rms_db(effects.telephone_band(before)) < rms_db(before) - 20


@settings(max_examples=25, deadline=None)
@given(snr_db=st.floats(0, 40), seed=st.integers(0, 1000))
def test_noise_is_added_at_the_stated_ratio_whatever_the_pauses(snr_db: float, seed: int) -> None:
    speech = np.concatenate((np.zeros(4000), tone(500), np.zeros(8000)))
    noise = effects.white_noise(len(speech), np.random.default_rng(seed))
    added = effects.add_noise(speech, noise, snr_db) - speech
    assert rms_db(tone(500)) - rms_db(added) == pytest.approx(snr_db, abs=0.3)


def test_a_noisy_line_has_speech_and_noise_at_their_levels_in_the_band() -> None:
    speech = np.concatenate((np.zeros(8000), tone(700, level=0.5), np.zeros(8000)))
    rng = np.random.default_rng(3)
    quiet = effects.over_noisy_line(speech, None, rng)
    noisy = effects.over_noisy_line(speech, 15.0, rng)
    assert effects.active_level_dbfs(quiet) == pytest.approx(-24)
    noise = noisy - quiet
    assert rms_db(noise) == pytest.approx(-24 - 15, abs=0.1)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
    within = (hertz > 290) & (hertz < 3450)
    assert spectrum[within].sum() > 0.97 * spectrum.sum()


def test_speech_span_leaves_the_silence_out() -> None:
    samples = np.concatenate((np.zeros(2400), tone(500), np.zeros(12000)))
    start_s, end_s = effects.speech_span(samples)
    assert start_s == pytest.approx(0.3, abs=0.02)
    assert end_s == pytest.approx(1.3, abs=0.02)


@pytest.mark.parametrize("samples", [np.zeros(8000), np.zeros(0), np.zeros(10)])
def test_levels_of_silence_are_refused(samples: effects.Samples) -> None:
    with pytest.raises(ValueError, match="silent or shorter"):
        effects.active_level_dbfs(samples)


def test_set_active_level_reaches_the_level() -> None:
    samples = np.concatenate((np.zeros(8000), tone(700, level=0.5)))
    assert effects.active_level_dbfs(effects.set_active_level(samples, -25)) == pytest.approx(-25)


def test_white_noise_is_flat_and_pink_noise_falls_three_decibels_an_octave() -> None:
    random = np.random.default_rng(1)

    def octave_db(samples: effects.Samples, low_hz: float) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
        inside = (hertz >= low_hz) & (hertz < 2 * low_hz)
        return float(10 * np.log10(power[inside].mean()))

    white = effects.white_noise(160_000, random)
    pink = effects.pink_noise(160_000, random)
    assert octave_db(white, 500) - octave_db(white, 1000) == pytest.approx(0, abs=0.5)
    assert octave_db(pink, 500) - octave_db(pink, 1000) == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("make", [effects.hum, effects.busy_tone])
def test_line_tones_have_unit_level(make) -> None:
    assert np.sqrt(np.mean(make(8000) ** 2)) == pytest.approx(1)


def test_babble_mixes_voices_of_any_length_at_equal_level() -> None:
    random = np.random.default_rng(2)
    mixed = effects.babble(8000, [tone(300, length_s=0.3), 9 * tone(1000, length_s=3)], random)
    power = np.abs(np.fft.rfft(mixed)) ** 2
    assert np.sqrt(np.mean(mixed**2)) == pytest.approx(1)
    assert 10 * np.log10(power[290:311].sum() / power[990:1011].sum()) == pytest.approx(0, abs=1)


def test_room_keeps_length_and_direct_sound_and_rings_on() -> None:
    impulse = np.zeros(4000)
    impulse[100] = 1.0
    ringing = effects.room(impulse, np.random.default_rng(3), direct_to_reverberant_db=10)
    assert len(ringing) == len(impulse)
    assert ringing[100] == pytest.approx(1.0)
    assert np.allclose(ringing[:100], 0, atol=1e-9)
    assert 10 * np.log10(np.sum(ringing[101:] ** 2)) == pytest.approx(-10, abs=0.1)


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    time_s = np.arange(22050) / 22050
    kept = effects.resample(0.1 * np.sin(2 * np.pi * 1000 * time_s), 22050)
    gone = effects.resample(0.1 * np.sin(2 * np.pi * 7000 * time_s), 22050)
    assert len(kept) == RATE_HZ
    assert rms_db(kept[400:-400]) == pytest.approx(rms_db(tone(1000)), abs=0.1)
    assert rms_db(gone[400:-400]) < -70


def test_pcm_is_clipped_not_wrapped() -> None:
    assert effects.to_pcm16(np.array([-2.0, -1.0, 0.0, 0.5, 2.0])).tolist() == [
        -32768,
        -32768,
        0,
        16384,
        32767,
    ]
