"""Every change of a configuration file comes into the audit log, however it was made.

What the files said when they were last looked at is kept beside the log, so that an edit made while
no server ran is told at the next start. Who made it is not known then: the owner of the file is the
best there is. Secrets are hidden before anything is compared or kept; four digits of a hash stand
in their place, so that another secret is noticed and none can be told. So are the numbers in files
of telephone numbers. Of a recording its hash is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from ivr.errors import ConfigError
from ivr.server.audit import AuditLog, diff_of

__all__ = ["ConfigAudit", "without_secrets"]

_LINE: Final = re.compile(
    r"(?P<before>\s*(?:-\s+)?[\"']?(?P<key>[\w.-]+)[\"']?\s*:\s*)(?P<value>[^\s#].*)?(?:#.*)?"
)
_SECRET: Final = re.compile(r"(?i)[\w-]*(?:secret|password|passwd|token|keys)")
#: Of a telephone, as people write it.
_NUMBER: Final = re.compile(r"\+?\d[\d ().-]{3,}\d")
_PASSWORD: Final = re.compile(r"://([^/\s@]+)@")


class ConfigAudit:
    """Compares files with what they said before. Blocks on files; safe to use from any thread.

    Args:
        audit: where changes are written down.
        files: those to look at, now; they may come and go.
        home: names in the log are relative to it.
        personal: those that hold telephone numbers of persons.
    """

    def __init__(
        self,
        audit: AuditLog,
        files: Callable[[], Iterable[Path]],
        *,
        home: Path,
        personal: Iterable[Path] = (),
    ) -> None:
        self._audit, self._files, self._home = audit, files, home
        self._personal = frozenset(personal)
        self._path = audit.path.with_name(audit.path.name + ".seen")
        self._lock = threading.Lock()
        self._seen = self._load()

    def look(
        self,
        *,
        outcome: str = "taken",
        detail: str | None = None,
        only: Iterable[Path] | None = None,
        but: Iterable[Path] = (),
    ) -> int:
        """Write down what has changed, and return how many files did.

        The first look of all writes nothing down: there is nothing to compare with.

        Args:
            outcome, detail: what came of the change.
            only, but: look at these files alone, or not at these.

        Raises:
            ConfigError: the audit log cannot be written.
        """
        with self._lock:
            self._seen = self._load() or self._seen  # `ivr token` tells there what it has done
            now = {path: text for path in self._files() if (text := self._text(path)) is not None}
            before, first = self._seen or {}, self._seen is None
            chosen = None if only is None else {self._name(path) for path in only}
            left = {self._name(path) for path in but}
            names = {self._name(path): path for path in now}
            changed = [
                name
                for name in sorted({*names, *before})
                if name not in left
                and (chosen is None or name in chosen)
                and before.get(name) != (now[names[name]] if name in names else None)
            ]
            if not first:
                for name in changed:
                    after = now[names[name]] if name in names else ""
                    self._record(
                        name, names.get(name), before.get(name, ""), after, outcome, detail
                    )
            if first:
                self._save({name: now[path] for name, path in names.items()})
            elif changed:
                told = {name: now[names[name]] for name in changed if name in names}
                kept = {name: text for name, text in before.items() if name not in changed}
                self._save(kept | told)
            return 0 if first else len(changed)

    def told(self, path: Path, text: str) -> None:
        """A change that is in the log already: ``path`` says ``text`` now."""
        with self._lock:
            self._seen = self._load() or self._seen
            if self._seen is not None:
                self._save({**self._seen, self._name(path): self._hidden(path, text)})

    def _record(
        self,
        name: str,
        path: Path | None,
        before: str,
        after: str,
        outcome: str,
        detail: str | None,
    ) -> None:
        self._audit.record(
            who=_owner(path) if path is not None else "file deleted",
            action="edit file",
            target=name,
            outcome=outcome,
            detail=detail and _encodable(detail),
            diff=diff_of(before, after, name=name),
        )

    def _name(self, path: Path) -> str:
        try:
            return _encodable(path.relative_to(self._home).as_posix())
        except ValueError:
            return _encodable(str(path))

    def _text(self, path: Path) -> str | None:
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            return self._hidden(path, data.decode("utf-8"))
        except UnicodeDecodeError:  # a recording
            return f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}\n"

    def _hidden(self, path: Path, text: str) -> str:
        if path in self._personal:
            return _NUMBER.sub(lambda found: _hidden(found[0]), text)
        return without_secrets(text)

    def _load(self) -> Mapping[str, str] | None:
        try:
            told = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None

    def _save(self, seen: Mapping[str, str]) -> None:
        self._seen = seen
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(seen, file, ensure_ascii=False)
            os.replace(part, self._path)
        except OSError as error:
            raise ConfigError(
                f"{self._path}: cannot be written ({error}); see to the disk, or to "
                "server.audit_log"
            ) from error


def without_secrets(text: str) -> str:
    """YAML with what stands under keys such as ``secret``, and passwords in addresses, hidden."""
    out, deeper_than = [], -1
    for line in text.split("\n"):
        found = _LINE.fullmatch(line)
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= deeper_than:
            deeper_than = -1
        if found and (deeper_than >= 0 or _SECRET.fullmatch(found["key"])):
            if not found["value"]:
                deeper_than = indent if deeper_than < 0 else deeper_than
            else:
                line = found["before"] + _hidden(found["value"])
        out.append(_PASSWORD.sub(lambda m: f"://{_hidden(m[1])}@", line))
    return "\n".join(out)


def _hidden(value: str) -> str:
    return "***" + hashlib.sha256(value.encode(errors="replace")).hexdigest()[:4]


def _encodable(text: str) -> str:
    """Bytes of a file's name that are no UTF-8 (of GBK, out of an archive) as ``\\udcb1``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _owner(path: Path) -> str:
    try:
        return f"file of {path.owner()}"
    except (OSError, KeyError):
        return "file"
