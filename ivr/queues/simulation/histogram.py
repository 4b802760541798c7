"""A histogram of waiting times in fixed memory, fine enough for quantiles.

A bin of its own for no wait at all, bins of a quarter of a second up to a minute, and bins 1.1 %
wide (64 an octave) above, up to a day and a half. Histograms add up over replications; a quantile
is off by less than a bin (the idea of HdrHistogram, https://hdrhistogram.org).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "FINE_UNTIL_S", "OCTAVE_BINS", "PER_SECOND", "bin_edges_s", "quantile_s"]

PER_SECOND = 4
FINE_UNTIL_S = 64.0
OCTAVE_BINS = 64
_OCTAVES = 11
_FINE = int(FINE_UNTIL_S * PER_SECOND)
BINS = 1 + _FINE + OCTAVE_BINS * _OCTAVES


def bin_edges_s() -> npt.NDArray[np.float64]:
    """Upper edges of the bins, seconds, float64 (BINS,); the first bin holds exactly 0 s."""
    fine = np.arange(_FINE + 1) / PER_SECOND
    octaves = FINE_UNTIL_S * 2.0 ** (np.arange(1, OCTAVE_BINS * _OCTAVES + 1) / OCTAVE_BINS)
    return np.concatenate([fine, octaves])


_EDGES = bin_edges_s()


def quantile_s(counts: npt.NDArray[np.int64], share: float) -> float:
    """The time that ``share`` (0 to 1) of the counted do not exceed; NaN where nothing is counted.

    Linear within the bin.
    """
    total = int(counts.sum())
    if not total:
        return float("nan")
    reached = np.cumsum(counts)
    place = min(int(np.searchsorted(reached, share * total)), BINS - 1)
    if place == 0:
        return 0.0
    before = int(reached[place - 1])
    within = (share * total - before) / max(1, int(counts[place]))
    low, high = float(_EDGES[place - 1]), float(_EDGES[place])
    return low + (high - low) * min(1.0, max(0.0, within))
