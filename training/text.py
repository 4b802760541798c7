"""Sentences and words for synthetic speech and for the language models, simplified, by language."""

from __future__ import annotations

import re
from pathlib import Path

import jieba

from ivr.intent.background import BACKGROUND
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from training.pronunciation import HAN, simplified

__all__ = [
    "domain_phrases",
    "mandarin_words",
    "off_topic_phrases",
    "sentences",
    "split_clauses",
]


def split_clauses(text: str) -> list[str]:
    """The runs of Chinese characters of a text, as they are between punctuation."""
    return HAN.findall(simplified(text))


def domain_phrases(queues: Path, language: str) -> list[str]:
    """Every phrase of the catalogue in a language: queues, emergencies, person words."""
    if not queues.exists():
        return []
    catalogue = load_catalogue(queues)
    owners = (*catalogue.queues, *catalogue.emergencies, catalogue.person)
    return [run for owner in owners for p in owner.phrases[language] for run in split_clauses(p)]


def off_topic_phrases(queues: Path, language: str) -> list[str]:
    """What callers say that no queue answers."""
    listed = load_catalogue(queues).off_topic[language] if queues.exists() else ()
    return [run for p in (*BACKGROUND[Language(language)], *listed) for run in split_clauses(p)]


def mandarin_words(least: int = 600) -> dict[str, int]:
    """jieba's words of one to four characters with their counts."""
    jieba.initialize()
    return {
        w: f
        for w, f in jieba.dt.FREQ.items()
        if f >= least and re.fullmatch("[\u4e00-\u9fff]{1,4}", w)
    }


def sentences(text_folder: Path, language: str) -> list[str]:
    """General sentences of a language; Mandarin has none here beyond the words."""
    if language != "yue":
        return []
    out: list[str] = []
    for name in ("hkcancor_utterances.txt", "common_voice_yue_sentences.txt"):
        for row in (text_folder / name).read_text(encoding="utf-8").splitlines():
            if not re.search(r"[A-Za-z0-9]", row):
                out += split_clauses(row)
    return [s for s in out if len(s) > 1]
