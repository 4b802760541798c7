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
    0.2247, 0.1572, 0.1442, 0.1361, 0.1307, 0.1263, 0.1228, 0.1191, 0.1158, 0.1133, 0.1106, 0.1087,
    0.1065, 0.1039, 0.1023, 0.1004, 0.0986, 0.0970, 0.0953, 0.0937, 0.0922, 0.0912, 0.0892, 0.0881,
    0.0869, 0.0858, 0.0847, 0.0834, 0.0822, 0.0810, 0.0801, 0.0791, 0.0780, 0.0772, 0.0763, 0.0754,
    0.0743, 0.0734, 0.0723, 0.0713, 0.0702, 0.0693, 0.0684, 0.0672, 0.0660, 0.0646, 0.0630, 0.0618,
    0.0607, 0.0593, 0.0582, 0.0567, 0.0556, 0.0545, 0.0529, 0.0518, 0.0503, 0.0493, 0.0479, 0.0470,
    0.0459, 0.0449, 0.0439, 0.0428, 0.0417, 0.0403, 0.0393, 0.0382, 0.0368, 0.0362, 0.0352, 0.0341,
    0.0330, 0.0319, 0.0312, 0.0302, 0.0288, 0.0279, 0.0269, 0.0261, 0.0253, 0.0245, 0.0241, 0.0231,
    0.0224, 0.0213, 0.0202, 0.0196, 0.0186, 0.0176, 0.0167, 0.0155, 0.0144, 0.0130, 0.0118, 0.0104,
    0.0087, 0.0075, 0.0061, 0.0037, 0.0000,
)
# fmt: on


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.86
    cosine: float = 1.41
    dice: float = 1.09
    precision: float = 0.71
    recall: float = 0.16
    ratio: float = 1.62
    background: float = 0.29  # what the background has before any evidence
    emergency: float = 0.26
    background_ridge: float = -0.11  # added to ``ridge`` for the background
    background_dice: float = 0.18  # added to ``dice`` for the background
    context: float = 0.71  # what talk around a matter has before any evidence
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
