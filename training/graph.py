"""``graph/HCLG.fst``: the CTC topology composed with lexicon and n-gram.

After EESEN (Miao et al. 2015): min(det(L o G)) with disambiguation symbols, then the compact CTC
topology T on its left. Input labels are Kaldi transition ids, output labels words.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path

import kaldilm
import pywrapfst as fst

from training.lm import Lexicon
from training.pronunciation import in_context, units

__all__ = ["build_graph", "ctc_topology"]

BLANK_PHONE = 1
RARER_READING = 0.7  # cost of the second reading of a word, twice that for the third


def _tropical(cost: float) -> fst.Weight:
    return fst.Weight("tropical", cost)


def ctc_topology(labels: int) -> fst.VectorFst:
    """T: transition ids to labels + 1 (phones); state 0 loops over the blank, each phone has a state."""
    one = _tropical(0.0)
    t = fst.VectorFst()
    start = t.add_state()
    t.set_start(start)
    t.set_final(start)
    t.add_arc(start, fst.Arc(2 * BLANK_PHONE - 1, 0, one, start))
    for phone in range(2, labels + 1):
        state = t.add_state()
        t.add_arc(start, fst.Arc(2 * phone, phone, one, state))
        t.add_arc(state, fst.Arc(2 * phone - 1, 0, one, state))
        t.add_arc(state, fst.Arc(0, 0, one, start))
    return t


def _grammar(arpa: Path, words: list[str], backoff: int, scale: float) -> fst.VectorFst:
    """G: the n-gram as an acceptor over word numbers, costs multiplied by ``scale``."""
    with tempfile.TemporaryDirectory() as folder:
        symbols, out = Path(folder, "words.txt"), Path(folder, "G.fst")
        rows = [*words, "#0", "<s>", "</s>"]
        symbols.write_text("".join(f"{w} {i}\n" for i, w in enumerate(rows)), encoding="utf-8")
        kaldilm.arpa2fst(
            str(arpa),
            str(out),
            disambig_symbol="#0",
            read_symbol_table=str(symbols),
            max_arpa_warnings=0,
        )
        g = fst.Fst.read(str(out))
    for state in g.states():
        final = float(g.final(state))
        if math.isfinite(final):
            g.set_final(state, _tropical(scale * final))
        arcs = g.mutable_arcs(state)
        while not arcs.done():
            a = arcs.value()
            arcs.set_value(
                fst.Arc(a.ilabel, a.olabel, _tropical(scale * float(a.weight)), a.nextstate)
            )
            arcs.next()
    assert words.index("<eps>") == 0
    assert backoff == len(words)
    return g


def _lexicon(
    words: list[str],
    readings: Lexicon,
    phone: dict[str, int],
    language: str,
    backoff: int,
    word_cost: float,
) -> fst.VectorFst:
    """L: phones to words; a disambiguation symbol closes each word, so that L o G has one path a word."""
    l_fst = fst.VectorFst()
    loop = l_fst.add_state()
    l_fst.set_start(loop)
    l_fst.set_final(loop)
    first_symbol = max(phone.values()) + 1  # of the n-gram's back-off; the homophones follow
    homophones: Counter[tuple[int, ...]] = Counter()
    for number, word in enumerate(words):
        for rank, reading in enumerate(readings.get(word, ())):
            labels = tuple(phone[u] for u in _spelt(reading, language, phone))
            homophones[labels] += 1
            path = (*labels, first_symbol + homophones[labels])
            at = loop
            for j, label in enumerate(path):
                to = loop if j == len(path) - 1 else l_fst.add_state()
                cost = word_cost + RARER_READING * rank if j == 0 else 0.0
                l_fst.add_arc(at, fst.Arc(label, 0 if j else number, _tropical(cost), to))
                at = to
    l_fst.add_arc(loop, fst.Arc(first_symbol, backoff, _tropical(0), loop))
    return l_fst


def _spelt(reading: Sequence[str], language: str, phone: Container[str]) -> list[str]:
    """Toned syllables in the units that a network tells apart, and those that it does not know."""
    return in_context(units(list(reading), language), language, phone)


def build_graph(
    language: str,
    labels: list[str],
    readings: Lexicon,
    arpa: Path,
    folder: Path,
    *,
    lm_scale: float,
    word_cost: float,
) -> fst.VectorFst:
    """Write ``graph/HCLG.fst`` and ``graph/words.txt`` of a model directory.

    Args:
        language: ``cmn`` or ``yue``.
        labels: the network's output labels, blank first.
        readings: word to its pronunciations, in toned syllables.
        arpa: the n-gram over those words.
        folder: the model directory.
        lm_scale: factor on the n-gram's costs; CTC scores stay as they are.
        word_cost: cost of each word (negative: words come cheaper).
    """
    phone = {u: i + 1 for i, u in enumerate(labels)}
    usable = {
        w: kept
        for w, r in readings.items()
        if (kept := [x for x in r if all(u in phone for u in _spelt(x, language, phone))])
    }
    words = ["<eps>", "[unk]", *usable]
    backoff = len(words)
    g = _grammar(arpa, words, backoff, lm_scale)
    lexicon = _lexicon(words, usable, phone, language, backoff, word_cost)
    lg = fst.compose(lexicon.arcsort("olabel"), g.arcsort("ilabel"))
    lg = fst.determinize(lg)
    lg.minimize(allow_nondet=False)
    _erase_above(lg, len(labels))
    t = ctc_topology(len(labels)).arcsort("olabel")
    graph = fst.compose(t, lg.arcsort("ilabel")).connect()
    graph.arcsort("ilabel")
    out = folder / "graph"
    out.mkdir(parents=True, exist_ok=True)
    fst.convert(graph, "const").write(str(out / "HCLG.fst"))
    (out / "words.txt").write_text(
        "".join(f"{w} {i}\n" for i, w in enumerate(words)), encoding="utf-8"
    )
    return graph


def _erase_above(f: fst.VectorFst, last_phone: int) -> None:
    """Disambiguation symbols have done their work: they become epsilons."""
    for state in f.states():
        arcs = f.mutable_arcs(state)
        while not arcs.done():
            a = arcs.value()
            if a.ilabel > last_phone:
                arcs.set_value(fst.Arc(0, a.olabel, a.weight, a.nextstate))
            arcs.next()
