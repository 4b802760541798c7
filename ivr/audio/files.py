"""Audio files to PCM: WAV (linear, mu-law, A-law), FLAC, Ogg and whatever else libsndfile reads.

Whatever is wrong with a file comes out as one :class:`~ivr.errors.AudioError` that says what and
how to mend it. A file cut off in the middle is read as far as it goes, as a player would; of a WAV
file, whose header says how long it is, that is a warning in the log, and so is one whose recorder
broke off before it wrote how long it is.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from ivr.audio.resample import Resampler, check_rate
from ivr.errors import AudioError

__all__ = ["AUDIO_SUFFIXES", "Audio", "WavHeader", "read_audio", "wav_header"]

_log = logging.getLogger(__name__)

#: What a directory is searched for.
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".au", ".aiff"})

_BLOCK_FRAMES = 65_536
_MEND = "give a WAV, FLAC or Ogg file"
#: Sizes from here on are written by those who do not know them (ffmpeg, sox, arecord into a pipe).
_NO_SIZE = 0x7FFF_0000
#: A header may be wrong by its own length.
_MISSED_S = 0.1


@dataclass(frozen=True, slots=True)
class Audio:
    """One channel of audio in memory."""

    pcm: bytes  # s16le
    rate_hz: int
    source_rate_hz: int  # as it was in the file
    source_channels: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / 2 / self.rate_hz


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What the header of a WAV file says, and how much audio there is."""

    format_tag: int  # RFC 2361
    channels: int
    rate_hz: int
    bytes_per_s: int
    start: int  # of the audio, bytes from the start of the file
    said: int  # bytes of audio, as the header says
    there: int  # bytes from ``start`` to the end of the file

    @property
    def missing_s(self) -> float:
        """How much earlier the file ends than its header says, seconds."""
        if not self.bytes_per_s or self.said >= _NO_SIZE:
            return 0.0
        return max(0, self.said - self.there) / self.bytes_per_s

    def warn_if_cut(self, path: Path) -> None:
        """Warn in the log where the file at ``path`` was cut off."""
        if self.missing_s >= _MISSED_S:
            _log.warning(
                "%s: the file ends %.1f s before its header says; only what is there is heard, "
                "so copy or record it again",
                path,
                self.missing_s,
            )


def _riff_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a RIFF WAVE file: name, start and size in bytes, as the file says.

    There is none where ``stream``, which is at its start, holds no such file.
    """
    head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    at = 12
    while len(header := stream.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        yield name, at + 8, size
        at += 8 + size + size % 2
        stream.seek(at)


def wav_header(stream: BinaryIO) -> WavHeader | None:
    """The header of a WAV file; None where ``stream`` holds no such file.

    Args:
        stream: at its start; it is left anywhere.
    """
    form = b""
    for name, start, said in _riff_chunks(stream):
        if name == b"fmt ":
            form = stream.read(min(said, 16))
        if name == b"data" and len(form) == 16:
            tag, channels, rate_hz, bytes_per_s = struct.unpack_from("<HHII", form)
            there = stream.seek(0, SEEK_END) - start
            return WavHeader(tag, channels, rate_hz, bytes_per_s, start, said, there)
    return None


def _is_audio(stream: BinaryIO, header: WavHeader) -> bool:
    """Whether something follows the header, and that is not chunks of another kind."""
    stream.seek(0)
    names = [name for name, start, _ in _riff_chunks(stream) if start > header.start]
    named = names and all(0x20 <= byte < 0x7F for name in names for byte in name)
    return header.there > 0 and not named


def _completed(stream: BinaryIO, header: WavHeader) -> BinaryIO:
    """The file with the sizes that it has."""
    stream.seek(0)
    content = bytearray(stream.read())
    struct.pack_into("<I", content, 4, min(len(content) - 8, _NO_SIZE))
    struct.pack_into("<I", content, header.start - 4, min(header.there, _NO_SIZE))
    return io.BytesIO(bytes(content))


def read_audio(path: Path, *, rate_hz: int = 8000) -> Audio:
    """Read a file, mix its channels to one and resample it to ``rate_hz``.

    Raises:
        AudioError: the file is missing, empty, not audio, broken beyond reading, without
            samples, or of an absurd rate.
    """
    check_rate(rate_hz, what="the wanted sample rate")
    try:
        with path.open("rb") as stream:
            return _decode(stream, path, rate_hz)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _decode(stream: BinaryIO, path: Path, rate_hz: int) -> Audio:
    head = stream.read(512)
    stream.seek(0)
    if not head:
        raise AudioError(f"{path}: the file is empty (0 bytes); {_MEND}")
    header = wav_header(stream)
    if header is not None and not header.said and _is_audio(stream, header):
        _log.warning(
            "%s: the header was never completed, as where a recorder breaks off; all that "
            "follows it is heard",
            path,
        )
        stream = _completed(stream, header)
    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as sound:
            audio = _samples(sound, path, rate_hz)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        raise AudioError(f"{path}: {_diagnosis(head, error)}") from error
    if header is not None:
        header.warn_if_cut(path)
    return audio


def _samples(sound: soundfile.SoundFile, path: Path, rate_hz: int) -> Audio:
    check_rate(sound.samplerate, what=f"{path}: the sample rate in the header")
    resampler = Resampler(sound.samplerate, rate_hz)
    parts = [resampler.resample(block) for block in _mono_blocks(sound)]
    parts.append(resampler.flush())
    pcm = b"".join(parts)
    if not pcm:
        raise AudioError(
            f"{path}: the header is there but no audio follows it, or none that can be read; "
            "export or record it again"
        )
    return Audio(
        pcm=pcm, rate_hz=rate_hz, source_rate_hz=sound.samplerate, source_channels=sound.channels
    )


def _mono_blocks(sound: soundfile.SoundFile) -> Iterator[bytes]:
    """Blocks of the mixed-down signal; float32 holds every 16-bit sample exactly."""
    while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield _to_pcm(block)


def _to_pcm(block: npt.NDArray[np.float32]) -> bytes:
    """(frames, channels) in -1 to 1 to PCM; not-a-number becomes silence, overload is clipped."""
    mono = np.nan_to_num(block.mean(axis=1), nan=0.0, posinf=1.0, neginf=-1.0)
    return bytes(np.clip(np.round(mono * 32768.0), -32768, 32767).astype("<i2").tobytes())


def _diagnosis(head: bytes, error: Exception) -> str:
    if _is_text(head):
        return f"this is text, not audio; {_MEND}"
    reason = str(error).rpartition(": ")[2].strip(" .") or type(error).__name__
    if head[:4] in (b"RIFF", b"RIFX", b"fLaC", b"OggS"):
        kind = {b"f": "FLAC", b"O": "Ogg"}.get(head[:1], "WAV")
        return f"broken {kind} file ({reason}); export or record it again"
    return f"not an audio file that can be read ({reason}); {_MEND}"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # more than a character cut off at the end
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(char.isprintable() or char in "\r\n\t\ufeff" for char in text)
