"""The likeliest word sequences through a decoding graph, given scores of every frame.

A Viterbi beam search over the graph (Kaldi's ``lattice-faster-decoder``), whose tokens and links
make a lattice. While an utterance goes on, what can no longer be within the lattice beam is
forgotten, and the best path so far is known; in the end the n best distinct word sequences are
found from there, best first (A*), with the cost from the beginning, which the search knows exactly,
as what is still to come. The functions below are compiled (:mod:`ivr.compiled`), in some seconds.
"""

from __future__ import annotations

import copy
import heapq
import math
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ivr.asr.graph import Graph
from ivr.compiled import kept

__all__ = ["BeamSearch", "Found", "Progress", "SearchStream"]

_MOST_STEPS: Final = 400_000  # of the search for the n best: a bound on time, never met by speech
_TOKEN: Final = np.dtype([("state", "<i4"), ("cost", "<f4")])
_LINK: Final = np.dtype(
    [("source", "<i4"), ("to", "<i4"), ("word", "<i4"), ("input", "<i4"), ("cost", "<f4")]
)
_PLACE: Final = np.dtype([("word", "<i4"), ("token", "<i4"), ("next", "<i4")])
#: Of graphs by size, the token of each state; all -1 between two blocks. One set a thread.
_marks = threading.local()


