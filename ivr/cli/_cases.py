"""Cases from the command line: text, stored transcripts, logs of calls or recordings."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ivr.cli.progress import progress
from ivr.errors import ConfigError, IvrError, ReplayError
from ivr.intent.cases import Case, read_cases
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.replay.clips import find_audio
from ivr.replay.log_cases import find_logs, is_log, logged_cases
from ivr.settings import load_settings

__all__ = ["load_cases", "load_cases_of_each"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands in a file or folder."""

    written: Sequence[Case] = ()  # text and logs: in words already
    recordings: Sequence[Path] = ()


def load_cases(
    path: Path, catalogue: Catalogue, *, language: Language | None, config: Path | None
) -> list[Case]:
    """The cases of ``path``; recordings are recognised by the models of the settings.

    A folder is read for the logs of calls and for the recordings in it. A recording beside a log of
    its name is that call once more, and is left out. A log or a recording that is damaged is told
    on standard error and left out.

    Raises:
        IvrError: a file cannot be used; the message says why.
    """
    return load_cases_of_each(path, [catalogue], language=language, config=config)[0]


def load_cases_of_each(
    path: Path,
    catalogues: Sequence[Catalogue],
    *,
    language: Language | None,
    config: Path | None,
) -> list[list[Case]]:
    """The same cases for each catalogue: recordings as heard with its hot words.

    Labels may name a queue of any of the catalogues. Text and logs are the same objects for all,
    and recordings are recognised once for all catalogues of the same hot words.

    Raises:
        IvrError: as :func:`load_cases`.
    """
    found = _find(path, catalogues, language)
    queues = _queues(catalogues)
    heard: dict[tuple[str, ...], list[Case]] = {}
    for words in (catalogue.hot_words for catalogue in catalogues if found.recordings):
        if words not in heard:
            heard[words] = _recognised(
                path, found.recordings, queues, words, config, tell=not heard
            )
    return [[*found.written, *heard.get(each.hot_words, ())] for each in catalogues]


def _queues(catalogues: Sequence[Catalogue]) -> list[str]:
    return list(dict.fromkeys(id_ for catalogue in catalogues for id_ in catalogue.queue_ids))


def _find(path: Path, catalogues: Sequence[Catalogue], language: Language | None) -> _Found:
    queues = _queues(catalogues)
    if path.is_dir():
        return _of_folder(path, queues)
    if _names_recordings(path):
        from ivr.replay.cases import labels_of

        labels = labels_of(path, queues=queues)
        if labels is None or not labels.by_file:
            raise ConfigError(f"{path}: there are no recordings")
        return _Found(recordings=sorted(labels.by_file))
    if is_log(path):
        asked = logged_cases(path, queues=queues)
        if not asked:
            raise ConfigError(f"{path}: nothing was asked for in this call")
        return _Found(written=asked)
    return _Found(written=read_cases(path, *catalogues, language=language))


def _of_folder(folder: Path, queues: Collection[str]) -> _Found:
    logs = find_logs(folder)
    calls = {log.with_suffix("") for log in logs}
    audio = find_audio([folder])
    recordings = [path for path in audio if path.with_suffix("") not in calls]
    if not logs and not recordings:
        raise ConfigError(
            f"{folder}: there are no recordings and no logs of calls in it; a table or a text is "
            "given by its own name"
        )
    _check_labels(folder, audio, queues)
    written = _logged(logs, queues)
    if not written and not recordings:
        raise ConfigError(f"{folder}: nothing was asked for in the {len(logs)} logs in it")
    return _Found(written, recordings)


def _check_labels(folder: Path, audio: Sequence[Path], queues: Collection[str]) -> None:
    """ConfigError where the folder's labels are for other files, before anything is recognised."""
    from ivr.replay.cases import labels_of

    labels = labels_of(folder, queues=queues)
    if labels is None or not audio or any(labels[path] for path in audio):
        return
    named = [label.file for label in labels.by_file.values()]
    example = audio[0].relative_to(folder)
    raise ConfigError(
        f"{labels.path}: no row names a recording of the folder; it names "
        f"{named[0] if named else 'nothing'}, and the folder holds {example}: write the paths in "
        "the column 'file' as they are from this folder"
    )


def _logged(logs: Sequence[Path], queues: Collection[str]) -> list[Case]:
    found = []
    for log in logs:
        try:
            found += logged_cases(log, queues=queues)
        except ReplayError as error:
            click.echo(f"ivr: {log} is left out: {error}", err=True)
    return found


def _recognised(
    path: Path,
    recordings: Sequence[Path],
    queues: Collection[str],
    hot_words: Sequence[str],
    config: Path | None,
    *,
    tell: bool,
) -> list[Case]:
    """The recordings with these hot words; ``tell`` those that are left out."""
    from ivr.asr.factory import load_speech
    from ivr.replay.cases import recorded_cases

    def left_out(error: IvrError) -> None:
        if tell:
            click.echo(f"ivr: {error}; it is left out", err=True)

    settings = load_settings(config)
    with progress("recognising", len(recordings)) as advance:
        return recorded_cases(
            path,
            load_speech(settings, hot_words=hot_words),
            recordings=recordings,
            threads=settings.recognition.threads,
            advance=advance,
            queues=queues,
            left_out=left_out,
        )


def _names_recordings(path: Path) -> bool:
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return {"file", "kind"} <= set(next(csv.reader(stream), []))
