"""The audit log: who changed the configuration, when, and what.

One JSON line a change, in a file that only its owner may read and that is only ever added to:

    {"v": 1, "at": "2026-11-25T08:00:00+00:00", "who": "desk (1f2e3d4c)", "action": "edit queues",
     "target": "queues.yaml", "outcome": "taken", "detail": "...", "diff": "--- ...",
     "previous": "<sha256 of the line before>"}

``previous`` chains the lines, so that one that was taken out or changed later is noticed
(:meth:`AuditLog.verify`). A line is on the disk before the change is answered.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from ivr.errors import ConfigError

__all__ = ["AuditLog", "diff_of"]

_FIRST: Final = "0" * 64
#: Of a diff, characters: a whole new phrase file need not be told twice.
_LONGEST: Final = 20_000
#: Longer than any line: each character is six bytes at most, and there are two long texts.
_TAIL_BYTES: Final = 12 * _LONGEST + 65_536


class AuditLog:
    """Appends to the file; may be used from any thread.

    Args:
        path: the file; it and its folder are made when the first change comes.
        now: the wall clock, with its time zone.

    Raises:
        ConfigError: the file is there and cannot be read.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now
        self._lock = threading.Lock()
        deque(self._readable(), maxlen=0)

    def record(
        self,
        *,
        who: str,
        action: str,
        target: str,
        outcome: str,
        detail: str | None = None,
        diff: str | None = None,
    ) -> dict[str, Any]:
        """Write one change, and return the entry.

        Raises:
            ConfigError: it cannot be written; the change should then not be made.
        """
        entry = {
            "v": 1,
            "at": self._now().astimezone(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "action": action,
            "target": target,
            "outcome": outcome,
            "detail": detail and detail[:_LONGEST],
            "diff": diff and diff[:_LONGEST],
        }
        with self._lock:
            self._append(entry)
        return entry

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last entries, the newest first; lines that are damaged are left out."""
        out = []
        for line in deque(self._lines(), maxlen=max(0, count)):
            try:
                out.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
        return out[::-1]

    def verify(self) -> list[int]:
        """The numbers, from 1, of lines that do not follow from the one before."""
        previous, broken = _FIRST, []
        for number, line in enumerate(self._lines(), start=1):
            try:
                named = json.loads(line).get("previous")
            except (ValueError, AttributeError, RecursionError):
                named = None
            if named != previous:
                broken.append(number)
            previous = _hash(line)
        return broken

    def _append(self, entry: dict[str, Any]) -> None:
        """Add ``previous`` and write; `ivr token` may do so while the server runs."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                entry["previous"] = _last_hash(file)
                line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
                # Where the power failed in the middle of a line, it must not take this one along.
                file.write(line if _is_whole(file) else b"\n" + line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{self.path}: the audit log cannot be written ({error}), and no change is made "
                "without it; see to the disk, or to server.audit_log"
            ) from error

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                yield from (line.rstrip("\n") for line in file)
        except FileNotFoundError:
            return

    def _readable(self) -> Iterator[str]:
        try:
            yield from self._lines()
        except OSError as error:
            raise ConfigError(
                f"{self.path}: the audit log cannot be read ({error}); check its permissions"
            ) from error


def _last_hash(file: BinaryIO) -> str:
    """The hash of the last line."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL_BYTES))
    lines = file.read().splitlines()
    return _hash(lines[-1].decode(errors="replace")) if lines else _FIRST


def _is_whole(file: BinaryIO) -> bool:
    """Whether the last line has its end."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def diff_of(before: str, after: str, *, name: str) -> str:
    """What changed, as a unified diff with one line of context; empty for nothing."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} before", f"{name} after", "", "", 1, ""
    )
    return "\n".join(lines)
