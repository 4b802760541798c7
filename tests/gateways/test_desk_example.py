"""docs/examples/desk.py: what Twilio and Vonage are told before a call and after it."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ivr.server.webhook import SIGNATURE_HEADER, sign

DESK = Path(__file__).parents[2] / "docs" / "examples" / "desk.py"
SECRET = "0123456789abcdef0123"


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestClient[Any, Any]]:
    monkeypatch.setenv("KAPOK_WEBHOOK_SECRET", SECRET)
    application = runpy.run_path(str(DESK))["application"]
    async with TestClient(TestServer(application("wss://ivr.example/"))) as client:
        yield client


async def decide(desk: TestClient[Any, Any], secret: str = SECRET, **decision: object) -> int:
    body = json.dumps({"event": "decision", "number": None, "queue": None} | decision).encode()
    headers = {SIGNATURE_HEADER: sign(secret, body, at_s=int(time.time()))}
    return (await desk.post("/kapok", data=body, headers=headers)).status


async def twilio(desk: TestClient[Any, Any], path: str, **form: str) -> str:
    answer = await desk.post(f"/twilio/{path}", data=form)
    assert answer.content_type == "text/xml"
    return await answer.text()


async def test_twilio_streams_a_call_and_goes_on_with_the_decision(
    desk: TestClient[Any, Any],
) -> None:
    twiml = await twilio(desk, "answer", CallSid="CA1", From="+8620123")
    assert '<Stream url="wss://ivr.example/twilio">' in twiml
    assert '<Parameter name="caller" value="+8620123"/>' in twiml
    assert '<Redirect method="POST">/twilio/next</Redirect>' in twiml
    assert await decide(desk, call_id="CA1", action="queue", queue="social_security") == 204
    assert "<Dial>+862012345001</Dial>" in await twilio(desk, "next", CallSid="CA1")
    await decide(desk, call_id="CA2", action="emergency", number="119")
    assert "<Dial>119</Dial>" in await twilio(desk, "next", CallSid="CA2")
    await decide(desk, call_id="CA3", action="hang_up")
    assert "<Hangup/>" in await twilio(desk, "next", CallSid="CA3")
    assert "<Dial>+862012345000</Dial>" in await twilio(desk, "next", CallSid="unknown")


async def test_vonage_streams_a_call_and_goes_on_with_the_decision(
    desk: TestClient[Any, Any],
) -> None:
    answer = await desk.post("/vonage/answer", json={"conversation_uuid": "CON-1", "from": "8620"})
    (connect,) = await answer.json()
    (endpoint,) = connect["endpoint"]
    assert endpoint["uri"] == "wss://ivr.example/vonage"
    assert endpoint["headers"] == {"call_id": "CON-1", "caller": "8620"}
    assert connect["eventType"] == "synchronous"
    await decide(desk, call_id="CON-1", action="queue", queue="social_security")
    event = {"conversation_uuid": "CON-1", "status": "answered"}
    assert (await desk.post("/vonage/next", json=event)).status == 204
    after = await desk.post("/vonage/next", json=event | {"status": "disconnected"})
    assert (await after.json())[0]["endpoint"] == [{"type": "phone", "number": "862012345001"}]


async def test_a_decision_that_is_not_signed_is_refused(desk: TestClient[Any, Any]) -> None:
    assert await decide(desk, "another secret of it", call_id="CA1", action="person") == 403
    assert "<Dial>+862012345000</Dial>" in await twilio(desk, "next", CallSid="CA1")
