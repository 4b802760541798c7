"""Which language is spoken, heard from the sound alone, while the caller speaks.

    network = SpokenLanguageModel.load(Path("models/language.onnx"))   # once, shared by all calls
    sound = network.stream()                                           # one a call
    sound.hear(pcm)                                                    # s16le, 8 kHz
    sound.log_odds                                                     # of Cantonese

The network is trained and written by :mod:`training.spoken_language`; it runs in ONNX Runtime,
whose session is shared: a call holds its state alone, 30 kB. It needs no recogniser to have heard
anything. So it can say which of them need not run (:mod:`ivr.asr.bilingual`), and it helps with
models whose scores tell nothing (:mod:`ivr.asr.language_decision`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ivr.errors import ModelError
from ivr.onnx_session import load_network

__all__ = ["HOP", "OVERLAP", "RATE_HZ", "SpokenLanguageModel", "SpokenLanguageStream"]

RATE_HZ: Final = 8000
#: Samples from one output to the next, and those before them that are heard again: a window of
#: 25 ms, and six more of 10 ms each, less one output.
HOP: Final = 240
OVERLAP: Final = 440
_FIRST_HOPS: Final = "first_hops"
_SAMPLES, _ODDS, _AFTER = "samples", "log_odds", "_out"

_Array = npt.NDArray[np.float32]


class SpokenLanguageModel:
    """The network, safe to use from several threads."""

    def __init__(self, session: Any) -> None:
        self._session = session
        # Of the state, by name; what grows from nothing has no frame yet.
        self._shapes = {
            i.name: tuple(n if isinstance(n, int) else 0 for n in i.shape)
            for i in session.get_inputs()
            if i.name != _SAMPLES
        }
        self._outputs = [_ODDS, *(name + _AFTER for name in self._shapes)]
        #: how many times :data:`HOP` the first audio must be, beside :data:`OVERLAP`
        self.first_hops = int(session.get_modelmeta().custom_metadata_map[_FIRST_HOPS])

    @classmethod
    def load(cls, path: Path) -> SpokenLanguageModel:
        """Load the network; 0.1 s and 10 MB.

        Raises:
            ModelError: the file cannot be read, or is no such network.
        """
        session = load_network(
            path, otherwise="delete it: the language is then decided by the recognisers alone"
        )
        if not session.get_modelmeta().custom_metadata_map.get(_FIRST_HOPS, "").isdecimal():
            raise ModelError(
                f"{path} is another network: it was not written by training.spoken_language"
            )
        return cls(session)

    def stream(self) -> SpokenLanguageStream:
        """What one call's audio tells."""
        return SpokenLanguageStream(self)

    def fresh(self) -> dict[str, _Array]:
        """The state before anything was heard."""
        return {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def run(self, samples: _Array, state: dict[str, _Array]) -> tuple[float, dict[str, _Array]]:
        """Log-odds after ``samples`` (n,), range of int16, and the state then.

        Of the samples the first :data:`OVERLAP` were heard before; the rest is a multiple of
        :data:`HOP`, the first time at least :attr:`first_hops` times that.
        """
        given = {_SAMPLES: samples[np.newaxis], **state}
        odds, *after = self._session.run(self._outputs, given)
        return float(odds[0, 0]), dict(zip(self._shapes, after, strict=True))


class SpokenLanguageStream:
    """One call's; used from one thread at a time."""

    def __init__(self, network: SpokenLanguageModel) -> None:
        self._network = network
        self.reset()

    def reset(self) -> None:
        """What follows has nothing to do with what came before: another utterance."""
        self._state = self._network.fresh()
        self._waiting = b""
        self._least = self._network.first_hops
        #: natural, positive for Cantonese; 0 before anything was heard
        self.log_odds = 0.0

    def hear(self, pcm: bytes) -> None:
        """Take audio, s16le at 8 kHz, one channel; silence in it neither helps nor harms."""
        self._waiting += pcm
        steps = (len(self._waiting) // 2 - OVERLAP) // HOP
        if steps < self._least:
            return
        self._least = 1
        taken = 2 * (OVERLAP + steps * HOP)
        samples = np.frombuffer(self._waiting[:taken], "<i2").astype(np.float32)
        self.log_odds, self._state = self._network.run(samples, self._state)
        self._waiting = self._waiting[2 * steps * HOP :]
