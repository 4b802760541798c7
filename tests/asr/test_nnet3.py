"""A network along an utterance, against the same at once and against the models that ship."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.asr.nnet3 import Component, Nnet3, Stream, Term, read_nnet3

MODELS = Path(__file__).parents[2] / "models"


def small() -> Nnet3:
    """Every kind of node: context on both sides, a stride, a sum, a mean over time."""
    rng = np.random.default_rng(5)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    def one(name: str, kind: str, of: str, *arrays: np.ndarray) -> Component:
        return Component(name, kind, (Term(of),), True, arrays)

    return Nnet3(
        (
            Component("first", "affine", tuple(Term("input", k) for k in (-1, 0, 1)), True,
                      (array(4, 120), array(4))),
            one("relu", "relu", "first"),
            Component("x", "affine", (Term("relu", -6), Term("relu", 0), Term("relu", 3)), True,
                      (array(3, 12), array(3))),
            Component("mean", "none", (Term("x"), Term("kept", -3, recurrent=True)), False),
            one("kept", "scale", "mean", np.array([0.9, 0.5, 0.99], np.float32)),
            one("spread", "bias", "mean", array(3)),
            Component("sum", "none", (Term("spread"), Term("x", scale=0.66)), False),
            one("labels", "affine", "sum", array(5, 3), array(5)),
            one("likelihood", "log_softmax", "labels"),
        ),
        "likelihood",
        left_context=7,
        right_context=4,
    )  # fmt: skip


def by_hand(features: np.ndarray) -> np.ndarray:
    """The outputs of :func:`small`, frame by frame."""
    parts = {c.name: c for c in small().components}

    def at(t: int) -> np.ndarray:
        window = [features[np.clip(t + k, 0, len(features) - 1)] for k in (-1, 0, 1)]
        weight, bias = parts["first"].arrays
        return np.maximum(weight @ np.concatenate(window) + bias, 0)

    told, mean = [], np.zeros(3)
    for t in range(0, len(features), 3):
        weight, bias = parts["x"].arrays
        x = weight @ np.concatenate([at(t - 6), at(t), at(t + 3)]) + bias
        mean = x + parts["kept"].arrays[0] * mean
        weight, bias = parts["labels"].arrays
        y = weight @ (mean + parts["spread"].arrays[0] + 0.66 * x) + bias
        told.append(y - np.log(np.exp(y).sum()))
    return np.array(told)


def in_blocks(network: Nnet3, features: np.ndarray, blocks: list[int]) -> np.ndarray:
    stream, told, at = Stream(network, every=3), [], 0
    for block in itertools.cycle(blocks):
        told.append(stream.accept(features[at : at + block], last=at + block >= len(features)))
        at += block
        if at >= len(features):
            return np.concatenate(told)
    raise AssertionError


@settings(deadline=None)
@given(
    frames=st.integers(1, 60),
    blocks=st.lists(st.integers(1, 25), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_in_blocks_at_once_and_by_hand(frames: int, blocks: list[int], seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(frames, 40)).astype(np.float32)
    whole = small().log_likelihoods(features, every=3)
    assert np.allclose(whole, by_hand(features), atol=1e-4)
    assert np.allclose(in_blocks(small(), features, blocks), whole, atol=1e-4)


@pytest.mark.parametrize("language", ["cmn", "yue"])
def test_the_models_that_ship(language: str) -> None:
    network = read_nnet3(MODELS / language / "am" / "final.mdl")
    rng = np.random.default_rng(2)
    features = 10 * rng.normal(size=(400, 40)).astype(np.float32)
    whole = network.log_likelihoods(features, every=3)
    assert whole.shape == (134, network.outputs)
    assert np.allclose(in_blocks(network, features, [7, 120, 1, 33]), whole, atol=1e-3)


def test_nothing_is_told_of_nothing() -> None:
    stream = Stream(small(), every=3)
    assert stream.accept(np.zeros((0, 40), np.float32)).shape == (0, 5)
    assert stream.accept(np.zeros((0, 40), np.float32), last=True).shape == (0, 5)
