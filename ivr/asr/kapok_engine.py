"""Kapok's own engine, for Kapok's own models: what Vosk hears, with less computing.

The directory is one that Vosk loads too. Its network is computed by NumPy
(:mod:`ivr.asr.nnet3`), its graph searched by functions that numba compiles
(:mod:`ivr.asr.beam_search`). Hot words go straight into the graph. What the network said
is kept until the next utterance, for a second pass (:mod:`ivr.asr.joint_decoding`).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ivr.asr.beam_search import BeamSearch, Found, Progress, SearchStream
from ivr.asr.decoding_options import DecodingOptions, read_decoding_options
from ivr.asr.engine import Recognition
from ivr.asr.features import COEFFICIENTS, RATE_HZ, MfccStream
from ivr.asr.hot_words import graph_with, supports_hot_words
from ivr.asr.models import MEND, check_vosk_directory
from ivr.asr.n_best import UNKNOWN_WORDS, WordPath, join_words, spoken_words, to_recognition
from ivr.asr.nnet3 import Nnet3, Stream, read_nnet3
from ivr.errors import AudioError, ModelError
from ivr.language import Language

__all__ = ["FRAME_S", "STRIDE", "KapokEngine", "KapokModel", "KapokRecogniser"]

#: Frames of the features from one output of the network to the next, and seconds likewise.
STRIDE: Final = 3
FRAME_S: Final = 0.01 * STRIDE
#: So many frames of 10 ms go through the network at a time where nothing else is said; six times
#: as many cost half as much.
_FRAMES_PER_CHUNK: Final = 21
#: What the graph's costs weigh beside the network's scores, as in what Vosk finds in a lattice:
#: the weights of the language decision and of the matcher were fitted on such scores.
_GRAPH_WEIGHT: Final = 0.9

#: What a model is loaded from.
_FILES: Final = (
    "am/final.mdl", "graph/HCLG.fst", "graph/words.txt", "units.txt", "conf/model.conf"
)  # fmt: skip

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KapokModel:
    """What is loaded of a model directory: the network, the graph and the words."""

    network: Nnet3
    search: BeamSearch
    options: DecodingOptions
    words: Sequence[str]
    #: hot words that it cannot spell
    refused: Sequence[str] = ()

    @classmethod
    def load(cls, path: Path, language: Language, *, hot_words: Sequence[str] = ()) -> KapokModel:
        """Load a directory of Kapok's; what is loaded already is shared.

        Raises:
            ModelError: it is incomplete, or no model of Kapok's.
        """
        changed = tuple(
            file.stat().st_mtime_ns if file.exists() else 0 for file in map(path.joinpath, _FILES)
        )
        return _loaded(path.resolve(), language, tuple(hot_words), changed)

    @staticmethod
    def forget() -> None:
        """What is loaded next is read anew, as in a new process: to measure how long it takes."""
        _loaded.cache_clear()

    def path(self, found: Found, end_s: float, *, duration_s: float, score: float) -> WordPath:
        """Words by name: each lasts until the next begins, the last until ``end_s``."""
        starts = [min(round(FRAME_S * frame, 3), duration_s) for frame in found.frames]
        end_s = min(end_s, duration_s)
        ends = [*starts[1:], round(max([end_s, *starts[-1:]]), 3)]
        rows = zip((self.words[word] for word in found.words), starts, ends, strict=False)
        return WordPath(tuple(row for row in rows if row[0] not in UNKNOWN_WORDS), score)


@functools.lru_cache(maxsize=4)
def _loaded(
    path: Path, language: Language, hot_words: tuple[str, ...], changed: tuple[int, ...]
) -> KapokModel:
    directory = check_vosk_directory(path)
    threadpool_limits(1, user_api="blas")  # other cores have other calls
    if not supports_hot_words(path) or directory.rate_hz != RATE_HZ:
        raise ModelError(
            f"{path}: engine: kapok runs Kapok's own models, and this is none; use engine: vosk"
        )
    file = path / "am" / "final.mdl"
    try:
        network = read_nnet3(file)
        network.log_likelihoods(np.zeros((1, COEFFICIENTS), np.float32), every=STRIDE)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, StopIteration, struct.error) as error:
        raise ModelError(f"{file} is no network of Kapok's ({error}); {MEND}") from error
    graph, words, refused = graph_with(path, hot_words, language)
    if graph.arcs["output"].max(initial=0) >= len(words):
        raise ModelError(f"{path / 'graph/words.txt'}: not all words of the graph are here; {MEND}")
    options = read_decoding_options(path / "conf" / "model.conf")
    search = BeamSearch(
        graph,
        beam=options.beam / _GRAPH_WEIGHT,
        lattice_beam=options.lattice_beam / _GRAPH_WEIGHT,
        most_active=options.max_active,
    )
    stream = search.stream()  # all of it is compiled now, once a machine
    try:
        stream.accept(np.zeros((1, network.outputs), np.float32))
    except ValueError as error:
        raise ModelError(
            f"{path}: network and graph are of two models ({error}); {MEND}"
        ) from error
    stream.progress()
    stream.best(1)
    return KapokModel(network, search, options, words, refused)


class KapokEngine:
    """A loaded model of one language, shared by all calls."""

    def __init__(
        self, model: KapokModel, language: Language, *, frames_per_chunk: int | None = None
    ) -> None:
        self.model = model
        self._language = language
        self._chunk = frames_per_chunk or _FRAMES_PER_CHUNK

    @classmethod
    def load(
        cls,
        path: Path,
        language: Language,
        *,
        hot_words: Sequence[str] = (),
        frames_per_chunk: int | None = None,
    ) -> KapokEngine:
        """Load a model directory.

        Args:
            path: the directory.
            language: what the model hears.
            hot_words: words that it is to know besides.
            frames_per_chunk: so many frames of 10 ms go through the network at a time; words and
                endpoints are known so much later.

        Raises:
            ModelError: the directory is incomplete, or no model of Kapok's.
        """
        model = KapokModel.load(path, language, hot_words=hot_words)
        return cls(model, language, frames_per_chunk=frames_per_chunk)

    @property
    def language(self) -> Language:
        """The language that the model recognises."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The native sample rate of the model, Hertz."""
        return RATE_HZ

    def recogniser(self, *, alternatives: int = 10) -> KapokRecogniser:
        """A new recogniser with an n-best list of at most ``alternatives`` (1 or more)."""
        if alternatives < 1:
            raise ValueError(f"alternatives is {alternatives}: it must be 1 or more")
        return KapokRecogniser(
            self.model, self._language, alternatives=alternatives, frames_per_chunk=self._chunk
        )


