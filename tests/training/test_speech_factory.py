"""Labels of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.corpus import RATE_HZ, Clip
from training.factory import FRAME_S, MOST_SECONDS, PAUSE_S, frame_units, pieces


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


def _recording(pauses_s: list[float]) -> Clip:
    """Syllables of 0.3 s with these pauses between them; every sample tells its place."""
    spoken = ["ma1"] * (len(pauses_s) + 1)
    at, spans = 0.5, []
    for pause_s in [*pauses_s, 0.5]:
        spans += [(at, at + 0.1), (at + 0.1, at + 0.3)]
        at += 0.3 + pause_s
    audio = np.arange(int(at * RATE_HZ)).astype(np.int16)
    places = np.array(spans, np.float32)
    return Clip("cmn", "sentence", "x", "p", "妈", tuple(spoken), audio, spans=places)


def test_a_long_recording_is_cut_in_its_pauses() -> None:
    clip = _recording([0.0] * 11 + [0.4] + [0.0] * 5 + [0.4] + [0.0] * 30)
    found = pieces(clip)
    # The second pause comes too early for a piece of its own.
    assert [len(p.syllables) for p in found] == [12, 37]
    assert found[0].audio[0] == 0
    assert np.array_equal(np.concatenate([p.audio for p in found]), clip.audio)
    middle_s = clip.spans[23, 1] + 0.2
    assert len(found[0].audio) == pytest.approx(middle_s * RATE_HZ, abs=2)
    assert found[1].spans[0, 0] == pytest.approx(0.2, abs=0.001)


def test_a_short_recording_stays_whole() -> None:
    clip = _recording([0.4] * 10)
    assert pieces(clip) == [clip]


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.6]), min_size=50, max_size=70))
def test_no_syllable_is_lost_or_cut(pauses_s: list[float]) -> None:
    clip = _recording(pauses_s)
    assert len(clip.audio) >= MOST_SECONDS * RATE_HZ
    found = pieces(clip)
    assert sum((p.syllables for p in found), ()) == clip.syllables
    at_s = 0.0
    for piece, places in zip(found, np.split(clip.spans, _ends(found)), strict=True):
        assert piece.spans is not None
        assert np.allclose(piece.spans + at_s, places, atol=0.01)
        assert piece.spans.min() >= 0
        assert piece.spans.max() * RATE_HZ <= len(piece.audio) + 1
        at_s += len(piece.audio) / RATE_HZ
    assert all(len(p.audio) >= PAUSE_S * RATE_HZ for p in found)


def _ends(found: list[Clip]) -> list[int]:
    return np.cumsum([2 * len(p.syllables) for p in found])[:-1].tolist()
