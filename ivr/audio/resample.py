"""Streaming resampling (soxr), PCM s16le in and out."""

from __future__ import annotations

import numpy as np
import soxr

from ivr.errors import AudioError

__all__ = ["MAX_RATE_HZ", "MIN_RATE_HZ", "Resampler", "check_rate"]

#: Slower than half the telephone's rate nothing of speech is left.
MIN_RATE_HZ = 4_000
#: The highest rate of AudioSocket's frames, and of sound cards.
MAX_RATE_HZ = 192_000


def check_rate(rate_hz: int, *, what: str = "the sample rate") -> int:
    """``rate_hz`` if it is one that speech can have.

    Raises:
        AudioError: it is not between :data:`MIN_RATE_HZ` and :data:`MAX_RATE_HZ`.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{what} is {rate_hz} Hz: it must be between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz; "
            "telephones use 8000"
        )
    return rate_hz


class Resampler:
    """One channel of PCM from one rate to another, block by block.

    A resampler holds some milliseconds back until more audio or :meth:`flush` comes; equal rates
    pass through untouched and undelayed.

    Raises:
        AudioError: a rate is absurd (see :func:`check_rate`).
    """

    def __init__(self, from_hz: int, to_hz: int, *, quality: str = "HQ") -> None:
        self.from_hz = check_rate(from_hz)
        self.to_hz = check_rate(to_hz, what="the wanted sample rate")
        self._stream = (
            None
            if from_hz == to_hz
            # float32: soxr dithers 16-bit output at random, and no run would repeat another.
            else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=quality)
        )

    def resample(self, pcm: bytes) -> bytes:
        """The audio that ``pcm`` (whole samples) completes at the new rate.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
        """
        if len(pcm) % 2:
            raise AudioError(
                f"{len(pcm)} bytes are no whole number of 16-bit samples: "
                "pass them through codecs.Decoder first"
            )
        return self._chunk(pcm, last=False) if pcm else b""

    def flush(self) -> bytes:
        """What was held back; the resampler is then ready for a new stream."""
        rest = self._chunk(b"", last=True)
        self.reset()
        return rest

    def reset(self) -> None:
        """Drop what was held back: a new stream starts."""
        if self._stream is not None:
            self._stream.clear()

    def _chunk(self, pcm: bytes, *, last: bool) -> bytes:
        if self._stream is None:
            return pcm
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        resampled = np.round(self._stream.resample_chunk(samples, last=last))
        return bytes(np.clip(resampled, -32768, 32767).astype("<i2").tobytes())
