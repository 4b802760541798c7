"""Back-off n-grams: read from ARPA files, mixed in shares, written again.

Sources of unlike size and kind are counted apart and their probabilities added in shares (linear
interpolation, Jelinek & Mercer 1980), which follow what has been said: after a history that one
source says often, that source has more of a say (Bayes' rule; Allauzen & Riley 2011). So a small
text of the right kind is not lost among much of another, and none is counted more often than it was
said: repeated sentences leave no probability for what follows a word that is not in them. The
mixture is written as one back-off model of all their n-grams, as SRILM's ``ngram -mix-lm`` does
(Stolcke 2002).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Ngram", "mixed", "unigram"]

Words = tuple[str, ...]

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
_NEVER = -99.0  # log10 of the probability of BEGIN, by custom
_LEAST_MASS = 1e-6  # left to what follows a history unseen


@dataclass
class Ngram:
    """Probabilities of words after histories of up to ``order - 1`` words."""

    order: int
    probability: dict[Words, float] = field(default_factory=dict)  # history and word
    backoff: dict[Words, float] = field(default_factory=dict)  # history: factor on a shorter one's

    @classmethod
    def read(cls, path: Path) -> Ngram:
        """An ARPA file; its unknown word is left out.

        Raises:
            ValueError: a line is none of the format's.
        """
        out = cls(0)
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                cells = line.rstrip("\n").split("\t")
                if line.startswith("\\") and line.rstrip().endswith("-grams:"):
                    out.order = int(line[1 : line.index("-")])
                elif out.order and len(cells) > 1:
                    words = tuple(cells[1].split(" "))
                    if words != (UNKNOWN,):
                        out.probability[words] = 10 ** float(cells[0])
                        if len(cells) > 2:
                            out.backoff[words] = 10 ** float(cells[2])
        return out

    def __call__(self, history: Words, word: str) -> float:
        """The probability of a word after a history; 0 for a word never seen."""
        factor = 1.0
        while True:
            found = self.probability.get((*history, word))
            if found is not None:
                return factor * found
            if not history:
                return 0.0
            factor *= self.backoff.get(history, 1.0)
            history = history[1:]

    def write(self, path: Path) -> None:
        """Write an ARPA file."""
        by_order: dict[int, list[Words]] = defaultdict(list)
        for words in self.probability:
            by_order[len(words)].append(words)
        with path.open("w", encoding="utf-8") as out:
            out.write("\\data\\\n")
            out.writelines(f"ngram {n}={len(by_order[n])}\n" for n in range(1, self.order + 1))
            for n in range(1, self.order + 1):
                out.write(f"\n\\{n}-grams:\n")
                out.writelines(self._rows(by_order[n]))
            out.write("\n\\end\\\n")

    def _rows(self, listed: Sequence[Words]) -> Iterator[str]:
        for words in sorted(listed):
            p = self.probability[words]
            row = f"{math.log10(p) if p > 0 else _NEVER:.5f}\t{' '.join(words)}"
            factor = self.backoff.get(words)
            yield row + (f"\t{math.log10(factor):.5f}\n" if factor is not None else "\n")


def unigram(weight: Mapping[str, float]) -> Ngram:
    """Words alone, as likely as their weights say."""
    total = sum(weight.values())
    return Ngram(1, {(word,): x / total for word, x in weight.items()})


def mixed(parts: Sequence[tuple[Ngram, float]]) -> Ngram:
    """One back-off model of several, each with its share; shares add up to 1.

    The n-grams are all of theirs; the words all of theirs.
    """
    order = max(part.order for part, _ in parts)
    following: dict[Words, set[str]] = defaultdict(set)
    for part, _ in parts:
        for *history, word in part.probability:
            following[tuple(history)].add(word)
    out = Ngram(order)
    for history in sorted(following, key=lambda h: (len(h), h)):
        words = sorted(following[history] - {BEGIN})
        weights = _after(parts, history)
        found = [
            sum(w * part(history, word) for (part, _), w in zip(parts, weights, strict=True))
            for word in words
        ]
        shorter = [out(history[1:], word) for word in words] if history else []
        # Shares of parts that never saw the history go where these send them; what is over is
        # left for the shorter history.
        total = sum(found)
        scale = 1.0 / total if not history else min(1.0, (1.0 - _LEAST_MASS) / total)
        for word, p in zip(words, found, strict=True):
            out.probability[(*history, word)] = p * scale
        if history:
            left = max(_LEAST_MASS, 1.0 - total * scale)
            out.backoff[history] = left / max(_LEAST_MASS, 1.0 - sum(shorter))
    out.probability[(BEGIN,)] = 0.0
    return out


def _after(parts: Sequence[tuple[Ngram, float]], history: Words) -> list[float]:
    """The shares once ``history`` was said: by how likely each part was to say it (Bayes' rule)."""
    out = []
    for part, share in parts:
        for k, word in enumerate(history):
            share *= part(history[:k], word) if word != BEGIN else 1.0
        out.append(share)
    total = sum(out)
    return [w / total for w in out] if total > 0 else [share for _, share in parts]
