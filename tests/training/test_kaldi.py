"""Weights in Kaldi's compressed matrices, written and read back."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from ivr.asr.nnet3 import QUARTILE_STEPS, _Reader
from training.kaldi import _Writer


def _again(m: np.ndarray) -> np.ndarray:
    return _Reader(_Writer().matrix(m).out.getvalue(), 2).matrix()


def _by_kaldi(content: bytes) -> np.ndarray:
    """``CompressedMatrix::CopyToMat``, entry by entry."""
    assert content[:3] == b"CM "
    low, span, rows, columns = struct.unpack_from("<ffii", content, 3)
    out = np.zeros((rows, columns))
    for k in range(columns):
        quartiles = struct.unpack_from("<4H", content, 19 + 8 * k)
        assert all(a < b for a, b in itertools.pairwise(quartiles))
        edges = [low + span * 1.52590218966964e-05 * q for q in quartiles]
        for i in range(rows):
            v = content[19 + 8 * columns + k * rows + i]
            j = 0 if v <= 64 else 1 if v <= 192 else 2
            first, last = QUARTILE_STEPS[j : j + 2]
            out[i, k] = edges[j] + (edges[j + 1] - edges[j]) * (v - first) / (last - first)
    return out


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 12),
    spread=st.sampled_from([0.0, 1e-6, 1.0, 300.0]),
    seed=st.integers(0, 999),
)
def test_a_matrix_is_read_as_kaldi_reads_it(
    rows: int, columns: int, spread: float, seed: int
) -> None:
    m = np.random.default_rng(seed).standard_t(3, (rows, columns)) * spread + 0.5
    written = _Writer().matrix(m).out.getvalue()[2:]
    assert np.allclose(_again(m), _by_kaldi(written), atol=1e-5 * max(spread, 1))


def test_no_weight_is_far_from_its_step() -> None:
    m = np.random.default_rng(1).normal(0, 0.1, (256, 64))
    m[:, 3] *= 40  # as the first layer has it, whose features are of any size
    wrong, deviation = np.abs(_again(m) - m), m.std(0)
    inside = np.abs(m) < 0.4 * deviation
    assert (wrong < 0.01 * deviation)[inside].all()
    assert (wrong < 0.03 * deviation).all()


def test_a_column_of_one_value_is_kept() -> None:
    m = np.zeros((5, 3))
    m[:, 1], m[:, 2] = 1.0, -1.0
    assert np.allclose(_again(m), m, atol=2e-4)
    assert np.allclose(_again(np.full((1, 1), 0.25)), 0.25, atol=1e-6)


def test_models_of_before_are_read_too() -> None:
    m = np.random.default_rng(2).normal(size=(4, 3))
    low, span = m.min(), m.max() - m.min()
    steps = np.rint((m - low) / span * 65535).astype("<u2")
    content = b"CM2 " + struct.pack("<ffii", low, span, *m.shape) + steps.tobytes()
    assert np.allclose(_Reader(content, 0).matrix(), m, atol=span / 65535)
    with pytest.raises(ValueError, match="FM where CM or CM2 is due"):
        _Reader(b"FM \4", 0).matrix()
