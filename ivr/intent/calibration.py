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
    0.2277, 0.1593, 0.1459, 0.1375, 0.1317, 0.1275, 0.1237, 0.1201, 0.1169, 0.1142, 0.1117, 0.1096,
    0.1074, 0.1049, 0.1028, 0.1011, 0.0991, 0.0974, 0.0958, 0.0943, 0.0927, 0.0914, 0.0894, 0.0882,
    0.0870, 0.0859, 0.0848, 0.0835, 0.0824, 0.0811, 0.0801, 0.0789, 0.0779, 0.0769, 0.0758, 0.0750,
    0.0737, 0.0729, 0.0718, 0.0708, 0.0695, 0.0688, 0.0679, 0.0667, 0.0657, 0.0641, 0.0629, 0.0615,
    0.0603, 0.0589, 0.0579, 0.0563, 0.0554, 0.0540, 0.0526, 0.0513, 0.0499, 0.0486, 0.0474, 0.0465,
    0.0455, 0.0442, 0.0432, 0.0422, 0.0411, 0.0399, 0.0389, 0.0376, 0.0365, 0.0358, 0.0348, 0.0336,
    0.0323, 0.0314, 0.0306, 0.0296, 0.0288, 0.0275, 0.0266, 0.0256, 0.0249, 0.0242, 0.0236, 0.0229,
    0.0220, 0.0208, 0.0200, 0.0192, 0.0183, 0.0174, 0.0164, 0.0152, 0.0141, 0.0129, 0.0117, 0.0103,
    0.0087, 0.0072, 0.0057, 0.0033, 0.0000,
)
# fmt: on


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.85
    cosine: float = 1.4
    dice: float = 1.08
    precision: float = 0.77
    recall: float = 0.15
    ratio: float = 1.65
    background: float = 0.25  # what the background has before any evidence
    emergency: float = 0.24
    background_ridge: float = -0.2  # added to ``ridge`` for the background
    background_dice: float = 0.12  # added to ``dice`` for the background
    context: float = 0.67  # what talk around a matter has before any evidence
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
