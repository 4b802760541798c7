"""Results add up, and say what they mean."""

from __future__ import annotations

import math
import pickle
import tracemalloc

import numpy as np
import pytest

from ivr.queues.simulation import (
    Calls,
    Exponential,
    GroupWork,
    QueueCalls,
    merge,
    simulate,
    simulate_logged,
)
from ivr.queues.simulation.histogram import BINS, bin_edges_s
from tests.queues.simulation.centres import full_centre, pool

MODEL = full_centre()


def test_merged_results_are_the_sum() -> None:
    parts = [simulate(MODEL, seed) for seed in range(3)]
    whole = merge(parts)
    assert whole.replications == 3
    assert whole.length_s == 3 * MODEL.length_s
    assert whole.calls.offered == sum(part.calls.offered for part in parts)
    assert whole.calls.wait_s == pytest.approx(sum(part.calls.wait_s for part in parts))
    waits = sum(part.calls.wait_histogram for part in parts)
    assert np.array_equal(whole.calls.wait_histogram, waits)
    assert whole.intervals.joined.sum() == sum(q.joined for q in whole.queues.values())
    assert whole.needs["tax"].answered == sum(part.needs["tax"].answered for part in parts)


def test_the_whole_is_the_sum_of_the_needs() -> None:
    found = simulate(MODEL, 1)
    for name, value in found.calls.measures().items():
        if isinstance(value, int):
            assert value == sum(calls.measures()[name] for calls in found.needs.values()), name


def test_the_histogram_counts_the_waits_that_the_log_shows() -> None:
    found, log = simulate_logged(full_centre(hours=48, load=1.6), 2, calls=9000)
    waits = log.calls["wait_s"][(log.calls["queue"] >= 0) & (log.calls["on_line"] == 1)]
    counts = np.bincount(np.searchsorted(bin_edges_s(), waits), minlength=BINS)
    assert np.array_equal(found.calls.wait_histogram, counts)
    assert found.calls.wait_s == pytest.approx(waits.sum())
    assert found.calls.p95_wait_s == pytest.approx(
        np.quantile(waits, 0.95, method="inverted_cdf"), rel=0.012
    )


def test_results_can_be_sent_to_another_process() -> None:
    found = simulate(MODEL, 1)
    again = pickle.loads(pickle.dumps(found))
    assert again.calls.measures() == pytest.approx(found.calls.measures(), nan_ok=True)


def test_little_law() -> None:
    """Callers in the queue: arrivals a second times the mean wait."""
    found = simulate(pool(300, Exponential(100.0), 9, patience=Exponential(200.0), hours=200), 4)
    queue = found.queues["all"]
    assert queue.mean_queue_length == pytest.approx(
        found.calls.offered / found.length_s * found.calls.mean_wait_s
    )


def test_nothing_counted_has_no_measures() -> None:
    assert math.isnan(Calls().mean_wait_s)
    assert math.isnan(QueueCalls().service_level)
    assert math.isnan(GroupWork().utilisation)
    assert Calls().measures()["offered"] == 0


def test_memory_does_not_grow_with_the_length_of_the_run() -> None:
    """What is alive is the statistics and the calls of the moment, however many came before."""
    peaks = []
    for days in (5, 5, 150):  # the first run loads the kernel
        tracemalloc.start()
        offered = simulate(full_centre(hours=24 * days), 2).calls.offered
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert offered > 150_000
    assert peaks[2] - peaks[1] < 2 * offered  # bytes: nothing is kept for a call
    assert peaks[2] < 5e6
