"""From what the recogniser heard to a queue, how sure, and what to do next.

    matcher = Matcher(load_catalogue("config/queues.yaml"))
    match = matcher.match("我想查吓社保", Language.CANTONESE)

The order of judgement: an emergency, the wish for a person, then the queues. What the caller
takes back (不是查社保，是公积金) is left out; of several needs the first is confirmed and all are
named. Evidence of every kind (:mod:`ivr.intent.evidence`) is weighed into one score a class; the
classes are the queues, each emergency, and the background of what no queue answers. Confidences
are their softmax, so a confidence is the probability that the class is right, and they add up to 1
together with the background's. The decision compares the best queue's with the catalogue's
thresholds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from ivr.intent.background import BACKGROUND, CONTEXT
from ivr.intent.calibration import Calibration
from ivr.intent.evidence import Evidence, Example, PhraseIndex, core
from ivr.intent.needs import corrected, several
from ivr.intent.normalise import normalise
from ivr.intent.types import Candidate, Decision, Match
from ivr.intent.urgent import PersonWish, asks_about, goes_on
from ivr.language import Language
from ivr.queues.catalogue import Catalogue

__all__ = ["Matcher", "label_of"]

_NOTHING: Final = "background"  # labels of queues and emergencies carry a prefix
_AROUND: Final = "context"
_QUEUE: Final = "queue:"
_EMERGENCY: Final = "emergency:"
_OTHER_LANGUAGE = 0.8  # what a phrase of the other language counts
_MOST_HYPOTHESES = 10  # the likeliest are looked at; those below weigh next to nothing
_SHORTEST = 2  # characters that can be evidence
_MOST_CANDIDATES = 5
_MOST_NEEDS = 3
_LONG = 14  # characters from which an utterance is more than one breath
_LONGEST = 2.0  # of what _length tells: that of 126 characters and more
_MESSAGE = 40  # characters from which no single word turns all that was said
_WISH_AT_EDGE = 12  # characters of a message, at its beginning and end, that may ask for a person
_LEAST_CANDIDATE = 0.01  # confidence below which a queue is no candidate
_EMERGENCY_SURE = 0.5
_EMERGENCY_ALIGNED = 0.25  # enough where the phrase itself was said
_EMERGENCY_RECALL = 0.7  # share of the phrase that was said
_ALWAYS_NOW = ("120",)  # whoever is ill again and again may be dying now
_PERSON_SHARE = 0.4  # of the weight of the hypotheses

_SURE: Final = (Decision.ROUTE, Decision.CONFIRM)
_EVIDENCE: Final = ("ridge", "cosine", "dice", "precision", "recall", "ratio")
_EVIDENCE_LONG: Final = ("ridge", "cosine", "precision", "recall")


def label_of(expected: str) -> str:
    """The class of a queue id, ``emergency:NUMBER``, ``off_topic`` or ``context``."""
    if expected == "off_topic":
        return _NOTHING
    if expected == _AROUND:
        return _AROUND
    return expected if expected.startswith(_EMERGENCY) else _QUEUE + expected


class Matcher:
    """Finds the queue for what was said. Immutable; safe to use from several threads.

    Args:
        catalogue: the queues and their phrases.
        calibration: weights of the evidence, instead of the catalogue's or the built-in ones.
        languages: those that will be asked for; a language less is half the time to build.
        context: talk around a matter, instead of :data:`ivr.intent.background.CONTEXT`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        calibration: Calibration | None = None,
        languages: Iterable[Language] = tuple(Language),
        context: Mapping[Language, Sequence[str]] = CONTEXT,
    ) -> None:
        self._thresholds = catalogue.thresholds
        self._weights = (calibration or catalogue.calibration or Calibration()).vector()
        self._index = {
            language: PhraseIndex(_examples(catalogue, language, context), language)
            for language in languages
        }
        self._person = {
            language: PersonWish(catalogue.person.phrases[language], catalogue.person.key, language)
            for language in Language
        }

    def match(self, text: str | Sequence[tuple[str, float]], language: Language) -> Match:
        """The queue for a transcript, or for hypotheses ``(text, weight)``, the best first.

        Weights are posterior probabilities; their sum is brought to 1, and where none is above 0
        all count alike. Text may be traditional or simplified, with spaces and punctuation or
        without. Nothing raises here: what cannot be read is a no-match.
        """
        said = _weighed(text)
        best = said[0][0] if said else ""
        heard = _merged(said)
        if not heard:
            return _no_match(best)
        found = self._classes(heard, language)
        urgent = self._emergency(best, heard, found)
        if urgent is not None:
            return urgent
        meant = _merged([(_meant(text), weight) for text, weight in heard])
        wish = self._wish_for_person(best, meant, language)
        if wish is not None:
            return wish
        several_needs = self._several(best, meant, language)
        if several_needs is not None:
            return several_needs
        return self._queue(best, found if meant == heard else self._classes(meant, language))

    def decide(self, confidence: float) -> Decision:
        """What the catalogue's thresholds make of the best queue's confidence, 0 to 1."""
        if confidence >= self._thresholds.route:
            return Decision.ROUTE
        return Decision.CONFIRM if confidence >= self._thresholds.confirm else Decision.ASK_AGAIN

    def _several(
        self, best: str, heard: list[tuple[str, float]], language: Language
    ) -> Match | None:
        """Several needs, each a queue of its own: the first is asked about, the others named."""
        parts = several(heard[0][0])
        if len(parts) < 2:
            return None
        found = [
            self._queue(part, self._classes([(part, 1.0)], language))
            for part in parts[:_MOST_NEEDS]
        ]
        enough = (Decision.ROUTE,) if len(heard[0][0]) > _MESSAGE else _SURE
        sure = [m for m in found if m.decision in enough]
        needs = tuple(dict.fromkeys(m.queue for m in sure if m.queue is not None))
        if len(needs) < 2:
            return None
        first = sure[0]
        return replace(
            first,
            text=best,
            normalised=heard[0][0],
            decision=Decision.CONFIRM,
            needs=needs,
        )

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The weights of the evidence, as :meth:`design` has its columns."""
        return self._weights.copy()

    def design(
        self, text: str | Sequence[tuple[str, float]], language: Language
    ) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
        """The classes and their evidence ``(K, weights)``, which a calibration is fitted on."""
        index = self._index[language]
        heard = _merged(_weighed(text)) or [("", 1.0)]
        cores = _cores(heard)
        return index.labels, _design(index.labels, index.evidence(cores), _length(cores))

    # -- classes ----------------------------------------------------------------------------------

    def _classes(self, heard: list[tuple[str, float]], language: Language) -> _Classes:
        index = self._index[language]
        cores = _cores(heard)
        evidence = index.evidence(cores)
        score = _design(index.labels, evidence, _length(cores)) @ self._weights
        odds = np.exp(score - score.max())
        share = odds / odds.sum()
        # No evidence proves nothing, nor does one syllable that sounds like part of a phrase.
        seen = float(min(1.0, evidence.cosine.max(initial=0.0) * 20.0))
        if all(len(text) < _SHORTEST for text, _ in cores):
            seen = 0.0
        return _Classes(index.labels, share * seen, evidence)

    def _emergency(
        self, best: str, heard: list[tuple[str, float]], found: _Classes
    ) -> Match | None:
        total = sum(
            float(share)
            for label, share in zip(found.labels, found.share, strict=True)
            if label.startswith(_EMERGENCY)
        )
        if total < _EMERGENCY_ALIGNED or asks_about(heard[0][0]):
            return None
        at = max(
            (k for k, label in enumerate(found.labels) if label.startswith(_EMERGENCY)),
            key=lambda k: float(found.share[k]),
        )
        if total < _EMERGENCY_SURE and found.evidence.recall[at] < _EMERGENCY_RECALL:
            return None
        number = found.labels[at].removeprefix(_EMERGENCY)
        if number not in _ALWAYS_NOW and goes_on(heard[0][0]):
            return None
        return Match(
            text=best,
            normalised=heard[0][0],
            decision=Decision.EMERGENCY,
            queue=None,
            confidence=round(total, 4),
            candidates=found.candidates(),
            emergency=number,
        )

    def _wish_for_person(
        self, best: str, heard: list[tuple[str, float]], language: Language
    ) -> Match | None:
        wish = self._person[language]
        share = sum(weight for text, weight in heard if any(map(wish.heard, _edges(text))))
        if share < _PERSON_SHARE:
            return None
        return Match(
            text=best,
            normalised=heard[0][0],
            decision=Decision.PERSON,
            queue=None,
            confidence=round(min(1.0, share), 4),
            candidates=(),
        )

    def _queue(self, best: str, found: _Classes) -> Match:
        candidates = found.candidates()
        confidence = candidates[0].confidence if candidates else 0.0
        return Match(
            text=best,
            normalised=normalise(best),
            decision=self.decide(confidence),
            queue=candidates[0].queue if candidates else None,
            confidence=confidence,
            candidates=candidates,
        )


@dataclass(frozen=True, slots=True)
class _Classes:
    """The classes with their shares of the probability."""

    labels: tuple[str, ...]
    share: npt.NDArray[np.float64]
    evidence: Evidence

    def candidates(self) -> tuple[Candidate, ...]:
        ranked = sorted(
            (-float(share), k)
            for k, share in enumerate(self.share)
            if share >= _LEAST_CANDIDATE and self.labels[k].startswith(_QUEUE)
        )
        return tuple(
            Candidate(
                queue=self.labels[k].removeprefix(_QUEUE),
                confidence=int(-minus * 10_000) / 10_000,  # rounded down: the sum stays below 1
                phrase=self.evidence.phrase[k],
            )
            for minus, k in ranked[:_MOST_CANDIDATES]
        )


def _meant(text: str) -> str:
    """The text without what is taken back; in a message 不是 tells a story and takes nothing."""
    return text if len(text) > _MESSAGE else corrected(text)


def _edges(text: str) -> tuple[str, ...]:
    """Where the wish for a person may stand: anywhere, but for a message its two ends."""
    if len(text) <= _MESSAGE:
        return (text,)
    return text[:_WISH_AT_EDGE], text[-_WISH_AT_EDGE:]


def _no_match(text: str) -> Match:
    return Match(
        text=text,
        normalised=normalise(text),
        decision=Decision.ASK_AGAIN,
        queue=None,
        confidence=0.0,
        candidates=(),
    )


def _examples(
    catalogue: Catalogue, language: Language, context: Mapping[Language, Sequence[str]]
) -> list[Example]:
    """All phrases of all classes as examples for callers of one language."""
    owners = [(_QUEUE + queue.id, queue.phrases) for queue in catalogue.queues]
    owners += [(_EMERGENCY + e.number, e.phrases) for e in catalogue.emergencies]
    out = [
        Example(phrase, label, 1.0 if spoken is language else _OTHER_LANGUAGE)
        for label, phrases in owners
        for spoken, listed in phrases.items()
        for phrase in listed
    ]
    out += [Example(name, label, 0.7) for label, name in _names(catalogue, language)]
    out += [
        Example(phrase, _NOTHING, 1.0 if spoken is language else _OTHER_LANGUAGE)
        for spoken in Language
        for phrase in dict.fromkeys((*BACKGROUND[spoken], *catalogue.off_topic[spoken]))
    ]
    out += [
        Example(phrase, _AROUND, 1.0 if spoken is language else _OTHER_LANGUAGE)
        for spoken in Language
        for phrase in context[spoken]
    ]
    return out


def _names(catalogue: Catalogue, language: Language) -> list[tuple[str, str]]:
    return [(_QUEUE + queue.id, queue.name[language]) for queue in catalogue.queues]


def _weighed(text: str | Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The likeliest hypotheses, in the order given; their weights sum to 1."""
    if isinstance(text, str):
        return [(text, 1.0)]
    if len(text) > _MOST_HYPOTHESES:
        least = sorted((w for _, w in text), reverse=True)[_MOST_HYPOTHESES - 1]
        text = [h for h in text if h[1] >= least][:_MOST_HYPOTHESES]
    weights = [w if w > 0 and np.isfinite(w) else 0.0 for _, w in text]
    total = sum(weights)
    if total <= 0:
        return [(t, 1.0 / len(text)) for t, _ in text]
    return [(t, w / total) for (t, _), w in zip(text, weights, strict=True)]


