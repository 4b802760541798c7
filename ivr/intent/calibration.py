"""How the matcher weighs its evidence: the weights, and where they are kept.

A conditional logit (McFadden 1974, *Conditional logit analysis of qualitative choice behavior*):
the score of a class is the weighted sum of its evidence, and the softmax over the classes is the
probability of each. The weights do not belong to any class, so they hold for other queues too.

``ivr train`` writes ``calibration.json`` beside ``queues.yaml``; without that file the weights here
count, which come from the queues that Kapok is shipped with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic

from ivr.errors import ConfigError

__all__ = ["CALIBRATION_FILE", "Calibration", "read_calibration"]

#: Beside queues.yaml.
CALIBRATION_FILE = "calibration.json"

Floats = npt.NDArray[np.float64]


class Calibration(pydantic.BaseModel):
    """Weights of the evidence (:class:`ivr.intent.evidence.Evidence`), in natural log-odds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ridge: float = 3.93
    cosine: float = 1.5
    dice: float = 1.83
    precision: float = 1.54
    recall: float = 0.22
    ratio: float = 1.11
    background: float = -0.05  # what the background has before any evidence
    emergency: float = 0.1
    background_ridge: float = 0.01  # added to ``ridge`` for the background
    background_dice: float = 0.31  # added to ``dice`` for the background

    @pydantic.field_validator("*")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not np.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    def vector(self) -> Floats:
        """The weights in the order of the fields."""
        return np.array([getattr(self, name) for name in type(self).model_fields])

    @classmethod
    def of(cls, vector: Floats) -> Calibration:
        """From weights in the order of the fields."""
        names = cls.model_fields
        return cls(**{n: round(float(v), 2) for n, v in zip(names, vector, strict=True)})

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
