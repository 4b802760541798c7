"""Recordings as a gateway would stream them.

A file keeps its own sample rate. Mu-law and A-law WAV files keep their own bytes; everything else
is streamed as s16le.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ivr.audio.codecs import Decoder, Encoding, encode
from ivr.audio.files import AUDIO_SUFFIXES, read_audio, wav_header
from ivr.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from ivr.errors import AudioError

__all__ = ["Clip", "find_audio", "read_clip", "speech_end_s"]

_RATE_HZ = 8_000
#: Format tags of WAVE (RFC 2361).
_TAGS = {6: Encoding.ALAW, 7: Encoding.MULAW}


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, ready to be streamed."""

    path: Path
    data: bytes  # in ``encoding``, one channel
    encoding: Encoding
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.data) / self.encoding.bytes_per_sample / self.rate_hz

    def frames(self, frame_s: float) -> Iterator[bytes]:
        """The recording in pieces of ``frame_s`` seconds, the last one maybe shorter."""
        size = self.encoding.bytes_per_sample * max(1, round(frame_s * self.rate_hz))
        for start in range(0, len(self.data), size):
            yield self.data[start : start + size]

    def silence(self, seconds: float) -> bytes:
        """Digital silence as this recording's encoding writes it."""
        return encode(bytes(2 * round(seconds * self.rate_hz)), self.encoding)


def find_audio(paths: list[Path]) -> list[Path]:
    """The files among ``paths``, and the audio files in the directories among them, sorted.

    A file that is named is taken whatever it is called.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
            found += sorted(p for p in inside if p.is_file())
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def read_clip(path: Path) -> Clip:
    """Read a recording.

    Raises:
        AudioError: it is missing, broken, empty, or not audio. One cut off is read as far as it
            goes, with a warning in the log.
    """
    return _as_it_is(path) or _decoded(path)


def _decoded(path: Path) -> Clip:
    try:
        rate_hz = int(soundfile.info(str(path)).samplerate)
    except (soundfile.SoundFileError, RuntimeError, TypeError):
        rate_hz = _RATE_HZ  # read_audio says what is wrong with the file
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        rate_hz = _RATE_HZ
    audio = read_audio(path, rate_hz=rate_hz)
    return Clip(path, audio.pcm, Encoding.S16LE, audio.rate_hz)


def _as_it_is(path: Path) -> Clip | None:
    """The bytes of a mu-law or A-law WAV file with one channel; None for any other."""
    try:
        with path.open("rb") as stream:
            header = wav_header(stream)
            if header is None or header.format_tag not in _TAGS or header.channels != 1:
                return None
            stream.seek(header.start)
            data = stream.read(header.said)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not data or not MIN_RATE_HZ <= header.rate_hz <= MAX_RATE_HZ:
        return None
    header.warn_if_cut(path)
    return Clip(path, data, _TAGS[header.format_tag], header.rate_hz)


# --- end of speech ----------------------------------------------------------------------------

_STEP_S = 0.02
_BELOW_LOUD_DB = 25.0
_ABOVE_FLOOR_DB = 8.0


def speech_end_s(clip: Clip) -> float | None:
    """Where the speech of a recording ends by its energy, seconds; None where there is none.

    The end of the last 20 ms whose level is within 25 dB of the loud ones (95th percentile) and
    at least 8 dB above the floor (10th percentile). Good to some 50 ms on clean recordings;
    labels that say ``speech_end_s`` are better.
    """
    pcm = np.frombuffer(Decoder(clip.encoding).decode(clip.data), dtype="<i2").astype(np.float64)
    step = max(1, round(_STEP_S * clip.rate_hz))
    count = len(pcm) // step
    if not count:
        return None
    power = np.mean(pcm[: count * step].reshape(count, step) ** 2, axis=1)
    level_db = 10.0 * np.log10(power + 1.0)
    floor, loud = np.percentile(level_db, [10.0, 95.0])
    heard = np.flatnonzero(level_db >= max(loud - _BELOW_LOUD_DB, floor + _ABOVE_FLOOR_DB))
    return float((heard[-1] + 1) * step / clip.rate_hz) if len(heard) else None
