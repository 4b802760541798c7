"""Who waits in which queue, as the agents' side tells it.

Kapok sends a caller to a queue and then hears no more: the telephone system that runs the queues
posts ``arrived``, ``answered`` and ``abandoned`` to the HTTP port. With a store, the counts are
those of all nodes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from ivr.server.http_api import QueueLine
from ivr.server.metrics import Metrics

__all__ = ["QueueBoard", "SharedCounts", "Waits"]

#: Callers remembered at most; the one that came first is forgotten.
_MOST: Final = 20_000


class SharedCounts(Protocol):
    """Counts of all nodes; ivr.store is one."""

    def counts(self) -> Mapping[str, int]: ...

    def reported(self, queue: str, event: str, call_id: str, *, at: datetime) -> None: ...


class Waits(Protocol):
    """Learns how long callers wait; ivr.queues.live is one. ``at_s`` is Unix time, seconds."""

    def expected_wait_s(self, queue: str, at_s: float) -> float | None: ...

    def arrived(self, queue: str, at_s: float) -> None: ...

    def answered(self, queue: str, at_s: float) -> None: ...

    def abandoned(self, queue: str, at_s: float) -> None: ...


class QueueBoard:
    """The board; used from the event loop alone.

    Args:
        metrics: told how long callers waited.
        shared: counts of all nodes; None for those of this one.
        waits: what is learnt of the waits; None where nothing is.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        shared: SharedCounts | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._metrics, self._shared, self._waits = metrics, shared, waits
        #: (queue, call) -> when it arrived
        self._arrived: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._last_at_s = 0.0

    def counts(self) -> Mapping[str, int]:
        """Callers waiting by queue."""
        if self._shared is not None:
            return self._shared.counts()
        return Counter(queue for queue, _ in self._arrived)

    def expected_waits_s(self) -> Mapping[str, float]:
        """What a caller is told to expect, by queue, for queues of which something is known."""
        asked = {queue: self.line(queue).expected_wait_s for queue in self.counts()}
        return {queue: wait_s for queue, wait_s in asked.items() if wait_s is not None}

    def line(self, queue: str) -> QueueLine:
        """What is known of a queue."""
        waits, at_s = self._waits, self._last_at_s
        expected = waits.expected_wait_s(queue, at_s) if waits is not None else None
        return QueueLine(self.counts().get(queue, 0), expected)

    def report(self, queue: str, event: str, call_id: str, at: datetime) -> None:
        """A caller ``arrived`` in a queue, was ``answered``, or ``abandoned`` it.

        The same report once more changes nothing.
        """
        self._last_at_s = max(self._last_at_s, at.timestamp())
        key = (queue, call_id)
        if event == "arrived":
            if key in self._arrived:
                return
            self._arrived[key] = at
            if len(self._arrived) > _MOST:
                self._arrived.popitem(last=False)
        else:
            since = self._arrived.pop(key, None)
            if since is not None:
                at = max(at, since)  # the clock may have been set back meanwhile
                wait_s = (at - since).total_seconds()
                self._metrics.queue_left(queue, event, wait_s=wait_s)
        if self._shared is not None:
            self._shared.reported(queue, event, call_id, at=at)
        if self._waits is not None:
            getattr(self._waits, event)(queue, at.timestamp())
