"""New words for a speech model that is there already: its decoding graph with a path for each.

An operator's word (十五运会, the name of a policy) is in no lexicon and no n-gram. Kapok's models
are static CTC graphs, in which one state stands between any two words without a memory of what came
before (the n-gram's back-off to unigrams): most arcs without input and output lead to it.
From there to there goes a path for the new word, unit by unit through the CTC topology of
``training/graph.py``, at the cost of a common word. The network stays as it is, so a word is
recognised by its sound like any other; nothing is trained.

For Vosk a model directory with the words is laid beside: links to the old files, a new graph, a
longer ``words.txt`` (:mod:`ivr.asr.graph`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ivr.asr.graph import Graph
from ivr.asr.models import read_units
from ivr.errors import ModelError
from ivr.intent.sounds import character_syllables, in_context, units
from ivr.language import Language

__all__ = ["COST", "add_hot_words", "graph_with", "spell", "supports_hot_words"]

#: Of a hot word, natural log, as the graph weighs words: a common word costs 5, a rare one 14.
#: Lower finds more of them, also where others were said (``python -m bench.hot_words``).
COST: Final = 7.0


def spell(word: str, language: Language, known: Sequence[str]) -> tuple[int, ...] | None:
    """The units of a word, as places in the model's list; None where it has no unit for a sound."""
    said = character_syllables(word, language)
    place = {unit: n for n, unit in enumerate(known)}
    if not said or not all(said):
        return None
    spelt = in_context(units(said, language), language, place)
    if any(unit not in place for unit in spelt):
        return None
    return tuple(place[unit] for unit in spelt)


def supports_hot_words(model: Path) -> bool:
    """Whether a model directory says which units its network emits: Kapok's own do."""
    return (model / "units.txt").exists() and (model / "graph" / "HCLG.fst").exists()


def graph_with(
    model: Path, words: Iterable[str], language: Language, *, cost: float = COST
) -> tuple[Graph, tuple[str, ...], tuple[str, ...]]:
    """The graph of a model directory with more words, all words by number, and those not spelt.

    Raises:
        ModelError: the model is not one to which words can be added.
    """
    if not supports_hot_words(model):
        raise ModelError(
            f"{model}: hot words cannot be added to this model, which has no units.txt; use a "
            "model of Kapok's, or take hot_words out of the queues file"
        )
    known = read_units(model)
    rows = (model / "graph" / "words.txt").read_text(encoding="utf-8").splitlines()
    table = [row.split()[0] for row in rows if row.strip()]
    numbers = {word: number for number, word in enumerate(table)}
    spelt: list[tuple[int, tuple[int, ...]]] = []
    refused = []
    for word in dict.fromkeys(words):
        labels = spell(word, language, known)
        if labels is None:
            refused.append(word)
        else:
            spelt.append((numbers.setdefault(word, len(numbers)), labels))
    graph = Graph.read(model / "graph" / "HCLG.fst").with_words(spelt, cost=cost)
    return graph, tuple(numbers), tuple(refused)


def add_hot_words(
    model: Path, words: Iterable[str], language: Language, out: Path, *, cost: float = COST
) -> tuple[str, ...]:
    """Lay out the model directory ``out``: ``model`` with more words. The words it cannot spell.

    Raises:
        ModelError: the model is not one to which words can be added.
        OSError: ``out`` cannot be written.
    """
    graph, table, refused = graph_with(model, words, language, cost=cost)
    for source in model.rglob("*"):
        target = out / source.relative_to(model)
        if source.is_file() and source.name not in ("HCLG.fst", "words.txt"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(source.resolve(), target)
    (out / "graph").mkdir(parents=True, exist_ok=True)
    graph.write(out / "graph" / "HCLG.fst")
    (out / "graph" / "words.txt").write_text(
        "".join(f"{word} {number}\n" for number, word in enumerate(table)), encoding="utf-8"
    )
    return refused


def _link(source: Path, target: Path) -> None:
    try:
        os.symlink(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
