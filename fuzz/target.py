"""What a target is, and what targets share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from ivr.errors import IvrError
from ivr.queues.catalogue import Catalogue, load_catalogue

__all__ = ["BREAK", "NOON", "ROOT", "Target", "answers", "catalogue", "file", "files", "text"]

ROOT: Final = Path(__file__).parents[1]
#: Stands between the messages of one connection, or the files of one directory, in an input.
BREAK: Final = b"\xff\xfe\xfd"
NOON: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """One parser."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    share: float = 1.0  # of the inputs, beside the others


def text(data: bytes) -> str:
    """The input as a text."""
    return data.decode("utf-8", errors="replace")


def answers(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """An IvrError is an answer."""

    def run(data: bytes) -> None:
        try:
            parse(data)
        except IvrError as error:
            assert str(error), "an error that says nothing"

    return run


@cache
def catalogue() -> Catalogue:
    """The queues of ``config/``."""
    return load_catalogue(ROOT / "config" / "queues.yaml")


@cache
def folder() -> Path:
    """Where files are put that a parser takes by name alone; in memory where that can be."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="kapok-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def file(name: str, data: bytes) -> Path:
    """The input as a file."""
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def files(*patterns: str, most: int = 20_000) -> Callable[[], list[bytes]]:
    """Seeds: the beginnings of files of this repository."""
    return lambda: [
        path.read_bytes()[:most] for pattern in patterns for path in sorted(ROOT.glob(pattern))[:4]
    ]
