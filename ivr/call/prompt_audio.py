"""Prompts as audio: one file a piece, put together, at 8 kHz.

    audio = PromptAudio(Path("config/prompts"))
    audio.pcm(prompt)  # s16le, 8 kHz, one channel

``config/prompts/cmn/greeting.wav`` is the greeting in Mandarin. An operator replaces a file by a
recording of any format and rate that :func:`ivr.audio.files.read_audio` reads, under the same name
(``greeting.flac`` serves as well). Files made by ``python -m scripts.make_prompts`` carry the text
they say as a comment, so that one that says what the texts no longer say is found.

A file that is missing or cannot be read becomes silence as long as its text takes to say, and one
line in the log; a call never fails because of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from ivr.audio.files import AUDIO_SUFFIXES, read_audio
from ivr.audio.tempo import at_tempo
from ivr.call.events import Piece, Prompt
from ivr.call.prompts import spoken_s
from ivr.errors import AudioError
from ivr.language import Language

__all__ = ["RATE_HZ", "SLOW_SPEED", "PromptAudio", "PromptFault"]

_log = logging.getLogger(__name__)

RATE_HZ = 8000
#: How fast prompts are played to a caller who needs it slower, as a share of the recorded speed.
SLOW_SPEED = 0.8
_BYTES_PER_S = 2 * RATE_HZ
#: Edges below this level are cut from pieces that others follow, with so much left of them.
_EDGE_LEVEL = 10 ** (-50 / 20)
_EDGE_S = 0.03
#: Longest prompt file, s: a mistake (a whole song) is not sent to callers, nor held in memory.
_LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class PromptFault:
    """Something that ``ivr check`` tells about a prompt's file."""

    file: str  # from the folder of prompts: cmn/greeting.wav
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.mend}"


class PromptAudio:
    """The recordings of a folder, read when they are first wanted and kept.

    Safe to use from several threads: at worst a file is read twice. A changed folder wants a new
    one of these.

    Args:
        folder: the folder with ``cmn/`` and ``yue/``; None, or one that is not there, gives
            silence alone.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self._folder = Path(folder) if folder is not None else None
        if self._folder is not None and not self._folder.is_dir():
            _log.warning("no prompts in %s: callers hear silence", self._folder)
            self._folder = None
        self._read: dict[tuple[Language, str], bytes | None] = {}
        self._made: dict[Prompt, bytes] = {}

    def pcm(self, prompt: Prompt) -> bytes:
        """The prompt as s16le PCM, 8 kHz, one channel; never empty, never raises."""
        made = self._made.get(prompt)
        if made is None:
            made = self._made[prompt] = self._make(prompt)
        return made

    def duration_s(self, prompt: Prompt) -> float:
        """How long the prompt plays, seconds."""
        return len(self.pcm(prompt)) / _BYTES_PER_S

    def faults(self, language: Language, pieces: Iterable[Piece]) -> Iterator[PromptFault]:
        """What is wrong with the files of ``pieces``: missing, unreadable, or of another text."""
        for piece in pieces:
            fault = self._fault(language, piece)
            if fault is not None:
                yield fault

    # --- putting together ----------------------------------------------------------------

    def _make(self, prompt: Prompt) -> bytes:
        pieces = prompt.pieces or (Piece(prompt.id, prompt.text),)
        parts = [self._piece(piece, prompt.language) for piece in pieces]
        pcm = b"".join(map(_trimmed, parts) if len(parts) > 1 else parts)
        return _slowed(pcm) if prompt.slow else pcm

    def _piece(self, piece: Piece, language: Language) -> bytes:
        key = (language, piece.name)
        if key not in self._read:
            self._read[key] = self._read_piece(piece, language)
        found = self._read[key]
        return found if found is not None else bytes(2 * round(spoken_s(piece.text) * RATE_HZ))

    def _read_piece(self, piece: Piece, language: Language) -> bytes | None:
        if self._folder is None:
            return None
        path = self._path(piece, language)
        if path is None:
            _log.error(
                "prompt %s/%s.wav is missing: callers hear silence instead", language, piece.name
            )
            return None
        try:
            return _read(path)
        except AudioError as error:
            _log.error("prompt %s; callers hear silence instead", error)
            return None

    def _path(self, piece: Piece, language: Language) -> Path | None:
        """The file of a piece; WAV before others where there are several."""
        assert self._folder is not None
        for suffix in (".wav", *sorted(AUDIO_SUFFIXES - {".wav"})):
            path = self._folder / language / f"{piece.name}{suffix}"
            if path.is_file():
                return path
        return None

    # --- checks --------------------------------------------------------------------------

    def _fault(self, language: Language, piece: Piece) -> PromptFault | None:
        make = "record it, or run python -m scripts.make_prompts"
        missing = PromptFault(f"{language}/{piece.name}.wav", "is missing", make)
        if self._folder is None:
            return missing
        path = self._path(piece, language)
        if path is None:
            return missing
        name = path.relative_to(self._folder).as_posix()
        try:
            _read(path)
        except AudioError as error:
            what, _, mend = str(error).removeprefix(f"{path}: ").partition("; ")
            return PromptFault(name, what, mend)
        said = said_in(path)
        if said is not None and said != piece.text:
            return PromptFault(name, f"says {said!r}, the text is {piece.text!r}", make)
        return None


def said_in(path: Path) -> str | None:
    """What a file made by ``scripts.make_prompts`` says; None for a recording of one's own."""
    try:
        with soundfile.SoundFile(path) as sound:
            return str(sound.comment) or None
    except (soundfile.SoundFileError, RuntimeError):
        return None


def _read(path: Path) -> bytes:
    audio = read_audio(path, rate_hz=RATE_HZ)
    if audio.duration_s > _LONGEST_S:
        raise AudioError(
            f"{path}: {audio.duration_s:.0f} s long; give a recording below {_LONGEST_S:.0f} s"
        )
    return audio.pcm


def _floats(pcm: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def _trimmed(pcm: bytes) -> bytes:
    """The piece without silence at its edges, so that pieces follow each other as in a sentence."""
    loud = np.flatnonzero(np.abs(_floats(pcm)) > _EDGE_LEVEL)
    if not len(loud):
        return pcm
    edge = round(_EDGE_S * RATE_HZ)
    return pcm[2 * max(0, loud[0] - edge) : 2 * (loud[-1] + edge)]


def _slowed(pcm: bytes) -> bytes:
    """The same at :data:`SLOW_SPEED`, at the same pitch."""
    slow = at_tempo(_floats(pcm), SLOW_SPEED, RATE_HZ)
    return bytes(np.clip(np.round(slow * 32767), -32768, 32767).astype("<i2").tobytes())
