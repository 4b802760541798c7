"""The HTTP port: health, metrics, calls and queues.

| request | answers | for |
|---|---|---|
| ``GET /healthz`` | 200 while the server is alive | anyone |
| ``GET /readyz`` | 200 while it takes new calls, else 503 with the reasons | anyone |
| ``GET /metrics`` | Prometheus' text format | view |
| ``GET /calls`` | the calls in progress; ``?over=1`` those just over | view |
| ``GET /calls/ID`` | the decision; ``?field=queue`` that value alone, as text | gateway, view |
| ``GET /queues`` | the queues with callers waiting; ``?format=yaml`` the file | view |
| ``PUT /queues`` | replaces the file; ``?dry_run=1`` checks it alone | edit |
| ``POST /queues/ID/events`` | ``{"event": …, "call_id": …}`` from the agents | gateway |
| ``POST /jambonz/call`` | jambonz' webhook of a new call: the verb ``listen`` | gateway |
| ``POST /jambonz/decision`` | its ``actionHook``: the verbs that move the call | gateway |
| ``GET /audit`` | the last changes of the configuration; ``?last=50`` | administer |

A refused edit answers 422 with every fault: file, line, column, what, mend. Errors are
``{"error": "what and how to mend it"}``. Roles are those of :mod:`ivr.server.access`.

Nobody gets memory or time before they are known: connections are counted before they are spoken
to, a header has to arrive within the time-out, sizes are checked before a body is read, and rates
before anything is computed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlencode

from aiohttp import web

from ivr.errors import AccessError, ConfigError, ServerError
from ivr.gateways.jambonz import call_verbs, decision_verbs
from ivr.intent.slots import SECRET, mask
from ivr.queues.catalogue import Catalogue
from ivr.server.access import (
    ANYONE,
    Access,
    Identity,
    Permission,
    RateLimiter,
    hostname,
    without_token,
)
from ivr.server.audit import AuditLog
from ivr.server.health import Health
from ivr.server.metrics import CONTENT_TYPE, Metrics
from ivr.server.queues_editor import ConflictError, QueuesEditor
from ivr.server.registry import Registry
from ivr.server.tls import Tls
from ivr.settings import AccessSettings
from ivr.yamlsource import MAX_BYTES, FaultsError

__all__ = ["Board", "HttpApi", "QueueLine", "SharedDecisions"]

_log = logging.getLogger(__name__)

#: A character of Chinese takes three bytes.
_MAX_BODY_BYTES: Final = 3 * MAX_BYTES
_MAX_EVENT_BYTES: Final = 4_096
#: jambonz tells the whole call with each hook.
_MAX_HOOK_BYTES: Final = 65_536
_MAX_LISTED: Final = 1_000
_EVENTS: Final = frozenset({"arrived", "answered", "abandoned"})
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

_IDENTITY: Final = web.RequestKey("identity", Identity)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class QueueLine:
    """Who waits in a queue."""

    waiting: int
    expected_wait_s: float | None  # None: not known


class Board(Protocol):
    """Who waits where; told by the agents' side."""

    def line(self, queue: str) -> QueueLine:
        """What is known of a queue."""
        ...

    def report(self, queue: str, event: str, call_id: str, at: datetime) -> None:
        """A caller ``arrived`` in a queue, was ``answered``, or ``abandoned`` it."""
        ...


class SharedDecisions(Protocol):
    """Decisions of calls that other nodes have answered."""

    async def decision(self, call_id: str) -> Mapping[str, Any] | None:
        """The decision in its JSON form; None where there is none.

        Raises:
            ServerError: the store cannot be asked.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the HTTP port shows and changes."""

    health: Health
    metrics: Metrics
    registry: Registry
    access: Access
    audit: AuditLog
    editor: QueuesEditor
    catalogue: Callable[[], Catalogue]  # in force
    version: Callable[[], str]  # of the catalogue in force
    now: Callable[[], datetime]
    board: Board | None = None
    shared: SharedDecisions | None = None
    #: the request's host name to the address that jambonz streams to; None: not known
    stream_url: Callable[[str], str] | None = None


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    permissions: tuple[Permission, ...]  # one of them is needed; none: anyone
    handler: Handler = field(compare=False)