def _merged(said: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Normalised hypotheses, equal ones together, empty ones left out."""
    merged: dict[str, float] = {}
    for text, weight in said:
        plain = normalise(text)
        if plain:
            merged[plain] = merged.get(plain, 0.0) + weight
    return list(merged.items())


def _cores(heard: list[tuple[str, float]]) -> list[tuple[str, float]]:
    merged: dict[str, float] = {}
    for text, weight in heard:
        merged[core(text)] = merged.get(core(text), 0.0) + weight
    return list(merged.items())


def _length(cores: list[tuple[str, float]]) -> float:
    """How long a message it is: 0 for what is said in one breath, 1 for 56 characters.

    The square root, as the evidence of one phrase among n characters falls with it: vectors are
    brought to length 1.
    """
    return min(_LONGEST, max(0.0, math.sqrt(len(cores[0][0]) / _LONG) - 1.0))


def _design(labels: tuple[str, ...], evidence: Evidence, length: float) -> npt.NDArray[np.float64]:
    """One row a class: its evidence, what kind of class it is, and both once more by length."""
    nothing, around, urgent = _kinds(labels)
    columns = [getattr(evidence, name) for name in _EVIDENCE]
    columns += [nothing, urgent, nothing * evidence.ridge, nothing * evidence.dice, around]
    columns += [getattr(evidence, name) * length for name in _EVIDENCE_LONG]
    columns += [nothing * length, around * length]
    return np.stack(columns, axis=1).astype(np.float64)


@functools.lru_cache(maxsize=64)
def _kinds(labels: tuple[str, ...]) -> tuple[npt.NDArray[np.float32], ...]:
    """Whether a class is the background, the context, or an emergency."""
    kinds = (
        [label == _NOTHING for label in labels],
        [label == _AROUND for label in labels],
        [label.startswith(_EMERGENCY) for label in labels],
    )
    return tuple(np.array(kind, dtype=np.float32) for kind in kinds)
