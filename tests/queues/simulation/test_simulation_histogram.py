"""Quantiles from bins are those of the numbers, to within a bin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.queues.simulation.histogram import BINS, bin_edges_s, quantile_s

EDGES = bin_edges_s()


def binned(waits: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, waits), minlength=BINS)


def test_edges_rise_from_zero_to_more_than_a_day() -> None:
    assert EDGES[0] == 0.0
    assert np.all(np.diff(EDGES) > 0)
    assert EDGES[-1] > 86400
    assert np.all((np.diff(EDGES) <= 0.25) | (np.diff(EDGES) < 0.0111 * EDGES[:-1]))


@given(st.lists(st.floats(0, 90_000), min_size=1, max_size=60), st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_quantile_is_off_by_less_than_a_bin(waits: list[float], share: float) -> None:
    values = np.sort(waits)
    exact = values[math.ceil(share * len(values) - 1e-9) - 1]
    found = quantile_s(binned(values), share)
    assert abs(found - exact) <= max(0.25, 0.0111 * exact) + 1e-9


def test_nothing_counted_has_no_quantile() -> None:
    assert math.isnan(quantile_s(np.zeros(BINS, np.int64), 0.5))


def test_no_wait_at_all_is_exactly_zero() -> None:
    counts = binned(np.array([0.0, 0.0, 0.0, 20.0]))
    assert quantile_s(counts, 0.5) == 0.0
    assert quantile_s(counts, 1.0) == pytest.approx(20.0, abs=0.25)
