"""Connections that break, end, or are never read, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from ivr.server.transport import CloseCode, GoneError, TcpTransport, Transport, WebSocketTransport
from tests.faults.test_gateways import opening

Serve = Callable[[Transport], Awaitable[None]]


@asynccontextmanager
async def websocket_server(run: Serve) -> AsyncIterator[int]:
    async def handle(connection: ServerConnection) -> None:
        await run(WebSocketTransport(connection))

    async with serve(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def tcp_server(run: Serve) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await run(TcpTransport(reader, writer))

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("server", [websocket_server, tcp_server])
async def test_who_reads_nothing_is_gone_and_can_be_closed(
    server: Callable[[Serve], AsyncIterator[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.server.transport._STALLED_S", 0.2)
    ends: asyncio.Future[GoneError] = asyncio.get_running_loop().create_future()

    async def talk(transport: Transport) -> None:
        try:
            while True:
                await transport.send(bytes(1 << 20))
        except GoneError as error:
            await transport.close(CloseCode.GOING_AWAY)
            ends.set_result(error)

    async with server(talk) as port, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
        writer.write(opening())
        assert not (await ends).closed
        writer.close()


async def test_a_close_that_is_not_answered_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocketTransport, "_CLOSE_S", 0.2)
    closed = asyncio.Event()

    async def leave(transport: Transport) -> None:
        await transport.close(CloseCode.NORMAL_CLOSURE)
        closed.set()

    async with websocket_server(leave) as port, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(opening())
        await closed.wait()
        writer.close()


@pytest.mark.parametrize(("code", "closed"), [(1000, True), (1001, True), (1011, False)])
async def test_a_websocket_that_was_closed_is_told_from_one_that_broke(
    code: int, closed: bool
) -> None:
    seen = await _how_it_ended(lambda line: line.close(code))
    assert seen.closed is closed


async def test_a_websocket_that_is_cut_off_was_not_closed() -> None:
    async def cut(line: object) -> None:
        line.transport.abort()  # type: ignore[attr-defined]

    assert not (await _how_it_ended(cut)).closed


async def test_what_the_server_closes_itself_was_not_closed_by_the_other_side() -> None:
    ended = await _how_it_ended(lambda line: line.wait_closed(), first=CloseCode.GOING_AWAY)
    assert not ended.closed


async def _how_it_ended(
    leave: Callable[..., Awaitable[None]], *, first: CloseCode | None = None
) -> GoneError:
    """What the server is told as a client leaves, or once it has closed ``first`` itself."""
    ends: asyncio.Future[GoneError] = asyncio.get_running_loop().create_future()

    async def listen(transport: Transport) -> None:
        if first is not None:
            await transport.close(first)
        try:
            await transport.receive()
        except GoneError as error:
            ends.set_result(error)

    async with websocket_server(listen) as port, asyncio.timeout(20):
        async with connect(f"ws://127.0.0.1:{port}") as line:
            await leave(line)
        return await ends