class HttpApi:
    """The HTTP server; an asynchronous context manager that listens while it is entered.

    Args:
        sources: what is shown.
        settings: rates, sizes and time-outs.
        host, port: what to listen on; port 0 takes any free one.
        tls: with it, HTTPS.
        now_s: a monotonic clock, seconds, for rates.

    Raises:
        ServerError: the address cannot be listened on.
    """

    def __init__(
        self,
        sources: Sources,
        settings: AccessSettings,
        *,
        host: str,
        port: int,
        tls: Tls | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources, self._settings = sources, settings
        self._host, self._port, self._tls = host, port, tls
        self._rates = RateLimiter(
            per_s=settings.requests_per_s, burst=settings.request_burst, now_s=now_s
        )
        self._routes = (
            _Route("GET", "/healthz", (), self._healthz),
            _Route("GET", "/readyz", (), self._readyz),
            _Route("GET", "/metrics", (Permission.VIEW,), self._metrics),
            _Route("GET", "/calls", (Permission.VIEW,), self._calls),
            _Route("GET", "/calls/{id}", (Permission.DECISION,), self._call),
            _Route("GET", "/queues", (Permission.VIEW,), self._queues),
            _Route("PUT", "/queues", (Permission.EDIT,), self._edit),
            _Route("POST", "/queues/{id}/events", (Permission.REPORT,), self._report),
            _Route("POST", "/jambonz/call", (Permission.DECISION,), self._jambonz_call),
            _Route("POST", "/jambonz/decision", (Permission.DECISION,), self._jambonz_decision),
            _Route("GET", "/audit", (Permission.ADMINISTER,), self._audit),
        )
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """The address to connect to."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http{'s' if self._tls else ''}://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        application = web.Application(
            middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES, logger=_log
        )
        for route in self._routes:
            application.router.add_route(route.method, route.path, route.handler)
        self._runner = web.AppRunner(
            application,
            access_log=None,  # it would log tokens in queries
            keepalive_timeout=self._settings.request_timeout_s,
            handler_cancellation=True,
            shutdown_timeout=2.0,
        )
        await self._runner.setup()
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connection,
                self._host,
                self._port,
                ssl=self._tls.context if self._tls else None,
                ssl_handshake_timeout=self._settings.request_timeout_s if self._tls else None,
            )
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise ServerError(
                f"cannot listen on {self._host}:{self._port} for HTTP ({error}); is another "
                "server running there? Choose another port by --http-port or server.http_port"
            ) from error
        self._port = int(self._listening.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- at the door ---------------------------------------------------------------------

    def _connection(self) -> asyncio.Protocol:
        assert self._runner is not None
        assert self._runner.server is not None
        server = self._runner.server
        if len(server.connections) >= self._settings.max_connections:
            self._sources.metrics.denied("connections")
            return _Refusal()
        return server()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _pattern(request)
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                response = await self._admitted(request, handler)
        except TimeoutError:
            response = _error(408, "the request took too long")
        except AccessError as error:
            self._sources.metrics.denied(error.reason)
            _log.warning("%s %s turned away: %s", request.method, route, error.reason)
            response = _denied(error)
        except web.HTTPException as error:
            response = _error(error.status, _REASONS.get(error.status, error.reason))
            for name in ("Allow",):
                if name in error.headers:
                    response.headers[name] = error.headers[name]
        except (ServerError, ConfigError) as error:
            response = _error(503, str(error))
        except Exception:
            _log.exception("%s %s failed", request.method, route)
            response = _error(500, "internal error; the server's log has it")
        response.headers.update(_HEADERS)
        self._sources.metrics.request(route, response.status)
        return response

    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        address = _address(request)
        if not self._rates.take(address):
            raise AccessError(
                429,
                "rate",
                f"at most {self._settings.requests_per_s:g} requests a second",
                retry_after_s=self._rates.retry_after_s(address),
            )
        if (request.content_length or 0) > _MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(_MAX_BODY_BYTES, request.content_length or 0)
        host = request.headers.get("Host")
        self._sources.access.check_origin(request.headers.get("Origin"), host)
        needed = self._needed(request)
        if needed:
            request[_IDENTITY] = self._identified(request, address, host, needed)
        return await handler(request)

    def _needed(self, request: web.Request) -> tuple[Permission, ...]:
        pattern = _pattern(request)
        for route in self._routes:
            if (route.method, route.path) == (_read(request.method), pattern):
                return route.permissions
        return ()  # no such route: the router says so

    def _identified(
        self,
        request: web.Request,
        address: str,
        host: str | None,
        needed: tuple[Permission, ...],
    ) -> Identity:
        access = self._sources.access
        identity = access.identify(
            address=address,
            authorization=request.headers.get("Authorization"),
            query=without_token(request.path_qs)[1],
            host=host,
            forwarded=any(name in request.headers for name in _FORWARDED),
        )
        if not any(identity.may(permission) for permission in needed):
            access.require(identity, needed[0])
        return identity

    # --- health and metrics --------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        health = self._sources.health
        return _json(health.as_json(), status=200 if health.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._sources.metrics.text(), headers={"Content-Type": CONTENT_TYPE}
        )

    # --- calls ---------------------------------------------------------------------------

    async def _calls(self, request: web.Request) -> web.Response:
        registry = self._sources.registry
        over = request.query.get("over", "0") not in ("", "0", "false")
        records = registry.over() if over else registry.calls()
        listed = [_masked(record.as_json()) for record in records[-_MAX_LISTED:]]
        return _json({"calls": listed, "count": len(records)})

    async def _call(self, request: web.Request) -> web.Response:
        call_id = request.match_info["id"]
        found = await self._decision(call_id)
        if found is None:
            return _error(404, "no call of this id is known here; it may be too long ago")
        if request.get(_IDENTITY, ANYONE).may(Permission.VIEW) and not request[_IDENTITY].may(
            Permission.STREAM
        ):
            found = _masked(found)
        name = request.query.get("field")
        if name is not None:
            return web.Response(text=_as_text(found.get(name)))
        return _json(found, status=200 if found.get("action") else 202)

    async def _decision(self, call_id: str) -> dict[str, Any] | None:
        """The decision; without one yet, the state of the call; None for an unknown call."""
        record = self._sources.registry.call(call_id)
        if record is not None and record.decision is not None:
            return record.decision.as_json()
        if self._sources.shared is not None:
            shared = await self._sources.shared.decision(call_id)
            if shared is not None and record is None:
                return dict(shared)
        if record is None:
            return None
        return {
            "call_id": record.call_id,
            "gateway": record.gateway,
            "action": None,
            "queue": None,
            "number": None,
            "state": record.state,
        }

    # --- jambonz -------------------------------------------------------------------------

    async def _jambonz_call(self, request: web.Request) -> web.Response:
        if self._sources.stream_url is None:
            return _error(503, "this server does not know the address of its WebSocket port")
        # jambonz sends no headers of ours: what authorised it goes along in the addresses.
        token = without_token(request.path_qs)[1]
        query = f"?{urlencode({'token': token})}" if token else ""
        host = hostname(f"//{request.headers.get('Host', '')}") or "127.0.0.1"
        verbs = call_verbs(
            stream_url=self._sources.stream_url(host) + query,
            decision_url=f"/jambonz/decision{query}",
        )
        return _verbs(verbs)

    async def _jambonz_decision(self, request: web.Request) -> web.Response:
        told = _object(await _body(request, _MAX_HOOK_BYTES))
        call_id = told.get("call_sid")
        known = await self._decision(call_id) if isinstance(call_id, str) else None
        if known is None:
            _log.warning("jambonz asks for a call that is not known here: a person takes it")
        return _verbs(decision_verbs(known, person_queue=self._sources.catalogue().default_queue))

    # --- queues --------------------------------------------------------------------------

    async def _queues(self, request: web.Request) -> web.Response:
        text, version = await asyncio.to_thread(self._sources.editor.read)
        tag = {"ETag": f'"{version}"'}
        if request.query.get("format") == "yaml":
            return web.Response(text=text, content_type="application/yaml", headers=tag)
        catalogue = self._sources.catalogue()
        listed = [
            {
                "id": queue.id,
                "name": queue.name.model_dump(),
                "agents": queue.agents,
                "hours": str(queue.hours),
                "open": queue.hours.is_open(self._sources.now()),
                "priority": queue.priority,
                **self._line(queue.id),
            }
            for queue in catalogue.queues
        ]
        body = {
            "file": self._sources.editor.path.name,
            "file_version": version,
            "version": self._sources.version(),
            "default_queue": catalogue.default_queue,
            "queues": listed,
        }
        return _json(body, headers=tag)

    def _line(self, queue: str) -> dict[str, Any]:
        board = self._sources.board
        line = board.line(queue) if board else QueueLine(0, None)
        return {"waiting": line.waiting, "expected_wait_s": line.expected_wait_s}

    async def _edit(self, request: web.Request) -> web.Response:
        identity = request[_IDENTITY]
        dry_run = request.query.get("dry_run", "0") not in ("", "0", "false")
        based_on = request.headers.get("If-Match", "*").strip().strip('"')
        try:
            text = (await request.read()).decode("utf-8")
        except UnicodeDecodeError:
            return _error(400, "the text is not UTF-8; save it as UTF-8 and send it again")
        who = f"{identity.name} ({identity.token_id})" if identity.token_id else identity.name
        try:
            # Shielded: once begun, an edit and its audit entry are finished together.
            edit = await asyncio.shield(
                asyncio.to_thread(
                    self._sources.editor.put,
                    text,
                    who=f"{who} from {_address(request)}",
                    based_on=None if based_on == "*" else based_on,
                    dry_run=dry_run,
                )
            )
        except ConflictError as error:
            return _error(412, str(error))
        except FaultsError as error:
            return _faults(error)
        body = {
            "ok": True,
            "changed": edit.changed and not dry_run,
            "file_version": edit.version,
            "warnings": list(edit.warnings),
        }
        return _json(body, headers={"ETag": f'"{edit.version}"'})

    async def _report(self, request: web.Request) -> web.Response:
        queue = request.match_info["id"]
        if queue not in self._sources.catalogue().queue_ids:
            return _error(404, "there is no queue of this id; GET /queues lists them")
        if (request.content_length or 0) > _MAX_EVENT_BYTES:
            return _error(413, f"at most {_MAX_EVENT_BYTES} bytes are read here")
        told = _object(await _body(request, _MAX_EVENT_BYTES))
        event, call_id = told.get("event"), told.get("call_id")
        if event not in _EVENTS or not isinstance(call_id, str) or not 0 < len(call_id) <= 128:
            return _error(
                400,
                'send {"event": "arrived" or "answered" or "abandoned", "call_id": "..."}',
            )
        if self._sources.board is None:
            return _error(503, "this server keeps no queue counts")
        self._sources.board.report(queue, event, call_id, self._sources.now())
        return web.Response(status=204)

    async def _audit(self, request: web.Request) -> web.Response:
        asked = request.query.get("last", "100")
        if not (asked.isascii() and asked.isdigit() and len(asked) <= 6):
            return _error(400, "?last= is a number of entries")
        count = min(int(asked), _MAX_LISTED)
        entries = await asyncio.to_thread(self._sources.audit.last, count)
        return _json({"entries": entries})


class _Refusal(asyncio.Protocol):
    """A connection too many: closed before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


_REASONS: Final = {
    404: "there is nothing here; see docs/operations.md for what there is",
    405: "this cannot be done here",
    413: f"at most {_MAX_BODY_BYTES} bytes are read",
}


def _read(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _pattern(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _address(request: web.Request) -> str:
    """Of the client; never what a header says, which anybody can write."""
    return request.remote or "unknown"


def _json(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def _error(status: int, message: str) -> web.Response:
    return _json({"error": message}, status=status)


def _denied(error: AccessError) -> web.Response:
    response = _error(error.status, str(error))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="kapok"'
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(int(error.retry_after_s) + 1)
    return response


def _faults(error: FaultsError) -> web.Response:
    faults = [
        {
            "file": error.name,
            "line": fault.place.line,
            "column": fault.place.column,
            "what": fault.what,
            "mend": fault.mend,
        }
        for fault in error.faults
    ]
    return _json({"ok": False, "error": str(error), "errors": faults}, status=422)


def _verbs(verbs: list[dict[str, Any]]) -> web.Response:
    return web.Response(text=json.dumps(verbs), content_type="application/json")


async def _body(request: web.Request, most: int) -> bytes:
    """All that was sent, in however many pieces it comes; of what is longer than ``most``, a byte
    more."""
    try:
        return await request.content.readexactly(most + 1)
    except asyncio.IncompleteReadError as read:
        return read.partial


def _object(raw: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        told = json.loads(raw)
        if isinstance(told, dict):
            return told
    return {}


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _masked(told: dict[str, Any]) -> dict[str, Any]:
    """What an operator is shown of a call: numbers of persons hidden but for their end."""
    shown = dict(told)
    if shown.get("caller"):
        shown["caller"] = mask(str(shown["caller"]))
    if shown.get("slots"):
        shown["slots"] = [_masked_slot(slot) for slot in shown["slots"]]
    if isinstance(shown.get("decision"), dict):
        shown["decision"] = _masked(shown["decision"])
    return shown


def _masked_slot(slot: Mapping[str, Any]) -> dict[str, Any]:
    if slot.get("kind") not in SECRET:
        return dict(slot)
    return {key: v if key == "kind" else mask(str(v)) for key, v in slot.items()}
