"""A second pass: a model that hears the whole utterance again, once it is over.

A streaming engine says what it hears while the caller speaks; a larger model that needs the whole
utterance then weighs what was heard anew (our own, :mod:`ivr.asr.rescoring`), or gives the text
that counts (SenseVoice of sherpa-onnx, Mandarin and Cantonese). The first pass keeps the say over
whether anything was said at all, over endpoints, and, by its likelihood, over the language.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ivr.asr.engine import Engine, Hypothesis, Recogniser, Recognition
from ivr.asr.rescoring import Rescorer, is_rescorer
from ivr.asr.sherpa_engine import import_sherpa, try_in_process, words_of_tokens
from ivr.asr.sherpa_models import check_sense_voice
from ivr.asr.vosk_engine import join_words
from ivr.audio.resample import Resampler
from ivr.language import Language

__all__ = ["SecondPass", "SenseVoice", "TwoPassEngine", "TwoPassRecogniser", "load_second_pass"]

_RATE_HZ = 16_000
_SHORTEST_S = 0.2  # less is no utterance
_FRAME_S = 0.06
_NAMES = {Language.MANDARIN: "zh", Language.CANTONESE: "yue"}
#: How much the second pass's text is trusted, beside what the first pass heard.
_TRUST = 0.8


class SecondPass(Protocol):
    """What hears a finished utterance again; safe to use from several threads."""

    @property
    def least_hypotheses(self) -> int:
        """As many as the first pass should have to choose from."""
        ...

    def again(self, heard: Recognition, pcm: bytes, rate_hz: int) -> Recognition:
        """What the first pass heard in an utterance (s16le), with what this one makes of it."""
        ...


def load_second_pass(path: Path, language: Language) -> SecondPass:
    """The model in a directory, told apart by its files.

    Raises:
        ModelError: it is missing, incomplete or cannot be loaded.
    """
    if is_rescorer(path):
        return Rescorer.load(path, language)
    return SenseVoice.load(path, language)


class SenseVoice:
    """A loaded SenseVoice model; safe to use from several threads."""

    least_hypotheses = 1

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    @classmethod
    def load(cls, path: Path, language: Language) -> SenseVoice:
        """Check and load a SenseVoice directory of sherpa-onnx.

        Raises:
            ModelError: a file is missing or sherpa-onnx refuses it, or is not installed.
        """
        network, tokens = check_sense_voice(path)
        import_sherpa()
        try_in_process("ivr.asr.second_pass", path, language)
        return cls._loaded(network, tokens, language)

    @classmethod
    def _loaded(cls, network: Path, tokens: Path, language: Language) -> SenseVoice:
        sherpa = import_sherpa()
        return cls(
            sherpa.OfflineRecognizer.from_sense_voice(
                model=str(network), tokens=str(tokens), language=_NAMES[language]
            )
        )

    def again(self, heard: Recognition, pcm: bytes, rate_hz: int) -> Recognition:
        """Its own text first, then what the first pass heard."""
        hypothesis = self.hear(pcm, rate_hz)
        return heard if hypothesis is None else _together(heard, hypothesis)

    def hear(self, pcm: bytes, rate_hz: int) -> Hypothesis | None:
        """What was said in a whole utterance (s16le); None where nothing was."""
        resampler = Resampler(rate_hz, _RATE_HZ)
        audio = resampler.resample(pcm) + resampler.flush()
        if len(audio) < 2 * _SHORTEST_S * _RATE_HZ:
            return None
        stream = self._recognizer.create_stream()
        stream.accept_waveform(_RATE_HZ, np.frombuffer(audio, "<i2").astype(np.float32) / 32768.0)
        self._recognizer.decode_stream(stream)
        result = stream.result
        text = join_words(result.text.split())
        if not text:
            return None
        words = words_of_tokens(result.tokens, result.timestamps, (), _FRAME_S)
        return Hypothesis(text=text, words=words, score=0.0, confidence=1.0)


class TwoPassEngine:
    """An engine whose finished utterances are heard again."""

    def __init__(self, first: Engine, second: SecondPass) -> None:
        self._first = first
        self._second = second

    @property
    def language(self) -> Language:
        """The language recognised."""
        return self._first.language

    @property
    def rate_hz(self) -> int:
        """The native rate of the first pass, Hertz."""
        return self._first.rate_hz

    def recogniser(self, *, alternatives: int = 10) -> TwoPassRecogniser:
        """A new recogniser at :attr:`rate_hz`."""
        wanted = max(alternatives, self._second.least_hypotheses)
        first = self._first.recogniser(alternatives=wanted)
        most = alternatives if wanted > alternatives else None
        return TwoPassRecogniser(first, self._second, most=most)


class TwoPassRecogniser:
    """Keeps the audio of the utterance in progress for the second pass."""

    def __init__(self, first: Recogniser, second: SecondPass, *, most: int | None) -> None:
        self._first = first
        self._second = second
        self._most = most  # hypotheses that are wanted, where the first pass gives more
        self._audio = bytearray()
        self._finished = b""  # the audio of the last utterance

    @property
    def language(self) -> Language:
        """The language recognised."""
        return self._first.language

    @property
    def rate_hz(self) -> int:
        """The rate at which audio is due, Hertz."""
        return self._first.rate_hz

    def accept(self, pcm: bytes) -> bool:
        """As the first pass."""
        endpoint = self._first.accept(pcm)
        self._audio += pcm
        return endpoint

    def partial(self) -> str:
        """As the first pass."""
        return self._first.partial()

    def finish(self) -> Recognition:
        """What the second pass makes of what the first one heard."""
        return self.again(self.finish_first())

    def finish_first(self) -> Recognition:
        """What the first pass heard; the second may be asked for with :meth:`again`."""
        self._finished = bytes(self._audio)
        self._audio.clear()
        return self._first.finish()

    def again(self, heard: Recognition) -> Recognition:
        """What the second pass makes of the utterance that was finished last."""
        if heard.best is not None:
            heard = self._second.again(heard, self._finished, self.rate_hz)
        return replace(heard, hypotheses=heard.hypotheses[: self._most])

    def reset(self) -> None:
        """Throw the utterance in progress away and start anew."""
        self._audio.clear()
        self._first.reset()


def _together(first: Recognition, again: Hypothesis) -> Recognition:
    """One list: equal texts count together, the second pass's comes first."""
    total = sum(h.confidence for h in first.hypotheses) or 1.0
    rest, agreed = [], 0.0
    for hypothesis in first.hypotheses:
        share = (1 - _TRUST) * hypothesis.confidence / total
        if hypothesis.text == again.text:
            agreed += share
        else:
            rest.append(replace(hypothesis, confidence=share))
    best = first.best
    score = best.score if best is not None else 0.0
    head = replace(again, score=score, confidence=_TRUST + agreed)
    return replace(first, hypotheses=(head, *rest))


if __name__ == "__main__":
    _network, _tokens = check_sense_voice(Path(sys.argv[1]))
    SenseVoice._loaded(_network, _tokens, Language(sys.argv[2])).hear(bytes(2 * 8000), 8000)
