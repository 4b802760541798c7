"""Which audio of a call is worth decoding: speech, not the silence in which a caller listens.

    gate = VoiceGate(model.stream())
    gate.hear(pcm)         # s16le, 8 kHz
    gate.open              # somebody speaks, or has just spoken
    gate.silence_s         # since the last chunk with a voice in it

Two detectors in a row, by cost. WebRTC's (0.1 ms for a second of audio) passes whatever may be a
voice; Silero's network (3 ms a second) hears only that, and decides. Where it goes on denying what
WebRTC's calls a voice, the gate opens in doubt: a caller whom nobody hears is worse than a noise
that is decoded. Decoding a second of audio in two languages costs some 40 ms, so what is not
decoded is most of what a call costs: a caller listens for more than half of it.

The same network says when the caller has finished, to a chunk of 32 ms. A decoder knows it later:
its network runs in blocks and looks ahead.

There is no clock here: time is the audio taken.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import webrtcvad

from ivr.call.voice import CHUNK_SAMPLES, RATE_HZ

__all__ = ["Voice", "VoiceGate"]

_CHUNK_BYTES = 2 * CHUNK_SAMPLES
_CHUNK_S = CHUNK_SAMPLES / RATE_HZ
#: WebRTC's detector takes 10, 20 or 30 ms: most of a chunk stands for it.
_FIRST_LOOK_BYTES = 2 * 240
#: Of 0 to 3; the mildest that lets line noise be.
_STRICTNESS = 2
#: Probability from which a chunk holds a voice: nothing is missed at the beginning, and voices in
#: the background do not drag the end out.
_BEGINS, _GOES_ON = 0.4, 0.5
#: In noise the network doubts much of what is said, and half a second of doubt would end the
#: utterance: what is as loud as the caller, to so many dB, goes on down to this. Measured by
#: bench/endpointing.py.
_LOUD_GOES_ON, _AS_LOUD_DB = 0.1, 5.0
#: How fast the caller's loudness follows, a share a chunk.
_LOUDNESS_FOLLOWS = 0.1
#: Of the last three chunks so many must hold a voice: a click does not open the gate.
_NEEDED, _OF = 2, 3
#: ... and of the last 15, where WebRTC's detector alone holds that it is one.
_DOUBTFUL_NEEDED, _DOUBTFUL_OF = 12, 15
#: After what may be a voice the network listens on for so many chunks: its state stays whole.
_LISTENS_ON = 10
#: A voice that was heard so lately is still there, s: between two words.
_STILL_SPEAKS_S = 0.3
_FULL_SCALE = 32_768.0


class Voice(Protocol):
    """How likely chunks hold a voice; :class:`ivr.call.voice.VoiceStream`."""

    def probability(self, chunk: npt.NDArray[np.float32]) -> float: ...

    def reset(self) -> None: ...


class VoiceGate:
    """One call's; used from one thread at a time."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._first = webrtcvad.Vad(_STRICTNESS)
        self._left = b""  # less than a chunk
        self._recent = [False] * _OF
        self._may_be = [False] * _DOUBTFUL_OF
        self._in_doubt = False  # opened by the first look alone, which then says when it is over
        self._listening = 0  # chunks for which the network still listens
        self._silent_chunks = 0
        self._loudness = 0.0  # mean power of the chunks that surely hold a voice
        self.open = False

    @property
    def silence_s(self) -> float:
        """Audio since the last chunk with a voice in it, seconds."""
        return self._silent_chunks * _CHUNK_S + len(self._left) / 2 / RATE_HZ

    @property
    def voice(self) -> bool:
        """Whether somebody speaks now, as the network hears it."""
        return self.open and not self._in_doubt and self.silence_s < _STILL_SPEAKS_S

    def shut(self) -> None:
        """What was open has been dealt with: a voice is needed to open again."""
        self.open = self._in_doubt = False
        self._recent = [False] * _OF
        self._may_be = [False] * _DOUBTFUL_OF
        self._listening = 0

    def hear(self, pcm: bytes) -> None:
        """Take audio, s16le at 8 kHz, one channel."""
        sound = self._left + pcm
        whole = len(sound) - len(sound) % _CHUNK_BYTES
        for at in range(0, whole, _CHUNK_BYTES):
            self._take(sound[at : at + _CHUNK_BYTES])
        self._left = sound[whole:]

    def _take(self, chunk: bytes) -> None:
        may_be = self._first.is_speech(chunk[:_FIRST_LOOK_BYTES], RATE_HZ)
        known = self._is_voiced(chunk, may_be)
        voiced = known or (self._in_doubt and may_be)
        self._recent = [*self._recent[1:], known]
        self._may_be = [*self._may_be[1:], may_be]
        self._silent_chunks = 0 if voiced else self._silent_chunks + 1
        if sum(self._recent) >= _NEEDED:
            self.open, self._in_doubt = True, False
        elif not self.open:
            self.open = self._in_doubt = sum(self._may_be) >= _DOUBTFUL_NEEDED
            if self._in_doubt:
                self._silent_chunks = 0  # counted by the network, which is not believed now

    def _is_voiced(self, chunk: bytes, may_be: bool) -> bool:
        if may_be:
            if not self._listening:
                self._voice.reset()
            self._listening = _LISTENS_ON
        elif self._listening:
            self._listening -= 1
        if not self._listening:
            return False
        samples = np.frombuffer(chunk, dtype="<i2").astype(np.float32) / _FULL_SCALE
        likely = self._voice.probability(samples)
        power = float(np.mean(samples**2))
        if likely >= (_GOES_ON if self.open else _BEGINS):
            share = _LOUDNESS_FOLLOWS if self._loudness else 1.0
            self._loudness += share * (power - self._loudness)
            return True
        as_loud = 0 < self._loudness * 10 ** (-_AS_LOUD_DB / 10) <= power
        return self.open and as_loud and likely >= _LOUD_GOES_ON
