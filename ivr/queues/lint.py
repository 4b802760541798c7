"""What is allowed in ``queues.yaml`` and its phrase files, and yet will mislead callers.

    for lint in lints("config/queues.yaml", vocabulary={Language.MANDARIN: {"社保", ...}}):
        print(lint)

Phrases of different queues that sound alike or nearly so, phrases within phrases of another queue,
and phrases that a speech model can never write because it has no word for a character.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ivr.asr.hot_words import spell
from ivr.intent.normalise import normalise
from ivr.intent.sounds import character_syllables, fold
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.queues.phrases import OFF_TOPIC, read_phrases
from ivr.yamlsource import Place, YamlPath, read_yaml

__all__ = ["Lint", "lints", "read_vocabulary"]

#: A phrase of so many syllables or more is mistaken for another that differs in one of them.
_NEAR_FROM = 6
#: Shorter phrases stand in many others by chance.
_WITHIN_FROM = 3


@dataclass(frozen=True, slots=True, order=True)
class Lint:
    """One warning: where, what, and how to mend it."""

    file: str
    place: Place
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.place.line}:{self.place.column}: {self.what}; {self.mend}"


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    plain: str  # normalised, as the matcher compares it
    owner: str
    language: Language
    file: str
    place: Place

    @property
    def where(self) -> str:
        return f"{self.file}:{self.place.line}"


def read_vocabulary(path: Path) -> frozenset[str]:
    """The words of a model's ``words.txt``; none where it cannot be read."""
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(row.split()[0] for row in rows if row.strip())


def lints(
    path: Path | str,
    *,
    vocabulary: Mapping[Language, Collection[str]] | None = None,
    units: Mapping[Language, Sequence[str]] | None = None,
) -> list[Lint]:
    """The warnings about a catalogue, by file and line.

    Args:
        path: a ``queues.yaml`` that :func:`~ivr.queues.catalogue.load_catalogue` accepts.
        vocabulary: the words that the speech model of a language can write; a language that is
            missing or empty is not looked into.
        units: the units that the network of a language emits, where hot words can be added to it;
            None where hot words are not looked into.

    Raises:
        ConfigError: the catalogue is not valid.
    """
    phrases = list(_phrases(Path(path)))
    hot_words = load_catalogue(path).hot_words
    found: list[Lint] = [] if units is None else list(_unspellable(Path(path), units))
    for language in Language:
        mine = [p for p in phrases if p.language is language and p.plain]
        found += _alike(mine, language)
        found += _within(mine)
        if words := (vocabulary or {}).get(language):
            found += _unwritable(mine, {*words, *hot_words})
    return sorted(set(found))


def _phrases(path: Path) -> Iterator[_Phrase]:
    catalogue = load_catalogue(path)
    source = read_yaml(path)
    owners: list[tuple[str, YamlPath]] = [("person", ("person",))]
    for at, _ in source.items(("emergencies",)):
        owners.append((f"emergency {source.get((*at, 'number'))}", at))
    for at, _ in source.items(("queues",)):
        owners.append((str(source.get((*at, "id"))), at))
    for owner, at in owners:
        for language in Language:
            for entry, text in source.items((*at, "phrases", language.value)):
                place = source.value_place(entry)
                yield _Phrase(text, normalise(text), owner, language, str(path), place)
    if catalogue.phrase_folder is not None:
        folder = path.parent / catalogue.phrase_folder
        for owner, file in read_phrases(folder, (*catalogue.queue_ids, OFF_TOPIC)):
            for line in file.lines:
                plain = normalise(line.text)
                yield _Phrase(line.text, plain, owner, line.language, file.name, line.place)


def _alike(phrases: list[_Phrase], language: Language) -> Iterator[Lint]:
    """Pairs of different owners whose sounds are taken for one another."""
    symbols: dict[str, str] = {}
    sounds = []
    for p in phrases:
        folded = [fold(s, language) if s else c for c, s in _read(p.plain, language)]
        sounds.append("".join(symbols.setdefault(f, chr(0xE000 + len(symbols))) for f in folded))
    apart = process.cdist(
        sounds, sounds, scorer=Levenshtein.distance, score_cutoff=1, dtype=np.uint8
    )
    for i, j in zip(*np.nonzero(np.triu(apart <= 1, 1)), strict=True):
        one, other = phrases[i], phrases[j]
        if one.owner == other.owner or one.plain == other.plain:
            continue
        if apart[i, j] and min(len(sounds[i]), len(sounds[j])) < _NEAR_FROM:
            continue
        likeness = "nearly sounds" if apart[i, j] else "sounds"
        yield Lint(
            other.file,
            other.place,
            f"{other.text!r} ({other.owner}) {likeness} like {one.text!r} "
            f"({one.owner}, {one.where})",
            "say one of the two in other words, or expect the caller to be asked",
        )


def _read(text: str, language: Language) -> Iterator[tuple[str, str]]:
    return zip(text, character_syllables(text, language), strict=True)


def _within(phrases: list[_Phrase]) -> Iterator[Lint]:
    """Phrases that stand inside a phrase of another queue."""
    short = [p for p in phrases if len(p.plain) >= _WITHIN_FROM]
    for inner in short:
        for outer in phrases:
            if (
                inner.owner != outer.owner
                and len(outer.plain) > len(inner.plain)
                and (inner.plain in outer.plain)
            ):
                yield Lint(
                    outer.file,
                    outer.place,
                    f"{outer.text!r} ({outer.owner}) holds {inner.text!r}, which is a phrase of "
                    f"{inner.owner} ({inner.where})",
                    "lengthen the shorter one, or move one of the two",
                )


def _unwritable(phrases: list[_Phrase], words: Collection[str]) -> Iterator[Lint]:
    known = frozenset(words)
    longest = max(map(len, known))
    for p in phrases:
        spelled = "".join(c for c in p.text if c.isalnum())
        missing = _unknown(spelled, known, longest)
        if missing and _unknown(p.plain, known, longest):  # 家俬 is heard as 家私: that will do
            yield Lint(
                p.file,
                p.place,
                f"the speech model of {p.language} has no word for {missing!r} in {p.text!r}",
                "write it with other characters, or put the new word under hot_words",
            )


def _unspellable(path: Path, units: Mapping[Language, Sequence[str]]) -> Iterator[Lint]:
    """Hot words that a speech model does not learn."""
    source = read_yaml(path)
    for at, word in source.items(("hot_words",)):
        place = source.value_place(at)
        for language in Language:
            if language not in units:
                what = f"the speech model of {language} takes no hot words, so not {word!r}"
                yield Lint(str(path), place, what, "use the model that comes with Kapok")
            elif spell(normalise(word), language, units[language]) is None:
                what = f"the speech model of {language} has no sound for a part of {word!r}"
                yield Lint(str(path), place, what, "write it with characters that sound alike")


def _unknown(text: str, known: frozenset[str], longest: int) -> str:
    """The character at which no sequence of known words goes on; empty where one spells it all."""
    reached = {0}
    for at in range(len(text)):
        if at in reached:
            reached |= {at + n for n in range(1, longest + 1) if text[at : at + n] in known}
    return "" if len(text) in reached else text[max(reached)]
