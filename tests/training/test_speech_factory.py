"""Utterances of the speech factory, and the labels of their frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.corpus import RATE_HZ, Clip, Corpus
from training.factory import (
    FRAME_S,
    MOST_SECONDS,
    PAUSE_S,
    Factory,
    _drawn,
    by_people,
    frame_units,
    pieces,
)


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


def test_who_has_many_recordings_is_not_all_that_is_heard() -> None:
    clips = [
        replace(_said("sentence", "si4"), speaker=speaker)
        for speaker in ["often"] * 40 + ["often@120 Hz"] * 60 + ["seldom"] * 4
    ]
    up_to = by_people(clips)
    rng = np.random.default_rng(2)
    heard = Counter(_drawn(clips, up_to, rng).speaker for _ in range(6000))
    # Square roots: 10 to 2; another voice is no other person.
    assert heard["seldom"] / 6000 == pytest.approx(2 / 12, abs=0.02)
    assert heard["often@120 Hz"] / heard["often"] == pytest.approx(1.5, abs=0.15)


def _said(kind: str, syllable: str) -> Clip:
    """A tone of 0.4 s under the label of one syllable."""
    audio = (3000 * np.sin(np.arange(int(0.4 * RATE_HZ)) * 0.3)).astype(np.int16)
    places = np.array([(0.0, 0.1), (0.1, 0.4)], np.float32)
    return Clip("yue", kind, "x", "p", syllable, (syllable,), audio, spans=places)


def test_some_splices_are_of_syllables_alone_with_pauses_between(tmp_path: Path) -> None:
    for name in ("hkcancor_utterances.txt", "common_voice_yue_sentences.txt"):
        (tmp_path / name).write_text("妈妈妈妈\n", encoding="utf-8")
    corpus = Corpus.__new__(Corpus)
    corpus.clips = [_said("syllable", "maa1"), _said("sentence", "si4"), _said("espeak", "si4")]
    factory = Factory(corpus, tmp_path, tmp_path / "no-queues.yaml")
    made = [u for seed in range(300) if (u := factory.utterance("yue", seed))]
    runs = [u.at for u in made if u.units.count("m") > 1]
    pauses = [
        [
            later - before - 1
            for before, later in pairwise(np.flatnonzero(at >= 0))
            if later > before + 1
        ]
        for at in runs
    ]
    alone = [p for p in pauses if p]
    assert 0.15 < len(alone) / len(runs) < 0.45
    # At least 0.15 s, a fifth less where it is played faster, and a frame at each edge.
    assert min(min(p) for p in alone) * FRAME_S >= 0.15 * 0.8 - 2 * FRAME_S
