"""Labels of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.factory import FRAME_S, frame_units


def test_each_frame_has_the_unit_that_lies_there() -> None:
    spans = np.array([[1, 3], [3, 4], [6, 8]]) * FRAME_S
    assert frame_units(spans, 9).tolist() == [-1, 0, 0, 1, -1, -1, 2, 2, -1]


def test_too_many_units() -> None:
    with pytest.raises(ValueError, match="3 units do not fit into 2 frames"):
        frame_units(np.zeros((3, 2)), 2)


@given(st.lists(st.tuples(st.floats(-1, 4), st.floats(0, 1)), max_size=20), st.integers(0, 60))
def test_every_unit_keeps_a_frame_and_the_order(
    places: list[tuple[float, float]], more: int
) -> None:
    places.sort()
    spans = np.array([(a, a + n) for a, n in places]).reshape(-1, 2)
    at = frame_units(spans, len(spans) + more)
    heard = [k for i, k in enumerate(at) if k >= 0 and (i == 0 or at[i - 1] != k)]
    assert heard == list(range(len(spans)))
