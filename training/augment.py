"""Augmentation of features while they are learnt from (SpecAugment, Park et al. 2019).

Features are MFCCs with as many coefficients as mel bins, so a band of the spectrum is masked
exactly, by going back to log mel energies and forth again.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from training.features import COEFFICIENTS, dct

__all__ = ["channel", "mask_bands", "mask_time"]

LONGEST = 20  # frames masked at once
WIDEST = 9  # mel bins masked at once
BANDS = 0.5  # share of the utterances with a band masked
COLOUR = 1.2  # deviation of a channel's log mel energies, natural log of power


def mask_time(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Spans of up to 0.2 s replaced by the utterance's mean, in place; (batch, frames, 40)."""
    for row in x:
        for _ in range(int(len(row) / 250) + 1):
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


@functools.cache
def _transforms() -> tuple[torch.Tensor, torch.Tensor]:
    """Log mel energies to MFCCs, and back."""
    forth = dct().astype(np.float64)
    return (
        torch.from_numpy(forth.astype(np.float32)),
        torch.from_numpy(np.linalg.inv(forth).astype(np.float32)),
    )
