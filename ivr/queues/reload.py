"""An edited ``queues.yaml`` takes effect on the next call, and a broken one on none.

:class:`CatalogueWatch` looks at the files when it is asked to and reads no clock: the server asks
it about once a second. A change is taken up when two looks in a row see the same files, so that an
editor that writes in steps is never read half way. Files are looked at before they are read: what
is saved meanwhile is another change.

An edit that cannot be taken up is told once and tried again, at once where the files change, else
after 1, 2, 4 looks and so on: what it failed for, such as a model that was being replaced, may have
been mended.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivr.call.prompts import load_prompts
from ivr.errors import ConfigError, IvrError
from ivr.intent.calibration import CALIBRATION_FILE
from ivr.queues.catalogue import Catalogue, load_catalogue

__all__ = ["CatalogueWatch", "Change", "installed_version", "version_of"]

#: file -> (time of its last change in nanoseconds, bytes)
_Seen = dict[Path, tuple[int, int]]
#: An edit that failed is tried again after so many looks at the latest.
_LONGEST_PAUSE: Final = 32


@dataclass(frozen=True, slots=True)
class Change:
    """The files have changed: a new catalogue, or why there is none."""

    catalogue: Catalogue | None
    version: str
    error: ConfigError | None = None


def _nothing_else(catalogue: Catalogue, version: str) -> None:
    """Loading it is all."""


class CatalogueWatch:
    """Watches ``queues.yaml``, its phrase files, ``calibration.json``, and the prompts.

    Args:
        path: the catalogue that ``catalogue`` was loaded from.
        catalogue: what is in force.
        prompts: the folder of prompts, texts and recordings, watched as well.
        also: other files that a new catalogue is given out for, where one changes.
        version: of the files when ``catalogue`` was loaded; None: they are the same now.
    """

    def __init__(
        self,
        path: Path,
        catalogue: Catalogue,
        *,
        prompts: Path | None = None,
        also: tuple[Path, ...] = (),
        version: str | None = None,
    ) -> None:
        self._path, self._also = path, also
        self._prompts = prompts
        self._folder = _phrase_folder(path, catalogue)
        self._last = self._look()
        self._tried: _Seen | None = self._last if version is None else None
        self._version = version_of(self._last) if version is None else version
        #: version and error of what was tried last and failed
        self._failed: tuple[str, str] | None = None
        self._looks, self._pause = 0, 1  # since it was tried; until it is tried again

    @property
    def version(self) -> str:
        """Eight hexadecimal digits of the contents last taken up."""
        return self._version

    def poll(self, take_up: Callable[[Catalogue, str], None] = _nothing_else) -> Change | None:
        """What has changed since the last change that was told; None for nothing, or not yet.

        Args:
            take_up: puts a new catalogue, of this version, in force. Where it raises, the edit
                counts as refused.

        Raises:
            Exception: what ``take_up`` raises beside :class:`~ivr.errors.IvrError`. It is raised
                once, as a refused edit is told once, and tried again.
        """
        seen = self._look()
        settled, self._last = seen == self._last, seen
        if not settled or not self._is_due(seen):
            return None
        version = version_of(seen)
        self._tried = seen
        if version == self._version and self._failed is None:  # saved again without a change
            return None
        try:
            catalogue = load_catalogue(self._path)
            folder = _phrase_folder(self._path, catalogue)
            if folder != self._folder:  # its files are to be looked at before they are read
                self._folder, self._last = folder, self._look()
                self._tried = None
                return None
            if self._prompts is not None:
                load_prompts(self._prompts)
            take_up(catalogue, version)
        except Exception as error:  # whatever it is, the edit is not in force
            told, self._failed = self._failed, (version, str(error))
            if self._failed == told:
                return None
            if not isinstance(error, IvrError):
                raise
            refused = error if isinstance(error, ConfigError) else ConfigError(str(error))
            return Change(None, version, refused)
        self._version, self._failed = version, None
        return Change(catalogue, version)

    def _is_due(self, seen: _Seen) -> bool:
        """Whether files as they are seen are to be tried: now for the first time, or again."""
        if seen != self._tried:
            self._looks, self._pause = 0, 1
            return True
        self._looks += 1
        if self._failed is None or self._looks < self._pause:
            return False
        self._looks, self._pause = 0, min(2 * self._pause, _LONGEST_PAUSE)
        return True

    def _look(self) -> _Seen:
        out: _Seen = {}
        for path in [*_files(self._path, self._folder, self._prompts), *self._also]:
            try:
                found = path.stat()
            except OSError:  # an editor is putting a new file in its place
                continue
            out[path] = (found.st_mtime_ns, found.st_size)
        return out


def _files(path: Path, phrases: Path | None, prompts: Path | None) -> list[Path]:
    # Named *.TXT it is not read, and that is to be told at once.
    texts = [p for p in sorted(phrases.glob("*")) if p.suffix.lower() == ".txt"] if phrases else []
    recordings = sorted(prompts.glob("**/*.*")) if prompts else []
    return [path, path.parent / CALIBRATION_FILE, *texts, *recordings]


def installed_version(
    path: Path,
    catalogue: Catalogue,
    *,
    prompts: Path | None = None,
    also: tuple[Path, ...] = (),
) -> str:
    """What :attr:`CatalogueWatch.version` of the same files is."""
    files = [*_files(path, _phrase_folder(path, catalogue), prompts), *also]
    return version_of(file for file in files if file.exists())


def _phrase_folder(path: Path, catalogue: Catalogue) -> Path | None:
    return path.parent / catalogue.phrase_folder if catalogue.phrase_folder else None


def version_of(files: Iterable[Path]) -> str:
    """Eight hexadecimal digits that stand for the contents of files (SHA-256)."""
    total = hashlib.sha256()
    for path in sorted(files):
        try:
            total.update(os.fsencode(path.name) + b"\0" + path.read_bytes() + b"\0")
        except OSError:
            continue
    return total.hexdigest()[:8]
