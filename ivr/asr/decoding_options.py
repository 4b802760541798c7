"""How a model is to be decoded: the beams and the endpoint rules of its ``conf/model.conf``.

Names, and what holds where a model says nothing, are Kaldi's: ``decoder/lattice-faster-decoder.h``
and ``online2/online-endpoint.h``. An utterance is over where one of the rules holds. Of the beams
``--min-active`` is left out: what lies outside the beam is given up, however little is left.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ivr.asr.models import MEND, read_options
from ivr.errors import ModelError

__all__ = ["DecodingOptions", "EndpointRule", "read_decoding_options"]


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """All of it must hold."""

    must_contain_nonsilence: bool = True
    min_trailing_silence: float = 0.0  # seconds
    max_relative_cost: float = math.inf  # of ending here, natural log
    min_utterance_length: float = 0.0  # seconds

    def holds(self, decoded_s: float, silent_s: float, cost_of_end: float) -> bool:
        """Whether it does after ``decoded_s``, the last ``silent_s`` of them silent."""
        return (
            (silent_s < decoded_s or not self.must_contain_nonsilence)
            and silent_s >= self.min_trailing_silence
            and cost_of_end <= self.max_relative_cost
            and decoded_s >= self.min_utterance_length
        )


_RULES: Final[Mapping[str, EndpointRule]] = {
    "rule1": EndpointRule(must_contain_nonsilence=False, min_trailing_silence=5.0),
    "rule2": EndpointRule(min_trailing_silence=0.5, max_relative_cost=2.0),
    "rule3": EndpointRule(min_trailing_silence=1.0, max_relative_cost=8.0),
    "rule4": EndpointRule(min_trailing_silence=2.0),
    "rule5": EndpointRule(must_contain_nonsilence=False, min_utterance_length=20.0),
}


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """Of one model. Costs are natural log."""

    beam: float = 16.0
    lattice_beam: float = 10.0
    max_active: int = 2_147_483_647
    rules: tuple[EndpointRule, ...] = tuple(_RULES.values())

    def is_endpoint(self, *, decoded_s: float, silent_s: float, cost_of_end: float) -> bool:
        """Whether an utterance is over.

        Args:
            decoded_s: how much of it is decoded.
            silent_s: how much of that, at its end, is silent on the best path.
            cost_of_end: how much worse than the best path is the best that may end here.
        """
        return any(rule.holds(decoded_s, silent_s, cost_of_end) for rule in self.rules)


def read_decoding_options(path: Path) -> DecodingOptions:
    """The options in a ``model.conf``; those of which nothing is known here are left alone.

    Raises:
        ModelError: the file is missing, or what it says of these options is not what Kaldi knows.
    """
    rules, beams = dict(_RULES), dict[str, Any]()
    for name, value in read_options(path).items():
        if name in ("beam", "lattice-beam"):
            beams[name.replace("-", "_")] = _number(path, name, value)
        elif name == "max-active":
            beams["max_active"] = int(_number(path, name, value))
        elif name.startswith("endpoint.rule"):
            rule, _, option = name.removeprefix("endpoint.").partition(".")
            field = option.replace("-", "_")
            if rule not in rules or field not in {f.name for f in dataclasses.fields(EndpointRule)}:
                raise ModelError(f"{path}: --{name} is no option that Kaldi knows; take it out")
            read: Any = (_truth if field.startswith("must") else _number)(path, name, value)
            rules[rule] = dataclasses.replace(rules[rule], **{field: read})
    return DecodingOptions(rules=tuple(rules.values()), **beams)


def _number(path: Path, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ModelError(f"{path}: --{name}={value} is no number from 0 on; {MEND}")
    return number


def _truth(path: Path, name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise ModelError(f"{path}: --{name}={value} is neither true nor false; {MEND}")
    return value == "true"
