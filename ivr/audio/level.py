"""Quiet callers made louder: a gain that follows the level of speech, causal and without delay.

The recognisers understand speech whose peaks lie 30 dB below full scale or above; a caller far from
the microphone may lie 10 to 20 dB below that. The gain only ever raises, by at most
:data:`MOST_GAIN`. It is for audio in which somebody speaks, as a voice gate lets it through: noise
alone would be raised like a whisper.

The level is the highest peak of the last seconds of speech: the gain falls at once where somebody
speaks up, and rises only when all of the louder speech is past. What stands out from the noise
counts as speech; the noise is the quietest 20 ms of the last second (minimum statistics, Martin
2001, *Noise power spectral density estimation*, without its bias correction), for speech has a
quieter moment within any second.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_GAIN", "TARGET_PEAK", "LevelControl"]

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
#: the noise is the quietest frame of so long, seconds
NOISE_S = 1.0

Samples = npt.NDArray[np.float32]


class LevelControl:
    """The gain of one call.

    Args:
        rate_hz: sample rate, Hertz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._frame = max(1, round(FRAME_S * rate_hz))
        self._peaks: deque[float] = deque(maxlen=round(LEVEL_S / FRAME_S))  # of frames of speech
        self._recent: deque[float] = deque(maxlen=round(NOISE_S / FRAME_S))  # root mean squares
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
        self._follow(samples)
        if before == self._gain == 1.0:
            return pcm
        factor = np.full(len(samples), self._gain, np.float32)
        if before < self._gain:  # a step upwards clicks; downwards it must come in time
            rise = factor[: self._frame]
            rise[:] = np.linspace(before, self._gain, len(rise))
        louder: bytes = np.clip(np.rint(samples * factor), -32768, 32767).astype("<i2").tobytes()
        return louder

    def _follow(self, samples: Samples) -> None:
        whole = len(samples) - len(samples) % self._frame
        self._note(samples[:whole].reshape(-1, self._frame))
        if whole < len(samples):
            self._note(samples[whole:].reshape(1, -1))
        if len(self._peaks) * FRAME_S >= LEARN_S:
            self._gain = min(MOST_GAIN, max(1.0, TARGET_PEAK / max(self._peaks)))

    def _note(self, frames: Samples) -> None:
        """Frames, shape ``(count, samples)``; all at once, for NumPy asks more for each call."""
        levels = np.sqrt(np.mean(frames * frames, axis=1)).tolist()
        for rms, peak in zip(levels, np.abs(frames).max(axis=1).tolist(), strict=True):
            self._recent.append(rms)
            if rms >= LEAST_RMS and rms >= ABOVE_NOISE * min(self._recent):
                self._peaks.append(peak)
