"""Alignment finds borders that are known: noises of different colours, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.align import spans_of

RATE = 8000
#: a made-up voice: each unit is noise around one frequency (Hz)
COLOUR = {"m": 400, "a": 900, "l": 1500, "i": 2300, "f": 3200}
SYLLABLES = ("ma1", "li4", "fa1", "mi3", "la2", "fu4")


def _noise(centre_hz: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    n = int(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum *= np.exp(-(((hz - centre_hz) / 120) ** 2))
    x = np.fft.irfft(spectrum, n)
    return 3000 * x / x.std()


def _recording(
    syllables: list[str], rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    parts, spans, at = [rng.standard_normal(1600)], [], 0.2
    for s in syllables:
        for unit in (s[0], s[1]):
            length = float(rng.uniform(0.08, 0.2))
            parts.append(_noise(COLOUR.get(unit, 700), length, rng))
            spans.append((at, at + int(length * RATE) / RATE))
            at = spans[-1][1]
    parts.append(rng.standard_normal(1600))
    return np.concatenate(parts), spans


def test_borders_of_coloured_noises() -> None:
    rng = np.random.default_rng(4)
    jobs, truth = [], []
    for _ in range(60):
        said = [str(s) for s in rng.choice(SYLLABLES, size=int(rng.integers(2, 6)))]
        samples, spans = _recording(said, rng)
        jobs.append(("somebody", samples.astype(np.int16), tuple(said)))
        truth.append(np.array(spans))
    found = spans_of("cmn", jobs)
    off = [np.abs(f - t).ravel() for f, t in zip(found, truth, strict=True) if f is not None]
    assert len(off) == len(jobs)
    assert np.median(np.concatenate(off)) < 0.025
    assert np.mean(np.concatenate(off) < 0.06) > 0.9


def test_too_short_for_its_text() -> None:
    rng = np.random.default_rng(4)
    samples, _ = _recording(["ma1", "li4"], rng)
    long_text = tuple(["ma1"] * 200)
    fits = ("somebody", samples.astype(np.int16), ("ma1", "li4"))
    found = spans_of("cmn", [fits, ("somebody", samples.astype(np.int16), long_text), fits])
    assert found[1] is None
    assert found[0] is not None
