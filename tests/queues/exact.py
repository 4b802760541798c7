"""Exact values that formulas and simulator must meet."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXACT", "Exact"]


@dataclass(frozen=True)
class Exact:
    """A pool of agents, and what is known of it; ``values`` as published, with all their digits."""

    name: str
    per_hour: float
    aht_s: float
    agents: int
    published: dict[str, str]
    patience_s: float | None = None
    within_s: float = 15.0

    @property
    def values(self) -> dict[str, float]:
        return {name: float(text) for name, text in self.published.items()}

    def rounding(self, name: str) -> float:
        """Half a unit of the last digit that is given."""
        digits = self.published[name].partition(".")[2]
        return 0.5000001 * 10 ** -len(digits)


EXACT = [
    Exact(
        "M/M/50", 2880, 60, 50,
        {"p_wait": "0.694456", "mean_wait_s": "20.8337", "mean_queue_length": "16.667"},
    ),
    Exact(
        "M/M/50+M", 2880, 60, 50,
        {"abandoned": "0.030912", "mean_wait_s": "3.7095", "utilisation": "0.9303"},
        patience_s=120,
    ),
    Exact("M/M/13", 210, 180, 13, {"mean_wait_s": "26.557"}),
    Exact("M/M/13+M", 210, 180, 13, {"mean_wait_s": "9.913"}, patience_s=300),
    Exact("M/M/9+M", 210, 180, 9, {"mean_wait_s": "56.62"}, patience_s=300),
    Exact(
        "M/M/14", 200, 180, 14, {"p_wait": "0.174132", "service_level": "0.88835"}, within_s=20
    ),
    # one unit of time is a second; arrivals 0.2 and 4 a second
    Exact("M/M/3", 720, 10, 3, {"mean_wait_s": "4.4444"}),
    Exact("M/M/4", 720, 10, 4, {"mean_wait_s": "0.869565"}),
    Exact("M/M/5", 14400, 1, 5, {"mean_wait_s": "0.554113"}),
]  # fmt: skip
