"""A connection of a gateway, whatever carries it: one message in, one message out, and closing."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.frames import CloseCode

__all__ = ["CloseCode", "GoneError", "TcpTransport", "Transport", "WebSocketTransport"]


#: Who reads nothing of what is sent for so long reads nothing any more, seconds.
_STALLED_S = 30.0


class GoneError(Exception):
    """The other side has closed the connection, or it broke.

    Args:
        closed: whether the other side closed it as it should, which says that the call is over.
    """

    def __init__(self, *, closed: bool = False) -> None:
        super().__init__("closed" if closed else "broken")
        self.closed = closed


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
        """Send; waits while the other side does not read, but not for ever.

        Raises:
            GoneError: it cannot be sent any more.
        """
        ...

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close; harmless where it is closed already. TCP knows no codes and passes over them."""
        ...


class WebSocketTransport:
    """A WebSocket."""

    #: How long the other side may take to close, seconds.
    _CLOSE_S: ClassVar = 10.0

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
            raise GoneError(closed=_closed_by_them(error)) from error

    async def send(self, message: str | bytes) -> None:
        """See :class:`Transport`."""
        try:
            async with asyncio.timeout(_STALLED_S):
                await self._connection.send(message)
        except TimeoutError as error:
            self._connection.transport.abort()
            raise GoneError from error
        except ConnectionClosed as error:
            raise GoneError(closed=_closed_by_them(error)) from error

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """See :class:`Transport`; a reason longer than a close frame holds is cut."""
        try:
            async with asyncio.timeout(self._CLOSE_S):
                await self._connection.close(code, reason.encode()[:120].decode(errors="ignore"))
        except TimeoutError:
            self._connection.transport.abort()


def _closed_by_them(error: ConnectionClosed) -> bool:
    return isinstance(error, ConnectionClosedOK) and error.rcvd_then_sent is True


class TcpTransport:
    """A TCP stream.

    Args:
        reader, writer: the connection.
        first: what was read of it already.
    """

    PIECE: ClassVar = 65_536
    _CLOSE_S: ClassVar = 2.0

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
            raise GoneError(closed=True)
        return data

    async def send(self, message: str | bytes) -> None:
        """See :class:`Transport`; the whole message leaves in one write."""
        if self._writer.is_closing():
            raise GoneError
        try:
            self._writer.write(message if isinstance(message, bytes) else message.encode())
            async with asyncio.timeout(_STALLED_S):
                await self._writer.drain()
        except OSError as error:  # TimeoutError is one
            self._writer.transport.abort()
            raise GoneError from error

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """See :class:`Transport`."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._CLOSE_S):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError is one
            self._writer.transport.abort()
