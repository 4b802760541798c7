"""Augmentation of features while they are learnt from (SpecAugment, Park et al. 2019).

Features are MFCCs with as many coefficients as mel bins, so a band of the spectrum is masked
exactly, by going back to log mel energies and forth again. Some networks hear the periodicity beside
them (:mod:`ivr.asr.periodicity`).
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from ivr.asr.features import COEFFICIENTS, dct, mel_edges

__all__ = ["channel", "disturbed", "mask_bands", "mask_time", "moved_bins", "transposed", "warp"]

LONGEST = 20  # frames masked at once
WIDEST = 9  # mel bins masked at once
BANDS = 0.5  # share of the utterances with a band masked
KNEE_HZ = 3000.0  # up to here formants move by the whole factor
COLOUR = 1.2  # deviation of a channel's log mel energies, natural log of power
HIGHER = 8  # lags, four semitones, by which a voice is made higher or lower


def disturbed(
    x: torch.Tensor, rng: np.random.Generator, *, warp_by: float, masked: float
) -> torch.Tensor:
    """All of what is below, on MFCCs (batch, frames, 40), or with their periodicity (…, 112).

    Args:
        x: features.
        rng: what is drawn from.
        warp_by: ``deviation`` of :func:`warp`.
        masked: ``times`` of :func:`mask_time`.
    """
    envelope = channel(warp(x[..., :COEFFICIENTS], rng, warp_by), rng)
    pitch = x[..., COEFFICIENTS:]
    out = torch.cat([envelope, transposed(pitch, rng)], 2) if pitch.shape[2] else envelope
    mask_time(out, rng, masked)
    out[..., :COEFFICIENTS] = mask_bands(out[..., :COEFFICIENTS], rng)
    return out


def transposed(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Every utterance in a higher or lower voice; periodicity (batch, frames, lags), mean 0."""
    out = torch.zeros_like(x)
    for row, new in zip(x, out, strict=True):
        by = int(rng.integers(-HIGHER, HIGHER + 1))
        up, down = max(0, by), max(0, -by)
        new[:, up : x.shape[2] - down] = row[:, down : x.shape[2] - up]
    return out


def mask_time(x: torch.Tensor, rng: np.random.Generator, times: float = 1.0) -> torch.Tensor:
    """Spans of up to 0.2 s replaced by the utterance's mean, in place; (batch, frames, 40).

    One in 2.5 s and one more, or ``times`` as many.
    """
    for row in x:
        for _ in range(int(times * (len(row) / 250 + 1))):
            n = int(rng.integers(0, LONGEST))
            at = int(rng.integers(0, max(1, len(row) - n)))
            row[at : at + n] = row.mean(0)
    return x


def mask_bands(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """In some utterances a band of up to nine mel bins replaced by its mean over time."""
    forth, back = _transforms()
    for row in x:
        if rng.random() < BANDS:
            n = int(rng.integers(1, WIDEST + 1))
            at = int(rng.integers(0, COEFFICIENTS - n + 1))
            away = back[:, at : at + n] @ forth[at : at + n]
            row -= (row - row.mean(0)) @ away
    return x


def channel(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Every utterance through another smooth frequency response, constant over its frames."""
    forth, _ = _transforms()
    knots = rng.standard_normal((len(x), 5)) * COLOUR
    bins = np.linspace(0, 4, COEFFICIENTS)
    response = np.stack([np.interp(bins, np.arange(5), k) for k in knots])
    shift = torch.from_numpy(response.astype(np.float32)) @ forth
    return x + shift[:, None, :]


def warp(x: torch.Tensor, rng: np.random.Generator, deviation: float) -> torch.Tensor:
    """Every utterance from another vocal tract: its formants moved by a factor, its pace kept.

    Vocal tract length perturbation (Jaitly and Hinton 2013) on log mel energies; (batch, frames, 40).
    ``deviation`` is that of the logarithm of the factor, which is cut at twice that.
    """
    if not deviation:
        return x
    forth, back = _transforms()
    factors = np.exp(np.clip(rng.standard_normal(len(x)), -2, 2) * deviation)
    moved = torch.from_numpy(np.stack([moved_bins(float(f)) for f in factors]))
    return x @ (back @ moved @ forth)


def moved_bins(factor: float) -> np.ndarray:
    """(40, 40) energies of the mel bins to those of bins ``factor`` times as high.

    Above the knee the frequencies run linearly to the top, which stays.
    """
    *_, top = _centres()
    hz = _centres()[:COEFFICIENTS]
    knee = KNEE_HZ / max(factor, 1.0)
    rest = top - (top - hz) * (top - knee / factor) / (top - knee)
    source = np.where(hz < knee, hz / factor, rest)
    at = np.clip(np.interp(source, hz, np.arange(COEFFICIENTS)), 0, COEFFICIENTS - 1.001)
    low = at.astype(int)
    out = np.zeros((COEFFICIENTS, COEFFICIENTS), np.float32)
    each = np.arange(COEFFICIENTS)
    out[low, each] += 1 - (at - low)
    out[low + 1, each] += at - low
    return out


@functools.cache
def _centres() -> np.ndarray:
    """Hz of the centres of the mel bins, and of the band's top."""
    return np.asarray(700.0 * np.expm1(mel_edges() / 1127.0))[1:]


@functools.cache
def _transforms() -> tuple[torch.Tensor, torch.Tensor]:
    """Log mel energies to MFCCs, and back."""
    forth = dct().astype(np.float64)
    return (
        torch.from_numpy(forth.astype(np.float32)),
        torch.from_numpy(np.linalg.inv(forth).astype(np.float32)),
    )
