"""How the matcher weighs its evidence: the weights, and where they are kept.

A conditional logit (McFadden 1974, *Conditional logit analysis of qualitative choice behavior*):
the score of a class is the weighted sum of its evidence, and the softmax over the classes is the
probability of each. The weights do not belong to any class, so they hold for other queues too.

With the weights stands how often the best queue is wrong from a confidence up, so that thresholds
may be stated as what they shall achieve.

``ivr train`` writes ``calibration.json`` beside ``queues.yaml``; without that file the weights here
count, which come from the queues that Kapok is shipped with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic

from ivr.errors import ConfigError

__all__ = ["CALIBRATION_FILE", "STEPS", "Calibration", "read_calibration"]

#: Beside queues.yaml.
CALIBRATION_FILE = "calibration.json"

Floats = npt.NDArray[np.float64]


STEPS = 100  # of the curve
# fmt: off
_WRONG_ABOVE = (
    0.2272, 0.1585, 0.1453, 0.1368, 0.1314, 0.1273, 0.1235, 0.1198, 0.1166, 0.1139, 0.1113, 0.1092,
    0.1070, 0.1045, 0.1028, 0.1010, 0.0989, 0.0973, 0.0959, 0.0942, 0.0928, 0.0915, 0.0895, 0.0883,
    0.0871, 0.0861, 0.0852, 0.0837, 0.0828, 0.0813, 0.0803, 0.0792, 0.0782, 0.0773, 0.0762, 0.0754,
    0.0742, 0.0734, 0.0723, 0.0712, 0.0699, 0.0691, 0.0683, 0.0670, 0.0659, 0.0641, 0.0627, 0.0615,
    0.0604, 0.0591, 0.0578, 0.0562, 0.0552, 0.0539, 0.0526, 0.0513, 0.0501, 0.0486, 0.0473, 0.0463,
    0.0452, 0.0441, 0.0432, 0.0422, 0.0413, 0.0398, 0.0387, 0.0377, 0.0364, 0.0357, 0.0348, 0.0337,
    0.0325, 0.0313, 0.0306, 0.0296, 0.0287, 0.0275, 0.0265, 0.0255, 0.0248, 0.0239, 0.0234, 0.0226,
    0.0217, 0.0206, 0.0194, 0.0188, 0.0177, 0.0170, 0.0160, 0.0149, 0.0138, 0.0127, 0.0113, 0.0099,
    0.0083, 0.0069, 0.0053, 0.0028, 0.0000,
)
# fmt: on


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.85
    cosine: float = 1.39
    dice: float = 1.09
    precision: float = 0.78
    recall: float = 0.17
    ratio: float = 1.64
    background: float = 0.27  # what the background has before any evidence
    emergency: float = 0.25
    background_ridge: float = -0.17  # added to ``ridge`` for the background
    background_dice: float = 0.11  # added to ``dice`` for the background
    context: float = 0.68  # what talk around a matter has before any evidence
    # Fitted on the development half of tests/intent/messages.tsv from where `ivr train` left them.
    # Added with the length of what is said: 0 up to 14 characters, the whole at 56, twice at 126.
    ridge_long: float = 1.52
    cosine_long: float = 0.55
    precision_long: float = 0.12
    recall_long: float = 0.02
    background_long: float = -1.28
    context_long: float = -15.0  # in a message talk around the matter says nothing

    #: Of held-out utterances whose best queue has a confidence of 0.00, 0.01 ... 1.00 or more, the
    #: share for which it is wrong: what a target for a threshold is looked up in.
    wrong_above: tuple[float, ...] = _WRONG_ABOVE

    @pydantic.field_validator("*")
    @classmethod
    def _finite(cls, value: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if not np.isfinite(value).all():
            raise ValueError("must be a finite number")
        return value

    @pydantic.field_validator("wrong_above")
    @classmethod
    def _whole_curve(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) != STEPS + 1 or not all(0 <= share <= 1 for share in value):
            raise ValueError(f"must be {STEPS + 1} shares from 0 to 1")
        return value

    @classmethod
    def weight_names(cls) -> tuple[str, ...]:
        """The weights in the order of :meth:`vector`."""
        return tuple(name for name in cls.model_fields if name != "wrong_above")

    def vector(self) -> Floats:
        """The weights in the order of the fields."""
        return np.array([getattr(self, name) for name in self.weight_names()])

    @classmethod
    def of(cls, vector: Floats) -> Calibration:
        """From weights in the order of the fields."""
        names = cls.weight_names()
        return cls.model_validate(
            {n: round(float(v), 2) for n, v in zip(names, vector, strict=True)}
        )

    def with_curve(self, wrong_above: Sequence[float]) -> Calibration:
        """The same weights, and what thresholds do under them."""
        rounded = tuple(round(float(share), 4) for share in wrong_above)
        return Calibration(**{**self.model_dump(), "wrong_above": rounded})

    def threshold(self, wrong_at_most: float) -> float | None:
        """The lowest confidence from which no more than that share is wrong; None for none."""
        good = [n for n, share in enumerate(self.wrong_above) if share <= wrong_at_most]
        return good[0] / STEPS if good else None

    def save(self, path: Path) -> None:
        """Write the file that :func:`read_calibration` reads."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_calibration(path: Path) -> Calibration | None:
    """The weights in a file; None where there is none.

    Raises:
        ConfigError: the file is there but holds something else.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path}: {where}: {first['msg']}; run `ivr train` again, or delete the file"
        ) from error
