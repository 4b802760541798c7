"""Expected waits by what the telephone system reports, over a real socket."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from ivr.queues.erlang import expected_wait_s
from ivr.queues.live import ExpectedWaits, Plan, table_of
from ivr.server.access import Role
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from tests.server.installation import Installation
from tests.server.test_operations import configured, get, token

PLAN = Plan(agents=2, aht_s=240.0, patience_s=600.0, per_hour=20.0)


async def test_the_models_wait_stands_among_the_queues(
    services: Services, installation: Installation, tmp_path: Path
) -> None:
    settings = configured(installation.settings(), tmp_path, None, {})
    operations = Operations.open(
        settings,
        catalogue=services.catalogue,
        http_port=0,
        waits=ExpectedWaits(table_of({"social_security": PLAN})),
    )
    reporter = {"Authorization": f"Bearer {token(tmp_path, Role.GATEWAY)}"}
    viewer = {"Authorization": f"Bearer {token(tmp_path, Role.VIEW)}"}
    async with KapokServer(services, settings, operations=operations, port=0) as server:
        events = f"{server.http_url}/queues/social_security/events"
        async with aiohttp.ClientSession(headers=reporter) as session:
            for n in range(3):
                event = {"event": "arrived", "call_id": f"waiting-{n}"}
                async with session.post(events, json=event) as response:
                    assert response.status < 300, await response.text()
        _, queues = await get(f"{server.http_url}/queues", headers=viewer)
    expected = pytest.approx(expected_wait_s(3, 240.0, 2, patience_s=600.0), rel=0.01)
    by_id = {queue["id"]: queue for queue in json.loads(queues)["queues"]}
    assert by_id["social_security"]["expected_wait_s"] == expected
    assert by_id["housing_fund"]["expected_wait_s"] is None  # nothing is planned for it
