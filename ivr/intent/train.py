"""Fitting the matcher's weights on the phrases of a catalogue, and measuring it on them.

Out-of-fold stacking (Wolpert 1992, *Stacked generalization*): each fold's phrases, as written, with
simulated recognition errors and as the recognisers heard them (:mod:`ivr.intent.hearing`), are put
to a matcher built from the other phrases, and the evidence that it finds, with the right class, is
what the weights are fitted on.

The phrases are dealt in two ways, and both count alike. By *wording* each phrase is dealt alone:
the matter is known by other wordings, as most callers' is. By *matter* whole families go together,
so that no wording of a matter is judged by a matcher that knows another: the hardest that callers
bring.

*Messages* stand for callers who tell a story, and for what they write: held-out phrases of one
queue between held-out talk around them (:data:`ivr.intent.background.CONTEXT`), at times with
something that another queue answers; and such talk, or what is off-topic, alone.

A family is whatever is much alike: phrases of one class, in either language, of which rapidfuzz's
ratio says 65 of 100 or more, and all that these are alike to in turn.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process
from scipy.optimize import minimize
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from ivr.intent.background import CONTEXT
from ivr.intent.calibration import Calibration
from ivr.intent.cases import OFF_TOPIC, Case, judge
from ivr.intent.evaluate import Outcome, wrong_above
from ivr.intent.evidence import core
from ivr.intent.hearing import read as read_hearings
from ivr.intent.matcher import Matcher, label_of
from ivr.intent.noise import hypotheses
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, Phrases

__all__ = [
    "AROUND",
    "BY_LENGTH",
    "ERROR_RATES",
    "FOLDS",
    "TRIALS",
    "Dealt",
    "Fold",
    "Form",
    "Labelled",
    "Trained",
    "families",
    "fit",
    "folds",
    "labelled",
    "messages",
    "train",
]

FOLDS = 5
SEED = 20261001
#: Character error rates simulated; how errors are in truth is in what was heard.
ERROR_RATES = (0.0, 0.15)
_ALIKE = 65.0
_PRIOR = 0.002  # precision of the weights' normal prior, a row of evidence
#: An off-topic caller who is put through, or an emergency that is not heard, costs more than a
#: caller who is asked again.
_COSTLY_WEIGHT = 2.0


class Dealt(enum.StrEnum):
    """What goes into a fold together."""

    BY_WORDING = "wording"  # each phrase by itself
    BY_MATTER = "matter"  # all phrases of a family


class Form(enum.StrEnum):
    """What an utterance is made of."""

    PHRASE = "phrase"
    HEARD = "heard"  # phrases as the recognisers heard them on noisy lines, those that were spoken
    MESSAGE = "message"  # phrases among talk around them


#: How the held-out phrases are put, and with which character error rates.
TRIALS = (
    *((Form.PHRASE, rate) for rate in ERROR_RATES),
    (Form.HEARD, 0.0),
    *((Form.MESSAGE, rate) for rate in ERROR_RATES),
)
_MESSAGES = 0.5  # a phrase
_PHRASES = (1, 2, 2, 3, 3, 4)  # of their queue in a message, each as likely
_ASTRAY = 0.25  # of the messages with two or more, those with something of another queue too
_EMPTY = 0.1  # of the messages that name no matter at all
#: What counts by length is built in: messages made of phrases are cleaner than real ones, which
#: these weights come from (the development half of tests/intent/messages.tsv).
BY_LENGTH = tuple(name for name in Calibration.weight_names() if name.endswith("_long"))
#: A message that names no matter, as a label: no queue's, and nothing off-topic said.
AROUND = "context"

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
    """The phrases and the talk around them that are held out, and what is left."""

    catalogue: Catalogue
    held_out: tuple[Labelled, ...]
    context: Mapping[Language, tuple[str, ...]]
    context_held_out: Mapping[Language, tuple[str, ...]]

    def matcher(self, calibration: Calibration | None = None) -> Matcher:
        """A matcher that knows what is left."""
        return Matcher(self.catalogue, calibration=calibration, context=self.context)


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
    for n, (_, at) in enumerate(dealer.split(np.zeros(len(phrases)), owners, groups)):
        held_out = tuple(phrases[i] for i in at)
        gone = {language: talk[n::count] for language, talk in CONTEXT.items()}
        out = {t for talk in gone.values() for t in talk}  # both languages have some alike
        left = {
            language: tuple(t for t in talk if t not in out) for language, talk in CONTEXT.items()
        }
        yield Fold(_without(catalogue, held_out), held_out, left, gone)


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


def messages(fold: Fold, *, seed: int = SEED) -> tuple[Labelled, ...]:
    """Messages made of what a fold holds out, half as many as it has phrases."""
    rng = random.Random(seed)
    out = []
    for language in Language:
        phrases = [p for p in fold.held_out if p.language is language]
        of: dict[str, list[Labelled]] = {}
        for p in phrases:
            of.setdefault(p.expected, []).append(p)
        talk = fold.context_held_out[language]
        queues = [owner for owner in of if owner != OFF_TOPIC and ":" not in owner]
        for p in rng.sample(phrases, round(_MESSAGES * len(phrases))):
            if ":" in p.expected:  # an emergency is not told at length
                continue
            out.append(_message(p, of, queues, talk, rng))
        for _ in range(round(_EMPTY * _MESSAGES * len(phrases)) if talk else 0):
            text = "，".join(rng.sample(talk, min(len(talk), rng.randint(1, 2))))
            out.append(Labelled(text, language, AROUND))
    return tuple(out)


def _message(
    first: Labelled,
    of: Mapping[str, list[Labelled]],
    queues: Sequence[str],
    talk: Sequence[str],
    rng: random.Random,
) -> Labelled:
    """A phrase among talk, with more of its queue at times, and seldom some of another."""
    own = [p.text for p in of[first.expected] if p is not first]
    said = [first.text, *rng.sample(own, min(len(own), rng.choice(_PHRASES) - 1))]
    others = [q for q in queues if q != first.expected]
    if len(said) > 1 and first.expected != OFF_TOPIC and others and rng.random() < _ASTRAY:
        said.append(rng.choice(of[rng.choice(others)]).text)
    around = rng.sample(talk, min(len(talk), rng.randint(1, 6)))
    # What is off-topic goes on being off-topic, it does not complain of it.
    around = around[: 1 if first.expected == OFF_TOPIC else None]
    whole = said + around
    rng.shuffle(whole)
    return Labelled("，".join(dict.fromkeys(whole)), first.language, first.expected)


@functools.cache
def _hearings() -> Mapping[tuple[Language, str], Heard]:
    return read_hearings()


def _trial(fold: Fold, form: Form, rate: float) -> list[tuple[Labelled, Heard]]:
    if form is Form.HEARD:
        known = _hearings()
        return [
            (p, known[p.language, p.text]) for p in fold.held_out if (p.language, p.text) in known
        ]
    return _heard(fold.held_out if form is Form.PHRASE else messages(fold), rate)


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
    #: how the phrases were dealt, what was made of them, character error rate -> outcomes, each by
    #: a matcher that knows nothing of its fold and under weights fitted without it
    outcomes: dict[tuple[Dealt, Form, float], list[Outcome]]


def train(catalogue: Catalogue, *, workers: int = 1, advance: Advance = lambda _: None) -> Trained:
    """Fit the weights on all folds; judge each fold under weights fitted on the others.

    Args:
        catalogue: the phrases.
        workers: processes at work at a time; with one all is done in this one.
        advance: is told each fold fitted and each judged, four times :data:`FOLDS` in all.
    """
    parts = [(dealt, n, f) for dealt in Dealt for n, f in enumerate(folds(catalogue, dealt))]
    with _mapping(workers) as each:
        rows = []
        for found_rows in each(_rows, [fold for _, _, fold in parts]):
            rows.append(found_rows)
            advance(1)
        without = [
            _fit([r for part, (_, k, _) in zip(rows, parts, strict=True) if k != n for r in part])
            for _, n, _ in parts
        ]
        outcomes: dict[tuple[Dealt, Form, float], list[Outcome]] = {}
        judged = each(_judged, [(f, w) for (_, _, f), w in zip(parts, without, strict=True)])
        for (dealt, _, _), found in zip(parts, judged, strict=True):
            for trial, some in found.items():
                outcomes.setdefault((dealt, *trial), []).extend(some)
            advance(1)
    weights = _fit([row for part in rows for row in part])
    together = [o for found in outcomes.values() for o in found]
    return Trained(weights.with_curve(wrong_above(together)), outcomes)


_Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextlib.contextmanager
def _mapping(workers: int) -> Iterator[_Each]:
    """``map``, in this process or in several."""
    if workers == 1:
        yield map
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=fresh) as pool:
        yield pool.map


def _judged(task: tuple[Fold, Calibration]) -> dict[tuple[Form, float], list[Outcome]]:
    """The outcomes of a fold's phrases under weights fitted without it."""
    fold, calibration = task
    matcher = fold.matcher(calibration)
    outcomes: dict[tuple[Form, float], list[Outcome]] = {}
    for trial in TRIALS:
        found = outcomes.setdefault(trial, [])
        for p, heard in _trial(fold, *trial):
            expected = OFF_TOPIC if p.expected == AROUND else p.expected
            case = Case(p.text, {p.language: heard}, p.language, expected=expected)
            found.append(Outcome(case, judge(matcher, case)))
    return outcomes


