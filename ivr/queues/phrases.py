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

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.language import Language
from ivr.yamlsource import Fault, FaultsError, Place, did_you_mean

__all__ = ["OFF_TOPIC", "PhraseFile", "PhraseLine", "parse_phrases", "read_phrases"]

OFF_TOPIC = "off_topic"
_WIDE = str.maketrans("［］【】＃", "[][]#")


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


def parse_phrases(text: str, name: str, *, most: int = 60) -> PhraseFile:
    """The phrases in ``text``; ``most`` is the longest phrase allowed, characters.

    Raises:
        ConfigError: every fault of the file, one a line, with line, column and mend.
    """
    lines: list[PhraseLine] = []
    faults: list[Fault] = []
    language: Language | None = None
    family, fresh = -1, True
    seen: dict[tuple[Language, str], int] = {}
    for number, row in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        plain = row.strip()
        column = len(row) - len(row.lstrip()) + 1
        marks = plain.translate(_WIDE)
        if not plain:
            fresh = True
        elif marks.startswith("#"):
            continue
        elif marks.startswith("["):
            fresh = True
            try:
                language = Language(marks.strip("[] \t"))
            except ValueError:
                mend = did_you_mean(marks.strip("[] \t"), list(Language), kind="languages")
                faults.append(Fault(Place(number, column), f"no such language: {plain!r}", mend))
        elif (fault := _fault(plain, language, most)) is not None:
            faults.append(Fault(Place(number, column), *fault))
        else:
            assert language is not None
            family, fresh = family + fresh, False
            if (language, plain) in seen:
                first = seen[language, plain]
                what = f"the phrase {plain!r} is here twice, first in line {first}"
                faults.append(Fault(Place(number, column), what, "delete one of the two"))
            seen.setdefault((language, plain), number)
            lines.append(PhraseLine(plain, language, family, Place(number, column)))
    if faults:
        raise FaultsError(name, faults)
    return PhraseFile(name, tuple(lines))


def _fault(phrase: str, language: Language | None, most: int) -> tuple[str, str] | None:
    if language is None:
        return "a phrase before any language", "write [cmn] or [yue] in a line above it"
    if not any("\u3400" <= c <= "\u9fff" or c >= "\U00020000" for c in phrase):
        what = f"a phrase without any Chinese character: {phrase[:30]!r}"
        return what, "write it as callers say it, in Chinese characters"
    if len(phrase) > most:
        return (
            f"a phrase of {len(phrase)} characters, longer than {most}",
            "shorten it, or make two of it",
        )
    return None


def read_phrases(
    folder: Path, owners: tuple[str, ...], *, most: int = 60
) -> Iterator[tuple[str, PhraseFile]]:
    """Each ``*.txt`` of a folder with the queue (or ``off_topic``) that it belongs to.

    Raises:
        ConfigError: there is no such folder, a file cannot be read or has faults, or is named
            after no queue.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: there is no such folder; make it, or delete phrase_folder from queues.yaml"
        )
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in owners:
            mend = did_you_mean(path.stem, owners, kind="names here")
            raise ConfigError(f"{path}: there is no queue {path.stem!r}; {mend}")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
            ) from error
        yield path.stem, parse_phrases(text, str(path), most=most)
