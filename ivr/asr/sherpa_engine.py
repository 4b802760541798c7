"""The sherpa-onnx engine: any streaming model of sherpa-onnx, and ours in its format.

What sherpa-onnx 2.0 does, and what this module makes of it:

* It answers with one hypothesis, without a likelihood; tokens of a transducer have posteriors
  (``ys_probs``, natural log), others none: they count as sure. Without a likelihood the language
  is decided by the words alone.
* ``timestamps`` are where each token was heard, in steps of 0.04 s whatever the model's real frame
  is; a word lasts until the next begins, at most ``_LONGEST_WORD_S``.
* Paraformers give no time stamps: their words share the time until the last came.
* It has no endpoint rule that knows words from other sounds: here an utterance ends after silence
  since the last token.
* Where a model cannot be loaded it ends the process: each model is tried in one of its own first.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivr.asr.engine import Hypothesis, Recognition, Word
from ivr.asr.models import MEND
from ivr.asr.n_best import join_words
from ivr.asr.sherpa_models import SherpaDirectory, check_sherpa_directory
from ivr.errors import AudioError, ModelError
from ivr.extras import install
from ivr.language import Language

__all__ = [
    "SherpaEngine",
    "SherpaRecogniser",
    "import_sherpa",
    "try_in_process",
    "words_of_graph",
    "words_of_tokens",
]

_STEP_S = 0.04  # of sherpa-onnx's time stamps
_LONGEST_WORD_S = 0.6
_TRIAL_S = 300.0


def import_sherpa() -> Any:
    """The sherpa-onnx package.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import sherpa_onnx
    except ImportError as error:
        raise ModelError(
            f"engine: sherpa needs the package sherpa-onnx; {install('sherpa')}"
        ) from error
    return sherpa_onnx


class SherpaEngine:
    """A loaded streaming model of one language, shared by all calls."""

    def __init__(self, recognizer: Any, directory: SherpaDirectory, language: Language) -> None:
        self._recognizer = recognizer
        self._directory = directory
        self._language = language

    @classmethod
    def load(cls, path: Path, language: Language) -> SherpaEngine:
        """Check a model directory, try it in a process of its own, and load it.

        Raises:
            ModelError: the directory is incomplete, sherpa-onnx refuses what is in it, or is not
                installed.
        """
        directory = check_sherpa_directory(path)
        import_sherpa()
        try_in_process("ivr.asr.sherpa_engine", path)
        return cls(_recognizer(directory), directory, language)

    @property
    def language(self) -> Language:
        """The language that the model is used for."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The native sample rate of the model, Hertz."""
        return self._directory.settings.rate_hz

    def for_language(self, language: Language) -> SherpaEngine:
        """The same loaded model under another language."""
        return SherpaEngine(self._recognizer, self._directory, language)

    def recogniser(self, *, alternatives: int = 10) -> SherpaRecogniser:
        """A new recogniser; there is one hypothesis, however many ``alternatives`` (1 or more)."""
        if alternatives < 1:
            raise ValueError(f"alternatives is {alternatives}: it must be 1 or more")
        return SherpaRecogniser(self._recognizer, self._directory, self._language)


def try_in_process(module: str, path: Path, *arguments: str) -> None:
    """Load and run a model in another process, which may end as sherpa-onnx likes.

    Args:
        module: run as ``python -m``; it takes the model directory and ``arguments``.

    Raises:
        ModelError: that process failed, or was not done in time.
    """
    command = [sys.executable, "-m", module, str(path), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_S)
        reason = done.stderr.strip().splitlines()[-1:] if done.returncode else None
    except subprocess.TimeoutExpired:
        reason = [f"not loaded after {_TRIAL_S:.0f} s"]
    if reason is not None:
        raise ModelError(
            f"{path}: sherpa-onnx cannot load this model ({(reason or ['it crashed'])[0][:300]}); "
            f"{MEND}"
        )


