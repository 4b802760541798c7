"""Real connections to a real port."""

from __future__ import annotations

import asyncio

from ivr.load.crowd import crowd
from tests.faults.conftest import comes_true


async def test_a_crowd_is_held_until_it_is_let_go_of() -> None:
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        assert await reader.read() == b""  # they say nothing
        open_now.remove(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with crowd(f"ws://127.0.0.1:{port}/vosk", 200) as opened:
            assert await asyncio.to_thread(opened) == 200
            await comes_true(lambda: len(open_now) == 200)
        await comes_true(lambda: not open_now)


async def test_a_crowd_that_nobody_takes_is_none(unused_tcp_port: int) -> None:
    with crowd(f"ws://127.0.0.1:{unused_tcp_port}", 2) as opened:
        assert await asyncio.to_thread(opened) == 0
