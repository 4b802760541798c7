"""Mandarin text drawn from open-gram, the trigram of the SunPinyin input method.

No large Mandarin text with a free licence is at hand, but a trigram of one is: open-gram
(https://sourceforge.net/projects/open-gram/), CC BY-SA 3.0, in Debian's ``sunpinyin-data``. Sentences
drawn from it stand for the text that it was counted on. ``tslminfo`` of ``sunpinyin-utils`` prints it.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.pronunciation import HAN

__all__ = ["FOLDERS", "Trigram", "find", "read"]

FOLDERS = (
    Path("/usr/lib/x86_64-linux-gnu/sunpinyin/data"),
    Path("/usr/lib/aarch64-linux-gnu/sunpinyin/data"),
    Path("/usr/lib/sunpinyin/data"),
)
MOST_WORDS = 14  # of a sentence

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Rows:
    """N-grams of one order, sorted by history; probabilities add up along each history."""

    first: Ints  # (histories + 1,) where each history's rows begin
    word: Ints
    summed: Floats  # cumulative probability within the history

    @classmethod
    def of(cls, history: Ints, word: Ints, p: Floats, histories: int) -> _Rows:
        first = np.searchsorted(history, np.arange(histories + 1))
        total = np.concatenate([[0.0], np.cumsum(p)])
        return cls(first, word, total[1:] - total[first[history]])

    def draw(self, history: int, u: float) -> int:
        """Row where ``u`` falls; -1 beyond the listed ones, which is where the model backs off."""
        a, b = self.first[history], self.first[history + 1]
        at = a + int(np.searchsorted(self.summed[a:b], u))
        return at if at < b else -1


class Trigram:
    """A back-off trigram to draw sentences from.

    Where a draw falls beyond the listed successors it is repeated with a word less of history.
    """

    def __init__(
        self, words: list[str], one: Floats, two: _Rows, three: _Rows, begins: Ints
    ) -> None:
        self.words, self.two, self.three = words, two, three
        self.one = np.cumsum(one) / one.sum()
        self.begins = begins  # words after which a sentence begins

    def sentence(self, rng: np.random.Generator) -> list[str]:
        """Words up to the next punctuation mark or anything else that is not Chinese."""
        row, last = -1, int(rng.choice(self.begins))
        out: list[str] = []
        while len(out) < MOST_WORDS:
            at = self.three.draw(row, rng.random()) if row >= 0 else -1
            if at >= 0:
                word = int(self.three.word[at])
                row = self._bigram(last, word)
            elif (at := self.two.draw(last, rng.random())) >= 0:
                word, row = int(self.two.word[at]), at
            else:
                word, row = int(np.searchsorted(self.one, rng.random())), -1
            if not HAN.fullmatch(self.words[word]):
                break
            out.append(self.words[word])
            last = word
        return out

    def _bigram(self, first: int, second: int) -> int:
        a, b = self.two.first[first], self.two.first[first + 1]
        at = a + int(np.searchsorted(self.two.word[a:b], second))  # open-gram sorts them
        return at if at < b and self.two.word[at] == second else -1


def find() -> Path | None:
    """Folder of open-gram, where it and ``tslminfo`` are installed."""
    if shutil.which("tslminfo") is None:
        return None
    return next((f for f in FOLDERS if (f / "lm_sc.t3g").exists()), None)


def read(folder: Path) -> Trigram:
    """The trigram; takes some ten seconds.

    Raises:
        OSError: a file or ``tslminfo`` is missing.
        ValueError: the print is not that of a trigram.
    """
    data = (folder / "pydict_sc.bin").read_bytes()
    count, _, offset = struct.unpack("<III", data[:12])
    words = data[offset:].decode("utf-32-le").split("\0")[:count]
    with tempfile.TemporaryFile("w+b") as f:
        subprocess.run(["tslminfo", "-v", str(folder / "lm_sc.t3g")], stdout=f, check=True)
        f.seek(0)
        rows: list[list[tuple[float, ...]]] = [[], [], [], []]
        order = 0
        for line in f:
            if line.startswith(b"\\"):
                order = int(line[1:2])
                continue
            cells = line.split()[: order + 1]
            rows[order].append(tuple(map(float, cells)))
    if not all(rows[1:]):
        raise ValueError(f"{folder / 'lm_sc.t3g'}: tslminfo printed no trigram")
    one_rows, two_rows, three_rows = (np.array(r) for r in rows[1:])
    one = np.zeros(len(words))
    one[one_rows[:, 0].astype(int)] = np.exp(-one_rows[:, 1])
    one[0] = 0  # the unknown word
    first, second = two_rows[:, 0].astype(int), two_rows[:, 1].astype(int)
    two = _Rows.of(first, second, np.exp(-two_rows[:, 2]), len(words))
    pair = first * len(words) + second
    history = np.searchsorted(pair, (three_rows[:, 0] * len(words) + three_rows[:, 1]).astype(int))
    three = _Rows.of(history, three_rows[:, 2].astype(int), np.exp(-three_rows[:, 3]), len(pair))
    ends = np.array([i for i in np.unique(first) if words[i] in set("，。；？！")])
    return Trigram(words, one, two, three, ends)
