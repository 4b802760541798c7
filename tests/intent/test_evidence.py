"""The alignment of many at once against a plain reading of its definition."""

from __future__ import annotations

import numpy as np
import pytest

from ivr.intent.evidence import _GAP, _smith_waterman


def _aligned(
    alike: np.ndarray, a: list[int], wa: list[float], b: list[int], wb: list[float]
) -> float:
    """Cell by cell, as Smith & Waterman (1981) write it, with gaps by the weight left out."""
    table = np.zeros((len(a) + 1, len(b) + 1))
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1, j + 1] = max(
                0.0,
                table[i, j] + alike[a[i], b[j]] * (wa[i] + wb[j]) / 2,
                table[i, j + 1] - _GAP * wa[i],
                table[i + 1, j] - _GAP * wb[j],
            )
    return float(table.max())


def test_alignment_of_many_is_that_of_each_pair() -> None:
    rng = np.random.default_rng(8)
    alike = rng.uniform(-1, 1, size=(7, 6)).astype(np.float32)
    alike[-1, :] = alike[:, -1] = -1.0  # what pads
    texts, phrases = rng.integers(0, 6, size=(3, 9)), rng.integers(0, 5, size=(4, 7))
    wt = rng.uniform(0.1, 3, size=texts.shape).astype(np.float32)
    wp = rng.uniform(0.1, 3, size=phrases.shape).astype(np.float32)
    texts[1, 6:], wt[1, 6:] = -1, 0.0
    phrases[2, 4:], wp[2, 4:] = -1, 0.0
    found = _smith_waterman(alike, texts, wt, phrases, wp)
    for h in range(3):
        for p in range(4):
            n, m = (texts[h] >= 0).sum(), (phrases[p] >= 0).sum()
            expected = _aligned(alike, texts[h, :n], wt[h, :n], phrases[p, :m], wp[p, :m])
            assert found[h, p] == pytest.approx(expected, abs=1e-4)
