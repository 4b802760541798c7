"""Decisions posted to a real HTTP server that fails first."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.decision import Action, Decision
from ivr.errors import ProtocolError
from ivr.server.webhook import SIGNATURE_HEADER, Webhook, backoff_s, check, sign
from ivr.settings import WebhookSettings

SECRET = "0123456789abcdef0123"
NOW_S = 1_795_572_358.0


class Desk:
    """An application: answers by a script, the last answer for ever; keeps what came."""

    def __init__(self, *statuses: int, retry_after: str | None = None) -> None:
        self.statuses = list(statuses)
        self.headers = {"Retry-After": retry_after} if retry_after else {}
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def _post(self, request: web.Request) -> web.Response:
        self.posts.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.headers if status >= 300 else {})

    @property
    def keys(self) -> list[str]:
        return [headers["Idempotency-Key"] for headers, _ in self.posts]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Desk]:
        app = web.Application()
        app.router.add_post("/kapok", self._post)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/kapok"
        try:
            yield self
        finally:
            await runner.cleanup()


class Clock:
    """Time that passes where somebody sleeps, so that back-off takes none to test."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now_s += seconds


def webhook(url: str, clock: Clock, **limits: float) -> Webhook:
    given = WebhookSettings(url=url, secret=SECRET, **limits)  # type: ignore[arg-type]
    return Webhook(given, rng=random.Random(7), clock=clock, wall=lambda: NOW_S, sleep=clock.sleep)


def decision(call_id: str = "c-1") -> Decision:
    at = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    return Decision(call_id=call_id, gateway="twilio", action=Action.QUEUE, queue="general", at=at)


async def idle(hook: Webhook) -> None:
    async with asyncio.timeout(10):
        await hook.wait_idle()


async def test_a_decision_is_posted_signed() -> None:
    async with Desk(204).listening() as desk, webhook(desk.url, Clock()) as hook:
        hook.post(decision())
        await idle(hook)
    ((headers, body),) = desk.posts
    assert json.loads(body) == {"event": "decision", **decision().as_json()}
    check(SECRET, headers[SIGNATURE_HEADER], body, now_s=NOW_S)
    assert headers["Idempotency-Key"] == "c-1:1"
    assert headers["Content-Type"] == "application/json"
    assert (hook.delivered, hook.failures) == (1, 0)


async def test_what_fails_is_tried_again_with_the_same_key() -> None:
    clock = Clock()
    async with Desk(500, 302, 404, 200).listening() as desk, webhook(desk.url, clock) as hook:
        hook.post(decision())
        await idle(hook)
    assert desk.keys == ["c-1:1"] * 4
    assert (hook.delivered, hook.failures, hook.given_up) == (1, 3, 0)
    waits = [seconds for seconds in clock.slept if seconds > 0]
    assert [0.25 <= waits[0] <= 0.5, 0.5 <= waits[1] <= 1.0, 1.0 <= waits[2] <= 2.0] == [True] * 3


async def test_an_application_that_is_not_there_yet(unused_tcp_port_url: str) -> None:
    """Connection refused is a failure like any other."""
    clock = Clock()
    async with webhook(unused_tcp_port_url, clock, give_up_s=2.0) as hook:
        hook.post(decision())
        await idle(hook)
    assert hook.given_up == 1
    assert hook.failures > 1


@pytest.fixture
def unused_tcp_port_url() -> str:
    return "http://127.0.0.1:9/kapok"


async def test_retry_after_is_kept_to() -> None:
    clock = Clock()
    desk = Desk(503, 200, retry_after="30")
    async with desk.listening(), webhook(desk.url, clock) as hook:
        hook.post(decision())
        await idle(hook)
    assert max(clock.slept) == pytest.approx(30.0, abs=0.1)


async def test_one_that_fails_holds_up_no_other() -> None:
    desk = Desk(500, 200)
    async with desk.listening(), webhook(desk.url, Clock()) as hook:
        for number in range(20):
            hook.post(decision(str(number)))
        await idle(hook)
    assert {key.split(":")[0] for key in desk.keys} == {str(number) for number in range(20)}
    assert hook.delivered == 20


async def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    hook = webhook("http://127.0.0.1:9/kapok", Clock(), max_waiting=3)
    for number in range(5):  # nobody posts yet
        hook.post(decision(str(number)))
    assert hook.waiting == 3
    assert hook.given_up == 2
    assert "decision 0:1 is given up" in caplog.text
    assert "decision 1:1 is given up" in caplog.text


async def test_closing_gives_what_is_left_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    async with Desk(200).listening() as desk, webhook(desk.url, Clock()) as hook:
        hook.post(decision())
        await hook.aclose(drain_s=5.0)
        assert desk.keys == ["c-1:1"]
    async with webhook("http://127.0.0.1:9/kapok", Clock(), give_up_s=9e3) as hook:
        hook.post(decision())
        await hook.aclose(drain_s=0.0)
    assert "1 decisions were not taken" in caplog.text


# --- the signature ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda h, b: (h, b + b" "), "does not fit"),
        (lambda h, b: (h.replace("v1=", "v1=0"), b), "does not fit"),
        (lambda h, b: (h.replace("t=1", "t=2"), b), "does not fit"),
        (lambda h, b: ("", b), "is not t="),
        (lambda h, b: ("t=x,v1=y", b), "is not t="),
        (lambda h, b: ("t=²,v1=y", b), "is not t="),
    ],
)
def test_what_was_changed_is_refused(
    change: Callable[[str, bytes], tuple[str, bytes]], what: str
) -> None:
    header, body = change(sign(SECRET, b"{}", at_s=1_795_572_358), b"{}")
    with pytest.raises(ProtocolError, match=what):
        check(SECRET, header, body, now_s=NOW_S)


def test_a_replay_is_refused() -> None:
    header = sign(SECRET, b"{}", at_s=1_795_572_358)
    check(SECRET, header, b"{}", now_s=NOW_S + 299)
    with pytest.raises(ProtocolError, match="of another time"):
        check(SECRET, header, b"{}", now_s=NOW_S + 301)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_no_header_breaks_the_check(header: str) -> None:
    with pytest.raises(ProtocolError):
        check(SECRET, header, b"{}", now_s=NOW_S)


@settings(max_examples=30, deadline=None)
@given(tries=st.integers(1, 10_000), seed=st.integers(0, 99))
def test_back_off_grows_to_a_minute(tries: int, seed: int) -> None:
    wait_s = backoff_s(tries, random.Random(seed))
    step_s = min(60.0, 0.5 * 2 ** min(tries - 1, 16))
    assert step_s / 2 <= wait_s <= step_s
