"""Which language is spoken: a decision from what both recognisers made of one utterance.

The evidence is logistic: ``log-odds of Cantonese = bias + weights . features``, where each feature
is a difference *Cantonese minus Mandarin* (see :data:`FEATURES`), so that a positive value speaks
for Cantonese; one is what the sound alone tells (:mod:`ivr.asr.spoken_language`). The weights lie
in a small JSON file beside the models, because scores of two networks are comparable only after
weighting; they are fitted on labelled utterances.

To that a prior is added: the log-odds of the call so far. It grows with every sure utterance, so
that a call keeps its language through a short "好" or a noisy word, and it is capped, so that one
clear utterance in the other language still wins and the caller can switch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic

from ivr.asr.engine import Recognition
from ivr.asr.models import describe_fault
from ivr.errors import ModelError
from ivr.language import Language

__all__ = [
    "FEATURES",
    "LanguageDecider",
    "LanguageDecision",
    "Weights",
    "features",
    "score_per_s",
]

#: The names of the features, in their order; every one is Cantonese minus Mandarin.
FEATURES = (
    "score",  # log-likelihood of the best path, tens of nats, -3 to 3
    "score_per_second",  # the same a second of audio, nats/s, -10 to 10
    "score_per_syllable",  # log-likelihood over syllables (at least 1), nats, -10 to 10
    "word_confidence",  # mean posterior of the words of the best hypothesis, -1 to 1
    "hypothesis_confidence",  # posterior of the best hypothesis, -1 to 1
    "syllables_per_second",  # syllables over the seconds from first to last word, -5 to 5
    "heard",  # 1 where Cantonese alone heard words, -1 where Mandarin alone did, else 0
    "written",  # share of characters that only Cantonese, or only Mandarin, uses; -1 to 1
    "sound",  # log-odds of Cantonese by the sound alone, natural, -8 to 8
)

#: Function words that are written in one of the two languages only (simplified characters).
_CANTONESE_ONLY = frozenset("嘅喺唔咗嘢啲冇佢哋咁乜嚟揾睇嗰噉畀吓仲咩啱攞瞓攰靓")
_MANDARIN_ONLY = frozenset("的是了不没这那们什么吗呢她它还很在给吧着谁哪怎您找")
_SYLLABLE = re.compile(r"[\u3400-\u9fff]|[A-Za-z]+|[0-9]")

#: Of a language that fits alone: posterior of its best hypothesis, at least.
_LEAST_POSTERIOR = 0.3
#: ... and how probable that language then is; measured by bench/one_language.py.
_PROBABLE_ALONE = 0.99
#: Where the sound is sure of a language, it need fit so much less well.
_SHARE_BY_SOUND = 0.5

_EVIDENCE_CAP = 8.0  # log-odds: never surer than 0.9997 of one utterance


def features(cmn: Recognition, yue: Recognition, sound: float = 0.0) -> npt.NDArray[np.float64]:
    """The evidence of one utterance: shape ``(len(FEATURES),)``, ordered as :data:`FEATURES`.

    ``sound`` are the log-odds that the sound alone tells; 0 where it was not asked.
    """
    mandarin, cantonese = _measure(cmn, _MANDARIN_ONLY), _measure(yue, _CANTONESE_ONLY)
    score = cantonese.score - mandarin.score
    duration_s = max(cmn.duration_s, yue.duration_s, 0.1)
    return np.array(
        [
            _clip(score / 10.0, 3.0),
            _clip(score / duration_s, 10.0),
            _clip(cantonese.score_per_syllable - mandarin.score_per_syllable, 10.0),
            cantonese.word_confidence - mandarin.word_confidence,
            cantonese.confidence - mandarin.confidence,
            _clip(cantonese.rate - mandarin.rate, 5.0),
            float(cantonese.syllables > 0) - float(mandarin.syllables > 0),
            cantonese.written - mandarin.written,
            _clip(sound, _EVIDENCE_CAP),
        ]
    )


@dataclass(frozen=True, slots=True)
class _Measures:
    """What one recogniser's result says of how well its language fits."""

    score: float
    syllables: int
    rate: float  # syllables/s
    confidence: float
    word_confidence: float
    written: float

    @property
    def score_per_syllable(self) -> float:
        return self.score / max(1, self.syllables)


def _measure(recognition: Recognition, only: frozenset[str]) -> _Measures:
    best, text = recognition.best, recognition.text
    score = recognition.score if recognition.score is not None else (best.score if best else 0.0)
    count = len(_SYLLABLE.findall(text))
    if best is None or not best.words:
        return _Measures(score, 0, 0.0, 0.0, 0.0, 0.0)
    spoken_s = max(0.2, best.words[-1].end_s - best.words[0].start_s)
    return _Measures(
        score=score,
        syllables=count,
        rate=count / spoken_s,
        confidence=best.confidence,
        word_confidence=sum(word.confidence for word in best.words) / len(best.words),
        written=sum(char in only for char in text) / max(1, len(text)),
    )