_Row = tuple[Floats, int, float]


def _rows(fold: Fold) -> list[_Row]:
    """Evidence, right class and weight of each utterance of a fold."""
    matcher = fold.matcher()
    out = []
    for form, rate in TRIALS:
        for p, heard in _trial(fold, form, rate):
            labels, design = matcher.design(heard, p.language)
            costly = p.expected in (OFF_TOPIC, AROUND) or ":" in p.expected
            out.append(
                (design, labels.index(label_of(p.expected)), _COSTLY_WEIGHT if costly else 1.0)
            )
    return out


def _fit(rows: Sequence[_Row]) -> Calibration:
    designs, chosen, weight = zip(*rows, strict=True)
    return fit(designs, chosen, weight, kept=BY_LENGTH)


def fit(
    designs: Sequence[Floats],
    chosen: Sequence[int],
    weight: Sequence[float] | None = None,
    *,
    kept: Sequence[str] = (),
) -> Calibration:
    """Maximum a posteriori weights, by L-BFGS from the built-in ones.

    Args:
        designs: of each utterance, one row of evidence a class, ``(K, weights)``.
        chosen: of each utterance, the row that is right.
        weight: of each utterance, how much it counts; 1 without.
        kept: names of weights that stay what they are built in.
    """
    x, y = np.stack(designs), np.asarray(chosen)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    rows = np.arange(len(y))
    start = Calibration().vector()
    free = np.array([name not in kept for name in Calibration.weight_names()])

    def loss(beta: Floats) -> tuple[float, Floats]:
        score = x @ np.where(free, beta, start)
        score -= score.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(score).sum(axis=1))
        p = np.exp(score - log_sum[:, None])
        expected = np.einsum("nk,nkf->nf", p, x)
        value = w @ (log_sum - score[rows, y]) / w.sum() + _PRIOR / 2 * beta @ beta
        slope = w @ (expected - x[rows, y]) / w.sum() + _PRIOR * beta
        return float(value), np.where(free, slope, 0.0)

    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return Calibration.of(np.where(free, found.x, start))
