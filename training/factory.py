"""The speech factory: labelled utterances without end, each from a seed.

Four kinds, in shares that a language's data allows: sentences of real people; words and syllables
of real people spliced into new sentences, by a vocoder (:mod:`training.vocoder`) or as they are;
espeak-ng; and lines on which nobody speaks. Every one goes through :mod:`training.line`, and each
keeps the place of every unit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ivr.asr.features import mfcc
from training import line
from training.accent import Accent
from training.corpus import RATE_HZ, Clip, Corpus
from training.network import STRIDE
from training.pronunciation import syllables, units
from training.text import domain_phrases, mandarin_words, sentences

__all__ = ["SHARES", "Factory", "Speech", "Utterance", "by_people", "frame_units", "pieces"]

#: share of real sentences, splices, espeak-ng and empty lines in training.
SHARES = {"cmn": (0.61, 0.16, 0.21, 0.02), "yue": (0.44, 0.29, 0.25, 0.02)}
#: share of the sentences in another voice, where :mod:`training.vocoder` has made them
REVOICED = {"cmn": 0.2, "yue": 0.45}
#: A speaker's share of the sentences follows the square root of how many they have: in Mandarin two
#: of 260 have a fifth of them, and who is learnt from most is not who calls.
PEOPLE_POWER = 0.5
#: share of the splices that come from the vocoder, where it has been run
RESYNTHESIS = 0.65
#: share of the other splices in which every syllable stands alone, between pauses
ALONE = 0.3
MOST_SECONDS = 14.0
#: Longer recordings are cut at pauses of at least this, into pieces of at least that.
PAUSE_S = 0.15
SHORTEST_PIECE_S = 3.0
FRAME_S = 0.01 * STRIDE


@dataclass(frozen=True, slots=True)
class Speech:
    """Samples, what is said in them, and where."""

    samples: np.ndarray  # float32, 8 kHz, range of int16
    syllables: list[str]
    spans: np.ndarray  # (units, 2) seconds

    @classmethod
    def of(cls, clip: Clip) -> Speech:
        """A prepared recording."""
        assert clip.spans is not None, "an unprepared corpus: run python -m training.prepare"
        return cls(clip.audio.astype(np.float32), list(clip.syllables), clip.spans)

    def faster(self, factor: float) -> Speech:
        """Played ``factor`` times as fast: pitch and formants move too."""
        return Speech(line.speed(self.samples, factor), self.syllables, self.spans / factor)

    def read_as(self, syllables: list[str], language: str) -> Speech:
        """The same sound under the label of as many other syllables, units shared out anew."""
        if syllables == self.syllables:
            return self
        spans, at = [], 0
        for new, old in zip(syllables, self.syllables, strict=True):
            wanted, has = len(units([new], language)), len(units([old], language))
            begin, end = self.spans[at][0], self.spans[at + has - 1][1]
            middle = self.spans[at][1] if has == 2 else begin + 0.2 * (end - begin)
            spans += [(begin, middle), (middle, end)] if wanted == 2 else [(begin, end)]
            at += has
        return Speech(self.samples, syllables, np.array(spans, np.float32))


@dataclass(frozen=True, slots=True)
class Utterance:
    """Features, the unit sequence, and which of its units lies under each output frame."""

    language: str
    features: np.ndarray  # (frames, coefficients) float32, 10 ms
    units: list[str]
    at: np.ndarray  # (frames / 3,) int, index into units, -1 for silence


def frame_units(spans: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) index of the unit at each frame of 30 ms, -1 for silence; each unit has a frame.

    Raises:
        ValueError: there are more units than frames.
    """
    if len(spans) > frames:
        raise ValueError(f"{len(spans)} units do not fit into {frames} frames")
    begin, end = np.rint(spans / FRAME_S).astype(int).T
    free = 0
    for k in range(len(spans)):
        begin[k] = max(begin[k], free)
        free = end[k] = max(end[k], begin[k] + 1)
    free = frames
    for k in range(len(spans) - 1, -1, -1):
        end[k] = min(end[k], free)
        free = begin[k] = min(begin[k], end[k] - 1)
    out = np.full(frames, -1)
    for k in range(len(spans)):
        out[begin[k] : end[k]] = k
    return out