class _Utterance:
    """One utterance under way: from samples to scores, and along the search."""

    def __init__(self, model: KapokModel, frames_per_chunk: int) -> None:
        self._chunk = frames_per_chunk
        self._features = MfccStream()
        self._network = Stream(model.network, every=STRIDE)
        self.search: SearchStream = model.search.stream()
        self._waiting: list[_Floats] = []  # features
        self.scores: list[_Floats] = [np.zeros((0, model.network.outputs), np.float32)]
        self.progress = Progress()
        self.samples = 0

    def accept(self, samples: _Floats) -> bool:
        """Whether there is progress."""
        self.samples += len(samples)
        self._waiting.append(self._features.accept(samples))
        if sum(map(len, self._waiting)) < self._chunk:
            return False
        self._decode(last=False)
        return True

    def finish(self) -> _Floats:
        """The scores of the whole utterance, which is over."""
        self._waiting.append(self._features.accept(np.zeros(0, np.float32), last=True))
        self._decode(last=True)
        return np.concatenate(self.scores)

    def _decode(self, *, last: bool) -> None:
        scores = self._network.accept(np.concatenate(self._waiting), last=last)
        self._waiting = []
        if len(scores):
            self.scores.append(scores)
            self.search.accept(scores / np.float32(_GRAPH_WEIGHT))
            self.progress = self.search.progress()


class KapokRecogniser:
    """Streaming recognition of one language on one call; used from one thread at a time."""

    def __init__(
        self, model: KapokModel, language: Language, *, alternatives: int, frames_per_chunk: int
    ) -> None:
        self._model = model
        self._language = language
        self._alternatives = alternatives
        self._chunk = frames_per_chunk
        self._utterance = _Utterance(model, frames_per_chunk)
        self._partial = ""
        #: log-likelihoods (frames of :data:`FRAME_S`, labels) of the last utterance that is over
        self.finished_scores = np.zeros((0, model.network.outputs), np.float32)

    @property
    def language(self) -> Language:
        """The language recognised."""
        return self._language

    @property
    def rate_hz(self) -> int:
        """The rate at which audio is due, Hertz."""
        return RATE_HZ

    def accept(self, pcm: bytes) -> bool:
        """Take audio; True where the endpoint rules of the model hold.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
        """
        if len(pcm) % 2:
            raise AudioError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        utterance = self._utterance
        if utterance.accept(np.frombuffer(pcm, "<i2").astype(np.float32)):
            words = utterance.progress.words
            self._partial = join_words(spoken_words(self._model.words[word] for word in words))
        return self._model.options.is_endpoint(
            decoded_s=FRAME_S * utterance.progress.decoded,
            silent_s=FRAME_S * utterance.progress.silent,
            cost_of_end=utterance.progress.cost_of_end,
        )

    def partial(self) -> str:
        """The words so far of the utterance in progress, empty before the first."""
        return self._partial

    def finish(self) -> Recognition:
        """Close the utterance, decode what is still buffered, and start the next one."""
        utterance = self._utterance
        if not utterance.samples:
            return Recognition(hypotheses=(), duration_s=0.0)
        self.finished_scores = utterance.finish()
        end_s = FRAME_S * (utterance.progress.decoded - utterance.progress.silent)
        duration_s = utterance.samples / RATE_HZ
        found = utterance.search.best(self._alternatives)
        self.reset()
        paths = [
            self._model.path(one, end_s, duration_s=duration_s, score=-_GRAPH_WEIGHT * one.cost)
            for one in found
        ]
        return to_recognition(paths, duration_s=duration_s)

    def reset(self) -> None:
        """Throw the utterance in progress away and start anew."""
        self._utterance = _Utterance(self._model, self._chunk)
        self._partial = ""
