"""A second pass of our own: three networks decode an utterance together, once it is over.

    second = JointDecoder.load(Path("models/second"), Path("models/cmn"), Language.MANDARIN)
    second.again(heard, pcm, 8000)      # a Recognition

A streaming network knows only what has been said so far. A larger one (:mod:`training.conformer`)
hears the whole utterance, and another one its pitch too (:mod:`training.convolutional`). As each
was made otherwise they err in other places; so the log-likelihoods that all give each frame are
added up, each with a weight, and the graph of the streaming model is searched anew
(:mod:`ivr.asr.beam_search`). The first pass keeps the say over whether anything was said at all,
and its score decides the language.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ivr.asr.engine import Recognition
from ivr.asr.features import HOP, RATE_HZ, WINDOW, mfcc
from ivr.asr.hot_words import supports_hot_words
from ivr.asr.kapok_engine import STRIDE, KapokModel
from ivr.asr.models import read_units
from ivr.asr.n_best import to_recognition
from ivr.asr.periodicity import with_mfcc
from ivr.audio.resample import Resampler
from ivr.errors import ModelError
from ivr.language import Language
from ivr.onnx_session import load_network

__all__ = [
    "CONFORMER",
    "CONVOLUTIONAL",
    "FEATURES",
    "LABELS",
    "SAMPLES",
    "SCORES",
    "SURE",
    "WITHOUT",
    "JointDecoder",
    "check_goes_with",
    "is_joint",
]

#: In the directory of the second pass, for both languages: samples in, scores of each language out.
CONFORMER: Final = "conformer.onnx"
SAMPLES: Final = "samples"
#: Beside the streaming model, if it is there: features in, scores out.
CONVOLUTIONAL: Final = "convolutional.onnx"
FEATURES: Final = "features"
SCORES: Final = "scores"
#: Metadata of both.
LABELS: Final = "labels"
#: Of the log-likelihoods of the streaming network, the Conformer, and the convolutional one.
_WEIGHTS: Final = {Language.MANDARIN: (0.5, 0.35, 0.15), Language.CANTONESE: (0.5, 0.4, 0.3)}
#: Where there is no third.
_WEIGHTS_OF_TWO: Final = (0.7, 0.4)
#: Of the search by all (:class:`ivr.asr.beam_search.BeamSearch`).
_LIMITS: Final[dict[str, Any]] = {"beam": 11.0, "lattice_beam": 6.0, "most_active": 3000}
#: Where the first pass is as sure of its best hypothesis, it is right about as often as all.
SURE: Final = 0.7
_SHORTEST: Final = 10 * HOP
#: What helps where a second pass cannot be had.
WITHOUT: Final = "take second_pass out of config/kapok.yaml"
_DELETE: Final = "delete it: the other two then hear utterances again by themselves"

_Floats = npt.NDArray[np.float32]


def is_joint(path: Path) -> bool:
    """Whether a directory holds a network of this kind."""
    return (path / CONFORMER).exists()


def check_goes_with(path: Path, first: Path, language: Language) -> None:
    """See that a network of this kind goes with a streaming model, without loading the latter.

    Args:
        path: directory of the network.
        first: directory of the streaming model.
        language: what both are to hear.

    Raises:
        ModelError: a network cannot be read or is another one, or ``first`` is none of Kapok's
            models of the same units.
    """
    conformer = path / CONFORMER
    labels = _labels(conformer, language, (SAMPLES, language.value), writer="export_conformer")
    if not supports_hot_words(first) or read_units(first) != labels:
        raise ModelError(
            f"{first}: {path} hears again what Kapok's own models of the same units have "
            f"heard, and this is none; name another model, or {WITHOUT}"
        )
    third = first / CONVOLUTIONAL
    if not third.exists():
        return
    if _labels(third, language, (FEATURES, SCORES), writer="export_convolutional") != labels:
        raise ModelError(
            f"{third} was written for other units than those of {path}; get it again, or {_DELETE}"
        )


class JointDecoder:
    """The networks and the graph of one language; safe to use from several threads.

    Args:
        conformer: session of the network of the second pass.
        convolutional: of the one beside the streaming model; None where there is none.
        first: the streaming model.
        language: what all hear.
    """

    def __init__(
        self, conformer: Any, convolutional: Any | None, first: KapokModel, language: Language
    ) -> None:
        self._conformer, self._convolutional = conformer, convolutional
        self._first = first
        self._search = first.search.with_limits(**_LIMITS)
        self._language = language

    @classmethod
    def load(
        cls, path: Path, first: Path, language: Language, *, hot_words: Sequence[str] = ()
    ) -> JointDecoder:
        """Load ``path/conformer.onnx``, once for both languages, and what goes with it.

        That is the streaming model, and ``convolutional.onnx`` beside it, if it is there.

        Args:
            path: directory of the network.
            first: directory of the streaming model, one of Kapok's.
            hot_words: words that the graph is to know besides; what cannot be spelt is left out.

        Raises:
            ModelError: a file cannot be read, is no such network, or does not go with ``first``.
        """
        check_goes_with(path, first, language)
        third = first / CONVOLUTIONAL
        return cls(
            _open(path / CONFORMER),
            _open(third) if third.exists() else None,
            KapokModel.load(first, language, hot_words=hot_words),
            language,
        )

    def wants(self, heard: Recognition) -> bool:
        """Whether there are words, of which the first pass is not sure."""
        return heard.best is not None and heard.best.confidence < SURE

    def again(
        self,
        heard: Recognition,
        pcm: bytes,
        rate_hz: int,
        *,
        count: int,
        scores: _Floats | None = None,
    ) -> Recognition:
        """What all make of an utterance (s16le), at most ``count`` hypotheses.

        Where the first pass is sure, or all find no words, what the first pass heard.
        """
        if heard.best is None or not self.wants(heard):
            return heard
        resampler = Resampler(rate_hz, RATE_HZ)
        audio = np.frombuffer(resampler.resample(pcm) + resampler.flush(), "<i2")
        if len(audio) < _SHORTEST:
            return heard
        found = self._search.best(self.scores(audio.astype(np.float32), scores), count)
        end_s = heard.best.words[-1].end_s
        duration_s = heard.duration_s
        paths = [
            self._first.path(one, end_s, duration_s=duration_s, score=-one.cost) for one in found
        ]
        again = to_recognition(paths, duration_s=duration_s)
        return replace(again, score=heard.score) if again.best else heard

    def scores(self, samples: _Floats, first: _Floats | None = None) -> _Floats:
        """(frames of 30 ms, labels) log-likelihoods of an utterance by all, up to a constant.

        ``samples``: (n,) at 8 kHz in the range of int16; ``first``: what the streaming network
        said, where that is known.
        """
        if first is None:
            first = self._first.network.log_likelihoods(mfcc(samples), every=STRIDE)
        second = self._by_conformer(samples)
        count = len(second)
        if self._convolutional is None:
            return _sum(_WEIGHTS_OF_TWO, first[:count], second)
        third = self._by_convolutional(samples)[:count]
        return _sum(_WEIGHTS[self._language], first[:count], second, third)

    def _by_convolutional(self, samples: _Floats) -> _Floats:
        assert self._convolutional is not None
        features = with_mfcc(samples)[np.newaxis]
        (found,) = self._convolutional.run([SCORES], {FEATURES: features})
        return np.asarray(found, np.float32)

    def _by_conformer(self, samples: _Floats) -> _Floats:
        """Frames at the edges see the samples mirrored, as in Kaldi's ``snip-edges=false``."""
        frames = (len(samples) + HOP // 2) // HOP // STRIDE * STRIDE
        before = WINDOW // 2 - HOP // 2
        after = max(0, (frames - 1) * HOP + WINDOW - before - len(samples))
        padded = np.pad(samples, (before, after), mode="symmetric")
        padded = padded[: (frames - 1) * HOP + WINDOW]
        (found,) = self._conformer.run([self._language.value], {SAMPLES: padded[np.newaxis]})
        return np.asarray(found, np.float32)


def _sum(weights: Sequence[float], *scores: _Floats) -> _Floats:
    found = sum(weight * each for weight, each in zip(weights, scores, strict=True))
    return np.asarray(found, np.float32)


def _labels(
    file: Path, language: Language, names: tuple[str, str], *, writer: str
) -> tuple[str, ...]:
    """Of a network's outputs for a language; ``names`` of its input and of that output.

    Raises:
        ModelError: it cannot be read, or is another network.
    """
    session = _open(file)
    try:
        labels = dict(json.loads(session.get_modelmeta().custom_metadata_map[LABELS]))
    except (KeyError, ValueError, TypeError):
        labels = {}
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    if language.value not in labels or inputs != [names[0]] or names[1] not in outputs:
        raise ModelError(
            f"{file} is another network: it was not written by training.{writer} for "
            f"{language.value}"
        )
    return tuple(labels[language.value])


def _open(file: Path) -> Any:
    return _session(file, file.stat().st_mtime_ns if file.exists() else 0)


@functools.lru_cache(maxsize=4)
def _session(file: Path, changed_ns: int) -> Any:
    """One for all who use the file; another one once it has changed."""
    return load_network(file, otherwise=WITHOUT if file.name == CONFORMER else _DELETE)
