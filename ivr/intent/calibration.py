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
    0.2294, 0.1610, 0.1476, 0.1392, 0.1335, 0.1291, 0.1252, 0.1218, 0.1184, 0.1156, 0.1130,
    0.1108, 0.1088, 0.1064, 0.1043, 0.1026, 0.1007, 0.0990, 0.0971, 0.0954, 0.0940, 0.0926,
    0.0908, 0.0895, 0.0884, 0.0871, 0.0861, 0.0849, 0.0834, 0.0821, 0.0810, 0.0797, 0.0785,
    0.0776, 0.0766, 0.0759, 0.0749, 0.0738, 0.0729, 0.0718, 0.0705, 0.0699, 0.0691, 0.0678,
    0.0667, 0.0651, 0.0635, 0.0622, 0.0611, 0.0600, 0.0590, 0.0572, 0.0562, 0.0548, 0.0534,
    0.0519, 0.0503, 0.0490, 0.0481, 0.0471, 0.0459, 0.0448, 0.0438, 0.0428, 0.0417, 0.0405,
    0.0397, 0.0385, 0.0373, 0.0364, 0.0355, 0.0343, 0.0330, 0.0321, 0.0313, 0.0304, 0.0293,
    0.0277, 0.0269, 0.0259, 0.0255, 0.0248, 0.0240, 0.0235, 0.0227, 0.0218, 0.0206, 0.0199,
    0.0189, 0.0178, 0.0166, 0.0155, 0.0142, 0.0131, 0.0116, 0.0101, 0.0086, 0.0072, 0.0062,
    0.0038, 0.0000,
)
# fmt: on


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.81
    cosine: float = 1.39
    dice: float = 1.03
    precision: float = 0.76
    recall: float = 0.13
    ratio: float = 1.65
    background: float = 0.25  # what the background has before any evidence
    emergency: float = 0.22
    background_ridge: float = -0.16  # added to ``ridge`` for the background
    background_dice: float = 0.13  # added to ``dice`` for the background
    context: float = 0.65  # what talk around a matter has before any evidence
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
