"""Example phrases in files of their own: ``config/phrases/QUEUE.txt``.

A file holds the phrases of one queue, one a line; ``off_topic.txt`` holds what no queue answers::

    # anything after a number sign at the start of a line is a remark
    [cmn]
    我想查一下社保交了多少年
    社保余额怎么查

    社保卡丢了怎么补
    [yue]
    我想查下社保交咗几多年

An empty line begins another family: other ways to ask for the same thing stand together, so that
an evaluation can hold out whole matters instead of single wordings.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.language import Language
from ivr.yamlsource import Fault, FaultsError, Place, did_you_mean

__all__ = [
    "HAN",
    "MAX_PHRASE",
    "OFF_TOPIC",
    "PhraseFile",
    "PhraseLine",
    "parse_phrases",
    "phrase_fault",
    "read_phrases",
    "said",
]

OFF_TOPIC = "off_topic"
MAX_PHRASE = 60  # characters; longer than anything said in one breath
_WIDE = str.maketrans("［］【】＃", "[][]#")
#: One Chinese character.
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
#: Files that are meant for phrases, by their ending; and what editors leave beside those.
_TEXT_ENDINGS = (".text", ".txt")
_BACKUP = re.compile(r"[.#].*|.*~|.*\.(bak|old|orig|part|save|sw[a-p]|tmp)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PhraseLine:
    """One phrase and where it stands."""

    text: str
    language: Language
    family: int  # counted from 0 through the file
    place: Place


@dataclass(frozen=True, slots=True)
class PhraseFile:
    """The phrases of one file, in its order."""

    name: str  # of the file, for messages
    lines: tuple[PhraseLine, ...]

    def of(self, language: Language) -> tuple[str, ...]:
        """The phrases in a language."""
        return tuple(line.text for line in self.lines if line.language is language)

    def families(self, language: Language) -> tuple[tuple[str, ...], ...]:
        """The phrases in a language by family."""
        out: dict[int, list[str]] = {}
        for line in self.lines:
            if line.language is language:
                out.setdefault(line.family, []).append(line.text)
        return tuple(map(tuple, out.values()))


def phrase_fault(phrase: str, *, most: int = MAX_PHRASE) -> tuple[str, str] | None:
    """What is wrong with a phrase, and the mend; ``most`` is the longest allowed, characters."""
    if not HAN.search(phrase):
        what = f"a phrase without any Chinese character: {phrase[:30] or 'nothing'!r}"
        return what, "write it as callers say it, in Chinese characters"
    if len(phrase) > most:
        what = f"a phrase of {len(phrase)} characters, longer than {most}"
        return what, "shorten it, or make two of it"
    return None


def said(phrase: str) -> str:
    """The phrase without what is not said: spaces, punctuation, width, case."""
    plain = unicodedata.normalize("NFKC", phrase).casefold()
    return "".join(character for character in plain if character.isalnum())


def parse_phrases(text: str, name: str, *, most: int = MAX_PHRASE) -> PhraseFile:
    """The phrases in ``text``; ``most`` is the longest phrase allowed, characters.

    Raises:
        ConfigError: every fault of the file, one a line, with line, column and mend. Lines of
            which the language is not known are told once, and not judged.
    """
    lines: list[PhraseLine] = []
    faults: list[Fault] = []
    language: Language | None = None
    told = False  # that the language of what follows is not known
    family, fresh = -1, True
    seen: dict[tuple[Language, str], int] = {}
    for number, row in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        plain = row.strip()
        place = Place(number, len(row) - len(row.lstrip()) + 1)
        if not plain:
            fresh = True
        elif plain.translate(_WIDE).startswith("#"):
            continue
        elif (heading := _heading(plain)) is not None:
            language, fault = heading
            fresh, told = True, language is None
            if fault is not None:
                faults.append(Fault(place, *fault))
        elif language is None:
            if not told:
                mend = "write [cmn] or [yue] in a line above it"
                faults.append(Fault(place, "a phrase before any language", mend))
            told = True
        elif (fault := phrase_fault(plain, most=most)) is not None:
            faults.append(Fault(place, *fault))
        else:
            family, fresh = family + fresh, False
            first = seen.setdefault((language, said(plain)), number)
            if first != number:
                what = f"the phrase {plain!r} is here twice, first in line {first}"
                faults.append(Fault(place, what, "delete one of the two"))
            lines.append(PhraseLine(plain, language, family, place))
    if faults:
        raise FaultsError(name, faults)
    return PhraseFile(name, tuple(lines))


def _heading(line: str) -> tuple[Language | None, tuple[str, str] | None] | None:
    """The language that a line announces, and its fault; None where it announces none."""
    marks = line.translate(_WIDE)
    word = marks.strip("[]:： \t")
    if marks.startswith("["):
        if word in list(Language):
            return Language(word), None
        mend = "write [cmn] for Mandarin or [yue] for Cantonese"
        return None, (f"no such language: {line!r}", mend)
    if word.casefold() in list(Language):
        language = Language(word.casefold())
        return language, (f"the language {word!r} stands without brackets", f"write [{language}]")
    return None


def read_phrases(
    folder: Path, owners: tuple[str, ...], *, most: int = MAX_PHRASE
) -> dict[str, PhraseFile]:
    """Each ``*.txt`` of a folder by the queue (or ``off_topic``) that it belongs to.

    Hidden files, and the copies that editors leave, are passed over.

    Raises:
        ConfigError: there is no such folder, or files, all of which are told, cannot be read, have
            faults, are named after no queue, or are meant for phrases and not named ``*.txt``.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: there is no such folder; keep queues.yaml, or a draft of it, beside "
            f"{folder.name}/, or copy that folder too"
        )
    paths = sorted(
        path
        for path in folder.iterdir()
        if not _BACKUP.fullmatch(path.name) and (path.suffix == ".txt" or not path.is_dir())
    )
    found: dict[str, PhraseFile] = {}
    faults: list[str] = []
    for path in paths:
        try:
            if fault := _name_fault(path.name, owners):
                raise ConfigError(f"{path}: {fault}")
            if path.suffix == ".txt":
                found[path.stem] = parse_phrases(_text(path), str(path), most=most)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from error


def _name_fault(name: str, owners: tuple[str, ...]) -> str | None:
    """Why a file is not read, or read for no queue, and the mend; other files are no fault."""
    owner = name.partition(".")[0].strip().casefold()
    if name.endswith(".txt"):
        known = name.removesuffix(".txt")
        if known in owners:
            return None
        return f"there is no queue {known!r}; {did_you_mean(known, owners, kind='names here')}"
    if owner in owners:
        return f"is not read; name it {owner}.txt"
    if Path(name).suffix.casefold() in _TEXT_ENDINGS:
        return f"is not read; name it after its queue, as {owners[0]}.txt"
    return None
