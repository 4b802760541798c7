"""Redis, by redis-py (the extra ``redis``). Have it keep its data: ``appendonly yes``.

| key | what |
|---|---|
| ``kapok:events:CALL`` | hash: ``LEG SEQ`` to the record |
| ``kapok:decision:CALL`` | hash: ``at``, ``decision`` |
| ``kapok:waiting:QUEUE`` | sorted set: call to when it arrived |
| ``kapok:left:QUEUE`` | sorted set: call to when it was answered or gave up |
| ``kapok:queues`` | set of the queues above |

What belongs to a call expires by itself after the retention time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from ivr.errors import ConfigError
from ivr.extras import install
from ivr.store.backend import MAX_WAIT_S, GoneError, RefusedError
from ivr.store.operations import Decided, Event, Operation, Reported

__all__ = ["RedisBackend"]

_TIMEOUT_S: Final = 5.0

# Scripts run alone, so that two nodes cannot come between asking and writing.
_DECIDE: Final = """
local known = redis.call('HGET', KEYS[1], 'at')
if not known or tonumber(ARGV[1]) >= tonumber(known) then
  redis.call('HSET', KEYS[1], 'at', ARGV[1], 'decision', ARGV[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""
_ARRIVE: Final = """
local left = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not left or tonumber(ARGV[1]) > tonumber(left) then
  redis.call('ZADD', KEYS[1], 'GT', ARGV[1], ARGV[2])
end
redis.call('SADD', KEYS[3], ARGV[3])
"""
_LEAVE: Final = """
redis.call('ZADD', KEYS[2], 'GT', ARGV[1], ARGV[2])
local arrived = redis.call('ZSCORE', KEYS[1], ARGV[2])
if arrived and tonumber(arrived) <= tonumber(ARGV[1]) then
  redis.call('ZREM', KEYS[1], ARGV[2])
end
redis.call('SADD', KEYS[3], ARGV[3])
"""


class RedisBackend:
    """Call records in a Redis that several nodes share.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        name: for messages.
        keep_s: after so long without a new record, a call is forgotten.

    Raises:
        ConfigError: redis-py is not installed, or the address is none.
    """

    def __init__(self, url: str, *, name: str, keep_s: float) -> None:
        self.name = name
        self._keep_s = max(1, int(keep_s))
        try:
            import redis
        except ImportError as error:
            raise ConfigError(
                f"store.url names Redis, and redis is not installed; {install('redis')}"
            ) from error
        self._errors = redis.exceptions
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                decode_responses=True,
                retry=None,  # the store's own thread tries again, and later
            )
        except ValueError as error:
            raise ConfigError(f"store.url: {error}") from error

    def write(self, operations: Sequence[Operation]) -> None:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._asking():
            pipeline = self._client.pipeline(transaction=True)
            for operation in operations:
                self._queue(pipeline, operation)
            pipeline.execute()

    def events(self, call: str) -> list[dict[str, Any]]:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._asking():
            found: Mapping[str, str] = self._client.hgetall(f"kapok:events:{_text(call)}")
        placed = [(*_split(field), json.loads(record)) for field, record in found.items()]
        first: dict[str, float] = {}
        for leg, _, (at, _record) in placed:
            first[leg] = min(at, first.get(leg, at))
        placed.sort(key=lambda one: (first[one[0]], one[0], one[1]))
        return [json.loads(record) for _, _, (_at, record) in placed]

    def decision(self, call: str) -> dict[str, Any] | None:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._asking():
            found = self._client.hget(f"kapok:decision:{_text(call)}", "decision")
        decision: dict[str, Any] | None = json.loads(found) if found else None
        return decision

    def counts(self, *, now: float) -> Mapping[str, int]:
        """See :class:`~ivr.store.backend.Backend`."""
        with self._asking():
            queues = sorted(self._client.smembers("kapok:queues"))
            pipeline = self._client.pipeline(transaction=False)
            for queue in queues:
                pipeline.zcount(f"kapok:waiting:{queue}", f"({now - MAX_WAIT_S}", "+inf")
            return dict(zip(queues, pipeline.execute(), strict=True))

    def purge(self, *, before: float) -> None:
        """See :class:`~ivr.store.backend.Backend`; calls expire by themselves."""
        with self._asking():
            for queue in self._client.smembers("kapok:queues"):
                for key in (f"kapok:waiting:{queue}", f"kapok:left:{queue}"):
                    self._client.zremrangebyscore(key, "-inf", before)

    def close(self) -> None:
        """See :class:`~ivr.store.backend.Backend`."""
        with suppress(self._errors.RedisError, OSError):
            self._client.close()

    def _queue(self, pipeline: Any, operation: Operation) -> None:
        match operation:
            case Event():
                key = f"kapok:events:{_text(operation.call)}"
                field = f"{_text(operation.leg)} {operation.seq}"
                pipeline.hsetnx(key, field, json.dumps([operation.at, operation.record]))
                pipeline.expire(key, self._keep_s)
            case Decided():
                key = f"kapok:decision:{_text(operation.call)}"
                pipeline.eval(_DECIDE, 1, key, operation.at, operation.decision, self._keep_s)
            case Reported():
                queue = _text(operation.queue)
                script = _ARRIVE if operation.event == "arrived" else _LEAVE
                keys = (f"kapok:waiting:{queue}", f"kapok:left:{queue}", "kapok:queues")
                pipeline.eval(script, 3, *keys, operation.at, _text(operation.call), queue)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (self._errors.DataError, UnicodeError) as error:
            raise RefusedError(f"{self.name}: {error}") from error
        except (self._errors.RedisError, OSError) as error:
            raise GoneError(f"{self.name}: {error}") from error


def _split(field: str) -> tuple[str, int]:
    leg, _, seq = field.rpartition(" ")
    return leg, int(seq)


def _text(value: str) -> str:
    return value.encode(errors="replace").decode()
