"""What is written to a store. Each operation may be done again without changing anything.

An operation goes to the spool and comes back as JSON, so that it survives a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["Decided", "Event", "Operation", "Reported", "dump", "load"]


@dataclass(frozen=True, slots=True)
class Event:
    """One record of a call's event log. The same ``(call, leg, seq)`` is the same event."""

    call: str
    leg: str  # tells apart the connections of a call that came back with the same id; may be ""
    seq: int
    at: float  # Unix time, seconds
    record: str  # the whole record, JSON


@dataclass(frozen=True, slots=True)
class Decided:
    """Where a call goes. Of two, the later stands."""

    call: str
    at: float  # Unix time, seconds
    decision: str  # JSON, as GET /calls/ID answers it


@dataclass(frozen=True, slots=True)
class Reported:
    """A caller ``arrived`` in a queue, was ``answered``, or ``abandoned`` it."""

    queue: str
    call: str
    event: str
    at: float  # Unix time, seconds


Operation = Event | Decided | Reported

_KINDS: Final[Mapping[str, type[Operation]]] = {
    kind.__name__: kind for kind in (Event, Decided, Reported)
}


def dump(operation: Operation) -> str:
    """As one line of JSON."""
    return json.dumps({"kind": type(operation).__name__, **asdict(operation)})


def load(line: str) -> Operation:
    """What :func:`dump` wrote.

    Raises:
        ValueError: it is nothing of that kind.
    """
    try:
        told: dict[str, Any] = json.loads(line)
        return _KINDS[told.pop("kind")](**told)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not an operation of a store: {line[:80]!r}") from error
