"""Recordings as cases for the matcher: each heard once, however often it is matched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ivr.asr.bilingual import Utterance, utterances
from ivr.asr.factory import Speech
from ivr.audio.files import read_audio
from ivr.errors import AudioError, ConfigError
from ivr.intent.cases import OFF_TOPIC, Case
from ivr.language import Language
from ivr.replay.clips import find_audio
from ivr.replay.labels import Kind, Label, Labels, load_labels

__all__ = ["labels_of", "recorded_cases"]

_log = logging.getLogger(__name__)


def labels_of(path: Path, *, queues: Collection[str] | None = None) -> Labels | None:
    """The labels of recordings: the table itself, or ``labels.csv`` in the folder, if there.

    Args:
        path: the table, or the folder.
        queues: ids that speech may be labelled with; None where they are not known.

    Raises:
        ConfigError: the table is not valid.
    """
    table = path / "labels.csv" if path.is_dir() else path
    return load_labels(table, queues=queues) if table.exists() else None


def _warn(error: AudioError) -> None:
    _log.warning("%s; it is left out", error)


def recorded_cases(
    path: Path,
    speech: Speech,
    *,
    recordings: Sequence[Path] | None = None,
    threads: int = 1,
    advance: Callable[[float], None] = lambda _: None,
    queues: Collection[str] | None = None,
    left_out: Callable[[AudioError], None] = _warn,
) -> list[Case]:
    """The recordings of a folder, or of a table of labels, recognised.

    The first utterance of a recording in which words are heard is the case, as a caller's first.

    Args:
        path: the folder, or the table.
        speech: the models.
        recordings: those alone of a folder.
        threads: so many recordings at once.
        advance: called with 1 when a recording is done.
        queues: ids that speech may be labelled with; None where they are not known.
        left_out: called for each recording that cannot be read, in order; a line of the log.

    Raises:
        ConfigError: there are no recordings, or the labels are not valid.
        AudioError: none can be read.
    """
    labels = labels_of(path, queues=queues)
    found = list(recordings or ())
    if recordings is None:
        found = find_audio([path]) if path.is_dir() else sorted(labels.by_file if labels else [])
    if not found:
        raise ConfigError(f"{path}: there are no recordings")

    def hear(recording: Path) -> Case | AudioError:
        try:
            audio = read_audio(recording, rate_hz=speech.rate_hz)
            said = list(utterances(speech.call(rate_hz=audio.rate_hz), audio.pcm))
        except AudioError as error:
            return error
        finally:
            advance(1)
        label = labels[recording] if labels else None
        return _case(recording, said[0] if said else None, label)

    with ThreadPoolExecutor(threads) as executor:
        heard = list(executor.map(hear, found))
    cases = [each for each in heard if isinstance(each, Case)]
    broken = [each for each in heard if isinstance(each, AudioError)]
    if not cases:
        raise broken[0]
    for error in broken:
        left_out(error)
    return cases


def _case(recording: Path, said: Utterance | None, label: Label | None) -> Case:
    if said is None:
        spoken = (label.language if label else None) or Language.MANDARIN
        return Case(str(recording), {spoken: []}, spoken, expected=_expected(label))
    return Case(
        where=str(recording),
        heard=said.weighed(),
        language=said.language,
        language_confidence=said.language_confidence,
        expected=_expected(label),
    )


def _expected(label: Label | None) -> str | None:
    if label is None:
        return None
    if label.kind is Kind.SPEECH:
        return label.queue
    if label.kind is Kind.EMERGENCY:
        return f"emergency:{label.emergency}"
    return "person" if label.kind is Kind.PERSON else OFF_TOPIC
