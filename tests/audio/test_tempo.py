"""Another tempo at the same pitch."""

from __future__ import annotations

import numpy as np
import pytest

from ivr.audio.tempo import at_tempo

RATE_HZ = 8000


def tones(*, level: float) -> np.ndarray:
    """Tones of 0.2 s and 440 Hz that begin after 0.5, 1.5 and 2.5 s."""
    at_s = np.arange(3 * RATE_HZ) / RATE_HZ
    sounds = (at_s % 1 >= 0.5) & (at_s % 1 < 0.7)
    return (level * np.sin(2 * np.pi * 440 * at_s) * sounds).astype(np.float32)


@pytest.mark.parametrize("factor", [0.8, 1.25, 1.8])
@pytest.mark.parametrize("level", [0.3, 9000.0])  # of floats, and in the range of int16
def test_the_places_move_and_the_pitch_does_not(factor: float, level: float) -> None:
    made = at_tempo(tones(level=level), factor, RATE_HZ)
    assert made.dtype == np.float32
    assert len(made) == pytest.approx(3 * RATE_HZ / factor, abs=1)
    loud = np.convolve(np.abs(made), np.ones(160) / 160, "same") > 0.3 * level
    begins_s = [third.argmax() / RATE_HZ for third in np.array_split(loud, 3)]
    ends_s = [(len(third) - third[::-1].argmax()) / RATE_HZ for third in np.array_split(loud, 3)]
    assert begins_s == pytest.approx([0.5 / factor] * 3, abs=0.02)
    assert ends_s == pytest.approx([0.7 / factor] * 3, abs=0.02)
    spectrum = np.abs(np.fft.rfft(made))
    pitch_hz = np.fft.rfftfreq(len(made), 1 / RATE_HZ)[spectrum.argmax()]
    assert pitch_hz == pytest.approx(440, rel=0.02)