def score_per_s(recognitions: Mapping[Language, Recognition]) -> float:
    """Log-likelihood a second, natural log, of the language that fits best; 0 without audio."""
    rates = (
        r.score / r.duration_s
        for r in recognitions.values()
        if r.score is not None and r.duration_s > 0
    )
    return max(rates, default=0.0)


def _clip(value: float, limit: float) -> float:
    return min(limit, max(-limit, value)) if math.isfinite(value) else 0.0


class Weights(pydantic.BaseModel):
    """The contents of ``language.json``. Log-odds are natural, positive for Cantonese."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    bias: float = 0.0
    #: feature name -> log-odds a unit; a feature that is not named weighs nothing
    weights: dict[str, float] = pydantic.Field(
        default_factory=lambda: {
            # No scores: those of two networks that were not trained together cannot be compared.
            "word_confidence": 4.0,
            "syllables_per_second": 0.3,
            "heard": 3.0,
            "written": 3.0,
            "sound": 1.0,
        }
    )
    #: of the evidence, what the next utterance starts from, and how far it may go
    prior_share: float = pydantic.Field(default=0.6, ge=0, le=1)
    prior_cap: float = pydantic.Field(default=1.5, ge=0)
    #: while the caller speaks: log-odds where Cantonese alone has a partial result, a syllable
    #: more in it, a character written only in one language; and what one must lead by
    partial_heard: float = 1.0
    partial_syllable: float = 0.3
    partial_written: float = 0.8
    partial_margin: float = pydantic.Field(default=0.5, ge=0)
    #: log-odds by the sound alone, with the prior of the call, from which they are sure
    sure_sound: float = pydantic.Field(default=3.0, gt=0)
    #: score a second below which what was heard is noise and no speech; None: all is speech
    least_score_per_s: float | None = None
    #: language -> model (:func:`ivr.asr.models.model_id`) that the weights were fitted on; for
    #: other models they mean nothing. Empty: for any.
    models: dict[Language, str] = pydantic.Field(default_factory=dict)
    #: how the weights were found, in words or figures; not read
    fitted: dict[str, float | int | str] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(weights) - set(FEATURES))
        if unknown:
            raise ValueError(f"unknown feature {unknown[0]!r}; known: {', '.join(FEATURES)}")
        return weights


@dataclass(frozen=True, slots=True)
class LanguageDecision:
    """The language of an utterance. Log-odds are natural, positive for Cantonese."""

    language: Language
    confidence: float  # probability of that language, 0 to 1
    evidence: float  # log-odds from this utterance alone
    log_odds: float  # with the prior of the call


@dataclass(frozen=True)
class LanguageDecider:
    """Decides by :class:`Weights`; holds no state of a call."""

    weights: Weights = field(default_factory=Weights)

    @classmethod
    def load(cls, path: Path) -> LanguageDecider:
        """Weights from a JSON file; the built-in ones where there is no such file.

        Raises:
            ModelError: the file is there but not valid.
        """
        try:
            return cls(Weights.model_validate_json(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except (OSError, pydantic.ValidationError) as error:
            raise ModelError(
                f"{path}: {describe_fault(error)}; fit it again or delete it"
            ) from error

    def fits(self, models: Mapping[Language, str]) -> bool:
        """Whether the weights were fitted on these models (language -> ``model_id``)."""
        fitted = self.weights.models
        return all(fitted.get(language, model) == model for language, model in models.items())

    def save(self, path: Path) -> None:
        """Write the weights as JSON that :meth:`load` reads."""
        text = json.dumps(self.weights.model_dump(mode="json"), ensure_ascii=False, indent=2)
        path.write_text(text + "\n", encoding="utf-8")

    def is_noise(self, recognitions: Mapping[Language, Recognition]) -> bool:
        """Whether no language fits what was heard: words found in babble, a tune, a dog."""
        least = self.weights.least_score_per_s
        return least is not None and score_per_s(recognitions) < least

    def fits_alone(
        self, recognition: Recognition, sure_score: float, *, sound_is_sure: bool = False
    ) -> bool:
        """Whether one language fits what was heard so well that the other need not be asked.

        ``sure_score`` is how many times as well as speech must fit at all
        (:attr:`Weights.least_score_per_s`): a share of what real speech scores in its own language,
        fitted with the models. Where that is not known, nothing fits alone. A language of which
        the sound is sure (:meth:`sure_by_sound`) need fit half as well only, and several readings
        of it may be about as likely.
        """
        least, best = self.weights.least_score_per_s, recognition.best
        if least is None or best is None or recognition.score is None:
            return False
        share, posterior = (_SHARE_BY_SOUND, 0.0) if sound_is_sure else (1.0, _LEAST_POSTERIOR)
        enough = share * sure_score * least * recognition.duration_s
        return recognition.score >= enough and best.confidence >= posterior

    def alone(self, language: Language) -> LanguageDecision:
        """The decision for a language that fits alone."""
        sign = 1.0 if language is Language.CANTONESE else -1.0
        odds = sign * math.log(_PROBABLE_ALONE / (1.0 - _PROBABLE_ALONE))
        return LanguageDecision(language, _PROBABLE_ALONE, odds, odds)

    def sure_by_sound(self, sound: float, *, prior: float = 0.0) -> Language | None:
        """The language, where the log-odds ``sound`` and those of the call so far are sure."""
        log_odds = prior + sound
        return _of(log_odds)[0] if abs(log_odds) >= self.weights.sure_sound else None

    def evidence(
        self, recognitions: Mapping[Language, Recognition], *, sound: float = 0.0
    ) -> float:
        """Log-odds of Cantonese from one utterance; 0 where neither language heard a word."""
        cmn, yue = recognitions[Language.MANDARIN], recognitions[Language.CANTONESE]
        if cmn.best is None and yue.best is None:
            return 0.0
        weights = np.array([self.weights.weights.get(name, 0.0) for name in FEATURES])
        return _clip(self.weights.bias + float(weights @ features(cmn, yue, sound)), _EVIDENCE_CAP)

    def decide(
        self,
        recognitions: Mapping[Language, Recognition],
        *,
        prior: float = 0.0,
        sound: float = 0.0,
    ) -> LanguageDecision:
        """The language of an utterance.

        ``prior`` are the log-odds of the call so far, ``sound`` those that the sound tells. With
        one language configured the answer is that language, for sure.
        """
        if len(recognitions) == 1:
            (language,) = recognitions
            sign = 1.0 if language is Language.CANTONESE else -1.0
            return LanguageDecision(language, 1.0, 0.0, sign * _EVIDENCE_CAP)
        evidence = self.evidence(recognitions, sound=sound)
        language, confidence = _of(prior + evidence)
        return LanguageDecision(language, confidence, evidence, prior + evidence)

    def next_prior(self, decision: LanguageDecision) -> float:
        """The prior of the utterance after ``decision``."""
        return _clip(self.weights.prior_share * decision.log_odds, self.weights.prior_cap)

    def prior_of(self, language: Language, confidence: float) -> float:
        """The prior after an utterance of known language; ``confidence`` is its probability."""
        odds = math.log(max(confidence, 1e-6) / max(1 - confidence, 1e-6))
        log_odds = odds if language is Language.CANTONESE else -odds
        return _clip(self.weights.prior_share * log_odds, self.weights.prior_cap)

    def leading(
        self,
        partials: Mapping[Language, str],
        *,
        prior: float = 0.0,
        current: Language | None = None,
    ) -> tuple[Language, float]:
        """Whose partial result to show while the caller speaks, and the probability of it.

        Only the words are known by now: more of them speak for the language whose model finds
        words in the sound, and characters written in one language only speak for it. ``current``
        stays unless the other leads by a margin, so that the display does not flicker.
        """
        if len(partials) == 1:
            (language,) = partials
            return language, 1.0
        cmn, yue = partials[Language.MANDARIN], partials[Language.CANTONESE]
        log_odds = _clip(prior + self._partial_evidence(cmn, yue), _EVIDENCE_CAP)
        if current is not None and abs(log_odds) < self.weights.partial_margin:
            return current, _probability(current, log_odds)
        return _of(log_odds)

    def _partial_evidence(self, cmn: str, yue: str) -> float:
        more = len(_SYLLABLE.findall(yue)) - len(_SYLLABLE.findall(cmn))
        written = _count(yue, _CANTONESE_ONLY) - _count(cmn, _MANDARIN_ONLY)
        return (
            self.weights.partial_heard * (bool(yue) - bool(cmn))
            + self.weights.partial_syllable * more
            + self.weights.partial_written * written
        )


def _count(text: str, only: frozenset[str]) -> int:
    return sum(char in only for char in text)


def _of(log_odds: float) -> tuple[Language, float]:
    language = Language.CANTONESE if log_odds > 0 else Language.MANDARIN
    return language, _probability(language, log_odds)


def _probability(language: Language, log_odds: float) -> float:
    sign = 1.0 if language is Language.CANTONESE else -1.0
    return 1.0 / (1.0 + math.exp(-sign * log_odds))
