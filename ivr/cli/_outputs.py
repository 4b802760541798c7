"""Where a command is to write its results: whether it can, before the work and not after it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from ivr.errors import IvrError

__all__ = ["check_file", "check_folder", "writing"]


def check_file(path: Path) -> None:
    """Make the folder of a file that is to be written.

    Raises:
        IvrError: the file cannot be written.
    """
    with writing(path):
        if path.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            _try_folder(path.parent)
        elif not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def check_folder(path: Path) -> None:
    """Make a folder that results are to go into.

    Raises:
        IvrError: nothing can be written there.
    """
    with writing(path):
        _try_folder(path)


def _try_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
    with TemporaryFile(dir=folder):
        pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What hinders writing ``path``, as one error."""
    try:
        yield
    except OSError as error:
        raise IvrError(
            f"{path}: cannot be written ({error.strerror or error}); name another place"
        ) from error