class Factory:
    """Makes utterances of both languages; the same seed makes the same utterance."""

    def __init__(
        self,
        corpus: Corpus,
        text_folder: Path,
        queues: Path,
        *,
        revoiced: Mapping[str, float] = REVOICED,
        features: Callable[[np.ndarray], np.ndarray] = mfcc,
    ) -> None:
        self.revoiced_share = revoiced
        self.features = features
        self.real, self.synthetic, self.resynthesis, self.revoiced = {}, {}, {}, {}
        for language, kinds in (("cmn", ("sentence",)), ("yue", ("sentence", "phrase"))):
            clips = corpus.of(language, *kinds)
            parts = [p for c in clips for p in pieces(c)]
            self.real[language] = [c for c in parts if len(c.audio) < MOST_SECONDS * RATE_HZ]
            self.synthetic[language] = corpus.of(language, "espeak")
            self.resynthesis[language] = corpus.of(language, "resynthesis")
            made = corpus.of(language, "revoiced")
            self.revoiced[language] = [c for c in made if len(c.audio) < MOST_SECONDS * RATE_HZ]
        self.people = {k: by_people(self.real[k]) for k in self.real}
        self.revoiced_people = {k: by_people(self.revoiced[k]) for k in self.revoiced}
        self.banks = {k: _banks(corpus, k) for k in ("cmn", "yue")}
        self.babble = np.concatenate(
            [c.audio for k in self.real for c in self.real[k][:: max(1, len(self.real[k]) // 40)]]
        )
        self.domain = {k: domain_phrases(queues, k) for k in ("cmn", "yue")}
        self.text = {"yue": sentences(text_folder, "yue")}
        words = mandarin_words()
        self.words = list(words)
        weight = np.array([words[w] for w in self.words]) ** 0.4
        self.word_weight = weight / weight.sum()

    def utterance(self, language: str, seed: int, *, hard: float = 1.0) -> Utterance | None:
        """One utterance, or None where it came out too short or too long to be of use."""
        rng = np.random.default_rng([seed, len(language), ord(language[0])])
        kind = rng.choice(4, p=SHARES[language])
        make = (self._sentence, self._splice, self._espeak, self.nobody)[kind]
        speech = make(language, rng)
        if len(speech.samples) < 1500 or not (speech.syllables or kind == 3):
            return None
        if rng.random() < 0.8:
            spread = 0.12 if kind == 2 else 0.2
            speech = speech.faster(float(np.exp(rng.uniform(-spread, spread))))
        samples, before_s = line.transmit(speech.samples, rng, babble=self.babble, hard=hard)
        if len(samples) > MOST_SECONDS * RATE_HZ * 1.3:
            return None
        features, labels = self.features(samples), units(speech.syllables, language)
        frames = (len(features) + STRIDE - 1) // STRIDE
        if frames < 1.1 * len(labels) + 2:
            return None
        return Utterance(language, features, labels, frame_units(speech.spans + before_s, frames))

    def _sentence(self, language: str, rng: np.random.Generator) -> Speech:
        made = self.revoiced[language]
        if made and rng.random() < self.revoiced_share[language]:
            return Speech.of(_drawn(made, self.revoiced_people[language], rng))
        real, people = self.real[language], self.people[language]
        speech = Speech.of(_drawn(real, people, rng))
        if len(speech.samples) < 2 * RATE_HZ and rng.random() < 0.5:  # short ones also in pairs
            other = _drawn(real, people, rng)
            if len(other.audio) < 4 * RATE_HZ:
                speech = _join([speech, Speech.of(other)], rng, gap_s=float(rng.uniform(0, 0.4)))
        return speech

    def _splice(self, language: str, rng: np.random.Generator) -> Speech:
        made = self.resynthesis[language]
        if made and rng.random() < RESYNTHESIS:
            return Speech.of(made[rng.integers(len(made))])
        return self.spliced(language, rng)

    def spliced(self, language: str, rng: np.random.Generator) -> Speech:
        """Recorded words or syllables one after the other."""
        kind, bank = self.banks[language][rng.integers(len(self.banks[language]))]
        known, gap_s = list(bank), 0.0

        def some(least: int, below: int) -> list[tuple[str, ...]]:
            return [known[i] for i in rng.integers(len(bank), size=rng.integers(least, below))]

        if kind == "word":
            keys = some(1, 5)
        elif rng.random() < ALONE:  # as callers say yes or no
            keys = some(1, 8)
            gap_s = float(rng.uniform(0.15, 0.6))
        elif rng.random() < 0.2:  # any syllable, so that rare ones are heard
            keys = some(2, 10)
        else:
            keys = [(s,) for s in self.spoken_text(language, rng) if (s,) in bank]
        accent = Accent(language, rng)
        parts = []
        for key in keys:
            said = tuple(map(accent.spoken, key))
            part = Speech.of(bank[said if said in bank else key])
            parts.append(_louder(part.read_as(list(key), language), rng))
        return _join(parts, rng, gap_s=gap_s)

    def _espeak(self, language: str, rng: np.random.Generator) -> Speech:
        return Speech.of(self.synthetic[language][rng.integers(len(self.synthetic[language]))])

    def nobody(self, language: str, rng: np.random.Generator) -> Speech:
        """Nothing but a little noise."""
        samples = rng.standard_normal(int(rng.uniform(0.5, 3) * RATE_HZ)) * rng.uniform(5, 300)
        return Speech(samples.astype(np.float32), [], np.zeros((0, 2), np.float32))

    def spoken_text(self, language: str, rng: np.random.Generator) -> list[str]:
        """Syllables to say: those of a domain phrase, a general sentence, or a run of words."""
        domain = self.domain[language]
        if domain and rng.random() < 0.35:
            text = domain[rng.integers(len(domain))]
        elif language == "yue":
            text = self.text["yue"][rng.integers(len(self.text["yue"]))][:24]
        else:
            n = int(rng.integers(1, 8))
            text = "".join(rng.choice(self.words, size=n, p=self.word_weight))
        return syllables(text, language) or []


def pieces(clip: Clip) -> list[Clip]:
    """A recording longer than an utterance, cut at its pauses; a shorter one as it is."""
    if len(clip.audio) < MOST_SECONDS * RATE_HZ or clip.spans is None:
        return [clip]
    ends = np.cumsum([len(units([s], clip.language)) for s in clip.syllables])
    begins = np.r_[0, ends[:-1]]
    pause_s = clip.spans[begins[1:], 0] - clip.spans[ends[:-1] - 1, 1]
    out, first, from_s = [], 0, 0.0
    for k, gap_s in enumerate([*pause_s, np.inf]):
        until_s = float(clip.spans[ends[k] - 1, 1] + min(gap_s / 2, 0.5))
        if (until_s - from_s < SHORTEST_PIECE_S and np.isfinite(gap_s)) or gap_s < PAUSE_S:
            continue
        spans = clip.spans[begins[first] : ends[k]] - from_s
        audio = clip.audio[int(from_s * RATE_HZ) : int(until_s * RATE_HZ)]
        spoken = clip.syllables[first : k + 1]
        out.append(replace(clip, audio=audio, syllables=spoken, spans=spans, label=""))
        first, from_s = k + 1, until_s
    return out


def by_people(clips: Sequence[Clip]) -> np.ndarray:
    """(clips,) how likely one up to this is drawn, so that speakers share by their square roots."""
    count = Counter(c.person for c in clips)
    return np.cumsum([count[c.person] ** (PEOPLE_POWER - 1) for c in clips])


def _drawn(clips: Sequence[Clip], up_to: np.ndarray, rng: np.random.Generator) -> Clip:
    return clips[int(np.searchsorted(up_to, rng.random() * up_to[-1], side="right"))]


def _banks(corpus: Corpus, language: str) -> list[tuple[str, dict[tuple[str, ...], Clip]]]:
    """Recordings of words and syllables by speaker: what is said to its recording."""
    grouped: dict[tuple[str, str], dict[tuple[str, ...], Clip]] = defaultdict(dict)
    for clip in corpus.of(language, "word", "syllable"):
        grouped[clip.kind, clip.speaker][clip.syllables] = clip
    return [(kind, bank) for (kind, _), bank in grouped.items()]


def _louder(speech: Speech, rng: np.random.Generator) -> Speech:
    samples = speech.samples * np.float32(rng.uniform(0.6, 1.0))
    return Speech(samples, speech.syllables, speech.spans)


def _join(parts: Sequence[Speech], rng: np.random.Generator, *, gap_s: float = 0.0) -> Speech:
    """One after the other: with crossfades of 0 to 60 ms, or with silence between them."""
    y, spoken, spans = np.zeros(0, np.float32), list[str](), [np.zeros((0, 2), np.float32)]
    for part in parts:
        c = part.samples
        if gap_s and len(y):
            y = np.concatenate([y, np.zeros(int(gap_s * RATE_HZ), np.float32)])
        k = 0 if gap_s else min(int(rng.uniform(0, 0.06) * RATE_HZ), len(y) // 3, len(c) // 3)
        w = np.linspace(0, 1, k, dtype=np.float32)
        start = len(y) - k
        y = np.concatenate([y[:start], y[start:] * (1 - w) + c[:k] * w, c[k:]])
        spans.append(part.spans + start / RATE_HZ)
        spoken += part.syllables
    return Speech(y, spoken, np.concatenate(spans))
