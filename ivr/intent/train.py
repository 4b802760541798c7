"""Fitting the matcher's weights on the phrases of a catalogue, and measuring it on them.

Out-of-fold stacking (Wolpert 1992, *Stacked generalization*): each fold's phrases, as written and
with simulated recognition errors, are put to a matcher built from the other phrases, and the
evidence that it finds, with the right class, is what the weights are fitted on.

The phrases are dealt in two ways, and both count alike. By *wording* each phrase is dealt alone:
the matter is known by other wordings, as most callers' is. By *matter* whole families go together,
so that no wording of a matter is judged by a matcher that knows another: the hardest that callers
bring.

A family is whatever is much alike: phrases of one class, in either language, of which rapidfuzz's
ratio says 65 of 100 or more, and all that these are alike to in turn.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process
from scipy.optimize import minimize
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from ivr.intent.calibration import Calibration
from ivr.intent.cases import OFF_TOPIC, Case, judge
from ivr.intent.evaluate import Outcome
from ivr.intent.evidence import core
from ivr.intent.matcher import Matcher, label_of
from ivr.intent.noise import hypotheses
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, Phrases

__all__ = [
    "ERROR_RATES",
    "FOLDS",
    "Dealt",
    "Fold",
    "Labelled",
    "Trained",
    "families",
    "fit",
    "folds",
    "labelled",
    "train",
]

FOLDS = 5
SEED = 20261001
#: Character error rates simulated.
ERROR_RATES = (0.0, 0.15, 0.3)
_ALIKE = 65.0
_PRIOR = 0.002  # precision of the weights' normal prior, a row of evidence
#: An off-topic caller who is put through costs more than a caller who is asked again.
_BACKGROUND_WEIGHT = 2.0


class Dealt(enum.StrEnum):
    """What goes into a fold together."""

    BY_WORDING = "wording"  # each phrase by itself
    BY_MATTER = "matter"  # all phrases of a family


Heard = list[tuple[str, float]]
Floats = npt.NDArray[np.float64]
Advance = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A phrase of the catalogue: queue id, ``emergency:NUMBER`` or ``off_topic``."""

    text: str
    language: Language
    expected: str


@dataclass(frozen=True)
class Fold:
    """The phrases that are held out, and the catalogue without them."""

    catalogue: Catalogue
    held_out: tuple[Labelled, ...]


def labelled(catalogue: Catalogue) -> tuple[Labelled, ...]:
    """Every phrase of the queues, the emergencies and what is off-topic."""
    owners = [(q.id, q.phrases) for q in catalogue.queues]
    owners += [(f"emergency:{e.number}", e.phrases) for e in catalogue.emergencies]
    owners.append((OFF_TOPIC, catalogue.off_topic))
    return tuple(
        Labelled(phrase, language, owner)
        for owner, phrases in owners
        for language, listed in phrases.items()
        for phrase in listed
    )


def families(phrases: Sequence[Labelled]) -> list[int]:
    """The number of each phrase's family."""
    out = np.zeros(len(phrases), dtype=int)
    first = 0
    for owner in dict.fromkeys(p.expected for p in phrases):
        mine = [i for i, p in enumerate(phrases) if p.expected == owner]
        texts = [core(phrases[i].text) for i in mine]
        alike = process.cdist(texts, texts, scorer=fuzz.ratio, score_cutoff=_ALIKE) > 0
        count, part = connected_components(coo_matrix(alike), directed=False)
        out[mine] = first + part
        first += count
    return [int(n) for n in out]


def folds(
    catalogue: Catalogue, dealt: Dealt = Dealt.BY_MATTER, *, count: int = FOLDS, seed: int = SEED
) -> Iterator[Fold]:
    """Deal the phrases into folds, the owners shared out evenly."""
    phrases = labelled(catalogue)
    alone = dealt is Dealt.BY_WORDING
    groups = list(range(len(phrases))) if alone else families(phrases)
    owners = [f"{p.expected} {p.language}" for p in phrases]
    dealer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for _, at in dealer.split(np.zeros(len(phrases)), owners, groups):
        held_out = tuple(phrases[i] for i in at)
        yield Fold(_without(catalogue, held_out), held_out)


