"""Who is let in before a byte is read: the rule by itself, then in front of real sockets."""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from ivr import event_loop
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.door import Door, room_for
from ivr.server.operations import Operations
from ivr.settings import AccessSettings, Settings, TlsSettings
from tests.faults.conftest import comes_true
from tests.server.installation import Installation
from tests.server.test_app import serves, vosk_client
from tests.server.test_metrics import value
from tests.server.test_tls import write as write_certificate

Loop = Callable[[], asyncio.AbstractEventLoop]
LOOPS: list[Loop] = [asyncio.new_event_loop, event_loop.new_event_loop]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def door(clock: Clock, **limits: Any) -> Door:
    return Door(**{"most_waiting": 3, "per_s": 2.0, "burst": 2.0, "now_s": clock, **limits})


def nothing() -> None:
    pass


# --- the rule -------------------------------------------------------------------------------


def test_each_address_has_a_bucket_and_a_network_of_ipv6_shares_one() -> None:
    clock, told = Clock(), list[str]()
    at = door(clock, most_waiting=100, told=told.append)

    def refused(address: str) -> bool:
        return at.enter(object(), address=address, abort=nothing) is not None

    assert [refused("10.0.0.1") for _ in range(3)] == [False, False, True]
    assert not refused("10.0.0.2")
    assert [refused(f"2001:db8::{n}") for n in range(1, 4)] == [False, False, True]
    assert not refused("2001:db8:0:1::1")
    assert refused("::ffff:10.0.0.1")
    clock.now_s += 0.5
    assert not refused("10.0.0.1")
    assert told == ["rate"] * 3
    assert len(at) == 7


def test_the_one_that_has_waited_longest_makes_room() -> None:
    closed, told = list[str](), list[str]()
    at = door(Clock(), burst=100.0, told=told.append)
    for name in "abc":
        at.enter(name, address="10.0.0.1", abort=lambda name=name: closed.append(name))
    at.leave("a")  # a call now: nobody may close it
    at.leave("a")
    for name in "de":
        at.enter(name, address="10.0.0.1", abort=lambda name=name: closed.append(name))
    assert closed == ["b"]
    assert told == ["silent"]
    at.clear()
    assert sorted(closed) == ["b", "c", "d", "e"]
    assert len(at) == 0


