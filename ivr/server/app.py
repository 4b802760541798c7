"""The asyncio server: it listens, hands each connection to a call, and drains at the end.

    async with KapokServer(services, settings) as server:
        print(server.url)
        await stop.wait()
        await server.close(drain_s=10.0)

A WebSocket connection is a call of the gateway that its path or subprotocol names
(:mod:`ivr.gateways`); Asterisk's AudioSocket has a TCP port of its own. :mod:`ivr.server.call`
serves each. There are no keep-alive
pings: a gateway that is gone stops sending audio, and the idle time-out sees that without
killing calls of a gateway that is merely slow to answer pings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ivr.asr.pool import RecognitionPool
from ivr.call.decision import Decision
from ivr.errors import AccessError, ServerError
from ivr.gateways import choose, gateway_class
from ivr.gateways.gateway import Gateway, Upgrade, UpgradeError
from ivr.queues.catalogue import Catalogue
from ivr.queues.reload import CatalogueWatch
from ivr.server.access import is_in
from ivr.server.admission import Admission
from ivr.server.call import Call, Desk, refuse
from ivr.server.call_files import CallFiles
from ivr.server.conversation import Services
from ivr.server.door import Door, DoorConnection, room_for
from ivr.server.health import Health
from ivr.server.operations import Operations, Running
from ivr.server.playout import Voice
from ivr.server.registry import Registry
from ivr.server.transport import CloseCode, TcpTransport, Transport, WebSocketTransport
from ivr.server.webhook import Webhook
from ivr.settings import Settings

__all__ = ["KapokServer"]

_log = logging.getLogger(__name__)

#: A message up to this many times the limit is still read, and answered with an error; a larger
#: one closes the connection (close code 1009).
_READ_FACTOR = 4
#: Decisions of the calls that end last are posted for at least so long, seconds.
_LAST_POSTS_S = 2.0
#: Connections that the kernel holds until they are taken. With asyncio's 100, the rest of a burst
#: tries again a second later: 3,000 connections took 26 s, with these 3 s.
_BACKLOG = 1_024
#: Frames that websockets itself holds before the inbox does: enough to keep the reader busy.
_FRAMES_HELD = (8, 2)


class KapokServer:
    """The server; an asynchronous context manager that listens while it is entered.

    Args:
        services: models and queues, loaded.
        settings: addresses and limits.
        host, port: instead of those of the settings; port 0 takes any free one.
        now: the wall clock, for opening hours.
        new_call_id: names a call whose gateway gives it no ``call_id``.
        voice: the sound of prompts; by default the files in the settings' ``prompts``.
        operations: metrics, access, store and the HTTP port; without them, no port and no store.

    Raises:
        ServerError: the address cannot be listened on.
    """

    def __init__(
        self,
        services: Services,
        settings: Settings,
        *,
        host: str | None = None,
        port: int | None = None,
        now: Callable[[], datetime] | None = None,
        new_call_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        voice: Voice | None = None,
        operations: Operations | None = None,
    ) -> None:
        self._services = services
        self._watch = CatalogueWatch(
            settings.queues,
            services.catalogue,
            prompts=settings.prompts,
            also=(settings.dialogue.elders.callers,),
            version=services.version,
        )
        self._watching: asyncio.Task[None] | None = None
        self._settings = settings
        self._limits = settings.server
        self._workers = settings.recognition.threads * services.speech.jobs_each
        self._host = host if host is not None else settings.server.host
        self._port = port if port is not None else settings.server.port
        zone = ZoneInfo(services.catalogue.timezone)
        self._now = now or (lambda: datetime.now(zone))
        self._new_call_id = new_call_id
        self._voice = voice
        self._files = CallFiles(settings.call_log)
        self._operations = operations or Operations(
            settings, catalogue=services.catalogue, host=self._host, now=self._now
        )
        self._webhook = (
            Webhook(settings.webhook, rng=random.Random(), counted=self._operations.metrics.webhook)
            if settings.webhook
            else None
        )
        self._calls: set[Call] = set()
        self._admission = Admission(
            max_calls=self._limits.max_calls,
            shed_lag_s=self._limits.shed_lag_s,
            clock=time.monotonic,
        )
        self._door = self._opened_door()
        self._registry = Registry()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pool: RecognitionPool | None = None
        self._server: Server | None = None
        self._audiosocket: asyncio.Server | None = None
        self._closing = False
        self._stopped = False

    @property
    def calls(self) -> int:
        """Calls at the moment."""
        return len(self._calls)

    @property
    def registry(self) -> Registry:
        """The calls and what was decided about each."""
        return self._registry

    def _opened_door(self) -> Door:
        access, metrics = self._limits.access, self._operations.metrics
        reasons = {"rate": metrics.call_refused, "silent": metrics.denied}
        return Door(
            most_waiting=room_for(access.max_waiting_connections),
            per_s=access.connections_per_s,
            burst=access.connection_burst,
            now_s=time.monotonic,
            told=lambda reason: reasons[reason](reason),
        )

    def _why_refused(self) -> str:
        """For the metrics."""
        if self._closing:
            return "draining"
        return "shedding" if self._admission.shedding else "busy"

    def _why_busy(self) -> str | None:
        return "audio waits too long to be recognised" if self._admission.shedding else None

    async def wait_idle(self) -> None:
        """Wait until no call is left."""
        await self._idle.wait()

    @property
    def port(self) -> int:
        """The port that is listened on; where any free one was asked for, known once entered."""
        return self._port

    @property
    def url(self) -> str:
        """The address to connect to."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws{'s' if self._operations.tls else ''}://{host}:{self.port}"

    @property
    def http_url(self) -> str | None:
        """The address of the HTTP port; None where it is off."""
        return self._operations.http_url

    async def __aenter__(self) -> Self:
        self._pool = RecognitionPool(workers=self._workers)
        self._operations.health.check("shedding", self._why_busy)
        tls, handshake_s = self._operations.tls, self._limits.access.open_timeout_s
        try:
            self._server = await serve(
                self._handle,
                self._host,
                self._port,
                process_request=self._admit,
                create_connection=partial(  # type: ignore[arg-type]  # what makes one is one too
                    DoorConnection,
                    door=self._door,
                    tls=tls.context if tls else None,
                    handshake_s=handshake_s,
                ),
                open_timeout=handshake_s,
                select_subprotocol=_select_subprotocol,
                compression=None,  # audio does not compress, and deflate costs a core
                max_size=_READ_FACTOR * self._limits.max_message_bytes,
                max_queue=_FRAMES_HELD,
                backlog=_BACKLOG,
                ping_interval=None,
                server_header=None,
            )
        except (OSError, OverflowError) as error:
            await self._pool.aclose()
            raise ServerError(
                f"cannot listen on {self._host}:{self._port} ({error}); "
                "is another server running there? Choose another address by --host and --port"
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])
        self._services.attach(asyncio.get_running_loop())
        await self._listen_to_audiosocket()
        await self._start_operations()
        if self._webhook is not None:
            await self._webhook.__aenter__()
        self._watching = asyncio.create_task(self._keep_watching())
        _log.info("listening on %s with queues %s", self.url, self._services.version)
        return self

    async def _start_operations(self) -> None:
        pool = self._pool
        assert pool is not None
        running = Running(
            registry=self._registry,
            catalogue=lambda: self._services.catalogue,
            version=lambda: self._services.version,
            audio_waiting_s=lambda: sum(call.waiting_s for call in self._calls),
            recognition_jobs=lambda: pool.jobs,
            workers=lambda: self._services.workers,
            now=self._now,
        )
        try:
            await self._operations.start(running)
        except ServerError:
            await self.close(drain_s=0.0)
            raise

    async def _listen_to_audiosocket(self) -> None:
        port = self._settings.gateways.audiosocket_port
        if port is None:
            return
        try:
            self._audiosocket = await asyncio.start_server(
                self._handle_tcp, self._host, port, backlog=_BACKLOG
            )
        except OSError as error:
            await self.close(drain_s=0.0)
            raise ServerError(
                f"cannot listen on {self._host}:{port} for AudioSocket ({error}); "
                "choose another gateways.audiosocket_port in config/kapok.yaml"
            ) from error
        _log.info("listening on %s for AudioSocket", self.audiosocket_url)

    @property
    def audiosocket_url(self) -> str | None:
        """Where AudioSocket connects to; None where it is off, or not listened on yet."""
        if self._audiosocket is None or not self._audiosocket.sockets:
            return None
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"tcp://{host}:{self._audiosocket.sockets[0].getsockname()[1]}"

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close(drain_s=0.0)

    async def close(self, *, drain_s: float) -> None:
        """Refuse new calls, let those under way go on for at most ``drain_s``, then end them."""
        if self._server is None or self._pool is None or self._stopped:
            return
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._closing = True
        self._operations.health.drain()
        if self._audiosocket is not None:
            self._audiosocket.close()
        if self._calls and drain_s > 0:
            _log.info("draining %d calls for at most %.0f s", len(self._calls), drain_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self.wait_idle()
        reason = "the server is shutting down"
        self._server.close(close_connections=False)  # until now it answered that it is draining
        await asyncio.gather(*(call.shut_down(reason) for call in tuple(self._calls)))
        await asyncio.gather(
            *(
                connection.close(CloseCode.GOING_AWAY, reason)
                for connection in tuple(self._server.connections)
            )
        )
        self._door.clear()
        await self._server.wait_closed()
        await self._pool.aclose()
        self._services.detach(asyncio.get_running_loop())
        if self._webhook is not None:
            await self._webhook.aclose(drain_s=min(max(drain_s, _LAST_POSTS_S), 10.0))
        await self._operations.stop()
        if not self._stopped:  # two may have been closing it, one draining, one at once
            _log.info("stopped")
        self._stopped = True

    # --- the queues ----------------------------------------------------------------------

    async def reload(self) -> None:
        """Look once whether the queues were edited; new calls go by a good edit.

        A bad one is logged with its places and mends, and changes nothing. Calls under way keep
        the queues with which they began. Reading and indexing go on in a thread.
        """
        change = await asyncio.to_thread(self._watch.poll, self._take_up)
        if change is None:
            return
        await asyncio.to_thread(self._operations.reloaded, change.catalogue, change.error)
        if change.catalogue is None:
            _log.error("the edit of the queues is refused, the old ones serve:\n%s", change.error)
            return
        _log.info("new calls go by queues %s", change.version)

    def _take_up(self, catalogue: Catalogue, version: str) -> None:
        """In a thread, to its end also where the server closes meanwhile: no process is left."""
        old = self._services
        self._services = old.with_catalogue(catalogue, version=version)
        old.retire(self._services)

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(self._limits.reload_s)
            try:
                await self.reload()
                await asyncio.to_thread(self._operations.look_at_files)
                if self._operations.tls is not None:
                    await asyncio.to_thread(self._operations.tls.refresh)
            except Exception:  # whatever it is, calls go on
                _log.exception("looking for an edit of the queues failed")

    # --- a call --------------------------------------------------------------------------

    async def _handle(self, connection: ServerConnection) -> None:
        why_not = self._admission.why_not(calls=len(self._calls))
        if why_not is not None:
            _log.warning("refused a call: %s", why_not)
            self._operations.metrics.call_refused(self._why_refused())
            await connection.close(CloseCode.TRY_AGAIN_LATER, why_not)
            return
        upgrade = _upgrade(connection.request)
        kind, _ = choose(upgrade.path, _offered(connection.request))
        gateway = kind.open(upgrade, self._settings)
        self._door.leave(connection)
        await self._serve(WebSocketTransport(connection), gateway)

    async def _handle_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if not is_in(str(peer[0]), self._settings.gateways.audiosocket_peers):
            _log.warning("refused %s for audiosocket: not among audiosocket_peers", peer)
            self._operations.metrics.call_refused("denied")
            writer.transport.abort()
            return
        first = await self._first_words(reader, writer, address=str(peer[0]))
        if not first:
            writer.transport.abort()
            return
        transport = TcpTransport(reader, writer, first=first)
        gateway = gateway_class("audiosocket").open(Upgrade(), self._settings)
        why_not = self._admission.why_not(calls=len(self._calls))
        if self._closing or why_not is not None:
            _log.warning("refused a call: %s", why_not or "the server is shutting down")
            self._operations.metrics.call_refused(self._why_refused())
            await refuse(transport, gateway, "all lines are busy")
            return
        await self._serve(transport, gateway)

    async def _first_words(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, address: str
    ) -> bytes:
        """What a TCP connection says first: until then it is no call. Empty: it may not stay."""
        abort = writer.transport.abort
        if self._door.enter(writer, address=address, abort=abort) is not None:
            return b""
        try:
            async with asyncio.timeout(self._limits.access.open_timeout_s):
                return await reader.read(TcpTransport.PIECE)
        except (OSError, TimeoutError):
            return b""
        finally:
            self._door.leave(writer)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request that is not taken; None takes it."""
        operations = self._operations
        upgrade = _upgrade(request)
        if upgrade.path in ("/healthz", "/readyz"):
            return _health(connection, operations.health, upgrade.path)
        if self._closing:
            operations.metrics.call_refused("draining")
            response = connection.respond(
                HTTPStatus.SERVICE_UNAVAILABLE, "the server is shutting down; call another one\n"
            )
            response.headers["Retry-After"] = "1"
            return response
        kind, _ = choose(upgrade.path, _offered(request))
        try:
            headers = dict(upgrade.headers)
            operations.access.check_origin(headers.get("origin"), headers.get("host"))
            kind.admit(upgrade, self._settings)
            if not kind.authenticates(self._settings):
                operations.admit_call(
                    address=_address(connection), headers=headers, token=upgrade.query.get("token")
                )
        except (UpgradeError, AccessError) as error:
            _log.warning("refused %s for %s: %s", connection.remote_address, kind.name, error)
            operations.metrics.call_refused("denied")
            response = connection.respond(HTTPStatus(error.status), f"{error}\n")
            if error.status == HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = 'Bearer realm="kapok"'
            return response
        return None

    async def _serve(self, transport: Transport, gateway: Gateway) -> None:
        assert self._pool is not None
        call = Call(transport, gateway, self._pool.lane(), self._desk())
        with self._counted(call):
            await call.run()

    def _desk(self) -> Desk:
        store = self._operations.store
        return Desk(
            services=self._services,
            limits=self._limits,
            now=self._now,
            new_call_id=self._new_call_id,
            registry=self._registry,
            voice=self._voice or self._services.prompt_audio,
            decided=self._decided,
            metrics=self._operations.metrics,
            lagged=self._admission.measured,
            tracing=self._operations.tracing,
            files=self._files,
            records=(store.append,) if store is not None else (),
            expected_wait_s=self._expected_wait_s,
        )

    def _expected_wait_s(self, queue: str) -> float | None:
        waits = self._operations.waits
        return waits.expected_wait_s(queue, self._now().timestamp()) if waits is not None else None

    def _decided(self, decision: Decision) -> None:
        self._operations.decided(decision)
        if self._webhook is not None:
            self._webhook.post(decision)

    @contextmanager
    def _counted(self, call: Call) -> Iterator[None]:
        self._calls.add(call)
        self._idle.clear()
        try:
            yield
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._idle.set()


def _select_subprotocol(
    connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """The gateway's own where it is offered, none otherwise; nobody is turned away."""
    _, accepted = choose(_upgrade(connection.request).path, offered)
    return None if accepted is None else Subprotocol(accepted)


def _health(connection: ServerConnection, health: Health, path: str) -> Response:
    """As the HTTP port answers, for a load balancer that knows this port alone."""
    body = {"status": "ok"} if path == "/healthz" else health.as_json()
    good = path == "/healthz" or health.ready
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    response = connection.respond(status, json.dumps(body) + "\n")
    response.headers["Content-Type"] = "application/json"
    return response


def _address(connection: ServerConnection) -> str:
    peer = connection.remote_address
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"


def _upgrade(request: Request | None) -> Upgrade:
    target = request.path if request else "/"
    try:
        parts = urlsplit(target)
        parse_qsl(parts.query, max_num_fields=100)
    except ValueError:  # nobody's path: as the root's
        target, parts = "/", urlsplit("/")
    headers = {k.lower(): v for k, v in request.headers.raw_items()} if request else {}
    return Upgrade(
        path=parts.path or "/",
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        target=target,
        headers=headers,
    )


def _offered(request: Request | None) -> list[str]:
    lines = request.headers.get_all("Sec-WebSocket-Protocol") if request else []
    return [name.strip() for line in lines for name in line.split(",")]
