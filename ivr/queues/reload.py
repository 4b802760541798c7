"""An edited ``queues.yaml`` takes effect on the next call, and a broken one on none.

:class:`CatalogueWatch` looks at the files when it is asked to and reads no clock: the server asks
it about once a second. A change is taken up when two looks in a row see the same files, so that an
editor that writes in steps is never read half way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ivr.call.prompts import load_prompts
from ivr.errors import ConfigError
from ivr.intent.calibration import CALIBRATION_FILE
from ivr.queues.catalogue import Catalogue, load_catalogue

__all__ = ["CatalogueWatch", "Change", "installed_version", "version_of"]

#: file -> (time of its last change in nanoseconds, bytes)
_Seen = dict[Path, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Change:
    """The files have changed: a new catalogue, or why there is none."""

    catalogue: Catalogue | None
    version: str
    error: ConfigError | None = None


class CatalogueWatch:
    """Watches ``queues.yaml``, its phrase files, ``calibration.json``, and the prompts.

    Args:
        path: the catalogue that ``catalogue`` was loaded from.
        catalogue: what is in force.
        prompts: the folder of prompts, texts and recordings, watched as well.
        also: other files that a new catalogue is given out for, where one changes.
    """

    def __init__(
        self,
        path: Path,
        catalogue: Catalogue,
        *,
        prompts: Path | None = None,
        also: tuple[Path, ...] = (),
    ) -> None:
        self._path, self._also = path, also
        self._prompts = prompts
        self._folder = _phrase_folder(path, catalogue)
        self._taken = self._last = self._look()
        self._version = version_of(self._taken)

    @property
    def version(self) -> str:
        """Eight hexadecimal digits of the contents last taken up or refused."""
        return self._version

    def poll(self) -> Change | None:
        """What has changed since the last change that was told; None for nothing, or not yet.

        A refused edit is told once, and the files go on being watched.
        """
        seen = self._look()
        settled, self._last = seen == self._last, seen
        if seen == self._taken or not settled:
            return None
        self._taken = seen
        version = version_of(seen)
        if version == self._version:  # saved again without a change
            return None
        self._version = version
        try:
            catalogue = load_catalogue(self._path)
            if self._prompts is not None:
                load_prompts(self._prompts)
        except ConfigError as error:
            return Change(None, version, error)
        self._folder = _phrase_folder(self._path, catalogue)
        self._taken = self._last = self._look()
        return Change(catalogue, version)

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
    texts = sorted(phrases.glob("*.txt")) if phrases else []
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
            total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        except OSError:
            continue
    return total.hexdigest()[:8]
