"""Accuracy and speed of the intent matcher.

    python -m bench.intent          accuracy on the reporting half, against rapidfuzz alone; speed
    python -m bench.intent --fit    fit ivr.intent.matcher.Calibration on the tuning half

Utterances are those of ``tests/intent/paraphrases.tsv``; lines of a language and expectation take
turns, the first, third ... tune and the others report. Lines below a comment ``# fresh`` only
report, in a part of their own: for utterances written or collected after the last tuning.

Recognition errors are simulated with a fixed seed: at each character, with the given rate, a
homophone (half of the errors), a character of a confusable syllable (three in ten), a deletion
(one in ten) or any character at all (one in ten). It is a model of an error, not a recogniser;
what a recogniser does to these sentences is measured by ``ivr replay --expect``.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process
from rich.console import Console
from rich.table import Table

from ivr.intent.matcher import Calibration, Matcher
from ivr.intent.normalise import normalise
from ivr.intent.sounds import character_syllables, table
from ivr.intent.types import Decision
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue

__all__ = ["Utterance", "correct", "corrupt", "hypotheses", "read_utterances"]

ROOT = Path(__file__).resolve().parent.parent
UTTERANCES = ROOT / "tests" / "intent" / "paraphrases.tsv"
QUEUES = ROOT / "config" / "queues.yaml"
SEED = 20240518
NOISE = (0.15, 0.3, 0.45)  # character error rates simulated


@dataclass(frozen=True, slots=True)
class Utterance:
    """A line of ``paraphrases.tsv``: what is said and what it should lead to."""

    language: Language
    expected: str  # queue id, off_topic, emergency:NUMBER, person, !person or !emergency
    text: str
    part: str  # tune, report or fresh

    @property
    def is_queue(self) -> bool:
        """Whether a queue is expected."""
        return self.expected[0] != "!" and self.expected.split(":")[0] not in (
            "off_topic",
            "emergency",
            "person",
        )


def read_utterances(path: Path = UTTERANCES) -> list[Utterance]:
    """All utterances, each with the part that it belongs to."""
    out: list[Utterance] = []
    count: Counter[tuple[str, str]] = Counter()
    fresh = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "language\t")):
            fresh = fresh or line.startswith("# fresh")
            continue
        language, expected, text = line.split("\t")
        turn = count[language, expected]
        count[language, expected] += 1
        part = "fresh" if fresh else ("report" if turn % 2 else "tune")
        out.append(Utterance(Language(language), expected, text, part))
    return out


# -- simulated recognition errors -----------------------------------------------------------------


@functools.cache
def _alphabet(language: Language) -> tuple[list[str], np.ndarray]:
    """The commoner characters (first level of GB 2312) and their syllables' codes."""
    chars = [
        bytes((high, low)).decode("gb2312", "ignore")
        for high in range(0xB0, 0xD8)
        for low in range(0xA1, 0xFF)
    ]
    chars = [c for c in chars if c and character_syllables(c, language)[0]]
    codes = table(language).codes([character_syllables(c, language)[0] for c in chars])
    return chars, codes


@functools.cache
def _near(syllable: str, language: Language) -> tuple[list[str], list[str]]:
    """Characters of the same syllable but for tone, and of confusable ones."""
    chars, codes = _alphabet(language)
    apart = table(language).distances(table(language).codes([syllable]), codes)[0]
    same = [c for c, d in zip(chars, apart, strict=True) if d <= 0.101]
    near = [c for c, d in zip(chars, apart, strict=True) if 0.05 < d <= 0.25]
    return same, near


def _misheard(char: str, syllable: str, language: Language, rng: random.Random) -> str:
    kind = rng.random()
    same, near = _near(syllable, language)
    if kind < 0.5:
        return rng.choice(same or [char])
    if kind < 0.8:
        return rng.choice(near or same or [char])
    return "" if kind < 0.9 else rng.choice(_alphabet(language)[0])


