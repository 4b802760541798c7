"""What an edit of the queues changes: the same calls matched twice, and what these cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from ivr.intent.cases import Case, decided, is_right, judge
from ivr.intent.matcher import Matcher
from ivr.intent.types import Decision, Match
from ivr.queues.catalogue import Catalogue, Queue

__all__ = ["Change", "Comparison", "Edit", "compare", "other_edits"]


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


def compare(
    old: Matcher, new: Matcher, cases: Sequence[Case], anew: Sequence[Case] | None = None
) -> Comparison:
    """Match every case by both.

    Args:
        old, new: the matchers before and after the edit.
        cases: what was heard before the edit.
        anew: the same utterances as heard after it, one for one; as before without.
    """
    pairs = zip(cases, cases if anew is None else anew, strict=True)
    return Comparison(tuple(Change(a, judge(old, a), judge(new, b)) for a, b in pairs))


# --- what matching does not show ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """A value that an edit changes, and that has no part in the matching of calls."""

    what: str  # the key in queues.yaml
    of: str | None  # the queue; None: of all
    before: str | int
    after: str | int


_OF_A_QUEUE: Mapping[str, Callable[[Queue], str | int]] = {
    "hours": lambda queue: str(queue.hours),
    "agents": lambda queue: queue.agents,
    "priority": lambda queue: queue.priority,
}


def other_edits(old: Catalogue, new: Catalogue, *, hot_words: bool = True) -> list[Edit]:
    """The edits that do not show in where calls go: who is there to answer, when, and first.

    Args:
        old, new: before and after.
        hot_words: whether these count; not where recordings were heard with each side's own.
    """
    return list(_other_edits(old, new, hot_words=hot_words))


def _other_edits(old: Catalogue, new: Catalogue, *, hot_words: bool) -> Iterator[Edit]:
    for what, before, after in (
        ("default_queue", old.default_queue, new.default_queue),
        ("timezone", old.timezone, new.timezone),
        ("person.key", old.person.key, new.person.key),
    ):
        if before != after:
            yield Edit(what, None, before, after)
    gone = ", ".join(word for word in old.hot_words if word not in new.hot_words)
    come = ", ".join(word for word in new.hot_words if word not in old.hot_words)
    if hot_words and (gone or come):
        yield Edit("hot_words", None, gone or "none", come or "none")
    known = {queue.id: queue for queue in old.queues}
    both = [(known[queue.id], queue) for queue in new.queues if queue.id in known]
    for what, value in _OF_A_QUEUE.items():
        for was, now in both:
            if value(was) != value(now):
                yield Edit(what, now.id, value(was), value(now))
