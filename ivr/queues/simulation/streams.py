"""Random numbers by counter: the n-th number of a purpose is a function of seed, purpose and n.

A caller's luck is therefore fixed by the caller's number alone. However long one arm of a
comparison keeps a caller waiting, whichever numbers it never asks for, the other arm draws the
same: common random numbers cannot get out of step.

Each purpose has a substream of its own, keyed by ``numpy.random.SeedSequence.spawn``. It is
SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators"), whose
n-th output is a hash of ``key + n * gamma``, gamma odd and of the purpose's own.
"""

# numba compiles these functions: their argument types are its own.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np
import numpy.typing as npt

from ivr.queues.simulation.compiling import compiled

__all__ = ["Purpose", "draw", "mix", "normal_quantile", "stream_keys"]

Keys = npt.NDArray[np.uint64]


class Purpose(IntEnum):
    """What a random number is for; the order is part of what a seed means."""

    ARRIVAL = 0
    NEED = auto()
    SERVICE = auto()
    WRAP_UP = auto()
    PATIENCE = auto()
    FRONT_END = auto()
    ASKED_AGAIN = auto()
    AGAIN_SECONDS = auto()
    CONTAINED = auto()
    CONTAINED_SECONDS = auto()
    HUNG_UP = auto()
    ROUTE = auto()
    TRANSFER = auto()
    REDIAL = auto()
    REDIAL_DELAY = auto()
    CALL_BACK = auto()
    REACHED = auto()
    NO_ANSWER = auto()
    BUSYNESS = auto()


def stream_keys(seed: np.random.SeedSequence) -> Keys:
    """Key and gamma of every purpose: uint64 (purposes, 2).

    ``seed`` is not changed (a ``SeedSequence`` counts what it has spawned), so that the same one
    gives the same keys for every arm.
    """
    fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key, pool_size=seed.pool_size)
    keys = np.array([child.generate_state(2, np.uint64) for child in fresh.spawn(len(Purpose))])
    keys[:, 1] |= np.uint64(1)
    return keys


@compiled
def mix(z):
    """The output function of SplitMix64 (Stafford's variant 13); uint64 to uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def draw(keys, purpose, number):
    """The ``number``-th uniform number of a purpose, strictly between 0 and 1."""
    z = mix(keys[purpose, 0] + (np.uint64(number) + np.uint64(1)) * keys[purpose, 1])
    return (np.float64(z >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


@compiled
def normal_quantile(p):
    """Quantile of the standard normal distribution, relative error 1e-16.

    Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution", PPND16,
    as in ``statistics.NormalDist.inv_cdf``.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        num = (
            (
                (
                    (
                        (
                            (
                                (2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r
                                + 6.7265770927008700853e4
                            )
                            * r
                            + 4.5921953931549871457e4
                        )
                        * r
                        + 1.3731693765509461125e4
                    )
                    * r
                    + 1.9715909503065514427e3
                )
                * r
                + 1.3314166789178437745e2
            )
            * r
            + 3.3871328727963666080e0
        ) * q
        den = (
            (
                (
                    (
                        (
                            (5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r
                            + 3.9307895800092710610e4
                        )
                        * r
                        + 2.1213794301586595867e4
                    )
                    * r
                    + 5.3941960214247511077e3
                )
                * r
                + 6.8718700749205790830e2
            )
            * r
            + 4.2313330701600911252e1
        ) * r + 1.0
        return num / den
    r = np.sqrt(-np.log(p if q <= 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        num = (
            (
                (
                    (
                        (
                            (7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r
                            + 2.41780725177450611770e-1
                        )
                        * r
                        + 1.27045825245236838258e0
                    )
                    * r
                    + 3.64784832476320460504e0
                )
                * r
                + 5.76949722146069140550e0
            )
            * r
            + 4.63033784615654529590e0
        ) * r + 1.42343711074968357734e0
        den = (
            (
                (
                    (
                        (
                            (1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r
                            + 1.51986665636164571966e-2
                        )
                        * r
                        + 1.48103976427480074590e-1
                    )
                    * r
                    + 6.89767334985100004550e-1
                )
                * r
                + 1.67638483018380384940e0
            )
            * r
            + 2.05319162663775882187e0
        ) * r + 1.0
    else:
        r -= 5.0
        num = (
            (
                (
                    (
                        (
                            (2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r
                            + 1.24266094738807843860e-3
                        )
                        * r
                        + 2.65321895265761230930e-2
                    )
                    * r
                    + 2.96560571828504891230e-1
                )
                * r
                + 1.78482653991729133580e0
            )
            * r
            + 5.46378491116411436990e0
        ) * r + 6.65790464350110377720e0
        den = (
            (
                (
                    (
                        (
                            (2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r
                            + 1.84631831751005468180e-5
                        )
                        * r
                        + 7.86869131145613259100e-4
                    )
                    * r
                    + 1.48753612908506148525e-2
                )
                * r
                + 1.36929880922735805310e-1
            )
            * r
            + 5.99832206555887937690e-1
        ) * r + 1.0
    return -num / den if q < 0.0 else num / den
