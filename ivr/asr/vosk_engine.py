"""The Vosk engine: any model directory in Vosk's format, ours or an official one.

What Vosk 0.3.45 does, and what this module makes of it:

* With ``SetMaxAlternatives`` each alternative has a ``confidence`` that is no probability but the
  log-likelihood of its path. The posterior of a hypothesis is the softmax of these over the list,
  equal texts added up; that of a word is the sum over the hypotheses that have the same word at
  an overlapping time.
* Word times count from the first sample of the *recogniser*; ours count from the utterance.
* ``AcceptWaveform`` returns true for as long as the endpoint rules of ``model.conf`` hold, and
  decoding may go on. ``FinalResult`` decodes what is buffered and starts a new utterance.
* Without ``word_boundary.int`` (every CTC model) the last word lasts until the end of the audio;
  it is cut where the partial result last changed, at most a block of audio late.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vosk

from ivr.asr.engine import Recognition
from ivr.asr.models import MEND, VoskDirectory, check_vosk_directory
from ivr.asr.n_best import UNKNOWN_WORDS, WordPath, join_words, spoken_words, to_recognition
from ivr.errors import AudioError, ModelError
from ivr.language import Language

__all__ = ["VoskEngine", "VoskRecogniser", "parse_answer"]

_log = logging.getLogger(__name__)

#: Kaldi's level for errors alone: at Vosk's usual -1 each utterance of a CTC model warns on stderr.
_QUIET = -2
#: Option of Kaldi's looped network computation (nnet3/decodable-simple-looped.h).
_CHUNK = "--frames-per-chunk"
_stderr_lock = threading.Lock()


class VoskEngine:
    """A loaded Vosk model of one language, shared by all calls."""

    def __init__(self, model: vosk.Model, directory: VoskDirectory, language: Language) -> None:
        self._model = model
        self._directory = directory
        self._language = language

    @classmethod
    def load(
        cls, path: Path, language: Language, *, frames_per_chunk: int | None = None
    ) -> VoskEngine:
        """Check a model directory, load it, and make one recogniser of it to see that it works.

        Args:
            frames_per_chunk: so many frames of 10 ms go through the network at a time, where the
                model does not say itself. Kaldi's 20 spend a third of all time on laying out the
                same weights anew; 60 hear the same and cost a third less, 120 a seventh less
                again, but words and endpoints are known up to 0.6 or 1.2 s later. None: as Kaldi
                has it.

        Raises:
            ModelError: the directory is incomplete, or Kaldi refuses what is in it.
        """
        directory = check_vosk_directory(path)
        vosk.SetLogLevel(_QUIET)
        with _captured_stderr() as said, _in_chunks_of(frames_per_chunk, path) as laid_out:
            try:
                model = vosk.Model(str(laid_out))
                vosk.KaldiRecognizer(model, float(directory.rate_hz))
            except Exception as error:  # vosk raises nothing more exact
                reason = _kaldi_reason(said()) or str(error)
                raise ModelError(
                    f"{path}: Vosk cannot load this model ({reason}); {MEND}"
                ) from error
        return cls(model, directory, language)

    @property
    def language(self) -> Language:
        """The language that the model recognises."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The native sample rate of the model, Hertz, from its feature configuration."""
        return self._directory.rate_hz

    @property
    def directory(self) -> VoskDirectory:
        """Where the model lies, and what it can do."""
        return self._directory

    def found_in(self, directory: VoskDirectory) -> VoskEngine:
        """The same loaded model as one that lies in another directory."""
        return VoskEngine(self._model, directory, self._language)

    def for_language(self, language: Language) -> VoskEngine:
        """The same loaded model under another language."""
        return VoskEngine(self._model, self._directory, language)

    def recogniser(self, *, alternatives: int = 10) -> VoskRecogniser:
        """A new recogniser with an n-best list of at most ``alternatives`` (1 or more)."""
        if alternatives < 1:
            raise ValueError(f"alternatives is {alternatives}: it must be 1 or more")

        def make() -> vosk.KaldiRecognizer:
            recognizer = vosk.KaldiRecognizer(self._model, float(self.rate_hz))
            recognizer.SetMaxAlternatives(alternatives)
            recognizer.SetWords(True)
            return recognizer

        return VoskRecogniser(
            make,
            language=self._language,
            rate_hz=self.rate_hz,
            exact_times=self._directory.word_boundaries,
        )


