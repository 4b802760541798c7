"""What lies between a mouth and the recogniser: another voice, a room, noise, a telephone line.

All functions take and give float32 samples at 8 kHz in the range of int16, and draw from the
generator that is passed in.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile as sf
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from training.corpus import RATE_HZ

__all__ = ["band", "coded", "mulaw", "room", "speed", "tilt", "to_noise", "transmit"]

#: codecs of telephone lines, as libsndfile names them, and how often each is met
CODECS = {"PCM_16": 0.3, "ULAW": 0.35, "ALAW": 0.25, "GSM610": 0.1}


def speed(x: np.ndarray, factor: float) -> np.ndarray:
    """Play ``factor`` times as fast: pitch and formants move together, as in another speaker."""
    n = int(len(x) / factor)
    return np.interp(np.arange(n) * factor, np.arange(len(x)), x).astype(np.float32)


def mulaw(x: np.ndarray) -> np.ndarray:
    """mu-law and back (ITU-T G.711, continuous approximation with 8 bits)."""
    y = np.log1p(255 * np.abs(np.clip(x / 32768, -1, 1))) / np.log(256)
    y = np.round(y * 127) / 127
    return (np.sign(x) * (256**y - 1) / 255 * 32768).astype(np.float32)


def coded(x: np.ndarray, codec: str) -> np.ndarray:
    """Through a codec of libsndfile and back, sample for sample."""
    file = io.BytesIO()
    pcm = np.clip(x, -32767, 32767).astype(np.int16)
    sf.write(file, pcm, RATE_HZ, format="WAV", subtype=codec)
    file.seek(0)
    out = sf.read(file, dtype="int16")[0].astype(np.float32)
    return np.resize(out[: len(x)], len(x)) if len(out) < len(x) else out[: len(x)]


def band(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The band of a telephone line: from 100 to 400 Hz up to 3 to 3.8 kHz, steep or not."""
    order, low, high = int(rng.integers(1, 5)), rng.uniform(100, 400), rng.uniform(3000, 3800)
    sos = butter(order, [low, high], "bandpass", fs=RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, x), np.float32)


def tilt(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frequency response of a microphone and a handset: a random pole and zero."""
    return lfilter([1, rng.uniform(-0.7, 0.5)], [1, rng.uniform(-0.4, 0.4)], x).astype(np.float32)


def room(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reverberation: exponentially decaying noise, 60 dB in 0.08 to 0.45 s."""
    n = int(rng.uniform(0.08, 0.45) * RATE_HZ)
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.02, 0.15)
    tail[0] = 1
    return fftconvolve(x, tail)[: len(x) + 400].astype(np.float32)


def to_noise(n: int, rng: np.random.Generator, babble: np.ndarray | None) -> np.ndarray:
    """``n`` samples of white, coloured or babble noise with unit deviation."""
    if babble is not None and len(babble) > RATE_HZ and rng.random() < 0.4:
        y = sum(_from(babble, n, rng) for _ in range(int(rng.integers(1, 5))))
        y = np.asarray(y, np.float32)
    else:
        y = rng.standard_normal(n).astype(np.float32)
        if rng.random() < 0.7:
            y = lfilter([1], [1, -rng.uniform(0.5, 0.97)], y).astype(np.float32)
        if rng.random() < 0.2:  # hum of the mains
            t = np.arange(n) / RATE_HZ
            y += np.sin(2 * np.pi * 50 * t * rng.integers(1, 4)).astype(np.float32)
    return y / (y.std() + 1e-6)


def _from(babble: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(0, len(babble)))
    return np.resize(np.roll(babble, -start)[:n], n).astype(np.float32)


def transmit(
    x: np.ndarray, rng: np.random.Generator, *, babble: np.ndarray | None = None, hard: float = 1.0
) -> tuple[np.ndarray, float]:
    """One utterance as it arrives: silence around it, channel, room, noise, level, codec.

    ``hard`` from 0 to 1 scales how often and how strongly the line disturbs. Also returns the
    silence put before the utterance, seconds.
    """
    if rng.random() < 0.7:
        x = tilt(x, rng)
    if rng.random() < 0.3 * hard:
        x = room(x, rng)
    longest = 1.6 if rng.random() < 0.15 else 0.5
    before, after = (int(RATE_HZ * rng.uniform(0.03, longest)) for _ in range(2))
    speech_level = np.sqrt((x**2).mean()) + 1e-6
    x = np.concatenate([np.zeros(before), x, np.zeros(after)]).astype(np.float32)
    snr_db = rng.uniform(3, 25) if rng.random() < 0.5 * hard else rng.uniform(25, 55)
    x = x + to_noise(len(x), rng, babble) * speech_level * 10 ** (-snr_db / 20)
    if rng.random() < 0.65:
        x = band(x, rng)
    x = x / (np.abs(x).max() + 1e-6) * 10 ** rng.uniform(3.0, 4.5)
    if rng.random() < 0.05 * hard:
        x = np.clip(x * rng.uniform(1, 3), -32767, 32767)
    if rng.random() < 0.7:  # the line's own hiss, -80 to -50 dB of full scale
        x = x + rng.standard_normal(len(x)) * 32768 * 10 ** (-rng.uniform(50, 80) / 20)
    if rng.random() < 0.1 * hard:
        for _ in range(int(rng.integers(1, 4))):  # lost packets of 20 ms
            at = int(rng.integers(0, len(x)))
            x[at : at + 160] = 0
    x = coded(x, str(rng.choice(list(CODECS), p=list(CODECS.values()))))
    return x, before / RATE_HZ
