"""What a load run measured, as ``ivr load --json`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Counts", "Figures", "Latency", "most_held"]

#: Of the calls of a level, those that may end undecided.
_MOST_UNDECIDED = 0.02


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of a latency, milliseconds; None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Percentiles of latencies given in seconds, by linear interpolation."""
        if not seconds:
            return cls(None, None, None, 0)
        p50, p95, p99 = (1000.0 * np.percentile(seconds, [50.0, 95.0, 99.0])).tolist()
        return cls(round(p50, 1), round(p95, 1), round(p99, 1), len(seconds))

    def as_json(self) -> dict[str, float | int | None]:
        """The object of ``--json``."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99, "count": self.count}


@dataclass(slots=True)
class Counts:
    """What the calls of a run met, added up while they run."""

    decision_s: list[float] = field(default_factory=list)
    partial_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)  # of the generator itself
    frames_sent: int = 0
    frames_lost: int = 0
    decided: int = 0
    undecided: int = 0  # nothing was decided within the caller's patience
    refused: int = 0  # the server was busy and said so
    broken: int = 0  # the connection failed or was closed in mid-call
    troubles: dict[str, int] = field(default_factory=dict)

    def trouble(self, what: str) -> None:
        """Remember why a call broke."""
        self.troubles[what] = self.troubles.get(what, 0) + 1


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One level of load.

    The decision's latency is from the last sample of speech, at the moment at which the caller
    would have spoken it, to the arrival of the answer's first sign (:mod:`ivr.load.line`); nothing
    is subtracted, so the silence that ends an utterance is in it. The latency of a partial result
    is from the moment at which a frame's last sample would have been spoken to the answer to that
    frame.
    """

    calls: int
    seconds: float
    decision: Latency
    partial: Latency
    generator: Latency
    frames_sent: int
    frames_lost: int
    decided: int
    undecided: int
    refused: int
    broken: int
    troubles: dict[str, int]
    cpu_cores: float | None  # that the server used, on average
    memory_mb: float | None  # of the server at its highest
    memory_per_call_mb: float | None  # over what it used before the first call
    generator_cores: float

    @classmethod
    def of(
        cls,
        counts: Counts,
        *,
        calls: int,
        seconds: float,
        cpu_cores: float | None,
        memory_mb: float | None,
        memory_per_call_mb: float | None,
        generator_cores: float,
    ) -> Figures:
        """The figures of what was counted."""
        return cls(
            calls=calls,
            seconds=seconds,
            decision=Latency.of(counts.decision_s),
            partial=Latency.of(counts.partial_s),
            generator=Latency.of(counts.late_s),
            frames_sent=counts.frames_sent,
            frames_lost=counts.frames_lost,
            decided=counts.decided,
            undecided=counts.undecided,
            refused=counts.refused,
            broken=counts.broken,
            troubles=dict(counts.troubles),
            cpu_cores=cpu_cores,
            memory_mb=memory_mb,
            memory_per_call_mb=memory_per_call_mb,
            generator_cores=generator_cores,
        )

    @property
    def many_undecided(self) -> bool:
        """Whether more than one call in fifty ended undecided."""
        return self.undecided > _MOST_UNDECIDED * (self.decided + self.undecided)

    def held(self, *, deadline_s: float) -> bool:
        """Whether the server held this load.

        Decisions were made, 95 % of them within the deadline, no frame was lost, no call broken
        or refused, and at most one call in fifty ended undecided.
        """
        return (
            self.decision.p95 is not None
            and self.decision.p95 <= 1000.0 * deadline_s
            and not (self.frames_lost or self.broken or self.refused)
            and not self.many_undecided
        )

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            "calls": self.calls,
            "seconds": round(self.seconds, 2),
            "decision_latency_ms": self.decision.as_json(),
            "partial_latency_ms": self.partial.as_json(),
            "frames_sent": self.frames_sent,
            "frames_lost": self.frames_lost,
            "cpu_cores": _rounded(self.cpu_cores),
            "memory_mb": _rounded(self.memory_mb),
            "memory_per_call_mb": _rounded(self.memory_per_call_mb),
            "decided": self.decided,
            "undecided": self.undecided,
            "refused": self.refused,
            "broken": self.broken,
            "troubles": self.troubles,
            "generator": {
                "late_ms": self.generator.as_json(),
                "cpu_cores": _rounded(self.generator_cores),
            },
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def most_held(levels: Iterable[Figures], *, deadline_s: float) -> Figures | None:
    """The level with the most calls that was held, of those before the first that was not."""
    best: Figures | None = None
    for level in levels:
        if not level.held(deadline_s=deadline_s):
            break
        best = level
    return best
