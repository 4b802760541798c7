"""What the recognisers made of example phrases: recognition errors as they are, not imagined.

``heard.jsonl.gz`` beside this module holds one phrase a line with its n-best list,
``{"language": "cmn", "text": "社保怎么查", "heard": [["社保怎么查", 0.93], …]}``. ``python -m
training.hearing`` writes it, from synthetic voices over telephone lines, once the models change.
A phrase that an operator writes is not in it, and loses nothing: the weights that are fitted on
these errors belong to no phrase.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError
from ivr.language import Language

__all__ = ["HEARD", "Hearing", "read", "write"]

#: The file that comes with Kapok.
HEARD = Path(__file__).with_name("heard.jsonl.gz")


@dataclass(frozen=True, slots=True)
class Hearing:
    """A phrase and what was recognised: hypotheses with their weights, the best first."""

    text: str
    language: Language
    heard: tuple[tuple[str, float], ...]

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return {"language": self.language.value, "text": self.text, "heard": self.heard}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Hearing:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError: it is not what :meth:`row` gives.
        """
        heard = tuple((str(text), float(weight)) for text, weight in row["heard"])
        return cls(str(row["text"]), Language(row["language"]), heard)


def write(hearings: Iterable[Hearing], path: Path) -> None:
    """Write a file; the same hearings give the same bytes."""
    rows = "".join(json.dumps(h.row(), ensure_ascii=False) + "\n" for h in hearings)
    path.write_bytes(gzip.compress(rows.encode(), 9, mtime=0))


#: What reading a damaged file raises: gzip's faults, those of JSON, and those of other contents.
_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    RecursionError,
    AttributeError,
    KeyError,
    TypeError,
)


def read(path: Path = HEARD) -> dict[tuple[Language, str], list[tuple[str, float]]]:
    """What was heard of each phrase; nothing where there is no file.

    Raises:
        ConfigError: the file holds something else.
    """
    try:
        rows = gzip.decompress(path.read_bytes()).decode().split("\n")
        found = [Hearing.of(json.loads(row)) for row in rows if row]
    except FileNotFoundError:
        return {}
    except _DAMAGED as error:
        raise ConfigError(
            f"{path}: not what was heard of phrases ({error}); make it again: "
            "python -m training.hearing"
        ) from error
    return {(h.language, h.text): list(h.heard) for h in found}
