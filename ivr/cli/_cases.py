"""Cases from the command line: text, stored transcripts, logs of calls or recordings."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import click

from ivr.cli.progress import progress
from ivr.errors import ConfigError, ReplayError
from ivr.intent.cases import Case, read_cases
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.replay.clips import find_audio
from ivr.replay.log_cases import find_logs, is_log, logged_cases
from ivr.settings import load_settings

__all__ = ["load_cases"]


def load_cases(
    path: Path, catalogue: Catalogue, *, language: Language | None, config: Path | None
) -> list[Case]:
    """The cases of ``path``; recordings are recognised by the models of the settings.

    A folder is read for the logs of calls and for the recordings in it. A recording beside a log of
    its name is that call once more, and is left out. A log that is damaged is told on standard
    error and left out.

    Raises:
        IvrError: a file cannot be used; the message says why.
    """
    if path.is_dir():
        return _of_folder(path, catalogue, config)
    if _names_recordings(path):
        return _recognised(path, None, catalogue, config)
    if is_log(path):
        found = logged_cases(path, queues=catalogue.queue_ids)
        if not found:
            raise ConfigError(f"{path}: nothing was asked for in this call")
        return found
    return read_cases(path, catalogue, language=language)


def _of_folder(folder: Path, catalogue: Catalogue, config: Path | None) -> list[Case]:
    logs = find_logs(folder)
    calls = {log.with_suffix("") for log in logs}
    recordings = [path for path in find_audio([folder]) if path.with_suffix("") not in calls]
    if not logs and not recordings:
        raise ConfigError(
            f"{folder}: there are no recordings and no logs of calls in it; a table or a text is "
            "given by its own name"
        )
    found = _logged(logs, catalogue)
    if recordings:
        found += _recognised(folder, recordings, catalogue, config)
    if not found:
        raise ConfigError(f"{folder}: nothing was asked for in the {len(logs)} logs in it")
    return found


def _logged(logs: Sequence[Path], catalogue: Catalogue) -> list[Case]:
    found = []
    for log in logs:
        try:
            found += logged_cases(log, queues=catalogue.queue_ids)
        except ReplayError as error:
            click.echo(f"ivr: {log} is left out: {error}", err=True)
    return found


def _recognised(
    path: Path, recordings: Sequence[Path] | None, catalogue: Catalogue, config: Path | None
) -> list[Case]:
    from ivr.asr.factory import load_speech
    from ivr.replay.cases import labels_of, recorded_cases

    settings = load_settings(config)
    labels = labels_of(path) if recordings is None else None
    total = len(labels.by_file) if labels else len(recordings or ())
    with progress("recognising", total) as advance:
        speech = load_speech(settings, hot_words=catalogue.hot_words)
        threads = settings.recognition.threads
        return recorded_cases(path, speech, recordings=recordings, threads=threads, advance=advance)


def _names_recordings(path: Path) -> bool:
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return {"file", "kind"} <= set(next(csv.reader(stream), []))
