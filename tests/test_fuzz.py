"""The fuzzing itself in small: every target takes its seeds and a few changes of each."""

from __future__ import annotations

import pytest

from fuzz.mutate import inputs
from fuzz.targets import TARGETS
from ivr.gateways import GATEWAYS
from ivr.gateways.clients import CLIENTS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert any(seeds), "nothing to begin from"
    for data in inputs(seeds, 30, seed=7):
        target.run(data)


def test_every_gateway_is_a_target() -> None:
    assert {f"gateway-{name}" for name in GATEWAYS} <= set(TARGETS)
    assert {f"client-{name}" for name in CLIENTS} <= set(TARGETS)


def test_the_same_seed_gives_the_same_inputs() -> None:
    assert list(inputs([b"abc"], 50, seed=1)) == list(inputs([b"abc"], 50, seed=1))
    assert list(inputs([b"abc"], 50, seed=1)) != list(inputs([b"abc"], 50, seed=2))
    assert len(list(inputs([b"a", b"b"], 1, seed=1))) == 1