def corrupt(text: str, language: Language, *, rate: float, rng: random.Random) -> str:
    """The text as a recogniser with that character error rate might write it."""
    plain = normalise(text)
    sounds = character_syllables(plain, language)
    return "".join(
        _misheard(c, s, language, rng) if s and rng.random() < rate else c
        for c, s in zip(plain, sounds, strict=True)
    )


def hypotheses(
    text: str, language: Language, *, rate: float, rng: random.Random, count: int = 5
) -> list[tuple[str, float]]:
    """An n-best list with falling weights; as a recogniser's, its lines share most errors."""
    best = corrupt(text, language, rate=rate, rng=rng)
    others = (corrupt(best, language, rate=rate / 3, rng=rng) for _ in range(count - 1))
    return [(t, 0.6**n) for n, t in enumerate((best, *others))]


# -- accuracy -------------------------------------------------------------------------------------


def correct(matcher: Matcher, utterance: Utterance, text: str | list[tuple[str, float]]) -> bool:
    """Whether what is said leads where it should (a queue routed or confirmed)."""
    match = matcher.match(text, utterance.language)
    expected = utterance.expected
    if expected == "off_topic":
        return match.decision is Decision.ASK_AGAIN
    if expected.startswith("emergency:"):
        return match.emergency == expected.split(":")[1]
    if expected == "person":
        return match.decision is Decision.PERSON
    if expected.startswith("!"):
        return match.decision.value != expected[1:]
    return match.queue == expected and match.decision in (Decision.ROUTE, Decision.CONFIRM)


class _RapidfuzzAlone:
    """The baseline: the phrase with the best ``WRatio``, routed from a fixed score."""

    def __init__(self, catalogue: Catalogue, *, accept: float = 60.0) -> None:
        self._accept = accept
        self._choices = {
            language: [(q.id, normalise(p)) for q in catalogue.queues for p in q.phrases[language]]
            for language in Language
        }

    def queue(self, text: str, language: Language) -> str | None:
        """The queue id, None below the score."""
        choices = self._choices[language]
        found = process.extractOne(
            normalise(text), [p for _, p in choices], scorer=fuzz.WRatio, score_cutoff=self._accept
        )
        return choices[found[2]][0] if found else None

    def correct(self, utterance: Utterance, text: str | list[tuple[str, float]]) -> bool:
        """As :func:`correct`, of queues and off-topic only."""
        best = text if isinstance(text, str) else text[0][0]
        queue = self.queue(best, utterance.language)
        return queue == (utterance.expected if utterance.is_queue else None)


Heard = tuple[Utterance, str | list[tuple[str, float]]]


def _heard(utterances: Iterable[Utterance], rate: float) -> list[Heard]:
    rng = random.Random(SEED)
    return [
        (u, hypotheses(u.text, u.language, rate=rate, rng=rng) if rate else u.text)
        for u in utterances
    ]


def _shares(matcher: Matcher, baseline: _RapidfuzzAlone, heard: Sequence[Heard]) -> Iterator[str]:
    queues = [(u, t) for u, t in heard if u.is_queue]
    off = [(u, t) for u, t in heard if u.expected == "off_topic"]
    rest = [(u, t) for u, t in heard if not u.is_queue and u.expected != "off_topic"]
    routed = sum(matcher.match(t, u.language).decision is Decision.ROUTE for u, t in off)
    for part in (queues, off, rest):
        right = sum(correct(matcher, u, t) for u, t in part)
        yield f"{right / max(1, len(part)):.1%} of {len(part)}"
    yield str(routed)
    for part in (queues, off):
        yield f"{sum(baseline.correct(u, t) for u, t in part) / max(1, len(part)):.1%}"


