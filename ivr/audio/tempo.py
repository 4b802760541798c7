"""Speech at another tempo and the same pitch (Signalsmith Stretch)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import python_stretch

__all__ = ["at_tempo"]


def at_tempo(
    samples: npt.NDArray[np.float32], factor: float, rate_hz: int
) -> npt.NDArray[np.float32]:
    """The same recording, so many times as fast.

    The spectrum is stretched band by band, attacks kept where they are
    (https://signalsmith-audio.co.uk/writing/2023/stretch-design/).

    Args:
        samples: (samples,) of any range.
        factor: above 1 faster, below slower.
        rate_hz: of the samples.

    Returns:
        (samples / factor,) in the same range, or a little beyond it.
    """
    stretch = python_stretch.Signalsmith.Stretch()
    stretch.preset(1, float(rate_hz))
    stretch.setTimeFactor(factor)
    made: npt.NDArray[np.float32] = np.asarray(stretch.process(samples[np.newaxis, :]))[0]
    return made
