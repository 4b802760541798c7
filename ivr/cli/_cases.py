"""Cases from the command line: text, stored transcripts or recordings."""

from __future__ import annotations

import csv
from pathlib import Path

from ivr.cli.progress import progress
from ivr.intent.cases import Case, read_cases
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.replay.clips import find_audio
from ivr.settings import load_settings

__all__ = ["load_cases"]


def load_cases(
    path: Path, catalogue: Catalogue, *, language: Language | None, config: Path | None
) -> list[Case]:
    """The cases of ``path``; recordings are recognised by the models of the settings.

    Raises:
        IvrError: a file cannot be used; the message says why.
    """
    if not path.is_dir() and not _names_recordings(path):
        return read_cases(path, catalogue, language=language)
    from ivr.asr.factory import load_speech
    from ivr.replay.cases import labels_of, recorded_cases

    settings = load_settings(config)
    labels = None if path.is_dir() else labels_of(path)
    total = len(labels.by_file) if labels else len(find_audio([path]))
    with progress("recognising", total) as advance:
        speech = load_speech(settings, hot_words=catalogue.hot_words)
        return recorded_cases(path, speech, threads=settings.recognition.threads, advance=advance)


def _names_recordings(path: Path) -> bool:
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return {"file", "kind"} <= set(next(csv.reader(stream), []))
