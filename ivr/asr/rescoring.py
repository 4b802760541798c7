"""A second pass that weighs again what the first one heard, by a larger network of our own.

    second = Rescorer.load(Path("models/second"), Language.MANDARIN)
    second.again(heard, pcm, 8000)      # a Recognition, its hypotheses in another order

A network over the whole utterance (:mod:`training.rescorer`) says how likely each hypothesis of the
first pass is by its sounds: the sum over all ways to say its units within the utterance, in the
topology in which the networks were trained (:mod:`training.mmi`). That is added to the hypothesis'
score, its acoustics and language model together, with a weight. The two networks err in different
places, so both know more than either. No text comes that the first pass did not have in its list.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ivr.asr.engine import Hypothesis, Recognition, Word
from ivr.audio.resample import Resampler
from ivr.errors import ModelError
from ivr.intent.sounds import character_syllables, in_context, units
from ivr.language import Language
from ivr.onnx_session import load_network

__all__ = ["LABELS", "NETWORK", "SAMPLES", "WEIGHT", "Rescorer", "is_rescorer", "log_likelihoods"]

NETWORK: Final = "rescorer.onnx"
SAMPLES, LABELS = "samples", "labels"
#: Of the second network's log-likelihood, beside the first pass's score.
WEIGHT: Final = 0.3
_RATE_HZ: Final = 8000
_WINDOW, _HOP, _STRIDE = 200, 80, 3  # of the features: samples, samples, frames
_SHORTEST: Final = 10 * _HOP

_Floats = npt.NDArray[np.float64]


def is_rescorer(path: Path) -> bool:
    """Whether a directory holds a network of this kind."""
    return (path / NETWORK).exists()


class Rescorer:
    """The network, of one language's labels; safe to use from several threads."""

    #: Of a list of 10 a third less is gained.
    least_hypotheses = 30

    def __init__(self, session: Any, labels: Sequence[str], language: Language) -> None:
        self._session = session
        self._index = {unit: number for number, unit in enumerate(labels)}
        self._language = language

    @classmethod
    def load(cls, path: Path, language: Language) -> Rescorer:
        """Load ``path/rescorer.onnx``, once for both languages; 0.2 s.

        Raises:
            ModelError: the file cannot be read, is no such network, or does not know the language.
        """
        file = path / NETWORK
        session = _session(file, file.stat().st_mtime_ns if file.exists() else 0)
        labels = json.loads(session.get_modelmeta().custom_metadata_map.get(LABELS, "{}"))
        if language.value not in labels:
            raise ModelError(
                f"{file} is another network: it was not written by training.export_rescorer for "
                f"{language.value}"
            )
        return cls(session, labels[language.value], language)

    def again(self, heard: Recognition, pcm: bytes, rate_hz: int) -> Recognition:
        """What the first pass heard in an utterance (s16le), its hypotheses weighed anew.

        Together they are as probable as before, so that what was said for nothing having been said
        stays; so does the score, by which the language is decided.
        """
        resampler = Resampler(rate_hz, _RATE_HZ)
        audio = np.frombuffer(resampler.resample(pcm) + resampler.flush(), "<i2")
        said = [self._units(h.text) for h in heard.hypotheses]
        known = [h for h, spoken in zip(heard.hypotheses, said, strict=True) if spoken]
        if len(audio) < _SHORTEST or len(known) < 2:
            return heard
        scores = self.scores(audio.astype(np.float32))
        before = np.array([h.confidence for h in known])
        likely = np.log(np.maximum(before, 1e-300))
        likely += WEIGHT * log_likelihoods(scores, [spoken for spoken in said if spoken])
        if not np.isfinite(likely).any():  # too short for any of them
            return heard
        after = np.exp(likely - likely.max())
        after *= before.sum() / after.sum()
        weighed = [replace(h, confidence=float(p)) for h, p in zip(known, after, strict=True)]
        weighed.sort(key=lambda h: -h.confidence)
        weighed += [h for h, spoken in zip(heard.hypotheses, said, strict=True) if not spoken]
        return replace(heard, hypotheses=tuple(_with_words(h, weighed) for h in weighed))

    def scores(self, samples: npt.NDArray[np.float32]) -> _Floats:
        """(frames of 30 ms, labels) log-likelihoods of an utterance, up to a constant.

        ``samples``: (n,) at 8 kHz in the range of int16. Frames at the edges see it mirrored, as in
        Kaldi's ``snip-edges=false``.
        """
        frames = (len(samples) + _HOP // 2) // _HOP // _STRIDE * _STRIDE
        before = _WINDOW // 2 - _HOP // 2
        after = max(0, (frames - 1) * _HOP + _WINDOW - before - len(samples))
        padded = np.pad(samples, (before, after), mode="symmetric")
        padded = padded[: (frames - 1) * _HOP + _WINDOW]
        (found,) = self._session.run([self._language.value], {SAMPLES: padded[np.newaxis]})
        return np.asarray(found, np.float64)

    def _units(self, text: str) -> list[int]:
        """The labels of a text; none where it holds something that has no sound here."""
        said = character_syllables(text, self._language)
        if not all(said):
            return []
        spoken = in_context(units(said, self._language), self._language, self._index)
        known = [self._index[unit] for unit in spoken if unit in self._index]
        return known if len(known) == len(spoken) else []


@functools.lru_cache(maxsize=2)
def _session(file: Path, changed_ns: int) -> Any:
    """One for both languages; another one once the file has changed."""
    return load_network(file, otherwise="take second_pass out of config/kapok.yaml")


def _with_words(hypothesis: Hypothesis, weighed: Sequence[Hypothesis]) -> Hypothesis:
    """Its words' confidences by the hypotheses that have the same word at the same time."""
    return replace(
        hypothesis,
        words=tuple(
            replace(w, confidence=min(1.0, sum(h.confidence for h in weighed if _holds(h, w))))
            for w in hypothesis.words
        ),
    )


def _holds(hypothesis: Hypothesis, word: Word) -> bool:
    return any(
        w.text == word.text and w.start_s <= word.end_s and word.start_s <= w.end_s
        for w in hypothesis.words
    )


def log_likelihoods(scores: _Floats, said: Sequence[Sequence[int]]) -> _Floats:
    """(sequences,) log of the sum over all ways to say each; -inf where none fits.

    A frame belongs to a label or to the blank, label 0; a label lasts one frame or more, between
    two labels there may be blanks, and between two that are equal there is one (the forward pass
    of Graves et al. 2006, *Connectionist temporal classification*).

    Args:
        scores: (frames, labels), natural log.
        said: label sequences, none empty.
    """
    states = 2 * max(map(len, said)) + 1
    label = np.zeros((len(said), states), np.int64)
    for row, sequence in zip(label, said, strict=True):
        row[1 : 2 * len(sequence) : 2] = sequence
    skips = np.zeros((len(said), states))  # over the blank to another label
    skips[:, 3::2] = label[:, 3::2] != label[:, 1:-2:2]
    top = scores.max(1)
    emitted = np.exp(scores - top[:, np.newaxis])
    at = np.zeros((len(said), states))
    at[:, :2] = 1.0
    total = np.zeros(len(said))
    for frame, likely in enumerate(emitted):
        if frame:
            moved = at.copy()
            moved[:, 1:] += at[:, :-1]
            moved[:, 2:] += at[:, :-2] * skips[:, 2:]
            at = moved
        at *= likely[label]
        scale = at.sum(1)
        scale[scale <= 0] = 1e-300
        total += np.log(scale) + top[frame]
        at /= scale[:, np.newaxis]
    rows = np.arange(len(said))
    last = 2 * np.array([len(s) for s in said])
    ends = at[rows, last] + at[rows, last - 1]
    out: _Floats = total + np.log(np.maximum(ends, 1e-300))
    return np.where(ends > 0, out, -math.inf)
