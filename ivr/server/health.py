"""Is the server alive, does it take calls, and is its event loop on time?

*Alive* (``/healthz``) is whoever answers. *Ready* (``/readyz``) is a server that takes new calls:
its models are loaded, it is not draining, it does not shed load. A load balancer sends new calls
to those that are ready alone; whoever runs the server restarts one that is not alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ivr.server.metrics import Metrics

__all__ = ["Health", "watch_loop_lag"]


class Health:
    """Why the server takes no new calls, if it does not. For use on the event loop."""

    def __init__(self) -> None:
        self._reasons: dict[str, Callable[[], str | None]] = {}
        self._loaded = self._draining = False
        self.check("loading", lambda: None if self._loaded else "models are being loaded")
        self.check("draining", lambda: "the server is shutting down" if self._draining else None)

    def check(self, name: str, why_not: Callable[[], str | None]) -> None:
        """Ask this too: it returns why no calls are taken, None where they are."""
        self._reasons[name] = why_not

    def loaded(self) -> None:
        """Models and queues are loaded, and the ports are listened on."""
        self._loaded = True

    def drain(self) -> None:
        """From now on no new calls."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down."""
        return self._draining

    @property
    def reasons(self) -> dict[str, str]:
        """Why no calls are taken, by the name of the check; empty where they are."""
        asked = ((name, why_not()) for name, why_not in self._reasons.items())
        return {name: why for name, why in asked if why is not None}

    @property
    def ready(self) -> bool:
        """Whether new calls are taken."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """The body of ``/readyz``."""
        reasons = self.reasons
        return {"ready": not reasons, "reasons": reasons}


async def watch_loop_lag(metrics: Metrics, *, every_s: float = 0.25) -> None:
    """Measure for ever how late the event loop wakes this very task."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + every_s
        await asyncio.sleep(every_s)
        metrics.loop_lag(loop.time() - due_s)
