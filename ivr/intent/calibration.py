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
    0.2224, 0.1502, 0.1372, 0.1295, 0.1243, 0.1202, 0.1166, 0.1133, 0.1103, 0.1079, 0.1055, 0.1035,
    0.1014, 0.0994, 0.0978, 0.0960, 0.0944, 0.0928, 0.0911, 0.0898, 0.0886, 0.0871, 0.0856, 0.0847,
    0.0834, 0.0825, 0.0817, 0.0804, 0.0793, 0.0781, 0.0772, 0.0763, 0.0754, 0.0743, 0.0733, 0.0728,
    0.0717, 0.0707, 0.0698, 0.0690, 0.0679, 0.0670, 0.0663, 0.0655, 0.0642, 0.0627, 0.0610, 0.0599,
    0.0588, 0.0576, 0.0564, 0.0552, 0.0538, 0.0527, 0.0514, 0.0499, 0.0487, 0.0472, 0.0462, 0.0453,
    0.0443, 0.0432, 0.0424, 0.0412, 0.0404, 0.0392, 0.0380, 0.0370, 0.0358, 0.0348, 0.0340, 0.0332,
    0.0320, 0.0310, 0.0298, 0.0290, 0.0282, 0.0271, 0.0262, 0.0248, 0.0240, 0.0235, 0.0228, 0.0221,
    0.0213, 0.0204, 0.0195, 0.0184, 0.0179, 0.0172, 0.0160, 0.0151, 0.0140, 0.0124, 0.0114, 0.0099,
    0.0079, 0.0068, 0.0051, 0.0036, 0.0000,
)
# fmt: on


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.92
    cosine: float = 1.39
    dice: float = 1.13
    precision: float = 0.8
    recall: float = 0.2
    ratio: float = 1.66
    background: float = 0.32  # what the background has before any evidence
    emergency: float = 0.29
    background_ridge: float = -0.08  # added to ``ridge`` for the background
    background_dice: float = 0.18  # added to ``dice`` for the background
    context: float = 0.74  # what talk around a matter has before any evidence
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
