"""Simulated lines: what comes out is still the same speech, in time and in band."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training import line

RATE = 8000


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(
        np.float32
    )


@pytest.mark.parametrize("codec", line.CODECS)
@pytest.mark.parametrize("length", [160, 4001])
def test_codecs_keep_length_and_place(codec: str, length: int) -> None:
    x = tone(500)[:length]
    y = line.coded(x, codec)
    assert y.shape == x.shape
    if length > 1000:
        inside = slice(400, length - 400)
        assert np.corrcoef(x[inside], y[inside])[0, 1] > 0.9


def test_band_takes_away_what_telephones_do_not_carry() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        kept = line.band(tone(1000), rng)[2000:].std() / tone(1000).std()
        lost = line.band(tone(20), rng)[2000:].std() / tone(20).std()
        assert kept > 0.7
        assert lost < 0.35 * kept


@pytest.mark.parametrize("hard", [0.0, 1.0])
def test_the_silence_before_is_reported(hard: float) -> None:
    for seed in range(10):
        x, before_s = line.transmit(tone(700), np.random.default_rng(seed), hard=hard)
        assert np.abs(x).max() <= 32767
        begin = int(before_s * RATE)
        assert len(x) >= begin + RATE
        power = (x[begin + 800 : begin + 7200] ** 2).mean()
        assert power > 1.2 * (x[: max(begin - 200, 1)] ** 2).mean()


def test_the_same_seed_gives_the_same_line() -> None:
    a, _ = line.transmit(tone(700), np.random.default_rng(5))
    b, _ = line.transmit(tone(700), np.random.default_rng(5))
    assert (a == b).all()
