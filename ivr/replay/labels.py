"""``labels.csv``: what is said in each recording, and what the right decision is.

Columns ``file`` and ``kind`` are needed; ``language``, ``queue``, ``text``, ``voice``,
``speech_end_s`` and ``emergency`` are read where they are there, others are passed over. ``file``
is a path relative to the folder of the table.

=============================== ==================================================
kind                            right where
=============================== ==================================================
``speech``                      ``queue`` is routed to, or confirmed
``off_topic``, ``silence``,     the decision is ``ask_again``, without a queue
``noise``
``person``                      the decision is ``person``
``emergency``                   the decision is ``emergency``, with the number of
                                the column ``emergency``
=============================== ==================================================
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from ivr.call.prompts import EMERGENCY_NUMBERS
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.replay.client import Result

__all__ = ["REJECTED", "Kind", "Label", "Labels", "is_right", "load_labels"]

E = TypeVar("E", bound=StrEnum)


class Kind(StrEnum):
    """What a recording holds."""

    SPEECH = "speech"
    OFF_TOPIC = "off_topic"
    SILENCE = "silence"
    NOISE = "noise"
    PERSON = "person"
    EMERGENCY = "emergency"


#: Kinds for which asking again is right.
REJECTED = frozenset({Kind.OFF_TOPIC, Kind.SILENCE, Kind.NOISE})


@dataclass(frozen=True, slots=True)
class Label:
    """One row."""

    file: str
    kind: Kind
    language: Language | None = None
    queue: str | None = None
    text: str = ""
    voice: str = ""
    speech_end_s: float | None = None
    emergency: str | None = None
    line: int | None = field(default=None, compare=False)  # of the table, where it ends

    @property
    def expected(self) -> str:
        """The row of the confusion matrix: a queue, ``ask_again``, ``person`` or ``emergency``."""
        if self.kind is Kind.SPEECH:
            return self.queue or ""
        return "ask_again" if self.kind in REJECTED else self.kind.value


@dataclass(frozen=True)
class Labels:
    """A table of labels; find one by its recording's path."""

    path: Path
    by_file: Mapping[Path, Label]

    def __getitem__(self, recording: Path) -> Label | None:
        """The label of a recording; None where it has none."""
        return self.by_file.get(recording.resolve())

    def astray(self, recordings: Iterable[Path], folders: Iterable[Path]) -> list[str]:
        """The rows that name none of ``recordings`` though they should, each with its line.

        A row for a file that was not asked for is none of them; one for a file that does not
        exist, or that lies in one of ``folders`` and was not found there, is.
        """
        found = {recording.resolve() for recording in recordings}
        whole = [folder.resolve() for folder in folders]
        return [
            f"{self.path}:{label.line} {label.file}"
            for path, label in self.by_file.items()
            if path not in found
            and (any(path.is_relative_to(folder) for folder in whole) or not _exists(path))
        ]


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any can be
        return False


def is_right(label: Label, result: Result) -> bool:
    """Whether the decision is the right one; see the table above."""
    if label.kind is Kind.SPEECH:
        return result.decision in ("route", "confirm") and result.queue == label.queue
    if label.kind in REJECTED:
        return result.decision == "ask_again" and result.queue is None
    if label.kind is Kind.EMERGENCY:
        return result.decision == "emergency" and result.emergency == label.emergency
    return result.decision == "person"


def load_labels(path: Path, *, queues: Collection[str] | None = None) -> Labels:
    """Read a table of labels.

    Args:
        path: the table.
        queues: ids that speech may be labelled with; None where they are not known.

    Raises:
        ConfigError: it cannot be read, a column is missing, or a value is not valid; the message
            has the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = {"file", "kind"} - set(rows.fieldnames or ())
            if missing:
                raise ConfigError(
                    f"{path}:1: no column {' and '.join(sorted(missing))}; "
                    "the first line names the columns: file,language,kind,queue,text,..."
                )
            return _table(path, [(rows.line_num, row) for row in rows], queues)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def _table(
    path: Path, rows: list[tuple[int, dict[str, str]]], queues: Collection[str] | None
) -> Labels:
    by_file: dict[Path, Label] = {}
    for line, row in rows:
        label = _label(path, line, row, queues)
        try:
            recording = (path.parent / label.file).resolve()
        except (OSError, ValueError) as error:  # half a character, NUL, links in a circle
            raise ConfigError(f"{path}:{line}: file: no name of a file ({error})") from error
        if recording in by_file:
            raise ConfigError(f"{path}:{line}: {label.file} is here twice; delete one row")
        by_file[recording] = label
    return Labels(path, by_file)


def _label(
    path: Path, line: int, row: Mapping[str, str | None], queues: Collection[str] | None
) -> Label:
    at = f"{path}:{line}"
    if None in row:  # where csv puts what has no column
        raise ConfigError(
            f"{at}: more values than columns; put text with commas in quotation marks"
        )
    value = {key: (text or "").strip() for key, text in row.items() if isinstance(key, str)}
    if not value["file"]:
        raise ConfigError(f"{at}: no file is named; write its path")
    kind = _one_of(at, "kind", value["kind"], Kind)
    assert kind is not None
    queue, emergency = value.get("queue"), value.get("emergency")
    if kind is Kind.SPEECH and not queue:
        raise ConfigError(f"{at}: speech without a queue; name the queue, or another kind")
    if kind is Kind.SPEECH and queues is not None:
        _check(at, "queue", queue, sorted(queues))
    if kind is Kind.EMERGENCY and not emergency:
        raise ConfigError(
            f"{at}: emergency without a number; write {', '.join(EMERGENCY_NUMBERS)} "
            "in the column 'emergency', whichever is right"
        )
    if kind is Kind.EMERGENCY:
        _check(at, "emergency", emergency, EMERGENCY_NUMBERS)
    return Label(
        file=value["file"],
        kind=kind,
        language=_one_of(at, "language", value.get("language", ""), Language, optional=True),
        queue=queue or None,
        text=value.get("text", ""),
        voice=value.get("voice", ""),
        speech_end_s=_seconds(at, value.get("speech_end_s", "")),
        emergency=emergency or None,
        line=line,
    )


def _one_of(at: str, column: str, text: str, kinds: type[E], *, optional: bool = False) -> E | None:
    if optional and not text:
        return None
    _check(at, column, text, tuple(kinds))
    return kinds(text)


def _check(at: str, column: str, text: str | None, known: Collection[str]) -> None:
    if text not in known:
        raise ConfigError(f"{at}: {column} {text!r} is not known; use one of {', '.join(known)}")


def _seconds(at: str, text: str) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:
        raise ConfigError(f"{at}: speech_end_s {text!r} is not a number of seconds") from None
    if seconds is not None and not 0 <= seconds < 86_400:
        raise ConfigError(f"{at}: speech_end_s {text!r} is not a number of seconds")
    return seconds
