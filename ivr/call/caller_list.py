"""A list of callers' numbers in a text file: who gets more time.

One number a line; spaces, hyphens and the country code +86 do not matter, ``#`` begins a remark.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ivr.errors import ConfigError

__all__ = ["CallerList"]

_log = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d{5,15}")
_COUNTRY = re.compile(r"^(?:\+|00)?86(?=1[3-9]\d{9}$|0?[2-9]\d{8,10}$)")


@dataclass(frozen=True, slots=True)
class CallerList:
    """The numbers, as :func:`plain_number` writes them."""

    numbers: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def load(cls, path: Path) -> CallerList:
        """The list in a file; an empty one where there is no such file.

        Raises:
            ConfigError: the file cannot be read, or lines of it are no numbers; each is named,
                but not shown.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); save it as UTF-8 text") from error
        return cls(frozenset(_numbers(path, lines)))

    def has(self, caller: str | None) -> bool:
        """Whether the caller is in the list; False where the number is not known."""
        return bool(caller) and plain_number(caller or "") in self.numbers


def plain_number(number: str) -> str:
    """The number without spaces, hyphens, brackets, country code and trunk zero."""
    digits = re.sub(r"[\s\-()（）.]", "", number)
    return _COUNTRY.sub("", digits).lstrip("+").lstrip("0")


def _numbers(path: Path, lines: Iterable[str]) -> Iterable[str]:
    faults = []
    for count, line in enumerate(lines, start=1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        number = plain_number(written)
        if not _NUMBER.fullmatch(number):
            faults.append(
                f"{path}:{count}: no telephone number; write digits, for example 02081234567"
            )
        yield number
    if faults:
        raise ConfigError("\n".join(faults))
