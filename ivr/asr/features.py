"""MFCCs exactly as Kaldi computes them from ``conf/mfcc.conf``, for calls and for training.

The formulas are those of Kaldi's ``feat/feature-window.cc``, ``mel-computations.cc`` and
``feature-mfcc.cc``; :mod:`tests.asr.test_features` holds them against ``kaldi_native_fbank``,
which computes one frame at a time and is several times slower from Python.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

__all__ = [
    "COEFFICIENTS",
    "HOP",
    "RATE_HZ",
    "WINDOW",
    "MfccStream",
    "dct",
    "linear",
    "mel_edges",
    "mfcc",
]

RATE_HZ = 8000
COEFFICIENTS = 40
WINDOW = 200  # samples: 25 ms
HOP = 80  # samples: 10 ms
_FFT = 256
_BAND_HZ = (20.0, RATE_HZ / 2 - 200.0)
_LIFTER = 22.0
_PREEMPHASIS = 0.97
#: Samples before the first frame's 10 ms that its window holds: windows are centred, and mirrored
#: at the ends (``snip-edges=false``).
_BEFORE = WINDOW // 2 - HOP // 2

Floats = npt.NDArray[np.float32]


def _mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hz, float) / 700.0))


@functools.cache
def _window() -> Floats:
    """Povey's window: a Hann window to the power of 0.85."""
    a = 2 * np.pi / (WINDOW - 1)
    hann = 0.5 - 0.5 * np.cos(a * np.arange(WINDOW))
    return np.asarray(hann**0.85, np.float32)


def mel_edges() -> npt.NDArray[np.float64]:
    """(42,) mel: the centres of the 40 triangles, and the ends of the band around them."""
    low, high = _mel(_BAND_HZ)
    return np.linspace(low, high, COEFFICIENTS + 2)


@functools.cache
def _filters() -> Floats:
    """Triangles on the mel scale, (bins of the power spectrum but the last, 40)."""
    edges = mel_edges()
    at = _mel(np.arange(_FFT // 2) * RATE_HZ / _FFT)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (at - left) / (centre - left), (right - at) / (right - centre)
    return np.asarray(np.clip(np.minimum(rise, fall), 0, None), np.float32)


@functools.cache
def dct() -> Floats:
    """Discrete cosine transform with Kaldi's scaling, times the cepstral lifter; (40 mel, 40)."""
    n, k = np.arange(COEFFICIENTS)[:, None] + 0.5, np.arange(COEFFICIENTS)[None, :]
    dct = np.sqrt(2.0 / COEFFICIENTS) * np.cos(np.pi / COEFFICIENTS * n * k)
    dct[:, 0] = np.sqrt(1.0 / COEFFICIENTS)
    lifter = 1.0 + 0.5 * _LIFTER * np.sin(np.pi * k / _LIFTER)
    return np.asarray(dct * lifter, np.float32)


def _spectrum(frames: Floats) -> npt.NDArray[np.complex64]:
    frames = frames - frames.mean(1, keepdims=True)
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - _PREEMPHASIS * frames[:, :-1]
    emphasised[:, 0] = frames[:, 0] * (1 - _PREEMPHASIS)
    return np.asarray(scipy.fft.rfft(emphasised * _window(), _FFT, axis=1))


def linear() -> tuple[Floats, Floats]:
    """What is linear in :func:`mfcc`, as two matrices.

    ``(window @ first) ** 2 @ second`` are the 40 mel energies of a window of samples: the first is
    (200, 256), real and imaginary parts of the spectrum; the second (256, 40).
    """
    spectrum = _spectrum(np.eye(WINDOW, dtype=np.float32))[:, : _FFT // 2]
    first = np.concatenate([spectrum.real, spectrum.imag], axis=1)
    return np.asarray(first, np.float32), np.concatenate([_filters(), _filters()])


def mfcc(samples: npt.ArrayLike) -> Floats:
    """(frames, 40) MFCCs, one frame every 10 ms, of 8 kHz samples in the range of int16."""
    return MfccStream().accept(np.asarray(samples, np.float32), last=True)


class MfccStream:
    """The same along one utterance, as its samples come."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)  # from the beginning of the next window on
        self._begun = False

    def accept(self, samples: Floats, *, last: bool = False) -> Floats:
        """(frames, 40) that can be told now, all that are left with the ``last`` samples."""
        x = np.concatenate([self._samples, samples])
        if not self._begun:
            if len(x) < WINDOW:
                self._samples = x
                return np.zeros((0, COEFFICIENTS), np.float32)
            x = np.pad(x, (_BEFORE, 0), mode="symmetric")
            self._begun = True
        if last:  # as many frames as have their middle in the utterance
            count = max(0, (len(x) - _BEFORE + HOP // 2) // HOP)
            x = np.pad(x, (0, max(0, (count - 1) * HOP + WINDOW - len(x))), mode="symmetric")
        else:
            count = (len(x) - WINDOW) // HOP + 1 if len(x) >= WINDOW else 0
        self._samples = x[count * HOP :]
        if not count:
            return np.zeros((0, COEFFICIENTS), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(x, WINDOW)
        return _coefficients(windows[: count * HOP : HOP])


def _coefficients(frames: Floats) -> Floats:
    spectrum = _spectrum(frames)
    power = spectrum.real**2 + spectrum.imag**2
    mel = np.log(np.maximum(power[:, : _FFT // 2] @ _filters(), np.finfo(np.float32).eps))
    return np.asarray(mel @ dct(), np.float32)
