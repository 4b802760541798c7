from __future__ import annotations

import asyncio
import time

from ivr.server.health import Health, watch_loop_lag
from ivr.server.metrics import Metrics
from tests.server.test_metrics import value


def test_ready_only_while_loaded_and_not_draining() -> None:
    health = Health()
    assert health.reasons == {"loading": "models are being loaded"}
    health.loaded()
    assert health.as_json() == {"ready": True, "reasons": {}}
    health.drain()
    assert not health.ready
    assert health.draining


def test_a_check_of_somebody_else() -> None:
    health, full = Health(), [True]
    health.loaded()
    health.check("shedding", lambda: "all lines are busy" if full[0] else None)
    assert health.as_json() == {"ready": False, "reasons": {"shedding": "all lines are busy"}}
    full[0] = False
    assert health.ready


async def test_a_blocked_loop_is_measured() -> None:
    metrics = Metrics()
    watching = asyncio.create_task(watch_loop_lag(metrics, every_s=0.01))
    await asyncio.sleep(0)
    time.sleep(0.12)  # noqa: ASYNC251 - this is the fault
    await asyncio.sleep(0.001)
    watching.cancel()
    assert (value(metrics, "kapok_event_loop_lag_seconds_sum") or 0) > 0.1