def _report_accuracy(matcher: Matcher, catalogue: Catalogue, console: Console) -> None:
    shown = Table(title="Accuracy")
    for name in ("part", "language", "errors", "queue", "off-topic", "person, emergency"):
        shown.add_column(name)
    for name in ("off-topic routed", "rapidfuzz: queue", "rapidfuzz: off-topic"):
        shown.add_column(name)
    baseline = _RapidfuzzAlone(catalogue)
    for part in ("tune", "report", "fresh"):
        for language in Language:
            chosen = [u for u in read_utterances() if u.part == part and u.language is language]
            for rate in (0.0, *NOISE) if chosen else ():
                shares = _shares(matcher, baseline, _heard(chosen, rate))
                shown.add_row(part, language, f"{rate:.0%}", *shares)
    console.print(shown)


# -- speed ----------------------------------------------------------------------------------------


def time_match(matcher: Matcher, *, rounds: int = 40) -> dict[Language, float]:
    """Median CPU milliseconds of a match: 20 characters, ten hypotheses, nothing seen before."""
    rng = random.Random(SEED)
    out = {}
    for language in Language:
        texts = [u.text for u in read_utterances() if u.language is language and u.is_queue]
        times = []
        for _ in range(rounds):
            text = "".join(rng.sample(texts, 3))[:20]
            heard = hypotheses(text, language, rate=0.15, rng=rng, count=10)
            start = time.thread_time()
            matcher.match(heard, language)
            times.append((time.thread_time() - start) * 1000)
        out[language] = statistics.median(times)
    return out


# -- calibration ----------------------------------------------------------------------------------


def _target(utterance: Utterance) -> str | None:
    if utterance.is_queue:
        return f"queue:{utterance.expected}"
    if utterance.expected == "off_topic":
        return "background"
    return utterance.expected if utterance.expected.startswith("emergency:") else None


def fit(matcher: Matcher, *, prior: float = 0.02, steps: int = 400) -> Calibration:
    """Maximum a posteriori weights of the conditional logit, by damped Newton steps."""
    designs, rows = [], []
    for rate in (0.0, *NOISE):
        for u, text in _heard((u for u in read_utterances() if u.part == "tune"), rate):
            label = _target(u)
            if label is not None:
                labels, design = matcher.design(text, u.language)
                # An off-topic caller put through costs more than a caller asked again.
                for _ in range(2 if label == "background" else 1):
                    designs.append(design)
                    rows.append(labels.index(label))
    x, y = np.stack(designs), np.array(rows)  # (N, K, weights)
    start = Calibration().vector()
    w = start.copy()
    for _ in range(steps):
        score = x @ w
        p = np.exp(score - score.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        mean = np.einsum("nk,nkf->nf", p, x)
        gradient = (x[np.arange(len(y)), y] - mean).mean(axis=0) - prior * w / 10
        spread = np.einsum("nk,nkf,nkg->fg", p, x, x) - mean.T @ mean
        hessian = spread / len(y) + np.eye(len(w)) * prior / 10
        step = np.linalg.solve(hessian, gradient)
        w = w + 0.5 * step
        if np.abs(step).max() < 1e-6:
            break
    return Calibration(
        **{f.name: round(float(v), 2) for f, v in zip(fields(Calibration), w, strict=True)}
    )


def main() -> None:
    """Print accuracy and speed, or fit the calibration."""
    parser = argparse.ArgumentParser(description="Accuracy and speed of the intent matcher.")
    parser.add_argument("--queues", type=Path, default=QUEUES)
    parser.add_argument("--fit", action="store_true", help="fit and print the calibration")
    options = parser.parse_args()
    console = Console(width=160)
    catalogue = load_catalogue(options.queues)
    begin = time.perf_counter()
    matcher = Matcher(catalogue)
    console.print(f"matcher built in {time.perf_counter() - begin:.2f} s")
    if options.fit:
        calibration = fit(matcher)
        console.print(calibration)
        matcher = Matcher(catalogue, calibration=calibration)
    _report_accuracy(matcher, catalogue, console)
    for language, median_ms in time_match(matcher).items():
        console.print(
            f"{language}: {median_ms:.2f} ms of CPU a match at the median (10 hypotheses)"
        )


if __name__ == "__main__":
    main()