class VoskRecogniser:
    """Streaming recognition of one language on one call; used from one thread at a time."""

    def __init__(
        self,
        make: Callable[[], vosk.KaldiRecognizer],
        *,
        language: Language,
        rate_hz: int,
        exact_times: bool,
    ) -> None:
        self._make = make
        self._recognizer = make()
        self._language = language
        self._rate_hz = rate_hz
        self._exact_times = exact_times
        self._finished_samples = 0  # of the utterances before this one
        self._samples = 0  # of this utterance
        self._partial = ""
        self._changed_at = 0  # samples of this utterance at which the partial last changed

    @property
    def language(self) -> Language:
        """The language recognised."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The rate at which audio is due, Hertz."""
        return self._rate_hz

    def accept(self, pcm: bytes) -> bool:
        """Take audio; True where the endpoint rules of the model hold.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
            ModelError: Kaldi failed on this audio.
        """
        if len(pcm) % 2:
            raise AudioError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        if not pcm:
            return False
        try:
            endpoint = bool(self._recognizer.AcceptWaveform(pcm))
        except Exception as error:  # vosk raises nothing more exact
            raise ModelError(f"the {self._language} model failed on this audio: {error}") from error
        self._samples += len(pcm) // 2
        self._update_partial()
        return endpoint

    def _update_partial(self) -> None:
        words = _load(self._recognizer.PartialResult()).get("partial", "").split()
        text = join_words(spoken_words(words))
        if text != self._partial:
            self._partial, self._changed_at = text, self._samples

    def partial(self) -> str:
        """The words so far of the utterance in progress, empty before the first."""
        return self._partial

    def finish(self) -> Recognition:
        """Close the utterance, decode what is still buffered, and start the next one."""
        if not self._samples:
            return Recognition(hypotheses=(), duration_s=0.0)
        answer = _load(self._recognizer.FinalResult())
        recognition = parse_answer(
            answer,
            start_s=self._finished_samples / self._rate_hz,
            duration_s=self._samples / self._rate_hz,
            speech_end_s=None if self._exact_times else self._speech_end_s(),
        )
        self._next_utterance()
        return recognition

    def _speech_end_s(self) -> float:
        return (self._changed_at or self._samples) / self._rate_hz

    def reset(self) -> None:
        """Throw the utterance in progress away and start anew."""
        if self._samples:
            # Not Reset(): after it Vosk's word times no longer follow the samples. FinalResult()
            # would do, and take ten times as long as a new recognizer.
            self._recognizer = self._make()
            self._next_utterance()
            self._finished_samples = 0

    def _next_utterance(self) -> None:
        self._finished_samples += self._samples
        self._samples = self._changed_at = 0
        self._partial = ""


def _load(answer: str) -> Mapping[str, Any]:
    """Vosk's JSON. A number that JSON does not know (nan) costs the utterance, not the call."""
    try:
        loaded = json.loads(answer)
    except ValueError:
        _log.warning("Vosk answered no JSON, taken as nothing heard: %.80r", answer)
        return {}
    return loaded if isinstance(loaded, dict) else {}


def parse_answer(
    answer: Mapping[str, Any],
    *,
    start_s: float = 0.0,
    duration_s: float,
    speech_end_s: float | None = None,
) -> Recognition:
    """Vosk's final result with ``alternatives`` to a :class:`Recognition`.

    Args:
        answer: the decoded JSON; alternatives without a finite score are left out.
        start_s: where the utterance starts on the clock of Vosk's word times.
        duration_s: the audio of the utterance.
        speech_end_s: where the last word ends at the latest, from the start of the utterance.

    Hypotheses come with posteriors over the whole list, the wordless one counted: where nothing
    was probably said, the words' posteriors are low. None come where that is the best path.
    """
    latest_s = duration_s if speech_end_s is None else min(duration_s, speech_end_s)
    paths = [
        path
        for item in answer.get("alternatives", ())
        if (path := _path(item, start_s=start_s, latest_s=latest_s)) is not None
    ]
    return to_recognition(paths, duration_s=duration_s)


def _path(item: Mapping[str, Any], *, start_s: float, latest_s: float) -> WordPath | None:
    score = float(item.get("confidence", math.nan))
    if not math.isfinite(score):
        return None
    words = []
    for entry in item.get("result", ()):
        if entry["word"] in UNKNOWN_WORDS:
            continue
        start = min(max(0.0, float(entry["start"]) - start_s), latest_s)
        end = min(max(start, float(entry["end"]) - start_s), latest_s)
        words.append((str(entry["word"]), round(start, 3), round(end, 3)))
    return WordPath(words=tuple(words), score=score)


@contextmanager
def _in_chunks_of(frames: int | None, model: Path) -> Iterator[Path]:
    """The model's directory with one more line in ``conf/model.conf``; itself where it has one."""
    conf = model / "conf" / "model.conf"
    if frames is None or not conf.is_file() or _CHUNK in conf.read_text(encoding="utf-8"):
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="kapok-") as folder:
        laid_out = Path(folder, model.name)
        # Vosk reads everything as it loads, so the copy of the small files need not stay.
        shutil.copytree(model, laid_out, copy_function=_link)
        changed = laid_out / "conf" / "model.conf"
        text = conf.read_text(encoding="utf-8").rstrip("\n")
        changed.unlink()
        changed.write_text(f"{text}\n{_CHUNK}={frames}\n", encoding="utf-8")
        yield laid_out


def _link(source: str, target: str) -> None:
    try:
        os.symlink(Path(source).absolute(), target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


@contextmanager
def _captured_stderr() -> Iterator[Any]:
    """What C++ code writes to standard error meanwhile; yields a function that reads it.

    Kaldi and OpenFst print their reasons there (Kaldi with its whole usage text) and throw an
    exception that carries none of it.
    """
    with _stderr_lock, tempfile.TemporaryFile() as store:

        def said() -> str:
            store.seek(0)
            return store.read().decode("utf-8", errors="replace")

        try:
            saved = os.dup(2)
        except OSError:  # a daemon without standard error: nothing to keep quiet
            yield said
            return
        try:
            os.dup2(store.fileno(), 2)
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _kaldi_reason(said: str) -> str:
    """The first error line of what Kaldi printed, without its source position."""
    for line in said.splitlines():
        if line.startswith(("ERROR", "ASSERTION_FAILED")):
            return re.sub(r"^[A-Z_]+:? *(\(VoskAPI:.*?\) )?", "", line).strip()
    return ""
