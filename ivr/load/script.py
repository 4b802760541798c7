"""What a caller sends: line noise while the prompt is heard, then a recording of a request.

A script is cut into frames once and shared by every call that uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ivr.audio.codecs import Decoder, Encoding, encode
from ivr.audio.resample import Resampler
from ivr.errors import ConfigError
from ivr.replay.clips import read_clip
from ivr.replay.labels import Label, load_labels

__all__ = ["NOISE_DBFS", "Script", "line_noise", "load_scripts"]

#: Of a quiet telephone line: digital silence would be kinder to a server than lines are.
NOISE_DBFS = -64.0
_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class Script:
    """One caller's request as frames of equal length."""

    name: str
    frames: tuple[bytes, ...]  # in the encoding and at the rate asked for
    frame_s: float
    #: where the speech ends, seconds from the first sample of the first frame
    speech_end_s: float
    quiet: bytes  # a frame of line noise, for as long as the caller waits

    @property
    def duration_s(self) -> float:
        """From the first sample to the last, seconds."""
        return len(self.frames) * self.frame_s


def line_noise(
    seconds: float, *, rate_hz: int, seed: int = 1, level_dbfs: float = NOISE_DBFS
) -> bytes:
    """White noise, s16le."""
    rng = np.random.default_rng(seed)
    level = _FULL_SCALE * 10.0 ** (level_dbfs / 20.0)
    noise = rng.normal(0.0, level, round(seconds * rate_hz))
    return bytes(np.round(noise).astype("<i2").tobytes())


def load_scripts(
    folder: Path,
    *,
    frame_s: float,
    listen_s: float,
    rate_hz: int = 8_000,
    encoding: Encoding = Encoding.S16LE,
    noise_dbfs: float = NOISE_DBFS,
) -> list[Script]:
    """The spoken recordings of a folder with ``labels.csv``, each after ``listen_s`` of noise.

    Raises:
        ConfigError: there is no recording whose label says where the speech ends.
        AudioError: a recording cannot be read.
    """
    labels = load_labels(folder / "labels.csv")

    def noise(seconds: float, *, seed: int = 1) -> bytes:
        return line_noise(seconds, rate_hz=rate_hz, seed=seed, level_dbfs=noise_dbfs)

    scripts = [
        _script(path, label, frame_s, listen_s, rate_hz, encoding, noise)
        for path, label in sorted(labels.by_file.items())
        if label.speech_end_s is not None and label.language is not None
    ]
    if not scripts:
        raise ConfigError(
            f"{labels.path}: no recording has a language and a speech_end_s; "
            "label them, or name another folder by --fixtures"
        )
    return scripts


class _Noise(Protocol):
    def __call__(self, seconds: float, *, seed: int = 1) -> bytes: ...


def _script(
    path: Path,
    label: Label,
    frame_s: float,
    listen_s: float,
    rate_hz: int,
    encoding: Encoding,
    noise: _Noise,
) -> Script:
    clip = read_clip(path)
    resampler = Resampler(clip.rate_hz, rate_hz)
    pcm = resampler.resample(Decoder(clip.encoding).decode(clip.data)) + resampler.flush()
    frame = 2 * round(frame_s * rate_hz)
    # The recording itself counts from a whole frame, so that scripts differ in speech alone.
    before = noise(round(listen_s / frame_s) * frame_s)
    sound = before + pcm
    sound += noise((-len(sound) % frame) / 2 / rate_hz)
    return Script(
        name=path.name,
        frames=_cut(sound, frame, encoding),
        frame_s=frame_s,
        speech_end_s=len(before) / 2 / rate_hz + (label.speech_end_s or 0.0),
        quiet=encode(noise(frame_s, seed=2), encoding),
    )


def _cut(pcm: bytes, frame: int, encoding: Encoding) -> tuple[bytes, ...]:
    pieces: Sequence[bytes] = [pcm[at : at + frame] for at in range(0, len(pcm), frame)]
    return tuple(encode(piece, encoding) for piece in pieces)
