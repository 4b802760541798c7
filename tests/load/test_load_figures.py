from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.load.figures import Counts, Figures, Latency, most_held
from ivr.load.soak import Sample, calls_amiss, faults


def level(calls: int = 10, **counted: Any) -> Figures:
    counts = Counts(**{"decision_s": [0.5] * 100, "decided": 100, **counted})
    return Figures.of(
        counts,
        calls=calls,
        seconds=10.0,
        cpu_cores=1.0,
        memory_mb=500.0,
        memory_per_call_mb=3.0,
        generator_cores=0.1,
    )


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_ordered_and_within_what_was_measured(seconds: list[float]) -> None:
    latency = Latency.of(seconds)
    assert latency.p50 is not None
    assert latency.p95 is not None
    assert latency.p99 is not None
    assert latency.count == len(seconds)
    low, high = 1000 * min(seconds) - 0.1, 1000 * max(seconds) + 0.1
    assert low <= latency.p50 <= latency.p95 <= latency.p99 <= high


def test_nothing_measured_is_no_zero() -> None:
    assert Latency.of([]).as_json() == {"p50": None, "p95": None, "p99": None, "count": 0}
    assert not level(decision_s=[], decided=0).held(deadline_s=1.0)


@pytest.mark.parametrize(
    "counted",
    [
        {"decision_s": [0.5] * 90 + [3.0] * 10},
        {"frames_lost": 1},
        {"refused": 1},
        {"broken": 1},
        {"undecided": 3},
    ],
)
def test_what_is_not_held(counted: dict[str, Any]) -> None:
    assert level().held(deadline_s=1.0)
    assert not level(**counted).held(deadline_s=1.0)


def test_the_most_calls_held_are_those_before_the_first_failure() -> None:
    levels = [level(10), level(20), level(30, broken=1), level(40)]
    best = most_held(levels, deadline_s=1.0)
    assert best is not None
    assert best.calls == 20
    assert most_held(levels[2:], deadline_s=1.0) is None


def soaked(**last: Any) -> list[Sample]:
    samples = [
        Sample(at_s=10.0 * n, memory_mb=500.0, threads=20, files=60, processes=3, tasks=90)
        for n in range(60)
    ]
    grown = last.pop("grows_mb", 0.0)
    return [
        Sample(s.at_s, s.memory_mb + grown * n / 60, s.threads, s.files, s.processes, s.tasks)
        for n, s in enumerate(samples)
    ]


@pytest.mark.parametrize(
    ("after", "grows_mb", "found"),
    [
        ({}, 0.0, []),
        ({}, 100.0, ["memory grew"]),
        ({"threads": 40}, 0.0, ["threads"]),
        ({"files": 90}, 0.0, ["open files"]),
        ({"processes": 2}, 0.0, ["processes"]),
        ({"tasks": 80}, 0.0, ["tasks: 30 before, 80 after"]),
        ({"tasks": -1}, 0.0, ["tasks: the server's HTTP port did not tell them"]),
    ],
)
def test_a_soak_finds_what_grew(after: dict[str, int], grows_mb: float, found: list[str]) -> None:
    during = soaked(grows_mb=grows_mb)
    before = Sample(at_s=0.0, memory_mb=480.0, threads=20, files=60, processes=3, tasks=30)
    ended = Sample(
        at_s=600.0,
        memory_mb=500.0,
        **{"threads": 20, "files": 60, "processes": 3, "tasks": 31, **after},
    )
    told = faults(during, before, ended)
    assert [line[: len(f)] for line, f in zip(told, found, strict=True)] == found


@pytest.mark.parametrize(
    ("counted", "found"),
    [
        ({"decided": 98, "undecided": 2}, []),
        ({"decided": 90, "undecided": 10}, ["10 calls undecided, 90 decided"]),
        ({"decided": 90, "refused": 1}, ["1 calls refused"]),
        ({"decided": 90, "frames_lost": 3}, ["3 frames lost, 0 calls broken"]),
        ({}, ["no call was decided"]),
    ],
)
def test_a_soak_finds_calls_that_went_amiss(counted: dict[str, Any], found: list[str]) -> None:
    assert calls_amiss(level(**{"decided": 0, **counted})) == found
