"""Whether one more call is taken: a server sheds load before it slows the calls that it has.

    admission = Admission(max_calls=400, shed_lag_s=0.4, clock=loop.time)
    admission.measured(0.03)            # each block of audio: from its arrival to its answer
    why = admission.why_not(calls=80)   # None: take the call

What is measured is what callers feel, whatever runs short: how long a block of audio takes until it
is recognised. Lags are gathered for a second at a time; where a tenth of them reach ``shed_lag_s``,
new calls are refused, until for :data:`CALM_S` nine in ten have stayed below a third of it. The gap
keeps the server from taking and refusing calls by turns. A second after many calls came at once,
the measure does not show them yet: so only so many are taken a second (:data:`CALLS_PER_S`).

No clock here but the one passed in. For use on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["CALLS_PER_S", "CALM_S", "Admission"]

CALM_S = 3.0
#: A busy hotline of 400 lines gets two calls a second; a gateway that reconnects all of its
#: calls must not fell the server.
CALLS_PER_S = 50
_SPAN_S = 1.0
_SHARE = 90.0
_RECOVERED = 1.0 / 3.0
#: Of one span; the rest would not change its percentile.
_MOST = 4_096


class Admission:
    """One server's; see the module's docstring.

    Args:
        max_calls: calls at the same time, whatever the load.
        shed_lag_s: audio waits so long for its answer when new calls are refused, seconds.
        clock: monotonic, seconds.
    """

    def __init__(self, *, max_calls: int, shed_lag_s: float, clock: Callable[[], float]) -> None:
        self._max_calls, self._shed_lag_s, self._clock = max_calls, shed_lag_s, clock
        self._began_s = clock()
        self._lags: list[float] = []
        self._taken = 0  # calls, in this span
        self._calm_since_s: float | None = None
        self._shedding = False
        self._worst_s = 0.0  # since shedding began
        self.lag_s = 0.0  # of the last whole span

    @property
    def shedding(self) -> bool:
        """Whether new calls are refused because of the load."""
        self._close_span()
        return self._shedding

    def measured(self, lag_s: float) -> None:
        """Audio was answered ``lag_s`` after it had come."""
        self._close_span()
        if len(self._lags) < _MOST:
            self._lags.append(lag_s)

    def why_not(self, *, calls: int) -> str | None:
        """Why one more call beside ``calls`` is not taken; None, and it counts as taken."""
        self._close_span()
        if calls >= self._max_calls:
            return f"all {self._max_calls} lines are busy; try again later"
        if self._shedding:
            return f"busy: audio took {self._worst_s:.1f} s to be recognised; try again later"
        if self._taken >= CALLS_PER_S:
            return f"busy: {CALLS_PER_S} calls came within a second; try again later"
        self._taken += 1
        return None

    def _close_span(self) -> None:
        now_s = self._clock()
        if now_s - self._began_s < _SPAN_S:
            return
        self.lag_s = float(np.percentile(self._lags, _SHARE)) if self._lags else 0.0
        self._lags.clear()
        self._taken = 0
        self._began_s = now_s
        if self.lag_s >= self._shed_lag_s:
            self._worst_s = max(self.lag_s, self._worst_s if self._shedding else 0.0)
            self._shedding, self._calm_since_s = True, None
        elif self.lag_s > _RECOVERED * self._shed_lag_s:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        elif now_s - self._calm_since_s >= CALM_S:
            self._shedding = False
