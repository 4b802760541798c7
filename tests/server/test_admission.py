from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.server.admission import CALLS_PER_S, CALM_S, Admission


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(max_calls=80, shed_lag_s=0.4, clock=clock)


def pass_(clock: Clock, admission: Admission, seconds: float, *, lag_s: float | None) -> None:
    """Let time pass, with an answer every 50 ms that came ``lag_s`` late."""
    for _ in range(round(seconds / 0.05)):
        clock.now_s += 0.05
        if lag_s is not None:
            admission.measured(lag_s)


def test_an_idle_server_takes_calls_up_to_its_lines(admission: Admission) -> None:
    assert admission.why_not(calls=79) is None
    assert "all 80 lines are busy" in (admission.why_not(calls=80) or "")


def test_it_sheds_once_audio_waits_and_says_so(clock: Clock, admission: Admission) -> None:
    pass_(clock, admission, 3.0, lag_s=0.05)
    assert admission.why_not(calls=40) is None
    pass_(clock, admission, 2.0, lag_s=0.5)
    assert admission.shedding
    assert "busy: audio took 0.5 s" in (admission.why_not(calls=40) or "")


def test_a_few_late_answers_are_no_load(clock: Clock, admission: Admission) -> None:
    for number in range(200):
        clock.now_s += 0.05
        admission.measured(3.0 if number % 20 == 0 else 0.02)
    assert not admission.shedding


def test_it_takes_calls_again_only_after_a_calm_while(clock: Clock, admission: Admission) -> None:
    pass_(clock, admission, 2.0, lag_s=0.5)
    pass_(clock, admission, 10.0, lag_s=0.3)  # better, and not yet well
    assert admission.shedding
    pass_(clock, admission, CALM_S - 1.0, lag_s=0.05)
    assert admission.shedding
    pass_(clock, admission, 3.0, lag_s=0.05)
    assert not admission.shedding
    assert admission.why_not(calls=40) is None


def test_without_calls_it_recovers_too(clock: Clock, admission: Admission) -> None:
    pass_(clock, admission, 2.0, lag_s=2.0)
    for _ in range(8):
        clock.now_s += 1.0
        taken = admission.why_not(calls=0) is None
    assert taken


def test_a_flood_of_calls_is_spread(clock: Clock, admission: Admission) -> None:
    taken = [admission.why_not(calls=0) is None for _ in range(3 * CALLS_PER_S)]
    assert sum(taken) == CALLS_PER_S
    clock.now_s += 1.0
    assert admission.why_not(calls=0) is None


@settings(max_examples=50, deadline=None)
@given(lags=st.lists(st.floats(0, 10), max_size=60), steps=st.lists(st.floats(0, 3), max_size=60))
def test_it_never_takes_more_than_its_lines_whatever_is_measured(
    lags: list[float], steps: list[float]
) -> None:
    clock = Clock()
    admission = Admission(max_calls=3, shed_lag_s=0.4, clock=clock)
    for lag_s, step_s in zip(lags, steps, strict=False):
        clock.now_s += step_s
        admission.measured(lag_s)
        assert admission.why_not(calls=3) is not None
        if admission.shedding:
            assert admission.why_not(calls=0) is not None
