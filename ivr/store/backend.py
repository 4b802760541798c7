"""The interface of a database that keeps call records. ``tests/store`` is its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ivr.store.operations import Operation

__all__ = ["MAX_WAIT_S", "Backend", "GoneError", "RefusedError"]

#: A caller who arrived in a queue and of whom nothing was heard for so long waits no more,
#: seconds: the agents' side forgot to say so.
MAX_WAIT_S: Final = 2 * 3600.0


class GoneError(Exception):
    """The database cannot be reached, or takes nothing now: worth trying again."""


class RefusedError(Exception):
    """The database will never take this operation."""


class Backend(Protocol):
    """Used from one thread at a time; connects at the first use, and anew after a failure.

    Every method raises GoneError where the database cannot be reached.
    """

    @property
    def name(self) -> str:
        """For messages; without user names and passwords."""
        ...

    def write(self, operations: Sequence[Operation]) -> None:
        """All of them or none; those already there change nothing.

        Raises:
            RefusedError: one of them can never be written.
        """
        ...

    def events(self, call: str) -> list[dict[str, Any]]:
        """The records of a call in their order."""
        ...

    def decision(self, call: str) -> dict[str, Any] | None:
        """The decision that stands."""
        ...

    def counts(self, *, now: float) -> Mapping[str, int]:
        """Callers waiting by queue; queues where nobody waits may be missing.

        Args:
            now: Unix time; who arrived :data:`MAX_WAIT_S` before that counts no more.
        """
        ...

    def purge(self, *, before: float) -> None:
        """Forget what is older than the Unix time ``before``."""
        ...

    def close(self) -> None:
        """Let go of the connection; a later use opens it again."""
        ...
