"""The likeliest word sequences through a decoding graph, given scores of every frame.

A Viterbi beam search over the graph (Kaldi's ``lattice-faster-decoder``), whose tokens and links
make a lattice; the n best distinct word sequences are then found from its end, best first (A*),
with the cost from the beginning, which the search knows exactly, as what is still to come. The
functions below are compiled (:mod:`ivr.compiled`), in some seconds.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ivr.asr.graph import Graph
from ivr.compiled import kept

__all__ = ["BeamSearch", "Found"]

_MOST_STEPS: Final = 400_000  # of the search for the n best: a bound on time, never met by speech
_TOKEN: Final = np.dtype([("state", "<i4"), ("cost", "<f4")])
_LINK: Final = np.dtype([("source", "<i4"), ("to", "<i4"), ("word", "<i4"), ("cost", "<f4")])
_PLACE: Final = np.dtype([("word", "<i4"), ("token", "<i4"), ("next", "<i4")])


@dataclass(frozen=True, slots=True)
class Found:
    """A word sequence and its cost: minus the scores, plus the graph's, natural log."""

    words: tuple[int, ...]
    frames: tuple[int, ...]  # of each word, the first at which the search is sure of it
    cost: float


class BeamSearch:
    """Searches of one graph; safe to use from several threads.

    Args:
        graph: a static CTC graph, input labels transition ids: of label k, ``2k + 1`` and
            ``2k + 2``.
        beam: what lies further than this behind the best, natural log, is given up.
        lattice_beam: how much worse than the best a word sequence may be.
        most_active: so many states a frame at most.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        beam: float = 11.0,
        lattice_beam: float = 6.0,
        most_active: int = 3000,
    ) -> None:
        # One kind of array, whether read or put together: another would be compiled for anew.
        states = np.require(graph.states, requirements=["C", "A", "W"])
        arcs = np.require(graph.arcs, requirements=["C", "A", "W"])
        self._graph = Graph(states, arcs, graph.start)
        self._labels = (int(graph.arcs["input"].max(initial=0)) + 1) // 2
        self._limits = (float(beam), float(lattice_beam), int(most_active))

    def best(self, scores: npt.NDArray[np.float32], count: int) -> list[Found]:
        """The best word sequences, at most ``count``, best first; none for no frames.

        Args:
            scores: (frames, labels) log-likelihoods.

        Raises:
            ValueError: the graph has more labels than there are scores.
        """
        if scores.ndim != 2 or scores.shape[1] < self._labels:
            raise ValueError(f"scores of shape {scores.shape} for a graph of {self._labels} labels")
        if not len(scores):
            return []
        graph = self._graph
        scores = np.ascontiguousarray(scores, np.float32)
        tokens, links, frames = _search(
            graph.states, graph.arcs, graph.start, scores, *self._limits
        )
        last = int(frames[-2])
        end = graph.states["final"][tokens["state"][last:]].astype(np.float64)
        if not np.isfinite(end).any():  # no sentence is over: each may be, as in Kaldi
            end[:] = 0.0
        links = links[np.argsort(links["to"], kind="stable")]
        first = np.searchsorted(links["to"], np.arange(len(tokens) + 1))
        costs, starts, places = _n_best(
            tokens, links, first, last, end, count, self._limits[1], _MOST_STEPS
        )
        return [
            _found(float(cost), int(start), places, frames)
            for cost, start in zip(costs, starts, strict=True)
        ]


def _found(
    cost: float, at: int, places: npt.NDArray[np.void], frames: npt.NDArray[np.int32]
) -> Found:
    """The words from a place on to the end of the utterance."""
    said, sure = [], [0]
    while at:
        place = places[at]
        said.append(int(place["word"]))
        frame = int(np.searchsorted(frames, place["token"], side="right")) - 1
        sure.append(max(frame, sure[-1]))  # the best way to a place may have other words before it
        at = int(place["next"])
    return Found(tuple(said), tuple(sure[1:]), cost)


@kept
def _longer(table):  # type: ignore[no-untyped-def]  # numba's own types, here and below
    longer = np.empty(2 * len(table), table.dtype)
    longer[: len(table)] = table
    return longer


@kept
def _cutoff(tokens, begin, end, least, most, count):  # type: ignore[no-untyped-def]
    """A cost between ``least`` and ``most`` that about ``count`` of the tokens do not exceed."""
    for _ in range(12):
        middle, below = (least + most) / 2, 0
        for token in range(begin, end):
            below += tokens[token].cost <= middle
        if below > count:
            most = middle
        else:
            least = middle
    return most


@kept
def _search(  # type: ignore[no-untyped-def]
    states, arcs, start, scores, beam, lattice_beam, most_active
):
    """The lattice of all that is within the beam.

    Returns:
        tokens: states after so many frames, with the least cost from the beginning; token 0 is the
            beginning.
        links: ways from one to another.
        firsts: tokens after f frames are ``tokens[firsts[f] : firsts[f + 1]]``.
    """
    tokens, links = np.empty(1 << 14, _TOKEN), np.empty(1 << 14, _LINK)
    used, linked = 1, 0
    token_of = np.full(len(states), -1, np.int32)  # of a state, after the frames so far
    tokens[0].state, tokens[0].cost = start, 0.0
    token_of[start] = 0
    firsts = np.zeros(len(scores) + 2, np.int32)
    before, begin = 0, 0  # tokens of the frame before: before : begin; of this one: begin : used
    bound = beam
    waiting = np.empty(1 << 14, np.int32)
    for frame in range(len(scores) + 1):
        if frame:
            # This frame's tokens, from those of the frame before that are within the beam.
            before, begin = begin, used
            cutoff = np.inf
            for token in range(before, begin):
                cutoff = min(cutoff, tokens[token].cost + beam)
                token_of[tokens[token].state] = -1
            if begin - before > most_active:
                cutoff = _cutoff(tokens, before, begin, cutoff - beam, cutoff, most_active)
            bound = np.inf
            for token in range(before, begin):
                cost_so_far = tokens[token].cost
                if cost_so_far > cutoff:
                    continue
                state = states[tokens[token].state]
                for at in range(state.at, state.at + state.arcs):
                    arc = arcs[at]
                    if arc.input == 0:
                        continue
                    cost = cost_so_far + arc.cost - scores[frame - 1, (arc.input - 1) // 2]
                    if cost > bound:
                        continue
                    bound = min(bound, cost + beam)
                    other = token_of[arc.to]
                    if other < 0:
                        if used == len(tokens):
                            tokens = _longer(tokens)
                        tokens[used].state, tokens[used].cost = arc.to, cost
                        token_of[arc.to] = used
                        used += 1
                    elif cost < tokens[other].cost:
                        tokens[other].cost = cost
        # Arcs that take no frame, until nothing gets better.
        while len(waiting) < used - begin:
            waiting = _longer(waiting)
        left = used - begin
        for k in range(left):
            waiting[k] = begin + k
        while left:
            left -= 1
            token = waiting[left]
            cost_so_far = tokens[token].cost
            state = states[tokens[token].state]
            for at in range(state.at, state.at + state.arcs):
                arc = arcs[at]
                cost = cost_so_far + arc.cost
                if arc.input or cost > bound:
                    continue
                other = token_of[arc.to]
                if other < 0:
                    if used == len(tokens):
                        tokens = _longer(tokens)
                    other = used
                    tokens[used].state = arc.to
                    token_of[arc.to] = used
                    used += 1
                elif cost >= tokens[other].cost:
                    continue
                tokens[other].cost = cost
                if left == len(waiting):
                    waiting = _longer(waiting)
                waiting[left] = other
                left += 1
        firsts[frame + 1] = used
        # The links, now that every cost is the least there is.
        for token in range(before, used):
            cost_so_far = tokens[token].cost
            state = states[tokens[token].state]
            for at in range(state.at, state.at + state.arcs):
                arc = arcs[at]
                if (arc.input != 0) != (token < begin):
                    continue  # arcs that take this frame begin in the one before
                other = token_of[arc.to]
                if other < 0:
                    continue
                cost = arc.cost
                if arc.input:
                    cost -= scores[frame - 1, (arc.input - 1) // 2]
                if cost_so_far + cost > tokens[other].cost + lattice_beam:
                    continue
                if linked == len(links):
                    links = _longer(links)
                link = links[linked]
                link.source, link.to, link.word, link.cost = token, other, arc.output, cost
                linked += 1
    return tokens[:used], links[:linked], firsts


@kept
def _n_best(  # type: ignore[no-untyped-def]
    tokens, links, first, last, end, count, lattice_beam, most_steps
):
    """The best word sequences of a lattice: their costs, and where each begins in a table.

    A place of that table stands for the words from there on to the end of the utterance, where
    place 0 is: its word, to which the best way comes through its token, and the place after it.

    Args:
        tokens: of the lattice.
        links: likewise, in the order of where they lead to.
        first: of each token, the first link to it.
        last: the first token after the last frame.
        end: of the tokens from there on, what it costs to end there.
        count: so many at most.
        lattice_beam: so much worse than the best at most.
        most_steps: when to give up.
    """
    places = np.empty(1 << 10, _PLACE)
    places[0].token = -1
    used = 1
    place_of = {np.int64(0): 0}  # of a place and the word before it
    seen = {np.int64(0)}  # token and place
    seen.clear()
    heap = [(0.0, 0.0, 0, 0)]  # cost of the whole, from the token to the end, token, place
    heap.clear()
    for k in range(len(end)):
        if np.isfinite(end[k]):
            heap.append((tokens[last + k].cost + end[k], end[k], last + k, 0))  # noqa: PERF401
    heapq.heapify(heap)
    costs, starts = np.empty(count, np.float64), np.empty(count, np.int64)
    found, best = 0, heap[0][0] if heap else np.inf
    for _ in range(most_steps):
        if found == count or not heap or heap[0][0] > best + lattice_beam:
            break
        total, after, token, place = heapq.heappop(heap)
        key = (np.int64(token) << 32) + place
        if key in seen:
            continue
        seen.add(key)
        if places[place].token < 0:
            places[place].token = token
        if token == 0:
            costs[found], starts[found] = total, place
            found += 1
            continue
        for at in range(first[token], first[token + 1]):
            link = links[at]
            cost = after + link.cost
            total = tokens[link.source].cost + cost
            if total > best + lattice_beam:
                continue
            here = place
            if link.word:
                key = (np.int64(place) << 32) + link.word
                if key in place_of:
                    here = place_of[key]
                else:
                    if used == len(places):
                        places = _longer(places)
                    new = places[used]
                    new.word, new.token, new.next = link.word, -1, place
                    here = place_of[key] = used
                    used += 1
            heapq.heappush(heap, (total, cost, np.int64(link.source), here))  # type: ignore[misc]
    return costs[:found], starts[:found], places[:used]
