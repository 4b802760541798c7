"""A connection of a gateway, whatever carries it: one message in, one message out, and closing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import ClassVar, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

__all__ = ["CloseCode", "GoneError", "TcpTransport", "Transport", "WebSocketTransport"]


class GoneError(Exception):
    """The other side has closed the connection, or it broke."""


class Transport(Protocol):
    """What a call needs of its connection; a TCP stream gives pieces of any size as messages."""

    @property
    def peer(self) -> str:
        """The other side's address, for the log."""
        ...

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            GoneError: there will be none any more.
        """
        ...

    async def send(self, message: str | bytes) -> None:
        """Send; waits while the other side does not read.

        Raises:
            GoneError: it cannot be sent any more.
        """
        ...

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close; harmless where it is closed already. TCP knows no codes and passes over them."""
        ...


class WebSocketTransport:
    """A WebSocket."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    @property
    def peer(self) -> str:
        """See :class:`Transport`."""
        return str(self._connection.remote_address)

    async def receive(self) -> str | bytes:
        """See :class:`Transport`."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise GoneError from error

    async def send(self, message: str | bytes) -> None:
        """See :class:`Transport`."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise GoneError from error

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """See :class:`Transport`; a reason longer than a close frame holds is cut."""
        await self._connection.close(code, reason.encode()[:120].decode(errors="ignore"))


class TcpTransport:
    """A TCP stream.

    Args:
        reader, writer: the connection.
        first: what was read of it already.
    """

    PIECE: ClassVar = 65_536
    _CLOSE_S = 2.0

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, first: bytes = b""
    ) -> None:
        self._reader, self._writer, self._first = reader, writer, first

    @property
    def peer(self) -> str:
        """See :class:`Transport`."""
        return str(self._writer.get_extra_info("peername"))

    async def receive(self) -> str | bytes:
        """See :class:`Transport`."""
        if self._first:
            data, self._first = self._first, b""
            return data
        try:
            data = await self._reader.read(self.PIECE)
        except OSError as error:
            raise GoneError from error
        if not data:
            raise GoneError
        return data

    async def send(self, message: str | bytes) -> None:
        """See :class:`Transport`; the whole message leaves in one write."""
        if self._writer.is_closing():
            raise GoneError
        try:
            self._writer.write(message if isinstance(message, bytes) else message.encode())
            await self._writer.drain()
        except OSError as error:
            raise GoneError from error

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """See :class:`Transport`."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._CLOSE_S):
                await self._writer.wait_closed()
