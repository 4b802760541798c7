"""The contract of every database that keeps call records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ivr.store.backend import MAX_WAIT_S, Backend, RefusedError
from ivr.store.operations import Decided, Event, Operation, Reported

NOON_S = 1_795_608_000.0


@pytest.fixture
def backend(connect: Callable[[], Backend]) -> Iterator[Backend]:
    made = connect()
    yield made
    made.close()


def event(call: str, seq: int, *, leg: str = "", at: float = NOON_S) -> Event:
    return Event(call, leg, seq, at + seq, json.dumps({"call": call, "leg": leg, "seq": seq}))


def decided(call: str, queue: str, *, at: float = NOON_S) -> Decided:
    return Decided(call, at, json.dumps({"call_id": call, "queue": queue}))


def told(queue: str, call: str, what: str, at: float = NOON_S) -> Reported:
    return Reported(queue, call, what, at)


def test_an_empty_one(backend: Backend) -> None:
    assert backend.events("x") == []
    assert backend.decision("x") is None
    assert not any(backend.counts(now=NOON_S).values())


def test_events_come_back_in_their_order(backend: Backend) -> None:
    backend.write([event("c", 2), event("c", 10), event("other", 1)])
    backend.write([event("c", 1)])
    assert [record["seq"] for record in backend.events("c")] == [1, 2, 10]


def test_writing_again_changes_nothing(backend: Backend) -> None:
    operations: list[Operation] = [
        event("c", 1),
        decided("c", "general"),
        told("general", "c", "arrived"),
    ]
    for _ in range(3):
        backend.write(operations * 2)
    assert len(backend.events("c")) == 1
    assert backend.counts(now=NOON_S) == {"general": 1}


def test_a_call_that_comes_back_with_its_id_keeps_both_legs_in_order(backend: Backend) -> None:
    later = [event("c", seq, leg="a-later", at=NOON_S + 100) for seq in (1, 2)]
    backend.write([*later, *(event("c", seq, leg="b-first") for seq in (1, 2))])
    legs = [(record["leg"], record["seq"]) for record in backend.events("c")]
    assert legs == [("b-first", 1), ("b-first", 2), ("a-later", 1), ("a-later", 2)]


def test_of_two_decisions_the_later_stands_in_whatever_order_they_come(backend: Backend) -> None:
    backend.write([decided("c", "police", at=NOON_S + 5)])
    backend.write([decided("c", "general", at=NOON_S)])
    assert (backend.decision("c") or {})["queue"] == "police"
    backend.write([decided("c", "housing", at=NOON_S + 9)])
    assert (backend.decision("c") or {})["queue"] == "housing"


def test_who_waits(backend: Backend) -> None:
    backend.write(
        [
            told("a", "1", "arrived", NOON_S),
            told("a", "2", "arrived", NOON_S + 1),
            told("b", "3", "arrived", NOON_S + 2),
            told("a", "1", "answered", NOON_S + 3),
            told("b", "3", "abandoned", NOON_S + 4),
            told("b", "4", "answered", NOON_S + 5),  # never seen to arrive
        ]
    )
    waiting = {queue: count for queue, count in backend.counts(now=NOON_S + 6).items() if count}
    assert waiting == {"a": 1}


def test_reports_in_the_wrong_order_and_a_caller_who_comes_again(backend: Backend) -> None:
    backend.write([told("a", "1", "answered", NOON_S + 3)])
    backend.write([told("a", "1", "arrived", NOON_S)])
    assert not any(backend.counts(now=NOON_S + 6).values())
    backend.write([told("a", "1", "arrived", NOON_S + 60)])
    assert backend.counts(now=NOON_S + 61) == {"a": 1}


def test_whom_nobody_reports_to_have_left_is_forgotten(backend: Backend) -> None:
    backend.write([told("a", "1", "arrived")])
    assert not any(backend.counts(now=NOON_S + MAX_WAIT_S + 1).values())


def test_old_reports_are_purged(backend: Backend) -> None:
    backend.write([told("a", "1", "arrived"), told("a", "2", "arrived", NOON_S + 100)])
    backend.purge(before=NOON_S + 50)
    assert backend.counts(now=NOON_S + 101) == {"a": 1}


@pytest.mark.parametrize("text", ["木棉 'quoted\"; DROP TABLE x", "line\nbreak", "half \ud800"])
def test_any_text_is_kept(backend: Backend, text: str) -> None:
    backend.write([Event(text, text, 1, NOON_S, json.dumps({"text": text}))])
    assert backend.events(text) == [{"text": text}]


def test_two_nodes_write_at_the_same_time(connect: Callable[[], Backend]) -> None:
    def node(number: int) -> None:
        own = connect()
        for seq in range(20):
            own.write([event("c", seq), event(f"n{number}", seq)])
        own.close()

    with ThreadPoolExecutor(3) as nodes:
        list(nodes.map(node, range(3)))
    reader = connect()
    assert len(reader.events("c")) == 20
    assert [len(reader.events(f"n{number}")) for number in range(3)] == [20] * 3
    reader.close()


def test_a_batch_is_written_whole_or_not_at_all(connect: Callable[[], Backend]) -> None:
    backend = connect()
    if type(backend).__name__ == "RedisBackend":
        pytest.skip("Redis takes any number as text: it refuses nothing")
    with pytest.raises(RefusedError):
        backend.write([event("c", 1), event("c", 1 << 70)])
    assert backend.events("c") == []
    backend.close()
