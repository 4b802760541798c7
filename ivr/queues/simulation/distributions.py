"""Times that are drawn: service, wrap-up, patience, menus, delays.

Each is drawn by its quantile function from one uniform number of the caller, so that the same
caller has the same luck in every arm of a comparison, whatever the parameters of the arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ivr.errors import SimulationError

__all__ = [
    "NEVER",
    "NOTHING",
    "Constant",
    "Distribution",
    "Empirical",
    "Exponential",
    "LogNormal",
    "Never",
]


def _check(right: bool, what: str) -> None:
    if not right:
        raise SimulationError(f"{what} cannot be drawn; give seconds, zero or more")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always ``value_s`` seconds."""

    value_s: float

    def __post_init__(self) -> None:
        _check(0 <= self.value_s < math.inf, f"a constant time of {self.value_s} s")

    @property
    def mean_s(self) -> float:
        """The mean, seconds."""
        return self.value_s


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential with mean ``mean_s`` seconds."""

    mean_s: float

    def __post_init__(self) -> None:
        _check(0 < self.mean_s < math.inf, f"an exponential time with mean {self.mean_s} s")


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Lognormal; ``mean_s`` and standard deviation ``sd_s`` of the time itself, in seconds."""

    mean_s: float
    sd_s: float

    def __post_init__(self) -> None:
        _check(
            0 < self.mean_s < math.inf and 0 <= self.sd_s < math.inf,
            f"a lognormal time with mean {self.mean_s} s and standard deviation {self.sd_s} s",
        )

    @classmethod
    def of_logs(cls, mean: float, sd: float) -> LogNormal:
        """The lognormal whose natural logarithm has this mean and standard deviation."""
        mean_s = math.exp(mean + sd * sd / 2)
        return cls(mean_s, mean_s * math.sqrt(math.expm1(sd * sd)))

    @property
    def log_sd(self) -> float:
        """Standard deviation of the natural logarithm."""
        return math.sqrt(math.log1p((self.sd_s / self.mean_s) ** 2))

    @property
    def log_mean(self) -> float:
        """Mean of the natural logarithm of the seconds."""
        return math.log(self.mean_s) - self.log_sd**2 / 2


@dataclass(frozen=True, slots=True)
class Empirical:
    """One of ``values_s``, each as likely as the other; drawn in ascending order of the uniform.

    For patience a value may be infinite: a caller who never gives up, such as the share that a
    Kaplan-Meier estimate leaves beyond its last observation.
    """

    values_s: tuple[float, ...]

    def __post_init__(self) -> None:
        _check(bool(self.values_s), "an empirical distribution without values")
        for value in self.values_s:
            _check(value >= 0, f"an empirical distribution with the value {value} s")
        object.__setattr__(self, "values_s", tuple(sorted(map(float, self.values_s))))

    @property
    def mean_s(self) -> float:
        """The mean, seconds."""
        return math.fsum(self.values_s) / len(self.values_s)


@dataclass(frozen=True, slots=True)
class Never:
    """As patience: the caller never gives up."""

    @property
    def mean_s(self) -> float:
        """Infinite."""
        return math.inf


Distribution = Constant | Exponential | LogNormal | Empirical | Never

#: Patience of a caller who never gives up.
NEVER = Never()

#: No time at all, as for a wrap-up that there is not.
NOTHING = Constant(0.0)
