"""``queues.yaml`` read and edited over HTTP, by the rules of ``ivr check``.

An edit is tried in a file beside the real one, so that phrases and calibration are seen with it,
then takes its place whole: whoever reads ``queues.yaml`` sees the old text or the new one. Each
edit, taken or refused, is in the audit log before it is answered. The running server takes a new
file up as it does any other edit (:mod:`ivr.queues.reload`).

Everything here blocks on files; run it off the event loop.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.lint import lints
from ivr.server.audit import AuditLog, diff_of
from ivr.yamlsource import Fault, FaultsError

__all__ = ["ConflictError", "Edit", "QueuesEditor"]


class ConflictError(ConfigError):
    """The file is no longer what the edit was made from."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A good edit."""

    catalogue: Catalogue
    version: str  # of the new text; what GET /queues gives as its ETag
    warnings: tuple[str, ...]  # as `ivr check` prints them
    changed: bool  # False where the text is what was there


class QueuesEditor:
    """Reads and replaces one ``queues.yaml``.

    Args:
        path: the file.
        audit: where edits are written down.
        told: hears of each edit that was made: the file, and what it says now.
    """

    def __init__(
        self,
        path: Path,
        audit: AuditLog,
        *,
        told: Callable[[Path, str], None] = lambda path, text: None,
    ) -> None:
        self.path = path
        self._audit, self._told = audit, told
        self._lock = threading.Lock()

    def read(self) -> tuple[str, str]:
        """The text as it is on the disk, and its version.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            text = self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: cannot be read ({error})") from error
        return text, _version(text)

    def put(
        self, text: str, *, who: str, based_on: str | None = None, dry_run: bool = False
    ) -> Edit:
        """Put ``text`` in the place of the file.

        Args:
            text: the whole file.
            who: for the audit log.
            based_on: the version that was edited; None to overwrite whatever is there.
            dry_run: check alone.

        Raises:
            ConfigError: every fault of the text, ``file:line:column: what; mend``, one a line;
                or the disk or the audit log do not take it. The old file stays.
            ConflictError: somebody else has changed the file since ``based_on``.
        """
        with self._lock:
            before = self._text()
            if based_on is not None and based_on != _version(before):
                raise ConflictError(
                    f"{self.path.name} has been changed since you read it (it is now "
                    f"{_version(before)}, yours was made from {based_on}); read it again, and "
                    "make your change in that"
                )
            part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
            try:
                return self._try(text, before, part, who=who, dry_run=dry_run)
            except ConfigError as error:
                if not dry_run:
                    self._record(who, before, text, outcome="refused", detail=str(error))
                raise
            finally:
                part.unlink(missing_ok=True)

    def _try(self, text: str, before: str, part: Path, *, who: str, dry_run: bool) -> Edit:
        try:
            _write(part, text, like=self.path)
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be written ({error}); see to the disk and its permissions"
            ) from error
        try:
            catalogue = load_catalogue(part)
            warnings = (*catalogue.warnings(), *map(str, lints(part)))
        except ConfigError as error:
            raise self._named(error, part) from error
        changed = text != before
        if changed and not dry_run:
            self._record(who, before, text, outcome="taken")
            os.replace(part, self.path)
            self._told(self.path, text)
        named = tuple(warning.replace(str(part), self.path.name) for warning in warnings)
        return Edit(catalogue, _version(text), named, changed)

    def _record(
        self, who: str, before: str, after: str, *, outcome: str, detail: str | None = None
    ) -> None:
        self._audit.record(
            who=who,
            action="edit queues",
            target=self.path.name,
            outcome=outcome,
            detail=detail,
            diff=diff_of(before, after, name=self.path.name),
        )

    def _named(self, error: ConfigError, part: Path) -> ConfigError:
        """The faults of the file tried, as those of the real one."""
        name = self.path.name
        if not isinstance(error, FaultsError):
            return ConfigError(str(error).replace(str(part), name))
        faults = [
            Fault(f.place, f.what.replace(str(part), name), f.mend.replace(str(part), name))
            for f in error.faults
        ]
        return FaultsError(name if error.name == str(part) else Path(error.name).name, faults)

    def _text(self) -> str:
        try:
            return self.path.read_text("utf-8", errors="replace")
        except OSError:
            return ""


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(path: Path, text: str, *, like: Path) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if like.exists():
        shutil.copymode(like, path)
