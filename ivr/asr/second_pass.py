"""A second pass: a model that hears the whole utterance again, once it is over.

A streaming engine says what it hears while the caller speaks; a larger model that needs the whole
utterance then hears it again, together with the streaming one (our own,
:mod:`ivr.asr.joint_decoding`) or alone (SenseVoice of sherpa-onnx, Mandarin and Cantonese), and
gives the text that counts. The first pass keeps the say over whether anything was said at all, over
endpoints, and, by its likelihood, over the language.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ivr.asr.engine import Engine, Hypothesis, Recogniser, Recognition
from ivr.asr.joint_decoding import (
    CONFORMER,
    WITHOUT,
    JointDecoder,
    check_goes_with,
    is_joint,
)
from ivr.asr.kapok_engine import KapokRecogniser
from ivr.asr.models import check_is_directory
from ivr.asr.n_best import join_words
from ivr.asr.sherpa_engine import import_sherpa, try_in_process, words_of_tokens
from ivr.asr.sherpa_models import TOKENS, check_sense_voice
from ivr.audio.resample import Resampler
from ivr.errors import ModelError
from ivr.language import Language

__all__ = [
    "SecondPass",
    "SenseVoice",
    "TwoPassEngine",
    "TwoPassRecogniser",
    "check_second_pass",
    "load_second_pass",
]

_RATE_HZ = 16_000
_SHORTEST_S = 0.2  # less is no utterance
_FRAME_S = 0.06
_NAMES = {Language.MANDARIN: "zh", Language.CANTONESE: "yue"}
#: How much the second pass's text is trusted, beside what the first pass heard.
_TRUST = 0.8


class SecondPass(Protocol):
    """What hears a finished utterance again; safe to use from several threads."""

    def wants(self, heard: Recognition) -> bool:
        """Whether it would hear again what the first pass made of an utterance."""
        ...

    def again(
        self,
        heard: Recognition,
        pcm: bytes,
        rate_hz: int,
        *,
        count: int,
        scores: npt.NDArray[np.float32] | None = None,
    ) -> Recognition:
        """What this one makes of an utterance (s16le), at most ``count`` hypotheses.

        ``scores`` are what the first pass's network said of it, where it keeps that.
        """
        ...


def load_second_pass(
    path: Path, language: Language, *, first: Path, hot_words: Sequence[str] = ()
) -> SecondPass:
    """The model in a directory, told apart by its files.

    Args:
        path: the directory.
        language: what it is to hear.
        first: the directory of the streaming model, and
        hot_words: the words that it was given besides; of no use to SenseVoice.

    Raises:
        ModelError: it is missing, incomplete, cannot be loaded, or does not go with ``first``.
    """
    _check_is_either(path)
    if is_joint(path):
        return JointDecoder.load(path, first, language, hot_words=hot_words)
    return SenseVoice.load(path, language)


def check_second_pass(path: Path, language: Language, *, first: Path) -> None:
    """See that a directory holds a second pass that goes with a streaming model; loads neither.

    Args:
        path: the directory.
        language: what it is to hear.
        first: the directory of the streaming model.

    Raises:
        ModelError: it is missing or incomplete, or does not go with ``first``.
    """
    _check_is_either(path)
    if is_joint(path):
        check_goes_with(path, first, language)
    else:
        check_sense_voice(path)


def _check_is_either(path: Path) -> None:
    """ModelError where a directory is missing, or neither Kapok's own nor SenseVoice's."""
    check_is_directory(path)
    if not is_joint(path) and not (path / TOKENS).exists():
        raise ModelError(
            f"{path} holds no second pass: neither {CONFORMER}, as Kapok's own has, nor {TOKENS}, "
            f"as SenseVoice has; get it again, or {WITHOUT}"
        )


class SenseVoice:
    """A loaded SenseVoice model; safe to use from several threads."""

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

    def wants(self, heard: Recognition) -> bool:
        """Whether there are words."""
        return heard.best is not None

    def again(
        self,
        heard: Recognition,
        pcm: bytes,
        rate_hz: int,
        *,
        count: int,
        scores: npt.NDArray[np.float32] | None = None,
    ) -> Recognition:
        """Its own text first, then what the first pass heard."""
        hypothesis = self.hear(pcm, rate_hz)
        if hypothesis is None:
            return heard
        return _together(replace(heard, hypotheses=heard.hypotheses[: count - 1]), hypothesis)

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
        first = self._first.recogniser(alternatives=alternatives)
        return TwoPassRecogniser(first, self._second, alternatives=alternatives)


class TwoPassRecogniser:
    """Keeps the audio of the utterance in progress for the second pass."""

    def __init__(self, first: Recogniser, second: SecondPass, *, alternatives: int) -> None:
        self._first = first
        self._second = second
        self._alternatives = alternatives
        self._audio = bytearray()
        self._finished = b""  # the audio of the last utterance
        self._scores: npt.NDArray[np.float32] | None = None  # what the first pass said of it

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
        heard = self._first.finish()
        if isinstance(self._first, KapokRecogniser):
            self._scores = self._first.finished_scores
        return heard

    def wants(self, heard: Recognition) -> bool:
        """Whether the second pass would hear it again."""
        return self._second.wants(heard)

    def again(self, heard: Recognition) -> Recognition:
        """What the second pass makes of the utterance that was finished last."""
        if not self.wants(heard):
            return heard
        return self._second.again(
            heard, self._finished, self.rate_hz, count=self._alternatives, scores=self._scores
        )

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
