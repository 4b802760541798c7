"""Utterances to judge the matcher on: text with labels, stored transcripts, or recordings.

==================== =================================================================
``.csv``, ``.tsv``   a header with ``text``, ``language`` and, where known, ``expected``
                     (or ``queue``); lines that begin with ``#`` are passed over
``.jsonl``           the same keys, an object a line, as ``ivr replay --json`` prints
``.txt``             an utterance a line, no labels
a folder, or a       recordings, with what is expected of them in ``labels.csv``
table with ``file``  (:mod:`ivr.replay.labels`), or without
logs of calls        what a server keeps of them (:mod:`ivr.replay.log_cases`)
==================== =================================================================

``expected`` is a queue's id, ``off_topic``, ``person``, ``emergency:NUMBER``, or ``!person`` and
``!emergency`` where anything but that is right. In what ``ivr
replay --json`` prints, ``queue`` is what was decided and no label: only ``expected`` counts there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.intent.languages import Reading, read
from ivr.intent.matcher import Matcher
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue

__all__ = ["OFF_TOPIC", "Case", "decided", "is_right", "judge", "read_cases"]

OFF_TOPIC = "off_topic"
_TABLES = {".csv": ",", ".tsv": "\t"}
_NAMES = {"": OFF_TOPIC, "ask_again": OFF_TOPIC, "silence": OFF_TOPIC, "noise": OFF_TOPIC}


@dataclass(frozen=True, slots=True)
class Case:
    """One utterance: what was heard in each language, and what should come of it."""

    where: str  # the file, and the line in it
    heard: Mapping[Language, Sequence[tuple[str, float]]]
    language: Language
    language_confidence: float = 1.0
    expected: str | None = None  # None: not known

    @property
    def text(self) -> str:
        """The best transcript in the likeliest language."""
        hypotheses = self.heard[self.language]
        return hypotheses[0][0] if hypotheses else ""


def judge(matcher: Matcher, case: Case) -> Match:
    """The matcher's reading of a case, as on a call."""
    if not any(self for self in case.heard.values()):
        return matcher.match("", case.language)
    reading: Reading = read(matcher, case.heard, case.language, case.language_confidence)
    return reading.match


def decided(match: Match) -> str:
    """The outcome in the words of ``expected``: a queue only where it is routed or confirmed."""
    if match.decision is Decision.PERSON:
        return "person"
    if match.decision is Decision.EMERGENCY:
        return f"emergency:{match.emergency}"
    sure = match.decision in (Decision.ROUTE, Decision.CONFIRM)
    return match.queue if sure and match.queue else OFF_TOPIC


def is_right(expected: str, match: Match) -> bool:
    """Whether the outcome is the one that the label asks for."""
    outcome = decided(match)
    if expected.startswith("!"):
        return outcome.split(":")[0] != expected[1:]
    return outcome == expected


def read_cases(path: Path, *catalogues: Catalogue, language: Language | None = None) -> list[Case]:
    """The text cases of a file.

    Args:
        path: a table, JSON lines, or plain text.
        catalogues: whose queue ids labels may name, of any of them.
        language: of lines that do not name theirs.

    Raises:
        ConfigError: a line is not what it should be; the message names file, line and mend.
    """
    if path.suffix == ".txt":
        rows: Iterable[tuple[int, dict[str, str]]] = _lines(path)
    elif path.suffix == ".jsonl":
        rows = _objects(path)
    elif path.suffix in _TABLES:
        rows = _table(path, _TABLES[path.suffix])
    else:
        raise ConfigError(
            f"{path}: a file of cases ends in .csv, .tsv, .jsonl or .txt; "
            "recordings stand in a folder"
        )
    known = {queue_id for catalogue in catalogues for queue_id in catalogue.queue_ids}
    cases = [_case(f"{path}:{number}", row, known, language) for number, row in rows]
    if not cases:
        raise ConfigError(f"{path}: holds no utterance")
    return cases


def _case(where: str, row: Mapping[str, str], known: set[str], language: Language | None) -> Case:
    spoken = row.get("language") or language
    if spoken not in list(Language):
        raise ConfigError(
            f"{where}: language is {spoken!r}; write cmn or yue in a column 'language', "
            "or name it with --language"
        )
    expected = row.get("expected")
    if expected is None and "queue" in row and "decision" not in row:
        expected = row["queue"]
    return Case(
        where=where,
        heard={Language(spoken): [(row.get("text") or "", 1.0)]},
        language=Language(spoken),
        expected=None if expected is None else label_of(expected, known, where),
    )


def label_of(expected: str, known: set[str], where: str) -> str:
    """A label as it is judged by.

    Raises:
        ConfigError: it is no queue and none of the words that a label may be.
    """
    label = _NAMES.get(expected.strip(), expected.strip())
    words = (OFF_TOPIC, "person", "!person", "!emergency")
    if label in known or label in words or label.startswith("emergency:"):
        return label
    queues = ", ".join(sorted(known))
    raise ConfigError(
        f"{where}: {label!r} is no queue ({queues}), nor off_topic, person or emergency:NUMBER"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text; convert it first: iconv -f GB18030 -t UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, {"text": line.strip()}


def _objects(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{path}:{number}: not a JSON object; one object a line is due")
        yield number, {k: v if isinstance(v, str) else "" for k, v in row.items()}


def _table(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    lines = [(n, line) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    lines = [(n, line) for n, line in lines if not line.startswith("#")]
    reader = csv.DictReader([line for _, line in lines], delimiter=delimiter)
    if "text" not in (reader.fieldnames or []):
        raise ConfigError(f"{path}:1: no column 'text'; the first line names the columns")
    for (number, _), row in zip(lines[1:], reader, strict=False):
        yield number, {k: v for k, v in row.items() if k is not None and isinstance(v, str)}