def _without(catalogue: Catalogue, held_out: Sequence[Labelled]) -> Catalogue:
    gone = {(p.expected, p.language, p.text) for p in held_out}

    def rest(owner: str, phrases: Phrases) -> Phrases:
        kept = {
            language: tuple(p for p in listed if (owner, language, p) not in gone)
            for language, listed in phrases.items()
        }
        return Phrases(cmn=kept[Language.MANDARIN], yue=kept[Language.CANTONESE])

    return catalogue.model_copy(
        update={
            "queues": tuple(
                q.model_copy(update={"phrases": rest(q.id, q.phrases)}) for q in catalogue.queues
            ),
            "emergencies": tuple(
                e.model_copy(update={"phrases": rest(f"emergency:{e.number}", e.phrases)})
                for e in catalogue.emergencies
            ),
            "off_topic": rest(OFF_TOPIC, catalogue.off_topic),
        }
    )


def _heard(phrases: Sequence[Labelled], rate: float) -> list[tuple[Labelled, Heard]]:
    rng = random.Random(SEED)
    return [
        (p, hypotheses(p.text, p.language, rate=rate, rng=rng) if rate else [(p.text, 1.0)])
        for p in phrases
    ]


@dataclass(frozen=True)
class Trained:
    """Weights, and how the held-out phrases fare under them."""

    calibration: Calibration
    #: how the phrases were dealt, character error rate -> outcomes of the phrases, each by a
    #: matcher that knows nothing of its fold and under weights fitted without it
    outcomes: dict[tuple[Dealt, float], list[Outcome]]


def train(catalogue: Catalogue, *, advance: Advance = lambda _: None) -> Trained:
    """Fit the weights on all folds; judge each fold under weights fitted on the others.

    ``advance`` is told each fold done, twice :data:`FOLDS` in all.
    """
    parts = [(dealt, n, f) for dealt in Dealt for n, f in enumerate(folds(catalogue, dealt))]
    rows = []
    for _, _, fold in parts:
        rows.append(_rows(fold))
        advance(1)
    outcomes: dict[tuple[Dealt, float], list[Outcome]] = {}
    for dealt, n, fold in parts:
        others = [part for part, (_, k, _) in zip(rows, parts, strict=True) if k != n]
        matcher = Matcher(fold.catalogue, calibration=_fit([r for part in others for r in part]))
        for rate in ERROR_RATES:
            found = outcomes.setdefault((dealt, rate), [])
            for p, heard in _heard(fold.held_out, rate):
                case = Case(p.text, {p.language: heard}, p.language, expected=p.expected)
                found.append(Outcome(case, judge(matcher, case)))
    return Trained(_fit([row for part in rows for row in part]), outcomes)


_Row = tuple[Floats, int, float]


def _rows(fold: Fold) -> list[_Row]:
    """Evidence, right class and weight of each utterance of a fold."""
    matcher = Matcher(fold.catalogue)
    out = []
    for rate in ERROR_RATES:
        for p, heard in _heard(fold.held_out, rate):
            labels, design = matcher.design(heard, p.language)
            off = p.expected == OFF_TOPIC
            out.append(
                (design, labels.index(label_of(p.expected)), _BACKGROUND_WEIGHT if off else 1.0)
            )
    return out


def _fit(rows: Sequence[_Row]) -> Calibration:
    designs, chosen, weight = zip(*rows, strict=True)
    return fit(designs, chosen, weight)


def fit(
    designs: Sequence[Floats], chosen: Sequence[int], weight: Sequence[float] | None = None
) -> Calibration:
    """Maximum a posteriori weights, by L-BFGS from the built-in ones.

    Args:
        designs: of each utterance, one row of evidence a class, ``(K, weights)``.
        chosen: of each utterance, the row that is right.
        weight: of each utterance, how much it counts; 1 without.
    """
    x, y = np.stack(designs), np.asarray(chosen)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    rows = np.arange(len(y))

    def loss(beta: Floats) -> tuple[float, Floats]:
        score = x @ beta
        score -= score.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(score).sum(axis=1))
        p = np.exp(score - log_sum[:, None])
        expected = np.einsum("nk,nkf->nf", p, x)
        value = w @ (log_sum - score[rows, y]) / w.sum() + _PRIOR / 2 * beta @ beta
        slope = w @ (expected - x[rows, y]) / w.sum() + _PRIOR * beta
        return float(value), slope

    found = minimize(loss, Calibration().vector(), jac=True, method="L-BFGS-B")
    return Calibration.of(found.x)
