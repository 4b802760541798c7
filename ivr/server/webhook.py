"""Decisions posted to an application: signed, tried again until they are taken, never in the way.

Each decision is one ``POST`` of JSON (:meth:`ivr.call.decision.Decision.as_json`, and
``"event": "decision"``) with these headers:

* ``Kapok-Signature: t=UNIX_SECONDS,v1=HEX``: HMAC-SHA256 of ``UNIX_SECONDS.BODY`` with the secret;
  :func:`check` verifies one, and refuses what is older than five minutes (a replay);
* ``Idempotency-Key: CALL_ID:REVISION``: the same for every try, so that the application can pass
  over what it has seen: a decision comes at least once, and may come twice.

Anything but a 2xx answer, and none within the time-out, is tried again after an exponentially
growing time with jitter, as AWS's "Exponential Backoff And Jitter" (equal jitter) has it; a
``Retry-After`` in seconds is kept to. What is not taken for ``give_up_s`` is given up, with a line
in the log. What waits is bounded: the oldest gives way. Nothing survives the process;
``GET /calls/ID`` has what was missed.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from ivr.call.decision import Decision
from ivr.errors import ProtocolError
from ivr.settings import WebhookSettings

__all__ = ["SIGNATURE_HEADER", "Webhook", "backoff_s", "check", "sign"]

_log = logging.getLogger(__name__)

SIGNATURE_HEADER = "Kapok-Signature"
_FIRST_S = 0.5
_LONGEST_S = 60.0
#: Tries under way at once, so that a slow application delays nobody's decision for long.
_AT_ONCE = 8
_OK = range(200, 300)


# --- signing -----------------------------------------------------------------------------------


def sign(secret: str, body: bytes, *, at_s: int) -> str:
    """The value of :data:`SIGNATURE_HEADER` for ``body`` posted at the Unix time ``at_s``."""
    return f"t={at_s},v1={_digest(secret, body, at_s)}"


def check(
    secret: str, header: str, body: bytes, *, now_s: float, tolerance_s: float = 300.0
) -> None:
    """Verify a signature, in constant time: for applications written in Python, and tests.

    Raises:
        ProtocolError: it is malformed, wrong, or more than ``tolerance_s`` away from ``now_s``.
    """
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    at_s = parts.get("t", "")
    if not at_s.isascii() or not at_s.isdigit() or "v1" not in parts:
        raise ProtocolError(f"{SIGNATURE_HEADER} is not t=UNIX_SECONDS,v1=HEX")
    expected = _digest(secret, body, int(at_s))
    if not hmac.compare_digest(expected.encode(), parts["v1"].encode()):
        raise ProtocolError(f"{SIGNATURE_HEADER} does not fit the body and the secret")
    if abs(now_s - int(at_s)) > tolerance_s:
        raise ProtocolError(f"{SIGNATURE_HEADER} is of another time: a replay, or a wrong clock")


def _digest(secret: str, body: bytes, at_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()


def backoff_s(tries: int, rng: random.Random) -> float:
    """How long to wait after the failure of that many tries, seconds; at least half a step."""
    step_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries - 1, 16))
    return step_s * rng.uniform(0.5, 1.0)


# --- posting -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Parcel:
    key: str
    body: bytes
    since_s: float
    tries: int = 0


class Webhook:
    """Posts decisions while it is entered; belongs to one event loop.

    Args:
        settings: where to, the secret, and the limits.
        rng: the jitter's.
        clock: seconds, monotonic.
        wall: Unix time, for signatures.
        sleep: waits by ``clock``.
        counted: told of each try that was ``delivered`` or is ``retried``, and of each decision
            that is ``given_up``.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        counted: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._settings, self._rng = settings, rng
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._counted = counted
        self._waiting: list[tuple[float, int, _Parcel]] = []  # a heap: due_s, number, parcel
        self._number = 0
        self._some, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._trying: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._dispatcher: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self.delivered = self.failures = self.given_up = 0

    @property
    def waiting(self) -> int:
        """Decisions not yet taken, those being tried included."""
        return len(self._waiting) + len(self._trying)

    def post(self, decision: Decision) -> None:
        """Queue a decision; returns at once."""
        message = {"event": "decision", **decision.as_json()}
        body = json.dumps(message, ensure_ascii=False).encode()
        key = f"{decision.call_id}:{decision.revision}"
        self._put(_Parcel(key, body, since_s=self._clock()), due_s=self._clock())

    async def wait_idle(self) -> None:
        """Wait until nothing is left to be posted."""
        await self._idle.wait()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s)
        )
        self._dispatcher = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose(drain_s=0.0)

    async def aclose(self, *, drain_s: float) -> None:
        """Go on for at most ``drain_s``, then give up what is left."""
        if self._session is None or self._dispatcher is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self.wait_idle()
        left = self.waiting
        tasks = [self._dispatcher, *self._trying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if left:
            _log.error("%d decisions were not taken by %s", left, self._settings.url)
        await self._session.close()
        self._session = self._dispatcher = None

    # --- the queue -------------------------------------------------------------------------

    def _put(self, parcel: _Parcel, *, due_s: float) -> None:
        if self.waiting >= self._settings.max_waiting and self._waiting:
            oldest = min(self._waiting, key=lambda entry: entry[2].since_s)
            self._waiting.remove(oldest)
            heapq.heapify(self._waiting)
            self._give_up(oldest[2], "too many wait")
        self._number += 1
        heapq.heappush(self._waiting, (due_s, self._number, parcel))
        self._idle.clear()
        self._some.set()

    def _give_up(self, parcel: _Parcel, why: str) -> None:
        self.given_up += 1
        self._counted("given_up")
        _log.error("decision %s is given up after %d tries: %s", parcel.key, parcel.tries, why)

    async def _dispatch(self) -> None:
        while True:
            await self._slots.acquire()
            parcel = await self._next()
            task = asyncio.create_task(self._try(parcel))
            self._trying.add(task)
            task.add_done_callback(self._tried)

    async def _next(self) -> _Parcel:
        """The next parcel, once it is due; one that is put meanwhile may be due before it."""
        while True:
            self._some.clear()
            if not self._waiting:
                await self._some.wait()
                continue
            wait_s = self._waiting[0][0] - self._clock()
            if wait_s <= 0:
                return heapq.heappop(self._waiting)[2]
            some = asyncio.ensure_future(self._some.wait())
            due = asyncio.ensure_future(self._sleep(wait_s))
            try:
                await asyncio.wait({some, due}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                some.cancel()
                due.cancel()

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._trying.discard(task)
        self._slots.release()
        if not self.waiting:
            self._idle.set()

    # --- one try ---------------------------------------------------------------------------

    async def _try(self, parcel: _Parcel) -> None:
        parcel.tries += 1
        failure, retry_after_s = await self._send(parcel)
        if failure is None:
            self.delivered += 1
            self._counted("delivered")
            return
        self.failures += 1
        self._counted("retried")
        if self._clock() - parcel.since_s >= self._settings.give_up_s:
            self._give_up(parcel, failure)
            return
        wait_s = max(backoff_s(parcel.tries, self._rng), retry_after_s)
        _log.warning("decision %s was not taken (%s); again in %.1f s", parcel.key, failure, wait_s)
        self._put(parcel, due_s=self._clock() + wait_s)

    async def _send(self, parcel: _Parcel) -> tuple[str | None, float]:
        """What went wrong, and how long the application asks to wait; (None, 0) for success."""
        assert self._session is not None
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": parcel.key,
            SIGNATURE_HEADER: sign(self._settings.secret, parcel.body, at_s=int(self._wall())),
        }
        try:
            async with self._session.post(
                self._settings.url, data=parcel.body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status in _OK:
                    return None, 0.0
                return f"status {answer.status}", _retry_after_s(answer)
        except TimeoutError:
            return f"no answer within {self._settings.timeout_s:g} s", 0.0
        except (aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__, 0.0


def _retry_after_s(answer: aiohttp.ClientResponse) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_S) if asked.isascii() and asked.isdigit() else 0.0
