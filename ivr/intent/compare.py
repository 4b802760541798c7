"""What an edit of the queues changes: the same calls matched twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from ivr.intent.cases import Case, decided, is_right, judge
from ivr.intent.matcher import Matcher
from ivr.intent.types import Decision, Match

__all__ = ["Change", "Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Change:
    """A case with its reading before and after the edit."""

    case: Case
    before: Match
    after: Match

    @property
    def goes_elsewhere(self) -> bool:
        """Whether the outcome differs: another queue, or a question for a queue."""
        return (decided(self.before), self.before.decision) != (
            decided(self.after),
            self.after.decision,
        )

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``same`` or, where the label is not known, ``unknown``."""
        if self.case.expected is None:
            return "unknown"
        was = is_right(self.case.expected, self.before)
        is_now = is_right(self.case.expected, self.after)
        return "same" if was == is_now else "better" if is_now else "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All cases."""

    changes: tuple[Change, ...]

    @property
    def moved(self) -> list[Change]:
        """Those that go elsewhere, the worse ones first."""
        order = {"worse": 0, "unknown": 1, "same": 2, "better": 3}
        found = [change for change in self.changes if change.goes_elsewhere]
        return sorted(found, key=lambda change: order[change.verdict])

    @property
    def labelled(self) -> list[Change]:
        """Those whose right outcome is known."""
        return [change for change in self.changes if change.case.expected is not None]

    def accuracy(self) -> tuple[float, float] | None:
        """Before and after, 0 to 1; None without labels."""
        known = self.labelled
        if not known:
            return None
        before = sum(is_right(c.case.expected or "", c.before) for c in known)
        after = sum(is_right(c.case.expected or "", c.after) for c in known)
        return before / len(known), after / len(known)

    def p_value(self) -> float:
        """McNemar's exact test (1947): how likely chance alone moves as many."""
        verdicts = Counter(change.verdict for change in self.labelled)
        better, worse = verdicts["better"], verdicts["worse"]
        return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0

    def shares(self) -> dict[str, tuple[int, int]]:
        """How many calls each outcome gets, before and after."""
        before = Counter(decided(change.before) for change in self.changes)
        after = Counter(decided(change.after) for change in self.changes)
        return {name: (before[name], after[name]) for name in sorted({*before, *after})}

    def questions(self) -> tuple[int, int]:
        """How many callers are asked (confirmed, or asked again), before and after."""
        asks = (Decision.CONFIRM, Decision.ASK_AGAIN)
        return (
            sum(change.before.decision in asks for change in self.changes),
            sum(change.after.decision in asks for change in self.changes),
        )


def compare(old: Matcher, new: Matcher, cases: Iterable[Case] | Sequence[Case]) -> Comparison:
    """Match every case by both."""
    return Comparison(tuple(Change(case, judge(old, case), judge(new, case)) for case in cases))