def _recognizer(directory: SherpaDirectory) -> Any:
    """sherpa-onnx's own recognizer of a directory."""
    sherpa = import_sherpa().lib._sherpa_onnx
    settings, files = directory.settings, [str(file) for file in directory.files]
    networks = {
        "zipformer2_ctc": sherpa.OnlineZipformer2CtcModelConfig,
        "wenet_ctc": sherpa.OnlineWenetCtcModelConfig,
        "nemo_ctc": sherpa.OnlineNeMoCtcModelConfig,
        "transducer": sherpa.OnlineTransducerModelConfig,
        "paraformer": sherpa.OnlineParaformerModelConfig,
    }
    return sherpa.OnlineRecognizer(
        sherpa.OnlineRecognizerConfig(
            feat_config=sherpa.FeatureExtractorConfig(
                sampling_rate=settings.rate_hz,
                feature_dim=settings.feature_dim,
                low_freq=settings.low_freq_hz,
                high_freq=settings.high_freq_hz,
                normalize_samples=settings.normalize_samples,
            ),
            model_config=sherpa.OnlineModelConfig(
                tokens=str(directory.tokens),
                num_threads=settings.threads,
                **{directory.kind: networks[directory.kind](*files)},
            ),
            ctc_fst_decoder_config=sherpa.OnlineCtcFstDecoderConfig(
                graph=str(directory.graph or ""), max_active=settings.max_active
            ),
            enable_endpoint=False,
            decoding_method="greedy_search",
        )
    )


class SherpaRecogniser:
    """Streaming recognition of one language on one call; used from one thread at a time."""

    def __init__(self, recognizer: Any, directory: SherpaDirectory, language: Language) -> None:
        self._recognizer = recognizer
        self._directory = directory
        self._language = language
        self._stream = recognizer.create_stream()
        self._samples = 0  # of this utterance
        self._words: tuple[Word, ...] = ()
        self._partial = ""
        self._changed_s = 0.0  # when the partial last changed

    @property
    def language(self) -> Language:
        """The language recognised."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The rate at which audio is due, Hertz."""
        return self._directory.settings.rate_hz

    def accept(self, pcm: bytes) -> bool:
        """Take audio; True where silence has followed the last word.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
            ModelError: sherpa-onnx failed on this audio.
        """
        if len(pcm) % 2:
            raise AudioError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        if pcm:
            self._samples += len(pcm) // 2
            samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
            self._stream.accept_waveform(self.rate_hz, samples)
            self._decode()
        return self._is_endpoint()

    def _decode(self) -> None:
        decoded = False
        try:
            while self._recognizer.is_ready(self._stream):
                self._recognizer.decode_stream(self._stream)
                decoded = True
        except RuntimeError as error:
            raise ModelError(f"the {self._language} model failed on this audio: {error}") from error
        if decoded:
            self._read()

    def _read(self) -> None:
        result = self._recognizer.get_result(self._stream)
        settings = self._directory.settings
        frame_s = settings.frame_s
        times = [round(t / _STEP_S) * frame_s for t in result.timestamps]
        before = self._partial
        if settings.graph:
            words = [self._directory.words[number] for number in result.words]
            self._words = words_of_graph(words, result.tokens, times, frame_s)
            self._partial = join_words(word.text for word in self._words)
        else:
            self._partial = join_words(result.text.split())
            if self._partial != before:
                self._changed_s = max(0.0, self._samples / self.rate_hz - settings.latency_s)
            times = times or _spread(len(result.tokens), self._changed_s)
            self._words = words_of_tokens(result.tokens, times, result.ys_probs, frame_s)

    def _is_endpoint(self) -> bool:
        if not self._words:
            return False
        settings = self._directory.settings
        decoded_s = self._samples / self.rate_hz - settings.latency_s
        return decoded_s - self._words[-1].end_s >= settings.min_trailing_silence_s

    def partial(self) -> str:
        """The words so far of the utterance in progress, empty before the first."""
        return self._partial

    def finish(self) -> Recognition:
        """Close the utterance, decode what is still buffered, and start the next one."""
        duration_s = self._samples / self.rate_hz
        if not self._samples:
            return Recognition(hypotheses=(), duration_s=0.0)
        silence = round(self._directory.settings.tail_padding_s * self.rate_hz)
        self._stream.accept_waveform(self.rate_hz, np.zeros(silence, np.float32))
        self._stream.input_finished()
        self._decode()
        text, words = self._partial, _within(self._words, duration_s)
        self.reset()
        if not text:
            return Recognition(hypotheses=(), duration_s=duration_s)
        sure = math.prod(word.confidence for word in words) ** (1 / max(1, len(words)))
        best = Hypothesis(text=text, words=words, score=0.0, confidence=sure)
        return Recognition(hypotheses=(best,), duration_s=duration_s)

    def reset(self) -> None:
        """Throw the utterance in progress away and start anew."""
        if self._samples:
            self._stream = self._recognizer.create_stream()
        self._samples, self._words, self._partial, self._changed_s = 0, (), "", 0.0


