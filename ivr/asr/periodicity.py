"""How periodic speech is, frame by frame: where its pitch lies, and with it a syllable's tone.

MFCCs tell the envelope of a spectrum and little of the pitch under it. Here each frame of 10 ms
has the autocorrelation of its samples at 72 lags, three octaves of pitch in steps of half a
semitone, so that a high voice and a low one rise alike through the lags. The magnitudes of the
spectrum are compressed to the power of 0.7 before the transform back (the generalised
autocorrelation of Tolonen and Karjalainen 2000, *A computationally efficient multipitch analysis
model*): formants and coloured noise then hide the pitch less. A line that cuts off the fundamental
does not hide it, since all its harmonics tell it.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from ivr.asr.features import COEFFICIENTS, HOP, RATE_HZ, mfcc

__all__ = ["LAGS", "PITCHES_HZ", "WITH_MFCC", "periodicity", "with_mfcc"]

LAGS: Final = 72
_LAGS_PER_OCTAVE: Final = 24
#: (72,) whose periods are the lags.
PITCHES_HZ: Final = 60.0 * 2.0 ** (np.arange(LAGS) / _LAGS_PER_OCTAVE)
#: Columns of :func:`with_mfcc`.
WITH_MFCC: Final = COEFFICIENTS + LAGS
_WINDOW: Final = 400  # samples: 50 ms, three periods of the lowest pitch
_FFT: Final = 1024  # longer than window and longest lag together: nothing comes round
_COMPRESSION: Final = 0.7
_SILENCE: Final = 1e-3  # of a bin's power, range of int16

Floats = npt.NDArray[np.float32]


@functools.cache
def _back() -> Floats:
    """(513, 72): from magnitudes to the autocorrelation at each lag, a fraction of samples too."""
    bins = np.arange(_FFT // 2 + 1)[:, None]
    cosines = np.cos(2 * np.pi * bins * (RATE_HZ / PITCHES_HZ) / _FFT)
    cosines[1:-1] *= 2  # bins of negative frequency
    return np.asarray(cosines, np.float32)


def periodicity(samples: npt.ArrayLike) -> Floats:
    """(frames, 72) normalised autocorrelation, -1 to 1, a frame every 10 ms.

    Args:
        samples: (n,) at 8 kHz in the range of int16. Frames are those of
            :func:`ivr.asr.features.mfcc`, their windows twice as long, mirrored at the ends too.
    """
    x = np.asarray(samples, np.float32)
    frames = (len(x) + HOP // 2) // HOP
    if not frames:
        return np.zeros((0, LAGS), np.float32)
    before = _WINDOW // 2 - HOP // 2
    after = max(0, (frames - 1) * HOP + _WINDOW - before - len(x))
    padded = np.pad(x, (before, after), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][:frames]
    windows = (windows - windows.mean(1, keepdims=True)) * np.hanning(_WINDOW).astype(np.float32)
    spectrum = scipy.fft.rfft(windows, _FFT, axis=1)
    power = spectrum.real**2 + spectrum.imag**2 + np.float32(_SILENCE)
    magnitude = power ** np.float32(_COMPRESSION / 2)
    at_zero = 2 * magnitude.sum(1) - magnitude[:, 0] - magnitude[:, -1]
    return np.asarray(magnitude @ _back() / at_zero[:, None], np.float32)


def with_mfcc(samples: npt.ArrayLike) -> Floats:
    """(frames, 112): the 40 MFCCs of each frame, then its periodicity."""
    x = np.asarray(samples, np.float32)
    envelope = mfcc(x)
    return np.concatenate([envelope, periodicity(x)[: len(envelope)]], axis=1)
