"""Accuracy and speed of the intent matcher.

    python -m bench.intent

*Held out*: the phrases of the queues, each put to matchers that do not know this wording, and to
matchers that know no wording of the same matter (``ivr.intent.train``). The peers are trained on
the same folds: a character n-gram
linear classifier (scikit-learn: tf-idf, logistic regression) and rapidfuzz alone. All answer with
the likeliest class, so that they are measured alike.

*Paraphrases*: ``tests/intent/paraphrases.tsv``, other wordings of known matters. Lines of a
language and expectation take turns, ``tune`` and ``report``; lines below a comment ``# fresh`` are
a part of their own: for utterances written or collected after the last change. ``ivr train`` sees
none of them.

*Messages*: ``tests/intent/messages.tsv``, what citizens write or say to such a hotline, short and
long, written apart from the phrases. Of each language, queue and kind lines take turns: the half
``development`` may be looked at, of the half ``report`` only these figures are.

Recognition errors are simulated (:mod:`ivr.intent.noise`) with a fixed seed; what a recogniser does
to these sentences is measured by ``ivr eval`` on recordings.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ivr.intent.cases import OFF_TOPIC
from ivr.intent.evidence import core
from ivr.intent.matcher import Matcher, label_of
from ivr.intent.noise import hypotheses
from ivr.intent.normalise import normalise
from ivr.intent.train import Dealt, Labelled, folds
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue

__all__ = ["Message", "Utterance", "correct", "read_messages", "read_utterances"]

ROOT = Path(__file__).resolve().parent.parent
UTTERANCES = ROOT / "tests" / "intent" / "paraphrases.tsv"
MESSAGES = ROOT / "tests" / "intent" / "messages.tsv"
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


@dataclass(frozen=True, slots=True)
class Message:
    """A line of ``messages.tsv``."""

    language: Language
    expected: str  # queue id or off_topic
    kind: str  # short or long
    text: str
    part: str  # development or report


def read_messages(path: Path = MESSAGES) -> list[Message]:
    """All messages, each with the half that it belongs to."""
    out: list[Message] = []
    count: Counter[tuple[str, str, str]] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "language\t")):
            continue
        language, expected, kind, text = line.split("\t")
        turn = count[language, expected, kind]
        count[language, expected, kind] += 1
        part = "report" if turn % 2 else "development"
        out.append(Message(Language(language), expected, kind, text, part))
    return out


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


def _report_messages(matcher: Matcher, console: Console) -> None:
    shown = Table("half", "language", "kind", "likeliest queue right", "routed or confirmed right",
                  "routed", "wrong of these", "off-topic routed", "off-topic asked again",
                  title="Messages")  # fmt: skip
    messages = read_messages()
    for part in ("development", "report"):
        for language in Language:
            for kind in ("short", "long"):
                found = [
                    (m, matcher.match(m.text, language))
                    for m in messages
                    if (m.part, m.language, m.kind) == (part, language, kind)
                ]
                shown.add_row(part, language, kind, *_message_cells(found))
    console.print(shown)


def _message_cells(found: Sequence[tuple[Message, Match]]) -> Iterator[str]:
    sure = (Decision.ROUTE, Decision.CONFIRM)
    queues = [(m, x) for m, x in found if m.expected != OFF_TOPIC]
    off = [x for m, x in found if m.expected == OFF_TOPIC]
    routed = [x.queue == m.expected for m, x in queues if x.decision is Decision.ROUTE]
    yield f"{sum(x.queue == m.expected for m, x in queues) / len(queues):.1%} of {len(queues)}"
    right = sum(x.queue == m.expected and x.decision in sure for m, x in queues)
    yield f"{right / len(queues):.1%}"
    yield f"{len(routed) / len(queues):.1%}"
    yield f"{routed.count(False) / max(1, len(routed)):.1%}"
    yield f"{sum(x.decision is Decision.ROUTE for x in off)} of {len(off)}"
    yield str(sum(x.decision is Decision.ASK_AGAIN for x in off))


# -- held out by family ---------------------------------------------------------------------------


def _peers(catalogue: Catalogue, known: Sequence[Labelled]) -> dict[str, Callable[[Labelled], str]]:
    """Name of a peer -> its answer to a phrase; each knows the phrases ``known``."""
    texts = [core(p.text) for p in known]
    labels = [p.expected for p in known]
    linear = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True),
        LogisticRegression(C=20, max_iter=300),
    ).fit(texts, labels)

    def fuzzy(p: Labelled) -> str:
        found = process.extractOne(core(p.text), texts, scorer=fuzz.WRatio)
        return labels[found[2]] if found else OFF_TOPIC

    return {
        "character n-grams": lambda p: str(linear.predict([core(p.text)])[0]),
        "rapidfuzz": fuzzy,
    }


def _likeliest(matcher: Matcher, p: Labelled) -> str:
    labels, design = matcher.design(p.text, p.language)
    return labels[int(np.argmax(design @ matcher.weights))]


def _report_held_out(catalogue: Catalogue, console: Console) -> None:
    shown = Table("unknown", "language", "phrases of", "matcher", "character n-grams", "rapidfuzz",
                  "phrases", title="Held out")  # fmt: skip
    for dealt in Dealt:
        for cells in _held_out(catalogue, dealt):
            shown.add_row(dealt.value, *cells)
    console.print(shown)


def _held_out(catalogue: Catalogue, dealt: Dealt) -> Iterator[list[str]]:
    right: Counter[tuple[str, str, bool]] = Counter()
    total: Counter[tuple[str, bool]] = Counter()
    parts = list(folds(catalogue, dealt))
    everything = [p for fold in parts for p in fold.held_out]
    for fold in parts:
        gone = set(fold.held_out)
        matcher = fold.matcher()
        peers = _peers(fold.catalogue, [p for p in everything if p not in gone])
        for p in fold.held_out:
            queue = p.expected != OFF_TOPIC and ":" not in p.expected
            total[p.language, queue] += 1
            right["matcher", p.language, queue] += _likeliest(matcher, p) == label_of(p.expected)
            for name, answer in peers.items():
                right[name, p.language, queue] += answer(p) == p.expected
    for (language, queue), count in sorted(total.items(), key=lambda t: str(t)):
        cells = [f"{right[name, language, queue] / count:.1%}" for name in
                 ("matcher", "character n-grams", "rapidfuzz")]  # fmt: skip
        what = "queues" if queue else "emergencies, off-topic"
        yield [language, what, *cells, str(count)]


# -- speed ----------------------------------------------------------------------------------------


def time_match(matcher: Matcher, *, rounds: int = 40) -> dict[Language, float]:
    """Median CPU milliseconds of a match: 20 characters, 20 hypotheses, nothing seen before."""
    rng = random.Random(SEED)
    out = {}
    for language in Language:
        texts = [u.text for u in read_utterances() if u.language is language and u.is_queue]
        times = []
        for _ in range(rounds):
            text = "".join(rng.sample(texts, 3))[:20]
            heard = hypotheses(text, language, rate=0.15, rng=rng, count=20)
            start = time.thread_time()
            matcher.match(heard, language)
            times.append((time.thread_time() - start) * 1000)
        out[language] = statistics.median(times)
    return out


def main() -> None:
    """Print accuracy and speed."""
    parser = argparse.ArgumentParser(description="Accuracy and speed of the intent matcher.")
    parser.add_argument("--queues", type=Path, default=QUEUES)
    options = parser.parse_args()
    console = Console(width=160)
    begin = time.perf_counter()
    catalogue = load_catalogue(options.queues)
    loaded = time.perf_counter()
    matcher = Matcher(catalogue)
    built = time.perf_counter()
    Matcher(load_catalogue(options.queues))
    again = time.perf_counter()
    console.print(
        f"phrases read in {loaded - begin:.2f} s, matcher built in {built - loaded:.2f} s; "
        f"both once more, as after an edit, in {again - built:.2f} s"
    )
    _report_held_out(catalogue, console)
    _report_messages(matcher, console)
    _report_accuracy(matcher, catalogue, console)
    for language, median_ms in time_match(matcher).items():
        console.print(
            f"{language}: {median_ms:.2f} ms of CPU a match at the median (20 hypotheses)"
        )


if __name__ == "__main__":
    main()
