"""Compiled functions, with and without a place to keep them."""

from __future__ import annotations

import pytest
from numba.core import caching

from ivr.queues.simulation.compiling import compiled, entry


@compiled
def half(x):  # type: ignore[no-untyped-def]
    return x / 2


def quarter(x):  # type: ignore[no-untyped-def]
    return half(half(x))


def test_an_entry_calls_what_is_compiled_without_a_wrapper() -> None:
    assert entry(quarter)(8.0) == 2.0


def test_a_machine_on_which_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert entry(quarter)(8.0) == 2.0


def test_division_by_zero_is_infinite_and_no_error() -> None:
    @entry
    def inverse(x):  # type: ignore[no-untyped-def]
        return 1.0 / x

    assert inverse(0.0) == float("inf")
