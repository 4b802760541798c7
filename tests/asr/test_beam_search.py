"""The beam search against every path of small graphs, and on the models that ship."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.asr.beam_search import BeamSearch, Progress
from ivr.asr.graph import _ARC, _STATE, Graph

ROOT = Path(__file__).parents[2]
LABELS = 3

Arc = tuple[int, int, float, int]  # input, output, cost, to


def graph_of(states: list[tuple[float, list[Arc]]]) -> Graph:
    rows, arcs = [], []
    for final, out in states:
        rows.append((final, len(arcs), len(out), 0, 0))
        arcs.extend(out)
    return Graph(np.array(rows, _STATE), np.array(arcs, _ARC), 0)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[float, list[Arc]]]:
    """Arcs without input lead to later states alone, so that no way goes round without a frame."""
    count = draw(st.integers(1, 4))
    costs = st.floats(-2, 4, width=16)
    states = []
    for state in range(count):
        sounding = st.tuples(
            st.integers(1, 2 * LABELS), st.integers(0, 2), costs, st.integers(0, count - 1)
        )
        out = draw(st.lists(sounding, min_size=1, max_size=3))
        if state < count - 1:
            silent = st.tuples(
                st.just(0), st.integers(0, 2), costs, st.integers(state + 1, count - 1)
            )
            out += draw(st.lists(silent, max_size=2))
        states.append((draw(st.one_of(st.just(math.inf), costs)), out))
    return states


def every_sentence(
    states: list[tuple[float, list[Arc]]], scores: np.ndarray
) -> dict[tuple[int, ...], float]:
    """The least cost of each word sequence, by going every way."""
    ways: dict[tuple[int, int, tuple[int, ...]], float] = {}

    def go(frame: int, state: int, words: tuple[int, ...], cost: float) -> None:
        key = (frame, state, words)
        if cost >= ways.get(key, math.inf):
            return
        ways[key] = cost
        for input_, output, weight, to in states[state][1]:
            said = (*words, output) if output else words
            if input_ == 0:
                go(frame, to, said, cost + weight)
            elif frame < len(scores):
                go(frame + 1, to, said, cost + weight - scores[frame, (input_ + 1) // 2 - 1])

    go(0, 0, (), 0.0)
    ended: dict[tuple[int, ...], float] = {}
    over = {key: cost + states[key[1]][0] for key, cost in ways.items() if key[0] == len(scores)}
    if not any(math.isfinite(cost) for cost in over.values()):
        over = {key: cost for key, cost in ways.items() if key[0] == len(scores)}
    for (_, _, words), cost in over.items():
        if math.isfinite(cost):
            ended[words] = min(cost, ended.get(words, math.inf))
    return ended


@settings(max_examples=150, deadline=None)
@given(states=graphs(), frames=st.integers(1, 3), seed=st.integers(0, 999), count=st.integers(1, 6))
def test_the_n_best_are_those_of_all_ways(
    states: list[tuple[float, list[Arc]]], frames: int, seed: int, count: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, 1.5, (frames, LABELS)).astype(np.float32)
    expected = every_sentence(states, scores)
    search = BeamSearch(graph_of(states), beam=1000, lattice_beam=1000, most_active=1000)
    found = search.best(scores, count)
    costs = [one.cost for one in found]
    assert costs == pytest.approx(sorted(expected.values())[:count], abs=1e-4)
    assert len({one.words for one in found}) == len(found)
    for one in found:
        assert one.cost == pytest.approx(expected[one.words], abs=1e-4)
        assert len(one.frames) == len(one.words)
        assert list(one.frames) == sorted(one.frames)
        assert all(0 <= frame <= frames for frame in one.frames)


@settings(max_examples=60, deadline=None)
@given(states=graphs(), seed=st.integers(0, 999), lattice_beam=st.floats(0.1, 3))
def test_none_is_worse_than_the_lattice_beam_allows(
    states: list[tuple[float, list[Arc]]], seed: int, lattice_beam: float
) -> None:
    scores = np.random.default_rng(seed).normal(0, 1.5, (3, LABELS)).astype(np.float32)
    expected = sorted(every_sentence(states, scores).values())
    search = BeamSearch(graph_of(states), beam=1000, lattice_beam=lattice_beam, most_active=1000)
    costs = [one.cost for one in search.best(scores, 50)]
    assert costs[:1] == pytest.approx(expected[:1], abs=1e-4)
    assert all(cost <= costs[0] + lattice_beam + 1e-4 for cost in costs)


def test_words_begin_where_they_are_sure() -> None:
    # Two words of two frames each, on labels 1 and 2.
    states = [
        (0.0, [(3, 7, 0.0, 1), (5, 8, 0.0, 1)]),
        (math.inf, [(3, 0, 0.0, 0), (5, 0, 0.0, 0)]),
    ]
    scores = np.full((4, 3), -9.0, np.float32)
    scores[:2, 1] = scores[2:, 2] = 0.0
    best = BeamSearch(graph_of(states)).best(scores, 1)[0]
    assert (best.words, best.frames) == ((7, 8), (0, 2))


def test_nothing_to_search_and_nowhere_to_go() -> None:
    search = BeamSearch(graph_of([(0.0, [(1, 1, 0.0, 0)])]))
    assert search.best(np.zeros((0, LABELS), np.float32), 3) == []
    assert BeamSearch(graph_of([(0.0, [])])).best(np.zeros((2, LABELS), np.float32), 3) == []


def test_more_labels_than_scores_are_refused() -> None:
    search = BeamSearch(graph_of([(0.0, [(8, 1, 0.0, 0)])]))
    with pytest.raises(ValueError, match=r"scores of shape \(2, 3\) for a graph of 4 labels"):
        search.best(np.zeros((2, LABELS), np.float32), 1)


def test_few_active_states_find_something_in_a_real_graph() -> None:
    graph = Graph.read(ROOT / "models/yue/graph/HCLG.fst")
    labels = (ROOT / "models/yue/units.txt").read_text(encoding="utf-8").split()
    scores = np.random.default_rng(3).normal(0, 1, (60, len(labels))).astype(np.float32)
    narrow = BeamSearch(graph, most_active=20).best(scores, 5)
    wide = BeamSearch(graph).best(scores, 5)
    assert narrow
    assert wide[0].cost <= narrow[0].cost + 1e-3
    every = list(itertools.pairwise(one.cost for one in wide))
    assert all(a <= b for a, b in every)


@settings(max_examples=100, deadline=None)
@given(
    states=graphs(),
    blocks=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 999),
    lattice_beam=st.floats(0.1, 4),
)
def test_in_blocks_as_at_once(
    states: list[tuple[float, list[Arc]]], blocks: list[int], seed: int, lattice_beam: float
) -> None:
    scores = np.random.default_rng(seed).normal(0, 1.5, (sum(blocks), LABELS)).astype(np.float32)
    search = BeamSearch(graph_of(states), beam=1000, lattice_beam=lattice_beam, most_active=1000)
    stream, at = search.stream(), 0
    for block in blocks:
        stream.accept(scores[at : at + block])
        at += block
        # What was pruned on the way cannot have been better than what is left.
        whole = [one.cost for one in search.best(scores[:at], 20)]
        assert [one.cost for one in stream.best(20)] == pytest.approx(whole, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(states=graphs(), frames=st.integers(1, 5), seed=st.integers(0, 999))
def test_progress_is_the_best_path(
    states: list[tuple[float, list[Arc]]], frames: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, 1.5, (frames, LABELS)).astype(np.float32)
    everywhere_over = [(0.0, out) for _, out in states]
    ended = every_sentence(everywhere_over, scores)
    stream = BeamSearch(graph_of(states), beam=1000, lattice_beam=1000, most_active=1000).stream()
    stream.accept(scores)
    progress = stream.progress()
    assert progress.decoded == frames
    assert 0 <= progress.silent <= frames
    if ended:
        assert ended[progress.words] == pytest.approx(min(ended.values()), abs=1e-4)
        end = min(every_sentence(states, scores).values())
        if any(math.isfinite(final) for final, _ in states) and progress.cost_of_end < math.inf:
            assert progress.cost_of_end == pytest.approx(end - min(ended.values()), abs=1e-3)


def test_silence_is_counted_from_the_end() -> None:
    # One word of label 1, then label 0 without end.
    states = [
        (math.inf, [(3, 7, 0.0, 1), (1, 0, 0.0, 0)]),
        (0.5, [(3, 0, 0.0, 1), (1, 0, 0.0, 2)]),
        (0.5, [(1, 0, 0.0, 2)]),
    ]
    stream = BeamSearch(graph_of(states)).stream()
    assert stream.progress() == Progress()
    for labels, words, silent, cost_of_end in (
        ([0, 0], (), 2, 9.5),
        ([1, 1], (7,), 0, 0.5),
        ([0, 0, 0], (7,), 3, 0.5),
    ):
        scores = np.full((len(labels), LABELS), -9.0, np.float32)
        scores[np.arange(len(labels)), labels] = 0.0
        stream.accept(scores)
        progress = stream.progress()
        assert (progress.words, progress.silent) == (words, silent)
        assert progress.cost_of_end == pytest.approx(cost_of_end)
    assert progress.decoded == 7


def test_what_lies_behind_the_beam_is_no_end() -> None:
    # State 1 alone may end; it was reached before the best was known, and lies behind the beam.
    states = [
        (math.inf, [(1, 9, 0.0, 3), (3, 8, 0.5, 4)]),
        (0.0, [(1, 0, 0.0, 1)]),
        (math.inf, [(3, 0, 0.0, 2)]),
        (math.inf, [(1, 1, 0.0, 1)]),
        (math.inf, [(3, 2, 0.0, 2)]),
    ]
    stream = BeamSearch(graph_of(states), beam=11, lattice_beam=6).stream()
    stream.accept(np.array([[0, 0], [-20, 0]], np.float32))
    assert stream.progress().words == (8, 2)
    assert stream.progress().cost_of_end == math.inf
    assert [one.words for one in stream.best(3)] == [(8, 2)]


def test_where_no_way_leads_on_nothing_is_found() -> None:
    search = BeamSearch(graph_of([(math.inf, [(1, 1, 0.0, 1)]), (0.0, [])]))
    stream = search.stream()
    stream.accept(np.zeros((1, 2), np.float32))
    assert stream.progress().words == (1,)
    for _ in range(2):
        stream.accept(np.zeros((2, 2), np.float32))
        assert (stream.best(5), stream.progress()) == ([], Progress())
    assert search.best(np.zeros((4, 2), np.float32), 5) == []
    assert len(search.best(np.zeros((1, 2), np.float32), 5)) == 1


def test_other_limits_share_the_graph() -> None:
    search = BeamSearch(graph_of([(0.0, [(1, 1, 0.0, 0), (3, 2, 0.5, 0)])]))
    other = search.with_limits(beam=5.0, lattice_beam=0.1, most_active=10)
    assert other._graph is search._graph
    scores = np.zeros((1, LABELS), np.float32)
    assert len(other.best(scores, 9)) == 1 < len(search.best(scores, 9))