def test_a_flood_writes_a_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    at = door(clock, most_waiting=100)
    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            at.enter(object(), address="10.0.0.1", abort=nothing)
        clock.now_s += 10.0
        for _ in range(30):
            at.enter(object(), address="10.0.0.1", abort=nothing)
    assert len(caplog.messages) == 2
    assert "refused 10.0.0.1: more than 2 connections a second" in caplog.messages[0]
    assert "997 more" in caplog.messages[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_never_more_wait_than_may(steps: list[tuple[int, bool]]) -> None:
    open_now: set[int] = set()
    at = door(Clock(), burst=1_000.0)
    for name, comes in steps:
        if comes and name not in open_now:
            open_now.add(name)
            at.enter(name, address="10.0.0.1", abort=lambda name=name: open_now.discard(name))
        elif not comes:
            open_now.discard(name)
            at.leave(name)
        assert len(at) == len(open_now) <= 3


def test_there_is_room_for_half_of_the_files() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        assert room_for(100) == 100
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limits[1]  # raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    if limits[1] != resource.RLIM_INFINITY:
        assert room_for(10 * limits[1]) == limits[1] // 2


def test_a_gateway_that_comes_back_with_all_its_calls_is_let_in_by_default() -> None:
    access = AccessSettings()
    at = Door(
        most_waiting=access.max_waiting_connections,
        per_s=access.connections_per_s,
        burst=access.connection_burst,
        now_s=Clock(),
    )
    assert all(at.enter(n, address="10.0.0.1", abort=nothing) is None for n in range(1_000))


# --- in front of real sockets ---------------------------------------------------------------


def limited(
    installation: Installation, *, tls: TlsSettings | None = None, **limits: Any
) -> Settings:
    told = installation.settings()
    access = told.server.access.model_copy(update=limits)
    server = told.server.model_copy(update={"access": access, "tls": tls})
    return told.model_copy(update={"server": server})


def opened(services: Services, told: Settings) -> tuple[KapokServer, Operations]:
    operations = Operations(told, catalogue=services.catalogue)
    return KapokServer(services, told, operations=operations), operations


async def gone(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection, soon."""
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_an_address_that_comes_too_often_is_told_so(
    services: Services, installation: Installation
) -> None:
    told = limited(installation, connections_per_s=0.001, connection_burst=2)
    made, operations = opened(services, told)
    async with made as server:
        await serves(server)
        async with connect(server.url):
            with pytest.raises((InvalidStatus, InvalidMessage, ConnectionError)) as refused:
                await connect(server.url, max_size=None)
        if isinstance(refused.value, InvalidStatus):
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "1"
        assert value(operations.metrics, "kapok_calls_refused_total", reason="rate") == 1


async def test_a_silent_crowd_costs_no_call(services: Services, installation: Installation) -> None:
    """Twenty connections say nothing where five may wait; calls are served beside them."""
    made, operations = opened(services, limited(installation, max_waiting_connections=5))
    async with made as server:
        async with connect(server.url) as held:  # a call: it does not wait
            crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
            assert all([await gone(reader) for reader, _ in crowd[:14]])
            await serves(server)
            assert len(server._door) <= 5
            await held.send(bytes(1600))
            assert "partial" in str(await held.recv())
        for _, writer in crowd:
            writer.close()
        assert value(operations.metrics, "kapok_access_denied_total", reason="silent") >= 15


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "at_hand"])
def test_behind_tls_too(
    services: Services, installation: Installation, tmp_path: Path, loop: Loop
) -> None:
    """Whoever never begins TLS waits as well, and a call is served whole."""
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    tls = write_certificate(tmp_path, authority, "127.0.0.1")

    async def main() -> None:
        made, operations = opened(
            services, limited(installation, tls=tls, max_waiting_connections=3)
        )
        async with made as server:
            crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
            assert all([await gone(reader) for reader, _ in crowd[:2]])
            for _ in range(3):
                async with connect(server.url, ssl=context) as line:
                    await line.send('{"eof" : 1}')
                    assert "text" in str(await line.recv())
            plain_reader, plain = await asyncio.open_connection("127.0.0.1", server.port)
            plain.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b"HTTP" not in await plain_reader.read()
            for _, writer in [*crowd, (None, plain)]:
                writer.close()
            assert value(operations.metrics, "kapok_access_denied_total", reason="silent") >= 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def test_whoever_never_begins_tls_is_let_go(
    services: Services, installation: Installation, tmp_path: Path
) -> None:
    tls = write_certificate(tmp_path, trustme.CA(), "127.0.0.1")
    made, _ = opened(services, limited(installation, tls=tls, open_timeout_s=0.05))
    async with made as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await gone(reader)
        writer.close()
        assert len(server._door) == 0


async def test_audiosocket_has_the_same_door(
    services: Services, installation: Installation
) -> None:
    told = limited(
        installation, max_waiting_connections=2, connection_burst=4, connections_per_s=0.001
    )
    gateways = told.gateways.model_copy(update={"audiosocket_port": 0})
    made, operations = opened(services, told.model_copy(update={"gateways": gateways}))
    async with made as server:
        port = int(str(server.audiosocket_url).rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await gone(held[0][0])  # it has waited longest
        assert server.calls == 0  # silent, they hold no line
        held[1][1].write(b"\x01\x00\x10" + bytes(range(16)))  # the id of the call
        await comes_true(lambda: server.calls == 1)
        more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await gone(more[1][0])
        for _, writer in [*held, *more]:
            writer.close()
        metrics = operations.metrics
        assert value(metrics, "kapok_access_denied_total", reason="silent") == 1
        assert value(metrics, "kapok_calls_refused_total", reason="rate") == 1


async def test_closing_does_not_wait_for_the_silent(
    services: Services, installation: Installation
) -> None:
    made, _ = opened(services, limited(installation))
    async with made as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await vosk_client(server.url, b"")
        async with asyncio.timeout(5):  # and not for the ten seconds that it may be silent
            await server.close(drain_s=0.0)
        assert await gone(reader)
        writer.close()
