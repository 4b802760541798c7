"""Words, their pronunciations, and the n-gram of a language.

Counts come from jieba (Mandarin) and rime-cantonese (Cantonese); sentences from the transcripts of
the training speakers, HKCanCor and the sentences collected for Common Voice, and the phrases of
``queues.yaml``, as they are and in the carriers in which callers say them. KenLM's ``lmplz``
estimates an n-gram of each source, each sentence once; :mod:`training.ngram` mixes them.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import jieba
import numpy as np
from pypinyin import Style, pinyin

from training import opengram, programs, pronunciation
from training.corpus import Corpus
from training.ngram import Ngram, mixed, unigram
from training.text import (
    domain_phrases,
    mandarin_words,
    off_topic_phrases,
    sentences,
    split_clauses,
)

__all__ = ["SHARES", "Lexicon", "build", "estimate", "sources"]

Lexicon = dict[str, list[tuple[str, ...]]]

#: How callers begin and end: %s is what they want.
CARRIERS = {
    "cmn": (
        "%s", "%s", "%s", "%s", "你好%s", "您好%s", "我想问一下%s", "我想咨询一下%s", "请问%s", "你好我想问一下%s",
        "我要投诉%s", "我要反映%s", "喂你好%s", "麻烦问一下%s", "那个%s", "就是%s", "我想查一下%s", "我想了解一下%s",
        "%s怎么办", "%s怎么办理", "%s找谁", "%s谢谢", "%s应该找哪个部门", "我打电话来是想问%s", "帮我查一下%s", "%s啊", "%s呢",
    ),
    "yue": (
        "%s", "%s", "%s", "%s", "你好%s", "喂你好%s", "我想问下%s", "我想问吓%s", "请问%s", "唔该我想问下%s", "我要投诉%s",
        "我想反映%s", "唔该%s", "即系%s", "我想查下%s", "我想查吓%s", "我想了解下%s", "%s点算", "%s点办", "%s揾边个", "%s唔该",
        "%s应该揾边个部门", "我打嚟想问%s", "帮我查下%s", "%s呀", "%s啊", "%s㗎", "%s呢",
    ),
}  # fmt: skip

#: Single characters are words too, so that nothing that can be said is out of the vocabulary.
MOST_WORDS = 24_000
DRAWN = 30_000  # sentences drawn from open-gram
#: What each source counts in the n-gram where nothing has been said yet: phrases as they are, in
#: carriers, transcripts of the training speakers, other sentences, and every word alone.
SHARES = {"phrases": 0.4, "carried": 0.08, "transcripts": 0.2, "general": 0.26, "words": 0.06}
#: n-grams of a source seen no more often than this are left out: a model keeps below 25 MB
PRUNE = {
    "cmn": {"carried": (0, 1, 3), "transcripts": (0, 0, 1), "general": (0, 1, 2)},
    "yue": {"carried": (0, 0, 1), "general": (0, 0, 1)},
}


def lexicon(language: str, text_folder: Path, must: Counter[str]) -> tuple[Lexicon, Counter[str]]:
    """Words with pronunciations, and their counts; the words of ``must`` are all kept."""
    counts = _mandarin_counts() if language == "cmn" else _cantonese_counts(text_folder)
    known = _cantonese_pronunciations(text_folder) if language == "yue" else {}
    common = common_characters()
    chosen: Lexicon = {}
    for word in itertools.chain(must, common, (w for w, _ in counts.most_common())):
        if word in chosen or (len(word) > 1 and len(chosen) >= MOST_WORDS and word not in must):
            continue
        if len(word) == 1 and word not in common and counts[word] < 3000 and word not in must:
            continue
        found = _readings(word, language, known)
        if found:
            chosen[word] = found
    return chosen, counts


@functools.cache
def common_characters() -> tuple[str, ...]:
    """The 3,755 common characters of GB 2312-80, level 1."""
    cells = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return tuple(c for b in cells if (c := b.decode("gb2312", errors="ignore")))


def _readings(word: str, language: str, known: Lexicon) -> list[tuple[str, ...]]:
    if language == "cmn" and len(word) == 1:
        options = pinyin(word, style=Style.TONE3, heteronym=True, neutral_tone_with_five=True)[0]
        found = [(o.replace("ü", "v"),) for o in options[:2]]
    else:
        spoken = pronunciation.syllables(word, language)
        found = [tuple(spoken)] if spoken else []
        found += known.get(word, [])[: 3 if len(word) == 1 else 2]
    legal = [f for f in found if all(pronunciation.parse(s, language) for s in f)]
    return list(dict.fromkeys(legal))


def _mandarin_counts() -> Counter[str]:
    return Counter(mandarin_words(least=3))


def _cantonese_counts(folder: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in (folder / "rime_cantonese_word_counts.txt").read_text(encoding="utf-8").splitlines():
        word, _, n = row.partition("\t")
        if (
            pronunciation.HAN.fullmatch(word)
            and len(word) <= 4
            and n.strip().isdigit()
            and int(n) > 20
        ):
            counts[pronunciation.simplified(word)] += int(n)
    return counts


def _cantonese_pronunciations(folder: Path) -> Lexicon:
    """rime-cantonese's readings of simplified words; readings of a character below 5 % left out."""
    out: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for name in ("jyut6ping3.chars.dict.yaml", "jyut6ping3.words.dict.yaml"):
        body = (folder / name).read_text(encoding="utf-8").split("\n...\n", 1)[1]
        for row in body.splitlines():
            cells = row.split("\t")
            if len(cells) < 2 or row.startswith("#"):
                continue
            share = (
                float(cells[2].rstrip("%")) if len(cells) > 2 and cells[2].endswith("%") else 100.0
            )
            reading = tuple(cells[1].split())
            if share >= 5 and len(reading) == len(cells[0]):
                out[pronunciation.simplified(cells[0])].append(reading)
    return out