@dataclass(frozen=True, slots=True)
class Found:
    """A word sequence and its cost: minus the scores, plus the graph's, natural log."""

    words: tuple[int, ...]
    frames: tuple[int, ...]  # of each word, the first at which the search is sure of it
    cost: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The best path so far of an utterance under way."""

    words: tuple[int, ...] = ()
    decoded: int = 0  # frames
    silent: int = 0  # of these, the last ones, in which it has the label 0
    #: how much worse than it is the best path that may end here, natural log
    cost_of_end: float = math.inf


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
        self._graph = _in_order(graph)
        self._labels = (int(graph.arcs["input"].max(initial=0)) + 1) // 2
        self._limits = (float(beam), float(lattice_beam), int(most_active))

    def with_limits(self, *, beam: float, lattice_beam: float, most_active: int) -> BeamSearch:
        """The same graph, held once, with other limits."""
        other = copy.copy(self)
        other._limits = (float(beam), float(lattice_beam), int(most_active))
        return other

    def stream(self) -> SearchStream:
        """A search along an utterance; used from one thread at a time."""
        return SearchStream(self._graph, self._labels, *self._limits)

    def best(self, scores: npt.NDArray[np.float32], count: int) -> list[Found]:
        """The best word sequences, at most ``count``, best first; none for no frames.

        Args:
            scores: (frames, labels) log-likelihoods.

        Raises:
            ValueError: the graph has more labels than there are scores.
        """
        stream = self.stream()
        stream.accept(scores)
        return stream.best(count)


class SearchStream:
    """The lattice of an utterance under way; see :meth:`BeamSearch.stream`."""

    def __init__(
        self, graph: Graph, labels: int, beam: float, lattice_beam: float, most_active: int
    ) -> None:
        self._graph = graph
        self._labels = labels
        self._limits = (beam, lattice_beam, most_active)
        #: tokens after f frames are ``tokens[firsts[f] : firsts[f + 1]]``; token 0 is the
        #: beginning; links that lead to these are ``links[linked[f] : linked[f + 1]]``
        self._tokens = np.zeros(0, _TOKEN)
        self._links = np.zeros(0, _LINK)
        self._firsts = self._linked = np.zeros(1, np.int32)
        self._lost = False  # no way leads on

    def accept(self, scores: npt.NDArray[np.float32]) -> None:
        """Take (frames, labels) log-likelihoods, those after what came before.

        Raises:
            ValueError: the graph has more labels than there are scores.
        """
        if scores.ndim != 2 or scores.shape[1] < self._labels:
            raise ValueError(f"scores of shape {scores.shape} for a graph of {self._labels} labels")
        if not len(scores) or self._lost:
            return
        graph = self._graph
        try:
            lattice = _extended(
                graph.states,
                graph.arcs,
                graph.start,
                self._token_of(),
                self._tokens,
                self._links,
                self._firsts,
                self._linked,
                np.ascontiguousarray(scores, np.float32),
                *self._limits,
            )
        except BaseException:
            _marks.__dict__.clear()  # they may be of tokens that are not
            raise
        self._lost = not len(lattice[0])
        self._tokens, self._links, self._firsts, self._linked = _pruned(*lattice, self._limits[1])

    def _token_of(self) -> npt.NDArray[np.int32]:
        marks: dict[int, npt.NDArray[np.int32]] = _marks.__dict__.setdefault("by_size", {})
        count = len(self._graph.states)
        if count not in marks:
            marks[count] = np.full(count, -1, np.int32)
        return marks[count]

    def progress(self) -> Progress:
        """The best path so far."""
        if not len(self._tokens):
            return Progress()
        last = self._tokens[self._firsts[-2] :]
        costs = last["cost"].astype(np.float64)
        best = int(costs.argmin())
        words, silent = _best_path(
            self._tokens, self._links, self._firsts, self._linked, self._firsts[-2] + best
        )
        end = float((costs + self._ends()).min())
        return Progress(
            words=tuple(words[::-1].tolist()),
            decoded=len(self._firsts) - 2,
            silent=silent,
            cost_of_end=end - float(costs[best]),
        )

    def _ends(self) -> npt.NDArray[np.float64]:
        """What it costs each of the last tokens to end there."""
        states = self._tokens["state"][self._firsts[-2] :]
        ends: npt.NDArray[np.float64] = self._graph.states["final"][states].astype(np.float64)
        ends[~self._in_beam()] = np.inf
        return ends

    def _in_beam(self) -> npt.NDArray[np.bool_]:
        """Which of the last tokens are; what was found before the best was may lie behind it."""
        costs = self._tokens["cost"][self._firsts[-2] :]
        inside: npt.NDArray[np.bool_] = costs <= costs.min() + self._limits[0]
        return inside

    def best(self, count: int) -> list[Found]:
        """The best word sequences if the utterance is over, as :meth:`BeamSearch.best`."""
        if not len(self._tokens):
            return []
        last, end = int(self._firsts[-2]), self._ends()
        if not np.isfinite(end).any():  # no sentence is over: each may be, as in Kaldi
            end[self._in_beam()] = 0.0
        links = self._links[np.argsort(self._links["to"], kind="stable")]
        first = np.searchsorted(links["to"], np.arange(len(self._tokens) + 1))
        costs, starts, places = _n_best(
            self._tokens, links, first, last, end, count, self._limits[1], _MOST_STEPS
        )
        return [
            _found(float(cost), int(start), places, self._firsts)
            for cost, start in zip(costs, starts, strict=True)
        ]


def _in_order(graph: Graph) -> Graph:
    """Of each state first the arcs that take no frame, and the cheapest of each kind first."""
    states = graph.states.copy()
    states["at"] = np.cumsum(states["arcs"]) - states["arcs"]
    of = np.repeat(np.arange(len(states)), states["arcs"])
    moved = graph.states["at"].astype(np.int64) - states["at"]
    arcs = graph.arcs[np.arange(len(of)) + moved[of]]
    taking = arcs["input"] != 0
    states["inputs0"] = np.bincount(of[~taking], minlength=len(states))
    arcs = arcs[np.lexsort((arcs["cost"], taking, of))]
    # One kind of array, whether read or put together: another would be compiled for anew.
    return Graph(states, np.require(arcs, requirements=["C", "A", "W"]), graph.start)


def _found(
    cost: float, at: int, places: npt.NDArray[np.void], firsts: npt.NDArray[np.int32]
) -> Found:
    """The words from a place on to the end of the utterance."""
    said, sure = [], [0]
    while at:
        place = places[at]
        said.append(int(place["word"]))
        frame = int(np.searchsorted(firsts, place["token"], side="right")) - 1
        sure.append(max(frame, sure[-1]))  # the best way to a place may have other words before it
        at = int(place["next"])
    return Found(tuple(said), tuple(sure[1:]), cost)


@kept
def _room(table, count):  # type: ignore[no-untyped-def]  # numba's own types, here and below
    """A table with room for more than it holds."""
    longer = np.empty(2 * count + 1024, table.dtype)
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
def _extended(  # type: ignore[no-untyped-def]
    states,
    arcs,
    start,
    token_of,
    old_tokens,
    old_links,
    old_firsts,
    old_linked,
    scores,
    beam,
    lattice_beam,
    most_active,
):
    """The lattice after some more frames, with all that is within the beam in these.

    Args:
        states: of the graph.
        arcs: of the graph.
        start: its first state.
        token_of: of each state, its token; all -1, and so again at the end.
        old_tokens: states after so many frames, with the least cost from the beginning; empty
            before the first frame, as are
        old_links: ways from one to another.
        old_firsts: where the tokens of each frame begin.
        old_linked: where the links to these begin.
        scores: of the frames that are new.
        beam: as in :class:`BeamSearch`.
        lattice_beam: likewise.
        most_active: likewise.
    """
    begun = len(old_tokens) > 0
    used, linked = len(old_tokens), len(old_links)
    tokens, links = _room(old_tokens, used), _room(old_links, linked)
    known = len(old_firsts) - 2 if begun else -1  # the last frame that is
    firsts = np.zeros(known + len(scores) + 2 if begun else len(scores) + 2, np.int32)
    links_of = np.zeros(len(firsts), np.int32)
    firsts[: len(old_firsts)], links_of[: len(old_linked)] = old_firsts, old_linked
    before, begin = 0, old_firsts[-2] if begun else 0  # this frame's tokens: begin : used
    if begun:
        for token in range(begin, used):
            token_of[tokens[token].state] = token
    else:
        tokens[0].state, tokens[0].cost = start, 0.0
        token_of[start] = 0
        used = 1
    bound = cutoff = beam
    top = np.float32(0.0)
    row = scores[0]
    waiting = np.empty(1024, np.int32)
    for frame in range(known + 1, len(firsts) - 1):
        if frame:
            # This frame's tokens, from those of the frame before that are within the beam.
            row = scores[frame - (known + 1 if begun else 1)]
            before, begin = begin, used
            top = row.max()
            best = before
            for token in range(before, begin):
                if tokens[token].cost < tokens[best].cost:
                    best = token
                token_of[tokens[token].state] = -1
            cutoff = tokens[best].cost + beam
            if begin - before > most_active:
                cutoff = _cutoff(tokens, before, begin, cutoff - beam, cutoff, most_active)
            bound = np.inf
            state = states[tokens[best].state]
            for at in range(state.at + state.inputs0, state.at + state.arcs):
                arc = arcs[at]
                bound = min(bound, tokens[best].cost + arc.cost - row[(arc.input - 1) // 2] + beam)
            for token in range(before, begin):
                cost_so_far = tokens[token].cost
                if cost_so_far > cutoff:
                    continue
                state = states[tokens[token].state]
                for at in range(state.at + state.inputs0, state.at + state.arcs):
                    arc = arcs[at]
                    if cost_so_far + arc.cost - top > bound:
                        break  # as all after it, whatever they hear
                    cost = cost_so_far + arc.cost - row[(arc.input - 1) // 2]
                    if cost > bound:
                        continue
                    bound = min(bound, cost + beam)
                    other = token_of[arc.to]
                    if other < 0:
                        if used == len(tokens):
                            tokens = _room(tokens, used)
                        tokens[used].state, tokens[used].cost = arc.to, cost
                        token_of[arc.to] = used
                        used += 1
                    elif cost < tokens[other].cost:
                        tokens[other].cost = cost
        # Arcs that take no frame, until nothing gets better.
        while len(waiting) < used - begin:
            waiting = _room(waiting, len(waiting))
        left = used - begin
        for k in range(left):
            waiting[k] = begin + k
        while left:
            left -= 1
            token = waiting[left]
            cost_so_far = tokens[token].cost
            state = states[tokens[token].state]
            for at in range(state.at, state.at + state.inputs0):
                arc = arcs[at]
                cost = cost_so_far + arc.cost
                if cost > bound:
                    break
                other = token_of[arc.to]
                if other < 0:
                    if used == len(tokens):
                        tokens = _room(tokens, used)
                    other = used
                    tokens[used].state = arc.to
                    token_of[arc.to] = used
                    used += 1
                elif cost >= tokens[other].cost:
                    continue
                tokens[other].cost = cost
                if left == len(waiting):
                    waiting = _room(waiting, left)
                waiting[left] = other
                left += 1
        if used == begin:  # no way leads on
            return tokens[:0], links[:0], old_firsts[:1], old_linked[:1]
        firsts[frame + 1] = used
        # The links, now that every cost is the least there is.
        for token in range(before if frame else begin, used):
            cost_so_far = tokens[token].cost
            state = states[tokens[token].state]
            if token < begin:  # arcs that take this frame begin in the one before
                if cost_so_far > cutoff:
                    continue
                first, last = state.at + state.inputs0, state.at + state.arcs
            else:
                first, last = state.at, state.at + state.inputs0
            for at in range(first, last):
                arc = arcs[at]
                cost = arc.cost
                if token < begin:
                    if cost_so_far + cost - top > bound + lattice_beam:
                        break
                    cost -= row[(arc.input - 1) // 2]
                other = token_of[arc.to]
                if other < 0 or tokens[other].cost > bound:
                    continue
                if cost_so_far + cost > tokens[other].cost + lattice_beam:
                    continue
                if linked == len(links):
                    links = _room(links, linked)
                link = links[linked]
                link.source, link.to, link.word = token, other, arc.output
                link.input, link.cost = arc.input, cost
                linked += 1
        links_of[frame + 1] = linked
    for token in range(begin, used):
        token_of[tokens[token].state] = -1
    return tokens[:used], links[:linked], firsts, links_of


@kept
def _pruned(tokens, links, firsts, linked, lattice_beam):  # type: ignore[no-untyped-def]
    """The lattice without what is further than the lattice beam behind the best way to any of the
    last tokens (Kaldi's ``PruneActiveTokens``)."""
    last = firsts[-2]
    worse = np.full(len(tokens), np.inf, np.float32)  # of the best way through a token, at least
    worse[last:] = 0.0
    staying = np.zeros(len(links), np.bool_)
    for frame in range(len(firsts) - 2, -1, -1):
        better = True
        while better:  # links within the frame, in any order
            better = False
            for at in range(linked[frame], linked[frame + 1]):
                if links[at].input == 0:
                    source, to = links[at].source, links[at].to
                    by = tokens[source].cost + links[at].cost - tokens[to].cost + worse[to]
                    staying[at] = by <= lattice_beam
                    if staying[at] and by < worse[source] - 1e-4:
                        worse[source] = by
                        better = True
        for at in range(linked[frame], linked[frame + 1]):
            if links[at].input:
                source, to = links[at].source, links[at].to
                by = tokens[source].cost + links[at].cost - tokens[to].cost + worse[to]
                staying[at] = by <= lattice_beam
                if staying[at]:
                    worse[source] = min(worse[source], by)
    place = np.full(len(tokens), -1, np.int32)
    new_tokens, used = np.empty(len(tokens), tokens.dtype), 0
    new_firsts = np.zeros(len(firsts), np.int32)
    new_linked = np.zeros(len(firsts), np.int32)
    for frame in range(len(firsts) - 1):
        for token in range(firsts[frame], firsts[frame + 1]):
            if token == 0 or worse[token] <= lattice_beam:
                place[token] = used
                new_tokens[used] = tokens[token]
                used += 1
        new_firsts[frame + 1] = used
    new_links, count = np.empty(len(links), links.dtype), 0
    for frame in range(len(firsts) - 1):
        for at in range(linked[frame], linked[frame + 1]):
            if staying[at]:
                new_links[count] = links[at]
                new_links[count].source = place[links[at].source]
                new_links[count].to = place[links[at].to]
                count += 1
        new_linked[frame + 1] = count
    return new_tokens[:used].copy(), new_links[:count].copy(), new_firsts, new_linked


@kept
def _best_path(tokens, links, firsts, linked, token):  # type: ignore[no-untyped-def]
    """The words of the best way to a token, the last one first, and its last frames of label 0."""
    words, count = np.empty(len(firsts), np.int32), 0
    silent, speech = 0, False
    frame = len(firsts) - 2
    while token:
        best, least = -1, np.inf
        for at in range(linked[frame], linked[frame + 1]):
            if links[at].to == token:
                cost = tokens[links[at].source].cost + links[at].cost
                if cost < least:
                    best, least = at, cost
        if best < 0:
            break
        link = links[best]
        if link.word:
            if count == len(words):
                words = _room(words, count)
            words[count] = link.word
            count += 1
        if link.input:
            frame -= 1
            speech = speech or link.input > 2
            silent += not speech
        token = link.source
    return words[:count], silent


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
                        places = _room(places, used)
                    new = places[used]
                    new.word, new.token, new.next = link.word, -1, place
                    here = place_of[key] = used
                    used += 1
            heapq.heappush(heap, (total, cost, np.int64(link.source), here))  # type: ignore[misc]
    return costs[:found], starts[:found], places[:used]