def _spread(count: int, end_s: float) -> list[float]:
    return [end_s * i / count for i in range(count)]


def _within(words: Sequence[Word], duration_s: float) -> tuple[Word, ...]:
    return tuple(
        Word(w.text, min(w.start_s, duration_s), min(w.end_s, duration_s), w.confidence)
        for w in words
    )


def words_of_graph(
    words: Sequence[str], tokens: Sequence[str], times: Sequence[float], frame_s: float
) -> tuple[Word, ...]:
    """Words of a decoding graph with the times of the tokens that make them up.

    A Han character is a syllable and a syllable ends with the token of its toned final; of words in
    other letters the tokens are not known, so they take one.

    Args:
        words: as the graph gives them.
        tokens: heard, in order; ``i1`` and ``ong4`` are toned finals.
        times: where each token was heard, s.
        frame_s: the least time a word takes, s.
    """
    ends = [i + 1 for i, token in enumerate(tokens) if token[-1:].isdecimal()]
    starts, at, syllable = [], 0, 0
    for word in words:
        starts.append(times[at] if at < len(times) else (times[-1] if times else 0.0))
        syllable = min(syllable + len(word), len(ends))
        at = ends[syllable - 1] if syllable else at
    kept = [
        (w, t, 1.0) for w, t in zip(words, starts, strict=True) if w[:1] not in "[<" and w[0] != "#"
    ]
    return _timed(kept, times[-1] if times else 0.0, frame_s)


def words_of_tokens(
    tokens: Sequence[str], times: Sequence[float], log_probs: Sequence[float], frame_s: float
) -> tuple[Word, ...]:
    """Tokens as words: pieces of one word (``▁wi``, ``fi``; ``wi@@``, ``fi``) are joined.

    ``log_probs`` are natural logs of posteriors, empty where the model has none.
    """
    words: list[tuple[str, float, float]] = []
    open_piece = False
    for i, (token, time_s) in enumerate(zip(tokens, times, strict=False)):
        text = token.replace("@@", "").lstrip("▁ ").rstrip()
        if not text or text.startswith("<"):
            continue
        sure = min(1.0, math.exp(log_probs[i])) if i < len(log_probs) else 1.0
        goes_on = open_piece or (
            bool(words)
            and token[0] not in "▁ "
            and text.isascii()
            and words[-1][0].isascii()
            and not tokens[max(0, i - 1)].endswith(" ")
        )
        if goes_on and words:
            before = words[-1]
            words[-1] = (before[0] + text, before[1], min(before[2], sure))
        else:
            words.append((text, time_s, sure))
        open_piece = token.endswith("@@")
    return _timed(words, times[-1] if len(times) else 0.0, frame_s)


def _timed(
    words: Sequence[tuple[str, float, float]], last_token_s: float, frame_s: float
) -> tuple[Word, ...]:
    """Each word from where it was heard until the next; the last until shortly after its end."""
    if not words:
        return ()
    starts = [start for _, start, _ in words]
    ends = [*starts[1:], max(last_token_s, starts[-1]) + frame_s]
    return tuple(
        Word(text, round(start, 3), round(min(max(end, start), start + _LONGEST_WORD_S), 3), sure)
        if n < len(words) - 1
        else Word(text, round(start, 3), round(max(end, start), 3), sure)
        for n, ((text, start, sure), end) in enumerate(zip(words, ends, strict=True))
    )


def _trial(path: Path) -> None:
    """Load a model and let it hear a second of silence."""
    directory = check_sherpa_directory(path)
    recogniser = SherpaEngine(_recognizer(directory), directory, Language.MANDARIN).recogniser()
    recogniser.accept(bytes(2 * recogniser.rate_hz))
    recogniser.finish()


if __name__ == "__main__":
    _trial(Path(sys.argv[1]))
