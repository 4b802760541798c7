from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.audio.resample import Resampler, check_rate
from ivr.errors import AudioError


def tone(hertz: float, rate_hz: int, duration_s: float = 1.0) -> bytes:
    n = np.arange(round(rate_hz * duration_s))
    return np.round(9000 * np.sin(2 * np.pi * hertz * n / rate_hz)).astype("<i2").tobytes()


def peak_hz(pcm: bytes, rate_hz: int) -> float:
    x = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.abs(np.fft.rfft(x)).argmax() * rate_hz / len(x))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16000, 8000), (44100, 8000), (8000, 16000)])
def test_a_tone_keeps_its_pitch_length_and_level(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    source = tone(1000, from_hz)
    out = b"".join(resampler.resample(source[i : i + 640]) for i in range(0, len(source), 640))
    out += resampler.flush()
    assert len(out) / 2 == pytest.approx(to_hz, abs=to_hz * 0.002)
    assert peak_hz(out, to_hz) == pytest.approx(1000, abs=3)
    middle = np.frombuffer(out, "<i2")[to_hz // 4 : to_hz // 2].astype(float)
    assert np.sqrt((middle**2).mean()) == pytest.approx(9000 / 2**0.5, rel=0.01)


def test_what_the_telephone_cannot_carry_is_filtered_out_and_not_folded_back() -> None:
    resampler = Resampler(16000, 8000)
    out = np.frombuffer(resampler.resample(tone(5000, 16000)) + resampler.flush(), "<i2")
    assert np.abs(out[400:-400]).max() < 30


def test_equal_rates_pass_untouched() -> None:
    resampler = Resampler(8000, 8000)
    assert resampler.resample(b"\x01\x02") == b"\x01\x02"
    assert resampler.flush() == b""


def test_a_flushed_resampler_serves_the_next_stream() -> None:
    resampler = Resampler(16000, 8000)
    source = tone(700, 16000, 0.2)
    first = resampler.resample(source) + resampler.flush()
    assert resampler.resample(source) + resampler.flush() == first


@pytest.mark.parametrize("rate_hz", [0, -8000, 8, 4_000_000_000])
def test_absurd_rates_are_refused(rate_hz: int) -> None:
    with pytest.raises(AudioError, match="must be between 4000 and 192000 Hz"):
        check_rate(rate_hz)
    with pytest.raises(AudioError, match=str(rate_hz)):
        Resampler(rate_hz, 8000)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        Resampler(16000, 8000).resample(b"abc")


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 1600), max_size=8),
    rates=st.sampled_from([(16000, 8000), (8000, 16000), (11025, 8000)]),
)
def test_framing_never_changes_the_result(cuts: list[int], rates: tuple[int, int]) -> None:
    source = tone(440, rates[0], 0.1)
    edges = sorted({0, len(source), *(2 * cut for cut in cuts if 2 * cut < len(source))})
    one, many = Resampler(*rates), Resampler(*rates)
    pieces = [many.resample(source[a:b]) for a, b in itertools.pairwise(edges)]
    assert b"".join(pieces) + many.flush() == one.resample(source) + one.flush()
