"""Stands between a gateway and the server, and does to the gateway's bytes what networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["a_byte_at_a_time", "proxied", "stalling_after"]

#: Takes the gateway's bytes one way to the server's writer, until there are none.
Carry = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_PIECE = 65_536


@asynccontextmanager
async def proxied(url: str, carry: Carry) -> AsyncIterator[str]:
    """The address at which ``url`` is reached through ``carry``; what it answers comes as it is."""
    where = urlsplit(url)
    serving: set[asyncio.Task[None]] = set()

    async def serve(gateway: asyncio.StreamReader, to_gateway: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(where.hostname, where.port)
        ways = [
            asyncio.create_task(carry(gateway, to_server)),
            asyncio.create_task(_as_it_is(server, to_gateway)),
        ]
        serving.update(ways)
        await asyncio.wait(ways)
        to_server.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield where._replace(netloc=f"127.0.0.1:{port}").geturl()
        for way in serving:
            way.cancel()


async def _as_it_is(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def a_byte_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Each byte is sent by itself."""
    try:
        while piece := await reader.read(_PIECE):
            for at in range(len(piece)):
                writer.write(piece[at : at + 1])
                await writer.drain()
    except OSError:  # the server has closed
        pass
    finally:
        writer.close()


def stalling_after(most: int) -> Carry:
    """So many bytes arrive, which may be half a message; of the rest, nothing."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = most
        while piece := await reader.read(_PIECE):
            writer.write(piece[:left])
            left -= len(piece[:left])

    return carry
