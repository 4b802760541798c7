"""Quiet callers made louder: a gain that follows the level of speech, causal and without delay.

The recognisers understand speech whose peaks lie 30 dB below full scale or above; a caller far from
the microphone may lie 10 to 20 dB below that. The gain only ever raises, by at most
:data:`MOST_GAIN`, and only what stands out from the noise beneath it counts as speech, so that an
empty line stays as quiet as it is.

The level is the highest peak of the last seconds of speech: the gain falls at once where somebody
speaks up, and rises only when all of the louder speech is past. The noise is the quietest 20 ms of
the last seconds (minimum statistics, Martin 2001, *Noise power spectral density estimation*,
without its bias correction).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

__all__ = ["MOST_GAIN", "LevelControl"]

#: 24 dB
MOST_GAIN = 16.0
#: peaks of speech are raised to this, of 32,767
TARGET_PEAK = 4000.0
FRAME_S = 0.02
#: speech stands out from the noise by this factor of amplitude (12 dB)
ABOVE_NOISE = 4.0
#: what is quieter than this, root mean square, is no speech: mu-law's own noise
LEAST_RMS = 12.0
#: the level is that of so much speech, seconds; pauses do not count
LEVEL_S = 2.0
#: so much speech must have been heard before its level is believed, seconds
LEARN_S = 0.1
#: the noise may rise by this factor a second, so that a louder line is learnt
NOISE_RISE = 1.5


class LevelControl:
    """The gain of one call.

    Args:
        rate_hz: sample rate, Hertz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._frame = max(1, round(FRAME_S * rate_hz))
        self._rise = NOISE_RISE**FRAME_S
        self._peaks: deque[float] = deque(maxlen=round(LEVEL_S / FRAME_S))  # of frames of speech
        self._noise = math.inf  # root mean square
        self._gain = 1.0

    @property
    def gain(self) -> float:
        """The factor in force, 1 to :data:`MOST_GAIN`."""
        return self._gain

    def apply(self, pcm: bytes) -> bytes:
        """``pcm`` (s16le, one channel, a whole number of samples) as loud as it should be."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        if not len(samples):
            return pcm
        before = self._gain
        out = np.empty_like(samples)
        for start in range(0, len(samples), self._frame):
            frame = samples[start : start + self._frame]
            self._follow(frame)
            ramp = np.linspace(before, self._gain, len(frame), dtype=np.float32)
            out[start : start + self._frame] = frame * ramp
            before = self._gain
        if before == 1.0 and np.array_equal(out, samples):
            return pcm
        return np.clip(np.rint(out), -32768, 32767).astype("<i2").tobytes()

    def _follow(self, frame: np.ndarray) -> None:
        rms = float(np.sqrt(np.mean(frame * frame)))
        self._noise = max(1.0, min(rms, self._noise * self._rise))
        if rms < LEAST_RMS or rms < ABOVE_NOISE * self._noise:
            return
        peak = float(np.abs(frame).max())
        self._peaks.append(peak)
        wanted = min(MOST_GAIN, max(1.0, TARGET_PEAK / max(self._peaks)))
        if len(self._peaks) * FRAME_S >= LEARN_S or wanted < self._gain:
            self._gain = wanted
