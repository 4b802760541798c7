"""What is allowed in ``queues.yaml`` and its phrase files, and yet will mislead callers.

    for lint in lints("config/queues.yaml", vocabulary={Language.MANDARIN: {"社保", ...}}):
        print(lint)

Phrases of different queues that sound alike or nearly so, phrases within phrases of another queue,
phrases that a speech model can never write because it has no word for a character, phrases that a
rule takes before any queue is looked for, and queues to which none of their own phrases leads.
(A queue that never opens, or has no phrases in one of the languages, is no warning but an error of
:func:`~ivr.queues.catalogue.load_catalogue`.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ivr.asr.hot_words import spell
from ivr.call.wishes import read_wish
from ivr.intent.needs import corrected
from ivr.intent.normalise import normalise, strip_carriers
from ivr.intent.sounds import character_syllables, fold
from ivr.intent.types import Decision
from ivr.intent.urgent import PersonWish, asks_about
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.phrases import OFF_TOPIC, read_phrases
from ivr.yamlsource import Place, YamlPath, read_yaml

__all__ = ["Lint", "lints", "read_vocabulary"]

#: A phrase of so many syllables or more is mistaken for another that differs in one of them.
_NEAR_FROM = 6
#: Shorter phrases stand in many others by chance.
_WITHIN_FROM = 3
#: With so many phrases that nothing else claims, a queue is found; with fewer the matcher is asked,
#: which takes some seconds to build.
_SURELY_FOUND = 3
#: Few utterances are surer than this: where a question needs more, the matcher is asked.
_SURE_AT_MOST = 0.9
_PERSON, _EMERGENCY = "person", "emergency "  # owners of phrases that are no queues


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
    catalogue = load_catalogue(path)
    found: list[Lint] = [] if units is None else list(_unspellable(Path(path), units))
    found += _unreachable(Path(path), catalogue, phrases)
    for language in Language:
        mine = [p for p in phrases if p.language is language and p.plain]
        found += _alike(mine, language)
        found += _within(mine)
        if words := (vocabulary or {}).get(language):
            found += _unwritable(mine, {*words, *catalogue.hot_words})
    return sorted(set(found))


def _phrases(path: Path) -> Iterator[_Phrase]:
    catalogue = load_catalogue(path)
    source = read_yaml(path)
    owners: list[tuple[str, YamlPath]] = [(_PERSON, ("person",))]
    for at, _ in source.items(("emergencies",)):
        owners.append((f"{_EMERGENCY}{source.get((*at, 'number'))}", at))
    for at, _ in source.items(("queues",)):
        owners.append((str(source.get((*at, "id"))), at))
    for owner, at in owners:
        for language in Language:
            for entry, text in source.items((*at, "phrases", language.value)):
                place = source.value_place(entry)
                yield _Phrase(text, normalise(text), owner, language, str(path), place)
    if catalogue.phrase_folder is not None:
        folder = path.parent / catalogue.phrase_folder
        for owner, file in read_phrases(folder, (*catalogue.queue_ids, OFF_TOPIC)).items():
            for line in file.lines:
                plain = normalise(line.text)
                yield _Phrase(line.text, plain, owner, line.language, file.name, line.place)


def _alike(phrases: list[_Phrase], language: Language) -> Iterator[Lint]:
    """Pairs of different owners whose sounds are taken for one another."""
    symbols: dict[str, str] = {}
    sounds = [
        "".join(symbols.setdefault(f, chr(0xE000 + len(symbols))) for f in _folded(p))
        for p in phrases
    ]
    apart = process.cdist(
        sounds, sounds, scorer=Levenshtein.distance, score_cutoff=1, dtype=np.uint8
    )
    for i, j in zip(*np.nonzero(np.triu(apart <= 1, 1)), strict=True):
        one, other = phrases[i], phrases[j]
        if one.owner == other.owner:
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


def _folded(phrase: _Phrase) -> tuple[str, ...]:
    """Its syllables as the recogniser may take them for one another; signs as they are."""
    syllables = character_syllables(phrase.plain, phrase.language)
    read = zip(phrase.plain, syllables, strict=True)
    return tuple(fold(s, phrase.language) if s else c for c, s in read)


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


# --- what is never reached --------------------------------------------------------------------


def _unreachable(path: Path, catalogue: Catalogue, phrases: list[_Phrase]) -> Iterator[Lint]:
    """Phrases that never lead where they stand, and queues to which no phrase leads."""
    wishes = {
        language: PersonWish(catalogue.person.phrases[language], catalogue.person.key, language)
        for language in Language
    }
    left: dict[tuple[str, Language], list[_Phrase]] = {}
    for p in phrases:
        why = _taken(p, wishes[p.language])
        if why is not None:
            yield Lint(
                p.file,
                p.place,
                f"{p.text!r} never leads to {p.owner}: {why}",
                "say it in other words, or delete it",
            )
        else:
            left.setdefault((p.owner, p.language), []).append(p)
    yield from _never_found(path, catalogue, _alone(left))


def _taken(phrase: _Phrase, wish: PersonWish) -> str | None:
    """The rule that hears a phrase before its owner is looked for; None where none does."""
    if phrase.owner in (_PERSON, OFF_TOPIC):
        return None
    if phrase.owner.startswith(_EMERGENCY):
        asked = asks_about(phrase.plain)
        return (
            "it asks about papers, money or the past, so no emergency is heard" if asked else None
        )
    wished = read_wish(phrase.text)
    if wished is not None and wished.alone:
        return "it is heard as the wish for another language, or to be spoken to more slowly"
    if wish.heard(corrected(phrase.plain)):
        return "it is heard as the wish for a person"
    return None


def _alone(
    left: Mapping[tuple[str, Language], list[_Phrase]],
) -> dict[tuple[str, Language], list[_Phrase]]:
    """Without what sounds like a phrase of another owner: who says it may be sent to either."""
    owners: dict[tuple[Language, tuple[str, ...]], set[str]] = {}
    for listed in left.values():
        for p in listed:
            owners.setdefault((p.language, _folded(p)), set()).add(p.owner)
    return {
        key: [p for p in listed if len(owners[p.language, _folded(p)]) == 1]
        for key, listed in left.items()
    }


def _never_found(
    path: Path, catalogue: Catalogue, left: Mapping[tuple[str, Language], list[_Phrase]]
) -> Iterator[Lint]:
    """Queues that none of the phrases ``left`` to them leads to, in one of the languages."""
    doubtful = _doubtful(catalogue, left)
    if not doubtful:
        return
    from ivr.intent.matcher import Matcher  # loads the classifier's library

    matcher, source = Matcher(catalogue), read_yaml(path)
    places = {
        str(source.get((*at, "id"))): source.value_place((*at, "id"))
        for at, _ in source.items(("queues",))
    }
    for queue, language in doubtful:
        found = (matcher.match(p.text, language) for p in left.get((queue, language), []))
        sure = (Decision.ROUTE, Decision.CONFIRM)
        if not any(m.queue == queue and m.decision in sure for m in found):
            yield Lint(
                str(path),
                places[queue],
                f"queue {queue} is never reached in {language}: none of its "
                f"{len(catalogue.queue(queue).phrases[language])} phrases leads to it alone",
                "write phrases that nothing else has, or lower thresholds.confirm "
                f"(now {catalogue.thresholds.confirm:g})",
            )


def _doubtful(
    catalogue: Catalogue, left: Mapping[tuple[str, Language], list[_Phrase]]
) -> list[tuple[str, Language]]:
    """Queues with hardly a phrase of their own; all of them where much is asked of each."""
    urgent = [p for listed in left.values() for p in listed if p.owner.startswith(_EMERGENCY)]

    def plainly(p: _Phrase) -> bool:
        taken = any(u.language is p.language and u.plain in p.plain for u in urgent)
        return not taken and bool(strip_carriers(p.plain))

    return [
        (queue, language)
        for queue in catalogue.queue_ids
        for language in Language
        if catalogue.thresholds.confirm > _SURE_AT_MOST
        or sum(map(plainly, left.get((queue, language), []))) < _SURELY_FOUND
    ]
