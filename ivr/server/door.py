"""The door of the calls' ports: who is let in before a byte of theirs is read.

    door = Door(most_waiting=4_096, per_s=500, burst=20_000, now_s=time.monotonic, told=log)
    why_not = door.enter(connection, address="10.0.0.5", abort=transport.abort)
    door.leave(connection)      # it has become a call, or is gone

A connection *waits* from its acceptance, before TLS, until it is a call. Two limits hold:

* a token bucket for each address. A gateway opens hundreds of calls from one address, so its
  default is wide; a network of IPv6 (/64) counts as one address.
* so many connections may wait. One more costs the place of the one that has waited longest: a
  gateway has said its request within milliseconds, and whoever fills the room says nothing. To
  refuse the newcomers would be to let a silent crowd keep callers out.

No I/O and no clock here but what is passed in. For use on the event loop.
:class:`DoorConnection` puts it in front of websockets.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Hashable
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.asyncio.server import ServerConnection

from ivr.server.access import RateLimiter

__all__ = ["Door", "DoorConnection", "room_for"]

_log = logging.getLogger(__name__)

#: A line of the log for each reason so often; a flood must not fill the disk.
_LOG_EVERY_S: Final = 10.0
#: Of the files that the process may open, those that may wait at the door.
_SHARE_OF_FILES: Final = 0.5


class Door:
    """One server's; see the module's docstring.

    Args:
        most_waiting: connections that are no calls yet, of all addresses.
        per_s, burst: connections from one address, on average and at once.
        now_s: a monotonic clock, seconds.
        told: is told the reason of everyone turned away: ``rate`` or ``silent``.
    """

    def __init__(
        self,
        *,
        most_waiting: int,
        per_s: float,
        burst: float,
        now_s: Callable[[], float],
        told: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._most, self._now_s, self._told = most_waiting, now_s, told
        self._rates = RateLimiter(per_s=per_s, burst=burst, now_s=now_s)
        self._per_s = per_s
        #: in the order in which they came
        self._waiting: dict[Hashable, Callable[[], None]] = {}
        self._logged: dict[str, tuple[float, int]] = {}  # reason -> (when, unsaid since)

    def __len__(self) -> int:
        """Connections that wait."""
        return len(self._waiting)

    def enter(self, connection: Hashable, *, address: str, abort: Callable[[], None]) -> str | None:
        """A connection has come; why it is refused, or None where it is in.

        Args:
            connection: what it is known by.
            address: of the other side.
            abort: closes it at once; called where its place is taken by another.
        """
        if not self._rates.take(_network(address)):
            why_not = f"more than {self._per_s:g} connections a second from one address"
            self._turned_away("rate", f"refused {address}: {why_not}")
            return why_not
        if len(self._waiting) >= self._most:
            self._make_room()
        self._waiting[connection] = abort
        return None

    def leave(self, connection: Hashable) -> None:
        """It waits no longer; harmless where it does not wait."""
        self._waiting.pop(connection, None)

    def clear(self) -> None:
        """Close all that wait."""
        while self._waiting:
            _, abort = self._waiting.popitem()
            abort()

    def _make_room(self) -> None:
        longest = next(iter(self._waiting))
        abort = self._waiting.pop(longest)
        self._turned_away(
            "silent", f"{self._most} connections wait without a call; closed the oldest"
        )
        abort()

    def _turned_away(self, reason: str, line: str) -> None:
        self._told(reason)
        now_s = self._now_s()
        then_s, unsaid = self._logged.get(reason, (-_LOG_EVERY_S, 0))
        if now_s - then_s < _LOG_EVERY_S:
            self._logged[reason] = (then_s, unsaid + 1)
            return
        self._logged[reason] = (now_s, 0)
        _log.warning("%s%s", line, f" ({unsaid} more since the last such line)" if unsaid else "")


def _network(address: str) -> str:
    """What shares a bucket: an address of IPv4, a /64 of IPv6 (whoever has one, has all of it)."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.IPv6Network((found, 64), strict=False))


def room_for(most_waiting: int) -> int:
    """``most_waiting``, or fewer: half of the files that this process may open.

    The soft limit of files is raised to the hard one first; no harm comes of that here, since
    nothing uses ``select``.
    """
    try:
        import resource
    except ImportError:  # there is none on Windows
        return most_waiting
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            _log.warning("at most %d files can be open; calls may be refused beyond that", soft)
    if soft == resource.RLIM_INFINITY:
        return most_waiting
    room = max(1, min(most_waiting, int(_SHARE_OF_FILES * soft)))
    if room < most_waiting:
        _log.warning(
            "this process may open %d files: at most %d connections may wait; "
            "raise LimitNOFILE (systemd) or ulimit -n",
            soft,
            room,
        )
    return room


class DoorConnection(ServerConnection):
    """A WebSocket that passes the door first, and TLS after it.

    The server listens without TLS and makes these (``create_connection`` of
    :func:`websockets.asyncio.server.serve`), so that the door sees whoever never begins TLS too.

    Args:
        door: asked on acceptance; told when the connection is gone.
        tls: with it, TLS is begun once the door is passed.
        handshake_s: how long TLS may take to begin, seconds.
    """

    def __init__(
        self,
        *args: Any,
        door: Door,
        tls: ssl.SSLContext | None,
        handshake_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._door, self._tls, self._handshake_s = door, tls, handshake_s
        self._passed = self._begun = False
        self._starting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: ask the door. Called again, with its own transport, once TLS stands."""
        raw = cast(asyncio.Transport, transport)
        if self._passed:
            self._begin(raw)
            return
        why_not = self._door.enter(self, address=_address(raw), abort=self._abort)
        self._passed = why_not is None
        if why_not is not None:
            self._refuse(raw, why_not)
        elif self._tls is None:
            self._begin(raw)
        else:
            self._start_tls(raw, self._tls)

    def _refuse(self, raw: asyncio.Transport, why_not: str) -> None:
        if self._tls is None:  # in TLS nothing can be said yet
            raw.write(_too_many(why_not))
            raw.close()
        else:
            raw.abort()

    def _start_tls(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        # The socket begins anew under TLS. loop.start_tls() would lose what uvloop reads of the
        # client's greeting before it is called.
        raw.set_protocol(asyncio.Protocol())
        try:
            sock = raw.get_extra_info("socket").dup()
        except OSError as error:  # no file is left
            _log.error("cannot take a connection: %s", error)
            self._door.leave(self)
            return
        finally:
            raw.abort()
        self._starting = self.loop.create_task(self._shake_hands(sock, context))

    async def _shake_hands(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        try:
            await self.loop.connect_accepted_socket(
                lambda: self, sock, ssl=context, ssl_handshake_timeout=self._handshake_s
            )
        except OSError as error:  # no TLS, another client's certificate, or too late
            _log.debug("no TLS: %s", error)
        finally:
            if not self._begun:
                self._door.leave(self)
                sock.close()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._begun = True
        super().connection_made(transport)

    def _abort(self) -> None:
        if self._begun:
            self.transport.abort()
        elif self._starting is not None:
            self._starting.cancel()

    def data_received(self, data: bytes) -> None:
        """What the client sends; nobody reads what one sends who was refused."""
        if self._begun:
            super().data_received(data)

    def eof_received(self) -> None:
        """The client sends no more."""
        if self._begun:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._door.leave(self)
        if self._begun:
            super().connection_lost(exc)


def _address(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"


def _too_many(why_not: str) -> bytes:
    body = f"{why_not}; try again later\n"
    status = HTTPStatus.TOO_MANY_REQUESTS
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nRetry-After: 1\r\nConnection: close\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode("ascii")
