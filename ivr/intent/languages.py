"""One reading from the transcripts of several languages, where it is not sure which was spoken.

The probability that a queue is meant is summed over the languages: that of the language times that
of the queue by its transcript. A language in which the words make sense for this hotline gains,
one in which they make none loses; so the matcher may overrule a close decision by sound, and a
chance hit in the wrong language is confirmed and not routed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ivr.intent.matcher import Matcher
from ivr.intent.types import Candidate, Decision, Match
from ivr.language import Language

__all__ = ["Reading", "read"]

#: Probability of a language from which its transcript alone is read.
SURE: Final = 0.95
#: How likely a transcript that fits no queue is, against one that fits for sure: callers also say
#: what no queue answers.
SENSELESS: Final = 0.3
_LIKELY: Final = (Decision.ROUTE, Decision.CONFIRM, Decision.ASK_AGAIN)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was meant, and in which language."""

    language: Language
    language_confidence: float  # probability, 0 to 1
    match: Match


def read(
    matcher: Matcher,
    heard: Mapping[Language, Sequence[tuple[str, float]]],
    language: Language,
    probability: float,
) -> Reading:
    """The reading of an utterance.

    Args:
        matcher: knows every language of ``heard``.
        heard: hypotheses ``(text, weight)`` of each language that was listened to.
        language: the likeliest by sound, one of ``heard``.
        probability: of that language, 0 to 1.
    """
    match = matcher.match(heard[language], language)
    if probability >= SURE or not heard.get(language.other):
        return Reading(language, probability, match)
    matches = {
        language: match,
        language.other: matcher.match(heard[language.other], language.other),
    }
    share = {
        language: probability * _sense(match),
        language.other: (1 - probability) * _sense(matches[language.other]),
    }
    total = sum(share.values())
    share = {key: value / total for key, value in share.items()}
    chosen = max(share, key=lambda key: share[key])
    return Reading(chosen, share[chosen], _together(matcher, matches, share, chosen))


def _sense(match: Match) -> float:
    return max(SENSELESS, match.confidence)


def _together(
    matcher: Matcher,
    matches: Mapping[Language, Match],
    share: Mapping[Language, float],
    chosen: Language,
) -> Match:
    best = matches[chosen]
    if best.decision not in _LIKELY:
        return best
    confidence: dict[str, float] = {}
    phrase: dict[str, str] = {}
    for language in (chosen, chosen.other):
        for candidate in matches[language].candidates:
            more = share[language] * candidate.confidence
            confidence[candidate.queue] = confidence.get(candidate.queue, 0.0) + more
            phrase.setdefault(candidate.queue, candidate.phrase)
    ranked = sorted(confidence, key=lambda queue: -confidence[queue])
    candidates = tuple(
        Candidate(q, int(confidence[q] * 10_000) / 10_000, phrase[q]) for q in ranked
    )
    first = candidates[0].confidence if candidates else 0.0
    decision = matcher.decide(first)
    needs = best.needs if candidates and candidates[0].queue in best.needs else ()
    if needs and decision is Decision.ROUTE:
        decision = Decision.CONFIRM
    return replace(
        best,
        decision=decision,
        queue=candidates[0].queue if candidates else None,
        confidence=first,
        candidates=candidates,
        needs=needs,
    )
