"""A static decoding graph, as it lies in a model directory.

The layout is OpenFst's ``const-fst.h``, version 2, standard arcs. Kapok's graphs are the CTC
topology of ``training/graph.py`` over words; input labels are Kaldi's transition ids of one-state
phones (label + 1): ``2p - 1`` the loop, ``2p`` the way in; output labels are numbers of words.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ivr.asr.models import MEND
from ivr.errors import ModelError

__all__ = ["Graph"]

_STATE = np.dtype(
    [("final", "<f4"), ("at", "<u4"), ("arcs", "<u4"), ("inputs0", "<u4"), ("outputs0", "<u4")]
)
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("cost", "<f4"), ("to", "<i4")])
_MAGIC, _EXPANDED = 2125659606, 0x1
_HEADER = "<iiQqqq"  # version, flags, properties, start, states, arcs


@dataclass(frozen=True)
class Graph:
    """A static graph: the arcs of a state are ``arcs[at : at + count]``."""

    states: npt.NDArray[np.void]
    arcs: npt.NDArray[np.void]
    start: int

    @classmethod
    def read(cls, path: Path) -> Graph:
        """A const graph of standard arcs, without symbols of its own.

        Raises:
            ModelError: the file cannot be read, is something else, or cut off.
        """
        try:
            content = path.read_bytes()
            (magic,) = struct.unpack_from("<i", content)
            at, names = 4, []
            for _ in range(2):
                (length,) = struct.unpack_from("<i", content, at)
                names.append(content[at + 4 : at + 4 + length])
                at += 4 + length
            version, flags, _, start, states, arcs = struct.unpack_from(_HEADER, content, at)
            at += struct.calcsize(_HEADER)
            wanted = (_MAGIC, [b"const", b"standard"], 2, 0)
            if (magic, names, version, flags) != wanted:
                raise ValueError("not a const graph of standard arcs")
            table = np.frombuffer(content, _STATE, states, at)
            graph = cls(table, np.frombuffer(content, _ARC, arcs, at + table.nbytes), start)
            graph._check()
            return graph
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        except (struct.error, ValueError) as error:
            raise ModelError(f"{path} is no graph of Kapok's ({error}); {MEND}") from error

    def _check(self) -> None:
        """ValueError where it leads out of itself: what searches it does not look."""
        ends = self.states["at"].astype(np.int64) + self.states["arcs"]
        to = self.arcs["to"]
        if not 0 <= self.start < len(self.states) or ends.max(initial=0) > len(self.arcs):
            raise ValueError("states without their arcs")
        if len(to) and not (to.min() >= 0 and to.max() < len(self.states)):
            raise ValueError("arcs that lead nowhere")
        if self.arcs["input"].min(initial=0) < 0 or self.arcs["output"].min(initial=0) < 0:
            raise ValueError("labels below 0")

    def write(self, path: Path) -> None:
        """As OpenFst reads it; what is known of the order of arcs is not claimed."""
        with path.open("wb") as out:
            out.write(struct.pack("<i", _MAGIC))
            for name in (b"const", b"standard"):
                out.write(struct.pack("<i", len(name)) + name)
            counts = (len(self.states), len(self.arcs))
            out.write(struct.pack(_HEADER, 2, 0, _EXPANDED, self.start, *counts))
            out.write(self.states.tobytes() + self.arcs.tobytes())

    def between_words(self) -> int:
        """The state between words that remembers nothing: most back-off arcs lead to it."""
        silent = (self.arcs["input"] == 0) & (self.arcs["output"] == 0)
        return int(np.bincount(self.arcs["to"][silent], minlength=len(self.states)).argmax())

    def with_words(self, words: Sequence[tuple[int, Sequence[int]]], *, cost: float) -> Graph:
        """The graph with a path for each ``(word number, units)``; unit 0 is the blank.

        Input labels are Kaldi's transition ids of one-state phones (unit + 1): ``2p - 1`` the
        loop, ``2p`` the way in.
        """
        home, count = self.between_words(), len(self.states)
        into: list[tuple[int, int, float, int]] = []
        states: list[tuple[float, int, int, int, int]] = []
        arcs: list[tuple[int, int, float, int]] = []

        def add(state_arcs: list[tuple[int, int, float, int]]) -> None:
            silent = (
                sum(a[0] == 0 for a in state_arcs),
                sum(a[1] == 0 for a in state_arcs),
            )
            states.append((np.inf, len(arcs), len(state_arcs), *silent))
            arcs.extend(state_arcs)

        for number, labels in words:
            for i, unit in enumerate(labels):
                phone, sounding = unit + 1, count + len(states)
                after = home if i == len(labels) - 1 else sounding + 1
                if i == 0:
                    into.append((2 * phone, number, cost, sounding))
                add([(2 * phone - 1, 0, 0.0, sounding), (0, 0, 0.0, after)])
                if after != home:
                    following = 2 * (labels[i + 1] + 1)
                    add([(1, 0, 0.0, after), (following, 0, 0.0, after + 1)])
        return self._joined(home, into, states, arcs)

    def _joined(
        self,
        home: int,
        into: list[tuple[int, int, float, int]],
        states: list[tuple[float, int, int, int, int]],
        arcs: list[tuple[int, int, float, int]],
    ) -> Graph:
        end = int(self.states["at"][home] + self.states["arcs"][home])
        old = self.states.copy()
        old["at"][old["at"] >= end] += len(into)
        old["arcs"][home] += len(into)
        new = np.array(states, _STATE)
        new["at"] += len(self.arcs) + len(into)
        both = [self.arcs[:end], np.array(into, _ARC), self.arcs[end:], np.array(arcs, _ARC)]
        return Graph(np.concatenate([old, new]), np.concatenate(both), self.start)