class Segmenter:
    """Words of a sentence by jieba, over the counts of the language."""

    def __init__(self, counts: Counter[str]) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", delete=False) as f:
            f.writelines(f"{w} {max(1, n)}\n" for w, n in counts.items())
        self.jieba = jieba.Tokenizer(dictionary=f.name)

    def cut(self, sentence: str) -> list[str]:
        return [w for w in self.jieba.cut(sentence, HMM=False) if w.strip()]


def sources(
    language: str, corpus: Corpus, text_folder: Path, queues: Path, segment: Segmenter
) -> dict[str, list[list[str]]]:
    """Sentences to count, as words, by source; the sources of :data:`SHARES` but single words."""
    rng = random.Random(1)
    phrases = domain_phrases(queues, language)
    transcripts = [
        clause
        for clip in corpus.of(language, "sentence", "phrase")
        for clause in split_clauses(clip.label)
    ]
    general = [segment.cut(s) for s in sentences(text_folder, language)]
    if language == "cmn":
        general += drawn_sentences(DRAWN, segment)
    return {
        "phrases": [segment.cut(p) for p in (*phrases, *off_topic_phrases(queues, language))],
        "carried": [segment.cut(c % p) for p in phrases for c in rng.sample(CARRIERS[language], 6)],
        "transcripts": [segment.cut(s) for s in transcripts],
        "general": general,
    }


def drawn_sentences(count: int, segment: Segmenter) -> list[list[str]]:
    """Mandarin sentences drawn from open-gram; none, and a message, where it is not installed."""
    folder = opengram.find()
    if folder is None:
        print(
            "open-gram is not installed (sunpinyin-data, sunpinyin-utils): Mandarin will be worse"
        )
        return []
    model, rng = opengram.read(folder), np.random.default_rng(5)
    drawn = ("".join(model.sentence(rng)) for _ in range(count))
    return [segment.cut(s) for s in drawn if len(s) > 1]


def word_weights(counts: Counter[str], words: Lexicon) -> dict[str, float]:
    """How likely each word is alone: the square root of its count, so that rare ones can be said."""
    return {w: math.sqrt(counts.get(w, 1) + 1) for w in words}


def estimate(
    text: list[list[str]],
    words: Lexicon,
    arpa: Path,
    *,
    order: int = 3,
    prune: Sequence[int] = (0, 0, 1),
) -> None:
    """Write an ARPA n-gram by KenLM's ``lmplz`` (modified Kneser-Ney) over ``words``.

    A word outside ``words`` is spelled in its characters.

    Raises:
        ProgramError: ``lmplz`` is missing, or fails (too little text, for one).
    """

    def spelled(sentence: list[str]) -> list[str]:
        return [p for w in sentence for p in ([w] if w in words else [c for c in w if c in words])]

    body = "\n".join(" ".join(spelled(s)) for s in text)
    command = ["lmplz", "-o", str(order), "--prune", *map(str, prune)]
    command += ["--discount_fallback", "-S", "20%"]
    try:
        with open(arpa, "wb") as out:
            programs.run(command, given=body.encode(), out=out)
    except programs.ProgramError:
        arpa.unlink()  # half a model is none
        raise


def build(language: str, corpus: Corpus, text_folder: Path, queues: Path, arpa: Path) -> Lexicon:
    """Lexicon and n-gram of a language."""
    counts = _mandarin_counts() if language == "cmn" else _cantonese_counts(text_folder)
    segment = Segmenter(counts)
    text = sources(language, corpus, text_folder, queues, segment)
    must = Counter(w for p in domain_phrases(queues, language) for w in segment.cut(p))
    must += Counter(c for c in CARRIERS[language] for c in re.findall(r"[^%s]", c))
    words, counts = lexicon(language, text_folder, must)
    parts = [(unigram(word_weights(counts, words)), SHARES["words"])]
    with tempfile.TemporaryDirectory() as folder:
        for name, listed in text.items():
            one = Path(folder, f"{name}.arpa")
            estimate(listed, words, one, prune=PRUNE[language].get(name, (0, 0, 0)))
            parts.append((Ngram.read(one), SHARES[name]))
    mixed(parts).write(arpa)
    return words
