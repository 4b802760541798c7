"""Barge-in: whether the caller speaks while a prompt plays. No clock: time is the audio taken.

    barge_in = BargeIn(model.stream())
    barge_in.play(pcm)                   # a prompt begins to play, or follows the one that plays
    if barge_in.hear(audio):             # the caller speaks: stop the prompt
        barge_in.stop()

Audio is s16le, 8 kHz, one channel. A chunk of 32 ms counts as the caller's voice where

* Silero VAD (:mod:`ivr.call.voice`) takes it for speech,
* it stands out from what the line sounded like lately: the median level of the last 1.5 s, so that
  voices in the background, which are speech too, do not count, and
* it is not the prompt's own echo.

Three of five such chunks are a barge-in, four of six in a loud background: 0.1 to 0.2 s after the
voice begins. Numbers:
``python -m bench.barge_in``.

**The echo** comes back after an unknown delay (up to :data:`LONGEST_ECHO_S`: network, jitter
buffers, what the gateway has buffered) and at an unknown level. Neither need be known: the last
0.2 s of the line are compared with the prompt at every delay by normalised cross-correlation. That
is done after pre-emphasis, which flattens the spectrum of speech, so that two voices hardly
correlate (in 99 of 100 windows at most 0.35, over all delays) while an echo does (0.55 and more).
Where an echo has been seen, a fainter likeness at the same delay is one too. Speech over an echo is
louder than the echo was: the likeness falls, or the level stands out.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
from scipy import fft

from ivr.call.voice import CHUNK_SAMPLES, RATE_HZ, SILENCE_DBFS, VoiceStream

__all__ = ["LONGEST_ECHO_S", "BargeIn"]

Samples = npt.NDArray[np.float32]

#: An echo that comes later than this after its prompt is not known as one, s.
LONGEST_ECHO_S = 1.0

_SPEECH = 0.5  # probability; Silero's own threshold
_NEEDED, _OF = 3, 5  # chunks
#: ... and in a background louder than this that sounds like speech, or is not known well enough.
_NEEDED_IN_VOICES, _OF_IN_VOICES = 4, 6
_NOISY_DBFS = -45.0
_KNOWN_CHUNKS = 31  # of the background, 1 s
_QUIETEST_DBFS = -38.0  # a caller is louder: 18 dB under the nominal level of a line
_STANDS_OUT_DB = 6.0
_BACKGROUND_CHUNKS = 47  # 1.5 s
_RECENT_CHUNKS = 3  # kept out of the background: they may be the voice itself
_FEWEST_CHUNKS = 5  # of background, before anything can stand out from it

_WINDOW = 1600  # samples compared with the prompt, 0.2 s
_LAGS = round(LONGEST_ECHO_S * RATE_HZ)
_FFT = fft.next_fast_len(_WINDOW + _LAGS + _WINDOW, real=True)
_LIKE = 0.38  # likeness from which it is an echo, whatever the delay
_LIKE_AT_FIRST = 0.5  # ... while most of the window is not yet sound: little sound is easily alike
_SOUND_CHUNKS, _SOUND_OF, _SOUND_DB = 4, 6, 10.0
_LIKE_AGAIN = 0.18  # ... at a delay at which an echo has been seen
_SAME_DELAY = 24  # samples
_LOUDER = 10 ** (6.0 / 10)  # so much more energy than the echo had is the caller
_ECHOES_KEPT = 20
_PRE_EMPHASIS = 0.95
_TAIL_S = 0.3  # the echo goes on for so long after a prompt's end
_UNREPORTED_S = 3.0  # a prompt whose end nobody reports is over so long after it should be


class BargeIn:
    """One call's; used from one thread at a time."""

    def __init__(self, voice: VoiceStream) -> None:
        self._voice = voice
        self._rest = np.zeros(0, dtype=np.float32)  # less than a chunk
        self._line = np.zeros(_WINDOW, dtype=np.float32)  # the last of the line
        self._levels: deque[float] = deque(maxlen=_BACKGROUND_CHUNKS)
        self._speechlike: deque[bool] = deque(maxlen=_BACKGROUND_CHUNKS)
        self._recent: deque[bool] = deque(maxlen=_OF_IN_VOICES)
        self._prompt = np.zeros(0, dtype=np.float32)
        self._played = 0  # samples of the prompt, by the line's clock
        self._ends = 0  # where the prompt is over at last
        self._playing = False
        self._echoes: deque[tuple[int, float]] = deque(maxlen=_ECHOES_KEPT)  # delay, gain²
        self._voiced = 0  # chunks of the caller's voice since the prompt began
        self._echo = False

    @property
    def playing(self) -> bool:
        """Whether a prompt plays, as far as :meth:`play` and :meth:`stop` were told."""
        return self._playing

    @property
    def voiced_s(self) -> float:
        """The caller's voice since the prompt began, seconds in all."""
        return self._voiced * CHUNK_SAMPLES / RATE_HZ

    @property
    def echo(self) -> bool:
        """Whether the last chunk was the prompt's echo, and nothing else."""
        return self._echo

    def play(self, pcm: bytes) -> None:
        """A prompt begins to play now, or after the one that plays."""
        said = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        if not self._playing:
            self._playing, self._played = True, 0
            self._prompt = np.zeros(0, dtype=np.float32)
            self._voiced = 0
            self._recent.clear()
            self._voice.reset()
        self._prompt = np.concatenate([self._prompt, said])
        self._ends = len(self._prompt) + round(_UNREPORTED_S * RATE_HZ)

    def stop(self) -> None:
        """Nothing plays any more."""
        self._playing, self._echo = False, False

    def finish(self) -> None:
        """The prompt has been played to its end; its echo may still be on its way."""
        self._ends = min(self._ends, self._played + round(_TAIL_S * RATE_HZ))

    def hear(self, pcm: bytes) -> bool:
        """Take audio of the line, whole samples; True where the caller speaks over the prompt."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        self._rest = np.concatenate([self._rest, samples])
        spoke = False
        while len(self._rest) >= CHUNK_SAMPLES:
            chunk, self._rest = self._rest[:CHUNK_SAMPLES], self._rest[CHUNK_SAMPLES:]
            spoke = self._take(chunk) or spoke
        return spoke

    def _take(self, chunk: Samples) -> bool:
        self._line = np.concatenate([self._line[CHUNK_SAMPLES:], chunk])
        self._levels.append(_level_dbfs(chunk))
        if self._playing and self._played >= self._ends:
            self.stop()
        if not self._playing:  # the background is known when a prompt begins
            return False
        self._played += CHUNK_SAMPLES
        background = self._background_dbfs()
        loud = self._levels[-1] >= max(_QUIETEST_DBFS, background + _STANDS_OUT_DB)
        speechlike = self._voice.probability(chunk) >= _SPEECH
        self._speechlike.append(speechlike)
        likely = speechlike and loud
        self._echo = likely and self._is_echo()
        voice = likely and not self._echo
        self._voiced += voice
        self._recent.append(voice)
        if background > _NOISY_DBFS and self._may_be_voices():
            return sum(self._recent) >= _NEEDED_IN_VOICES
        return sum(list(self._recent)[-_OF:]) >= _NEEDED

    def _may_be_voices(self) -> bool:
        """Whether the background is not known to be mere noise."""
        before = list(self._speechlike)[:-_OF_IN_VOICES]
        return any(before) or len(before) < _KNOWN_CHUNKS

    def _background_dbfs(self) -> float:
        before = list(self._levels)[:-_RECENT_CHUNKS]
        return float(np.median(before)) if len(before) >= _FEWEST_CHUNKS else 0.0

    # --- the echo ------------------------------------------------------------------------

    def _is_echo(self) -> bool:
        known = [delay for delay, _ in self._echoes]
        likeness, energy, of_prompt = self._likeness()
        delay = int(np.argmax(likeness))
        best = likeness[delay]
        if best < (_LIKE if self._is_full() else _LIKE_AT_FIRST):
            near = [d for d in known if abs(d - delay) <= _SAME_DELAY]
            if best < _LIKE_AGAIN or not near:
                return False
        gain = energy / of_prompt[delay]
        usual = float(np.median([g for _, g in self._echoes])) if self._echoes else gain
        if len(self._echoes) >= _NEEDED and gain > _LOUDER * usual:
            return False  # the prompt is in it, and so is the caller
        self._echoes.append((delay, gain))
        return True

    def _is_full(self) -> bool:
        last = list(self._levels)[-_SOUND_OF:]
        return sum(level > last[-1] - _SOUND_DB for level in last) >= _SOUND_CHUNKS

    def _likeness(self) -> tuple[Samples, float, Samples]:
        """Of each delay, how like the line is to the prompt (0 to 1), and the prompt's energy.

        The energy of the line stands between the two.
        """
        line = _emphasised(self._line)
        prompt = _emphasised(self._behind())
        spectrum = fft.rfft(prompt, _FFT) * np.conj(fft.rfft(line, _FFT))
        # Place 0 is the longest delay: turned round, so that the delay is the index.
        product = fft.irfft(spectrum, _FFT)[: _LAGS + 1][::-1]
        total = np.concatenate([[0.0], np.cumsum(prompt.astype(np.float64) ** 2)])
        of_prompt = (total[_WINDOW:] - total[:-_WINDOW])[::-1] + 1e-6
        energy = float(np.sum(line**2)) + 1e-9
        return np.abs(product) / np.sqrt(of_prompt * energy), energy, of_prompt

    def _behind(self) -> Samples:
        """The prompt up to now, as long as the longest delay and a window."""
        length = _LAGS + _WINDOW
        end = self._played
        begin = end - length
        part = self._prompt[max(0, begin) : max(0, end)]
        before = np.zeros(max(0, -begin), dtype=np.float32)
        after = np.zeros(length - len(before) - len(part), dtype=np.float32)
        return np.concatenate([before, part, after])


def _level_dbfs(chunk: Samples) -> float:
    return float(10 * np.log10(np.mean(chunk**2) + 10 ** (SILENCE_DBFS / 10)))


def _emphasised(samples: Samples) -> Samples:
    out = samples.copy()
    out[1:] -= np.float32(_PRE_EMPHASIS) * samples[:-1]
    return out
