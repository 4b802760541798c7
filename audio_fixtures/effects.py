"""What a telephone line does to a voice: band, room, noise, level. numpy and scipy only.

Every function takes and gives one channel of float64 samples, full scale -1 to 1, shape
``(samples,)``, and leaves its argument as it was. Randomness comes from the generator passed
in, so the same seed gives the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = [
    "BAND_HZ",
    "RATE_HZ",
    "Samples",
    "active_level_dbfs",
    "add_noise",
    "babble",
    "busy_tone",
    "crackle",
    "hum",
    "over_noisy_line",
    "pink_noise",
    "resample",
    "room",
    "set_active_level",
    "set_level",
    "speech_span",
    "telephone_band",
    "to_pcm16",
    "white_noise",
]

Samples = NDArray[np.float64]

RATE_HZ = 8000
#: The voice band of the telephone, ITU-T G.120 (300 Hz to 3400 Hz).
BAND_HZ = (300.0, 3400.0)

_FRAME_S = 0.02
# A frame counts as speech within this many decibels of the loudest one: the margin of
# ITU-T P.56 (15.9 dB under the active level) plus the usual crest of syllables over it.
_ACTIVE_BELOW_PEAK_DB = 25.0
_SILENT = 1e-10  # power under which a signal counts as digital silence


def resample(samples: Samples, from_hz: int, to_hz: int = RATE_HZ) -> Samples:
    """Resample by a polyphase filter; the anti-alias filter is scipy's Kaiser window."""
    if from_hz == to_hz:
        return samples.copy()
    common = np.gcd(from_hz, to_hz)
    return np.asarray(signal.resample_poly(samples, to_hz // common, from_hz // common))


def telephone_band(samples: Samples, rate_hz: int = RATE_HZ) -> Samples:
    """Keep 300 Hz to 3400 Hz: a causal Butterworth band-pass of 4th order at each edge."""
    sections = signal.butter(4, BAND_HZ, btype="bandpass", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections, samples))


def room(
    samples: Samples,
    random: np.random.Generator,
    *,
    rt60_s: float = 0.2,
    direct_to_reverberant_db: float = 10.0,
    rate_hz: int = RATE_HZ,
) -> Samples:
    """Light room: the direct sound and a tail of noise that falls 60 dB in ``rt60_s``.

    The tail is Polack's model of late reverberation (exponentially decaying Gaussian noise),
    5 ms after the direct sound. The length is kept: what rings past the end is cut.
    """
    length = int(rt60_s * rate_hz)
    delay = int(0.005 * rate_hz)
    decay = 10.0 ** (-3.0 * np.arange(length) / length)
    tail = random.standard_normal(length) * decay
    tail *= 10.0 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    response = np.concatenate(([1.0], np.zeros(delay - 1), tail))
    return np.asarray(signal.fftconvolve(samples, response)[: len(samples)])


def white_noise(count: int, random: np.random.Generator) -> Samples:
    """Gaussian noise of one level at every frequency, RMS 1."""
    return random.standard_normal(count)


def pink_noise(count: int, random: np.random.Generator, *, rate_hz: int = RATE_HZ) -> Samples:
    """Noise whose power falls 3 dB an octave from 50 Hz up (traffic, air conditioning), RMS 1."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / rate_hz)
    shaped = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 50.0)), count)
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)))


def babble(count: int, voices: Sequence[Samples], random: np.random.Generator) -> Samples:
    """Several voices at once, repeated from random places and as loud as each other, RMS 1."""
    total = np.zeros(count)
    for voice in voices:
        level = np.sqrt(np.mean(voice**2))
        turned = np.roll(voice, -int(random.integers(len(voice)))) / level
        total += np.resize(turned, count)
    return np.asarray(total / np.sqrt(np.mean(total**2)))


def hum(count: int, *, rate_hz: int = RATE_HZ) -> Samples:
    """Mains hum: 50 Hz and its odd harmonics up to 550 Hz, RMS 1."""
    time_s = np.arange(count) / rate_hz
    waves = [np.sin(2 * np.pi * 50 * n * time_s) / n for n in range(1, 12, 2)]
    total = np.sum(waves, axis=0)
    return np.asarray(total / np.sqrt(np.mean(total**2)))


def crackle(
    count: int, random: np.random.Generator, *, a_second: float = 6.0, rate_hz: int = RATE_HZ
) -> Samples:
    """Clicks of a bad contact: short bursts at random times, RMS 1."""
    total = np.zeros(count)
    length = int(0.004 * rate_hz)
    for _ in range(max(1, round(a_second * count / rate_hz))):
        at = int(random.integers(max(1, count - length)))
        burst = random.standard_normal(length) * np.exp(-np.arange(length) / (length / 4))
        total[at : at + length] += burst[: count - at] * random.uniform(0.3, 1.0)
    return np.asarray(total / np.sqrt(np.mean(total**2)))


def busy_tone(count: int, *, rate_hz: int = RATE_HZ) -> Samples:
    """The busy tone of Chinese exchanges (GB 3380: 450 Hz, 0.35 s on, 0.35 s off), RMS 1."""
    time_s = np.arange(count) / rate_hz
    on = (time_s % 0.7) < 0.35
    total = np.sin(2 * np.pi * 450 * time_s) * on
    return np.asarray(total / np.sqrt(np.mean(total**2)))


def _frame_powers(samples: Samples, rate_hz: int) -> Samples:
    size = int(_FRAME_S * rate_hz)
    whole = len(samples) // size * size
    return np.asarray(np.mean(samples[:whole].reshape(-1, size) ** 2, axis=1))


def _active(samples: Samples, rate_hz: int) -> tuple[Samples, NDArray[np.bool_]]:
    powers = _frame_powers(samples, rate_hz)
    if not len(powers) or powers.max() < _SILENT:
        raise ValueError("no speech in these samples: they are silent or shorter than 20 ms")
    return powers, powers > powers.max() * 10.0 ** (-_ACTIVE_BELOW_PEAK_DB / 10)


def speech_span(samples: Samples, rate_hz: int = RATE_HZ) -> tuple[float, float]:
    """Start and end of the speech in seconds, to 20 ms.

    Meant for clean synthetic speech. Raises ValueError where the samples are silent.
    """
    _, active = _active(samples, rate_hz)
    where = np.flatnonzero(active)
    return float(where[0] * _FRAME_S), float((where[-1] + 1) * _FRAME_S)


def active_level_dbfs(samples: Samples, rate_hz: int = RATE_HZ) -> float:
    """Level of the frames that hold speech, decibels under full scale (pauses do not count).

    After the idea of ITU-T P.56, with a fixed threshold. Raises ValueError where the samples
    are silent.
    """
    powers, active = _active(samples, rate_hz)
    return float(10 * np.log10(powers[active].mean()))


def set_active_level(samples: Samples, level_dbfs: float, rate_hz: int = RATE_HZ) -> Samples:
    """Scale speech to an active level, see :func:`active_level_dbfs`."""
    change_db = level_dbfs - active_level_dbfs(samples, rate_hz)
    return np.asarray(samples * 10.0 ** (change_db / 20))


def set_level(samples: Samples, level_dbfs: float) -> Samples:
    """Scale noise to an RMS level in decibels under full scale."""
    return np.asarray(samples * (10.0 ** (level_dbfs / 20) / np.sqrt(np.mean(samples**2))))


def add_noise(speech: Samples, noise: Samples, snr_db: float, *, rate_hz: int = RATE_HZ) -> Samples:
    """Add noise of the same length so that active speech stands ``snr_db`` over its RMS."""
    return speech + set_level(noise, active_level_dbfs(speech, rate_hz) - snr_db)


def over_noisy_line(
    speech: Samples,
    snr_db: float | None,
    random: np.random.Generator,
    *,
    level_dbfs: float = -24.0,
) -> Samples:
    """Speech in the band of the telephone at an active level, under white noise; None: under none.

    Raises ValueError where the samples are silent.
    """
    heard = set_active_level(telephone_band(speech), level_dbfs)
    if snr_db is None:
        return heard
    return add_noise(heard, telephone_band(white_noise(len(speech), random)), snr_db)


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Signed 16-bit samples; what is over full scale is clipped, as a converter does."""
    return np.asarray(np.clip(np.rint(samples * 32768.0), -32768, 32767), dtype=np.int16)
