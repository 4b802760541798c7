"""Random numbers by counter: uniform, without correlation, of no order of asking."""

from __future__ import annotations

import statistics

import numba
import numpy as np
import pytest
from scipy import stats

from ivr.queues.simulation.streams import Purpose, draw, normal_quantile, stream_keys

KEYS = stream_keys(np.random.SeedSequence(7))


@numba.njit
def draws(keys: np.ndarray, purpose: int, numbers: np.ndarray) -> np.ndarray:
    out = np.empty(len(numbers))
    for n in range(len(numbers)):
        out[n] = draw(keys, purpose, numbers[n])
    return out


@numba.njit
def quantiles(p: np.ndarray) -> np.ndarray:
    out = np.empty(len(p))
    for n in range(len(p)):
        out[n] = normal_quantile(p[n])
    return out


FIRST = np.arange(200_000)


def test_a_number_depends_on_its_place_alone() -> None:
    backwards = draws(KEYS, Purpose.PATIENCE, FIRST[::-1])
    assert np.array_equal(backwards[::-1], draws(KEYS, Purpose.PATIENCE, FIRST))


def test_keys_are_the_spawned_substreams_and_leave_the_seed_alone() -> None:
    seed = np.random.SeedSequence(7)
    assert np.array_equal(stream_keys(seed), stream_keys(seed))
    assert seed.n_children_spawned == 0
    assert np.array_equal(stream_keys(seed), KEYS)
    assert not np.array_equal(stream_keys(np.random.SeedSequence(8)), KEYS)
    assert len(np.unique(KEYS[:, 0])) == len(Purpose)
    assert np.all(KEYS[:, 1] % 2 == 1)


@pytest.mark.parametrize("purpose", [Purpose.ARRIVAL, Purpose.SERVICE, Purpose.BUSYNESS])
def test_numbers_are_uniform_and_do_not_hang_together(purpose: Purpose) -> None:
    u = draws(KEYS, purpose, FIRST)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.001
    pairs = np.histogram2d(u[:-1], u[1:], bins=16)[0].ravel()
    assert stats.chisquare(pairs).pvalue > 0.001


def test_purposes_do_not_hang_together() -> None:
    all_u = np.array([draws(KEYS, purpose, FIRST[:50_000]) for purpose in Purpose])
    correlation = np.corrcoef(all_u) - np.eye(len(Purpose))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(50_000)


def test_the_normal_quantile_is_that_of_the_standard_library() -> None:
    p = np.concatenate([np.geomspace(1e-16, 0.5, 200), 1 - np.geomspace(1e-15, 0.5, 200)])
    exact = [statistics.NormalDist().inv_cdf(x) for x in p]
    np.testing.assert_allclose(quantiles(p), exact, rtol=1e-13, atol=1e-14)
