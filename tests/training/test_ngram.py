"""Back-off n-grams mixed: probabilities add up, and are those of the parts in their shares."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.ngram import Ngram, mixed, unigram

WORDS = ("我", "想", "查", "社保", "</s>")


def bigram(seed: int, words: tuple[str, ...] = WORDS) -> Ngram:
    """A proper back-off bigram with chance probabilities."""
    rng = random.Random(seed)
    out = unigram({w: rng.random() + 0.1 for w in words})
    out.order = 2
    for history in ("<s>", *words[:-1]):
        seen = rng.sample(words, rng.randint(1, len(words) - 1))
        weight = [rng.random() + 0.05 for _ in seen]
        kept = rng.uniform(0.4, 0.95)
        for w, x in zip(seen, weight, strict=True):
            out.probability[history, w] = kept * x / sum(weight)
        unseen = 1 - sum(out.probability[(w,)] for w in seen)
        out.backoff[(history,)] = (1 - kept) / unseen
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_after_every_history_probabilities_add_up(seed: int, share: float) -> None:
    other = bigram(seed + 1, (*WORDS[:3], "公积金", "</s>"))
    made = mixed([(bigram(seed), share), (other, 1 - share)])
    for history in ((), ("<s>",), ("我",), ("社保",), ("公积金",), ("never", "我")):
        assert sum(made(history, w) for w in (*WORDS, "公积金")) == pytest.approx(1, abs=1e-4)


def test_a_history_tells_which_part_speaks() -> None:
    one, two = bigram(1), bigram(2)
    made = mixed([(one, 0.3), (two, 0.7)])
    for history, word in [k for k in one.probability if len(k) == 2]:
        shares = 0.3 * one((), history), 0.7 * two((), history)
        if history == "<s>":  # whichever part: all sentences begin
            shares = 0.3, 0.7
        said = shares[0] * one((history,), word) + shares[1] * two((history,), word)
        wanted = said / sum(shares)
        assert made((history,), word) == pytest.approx(wanted, rel=1e-4)


def test_a_word_of_one_part_alone_can_be_said() -> None:
    made = mixed([(bigram(1), 0.9), (unigram({"煤气": 1.0, "</s>": 1.0}), 0.1)])
    assert made((), "煤气") == pytest.approx(0.05, rel=1e-3)
    assert made(("我",), "煤气") > 0


def test_an_arpa_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = mixed([(bigram(3), 0.5), (bigram(4), 0.5)])
    made.write(tmp_path / "x.arpa")
    read = Ngram.read(tmp_path / "x.arpa")
    assert read.order == 2
    assert read(("<s>",), "我") == pytest.approx(made(("<s>",), "我"), rel=1e-4)
    assert set(read.probability) == set(made.probability)
    assert read.backoff == pytest.approx(made.backoff, rel=1e-4)


def test_the_unknown_word_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "x.arpa"
    file.write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\t<unk>\n-0.5\t我\n\n\\end\\\n")
    assert list(Ngram.read(file).probability) == [("我",)]
