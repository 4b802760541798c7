"""The HTTP port over real sockets, with real files behind it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from ivr.call.decision import Action, Decision
from ivr.errors import ServerError
from ivr.queues.catalogue import load_catalogue
from ivr.server.access import Access, Role, TokenFile, new_token
from ivr.server.audit import AuditLog
from ivr.server.health import Health
from ivr.server.http_api import HttpApi, QueueLine, Sources
from ivr.server.metrics import Metrics
from ivr.server.queues_editor import QueuesEditor
from ivr.server.registry import CallRecord, Registry
from ivr.server.tls import Tls
from ivr.settings import AccessSettings
from tests.server.installation import QUEUES
from tests.server.test_metrics import value
from tests.server.test_tls import write as write_certificate

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Board:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def line(self, queue: str) -> QueueLine:
        return QueueLine(len(self.told), 42.0)

    def report(self, queue: str, event: str, call_id: str, at: datetime) -> None:
        self.told.append((queue, event, call_id))


@dataclass
class Desk:
    """A server's HTTP port and what is behind it."""

    home: Path
    sources: Sources
    settings: AccessSettings
    board: Board
    url: str = ""

    def token(self, role: Role) -> dict[str, str]:
        text, token = new_token(f"the {role}", role, now=NOON)
        TokenFile(self.settings.tokens).add(token)
        return {"Authorization": f"Bearer {text}"}

    def serve(self, **more: Any) -> AbstractAsyncContextManager[HttpApi]:
        return HttpApi(self.sources, self.settings, host="127.0.0.1", port=0, **more)

    @property
    def queues(self) -> Path:
        return self.home / "queues.yaml"


Opened = AbstractAsyncContextManager[tuple[Desk, aiohttp.ClientSession]]


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Opened]:
    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[tuple[Desk, aiohttp.ClientSession]]:
        made = make(tmp_path, **limits)
        async with made.serve() as api, aiohttp.ClientSession(api.url) as session:
            made.url = api.url
            yield made, session

    return opened


def make(home: Path, **limits: Any) -> Desk:
    queues = home / "queues.yaml"
    queues.write_text(QUEUES, encoding="utf-8")
    settings = AccessSettings(tokens=home / "tokens.yaml", **limits)
    catalogue = load_catalogue(queues)
    audit, board = AuditLog(home / "audit.jsonl", now=lambda: NOON), Board()
    sources = Sources(
        health=Health(),
        metrics=Metrics(queues=catalogue.queue_ids),
        registry=Registry(),
        access=Access(settings, host="127.0.0.1", now=lambda: NOON, now_s=lambda: 0.0),
        audit=audit,
        editor=QueuesEditor(queues, audit),
        catalogue=lambda: catalogue,
        version=lambda: "12345678",
        now=lambda: NOON,
        board=board,
    )
    return Desk(home, sources, settings, board)


async def get(session: aiohttp.ClientSession, path: str, **more: Any) -> tuple[int, Any]:
    async with session.get(path, **more) as response:
        return response.status, await response.json()


async def put(session: aiohttp.ClientSession, text: str | bytes, **more: Any) -> tuple[int, Any]:
    data = text if isinstance(text, bytes) else text.encode()
    async with session.put(more.pop("path", "/queues"), data=data, **more) as response:
        return response.status, await response.json()


def record(call_id: str, **more: Any) -> CallRecord:
    return CallRecord(call_id=call_id, gateway="vosk", began=NOON, **more)


DECISION = Decision(
    call_id="c1",
    gateway="vosk",
    action=Action.QUEUE,
    queue="social_security",
    confidence=0.93,
    language="yue",
    transcript="我电话系*********00",
    slots=({"kind": "phone", "value": "13800138000", "text": "13800138000"},),
    at=NOON,
)


# --- health, metrics ------------------------------------------------------------------------


async def test_healthy_before_ready_and_ready_until_draining(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        made.token(Role.VIEW)  # health checks need none
        assert await get(session, "/healthz") == (200, {"status": "ok"})
        status, body = await get(session, "/readyz")
        assert (status, body["reasons"]) == (503, {"loading": "models are being loaded"})
        made.sources.health.loaded()
        assert await get(session, "/readyz") == (200, {"ready": True, "reasons": {}})
        made.sources.health.drain()
        assert (await get(session, "/readyz"))[0] == 503
        assert (await get(session, "/healthz"))[0] == 200


async def test_metrics(desk: Callable[..., Opened]) -> None:
    async with desk() as (_, session), session.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert "# HELP kapok_calls_started_total" in await response.text()


# --- calls ----------------------------------------------------------------------------------


async def test_where_does_the_call_go(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        registry = made.sources.registry
        assert (await get(session, "/calls/c1"))[0] == 404
        live = registry.begin(record("c1"))
        status, body = await get(session, "/calls/c1")
        assert (status, body["action"], body["state"]) == (202, None, "new")
        live.update(state="routing", decision=DECISION)
        assert await get(session, "/calls/c1") == (200, DECISION.as_json())
        live.end(at=NOON)
        assert await get(session, "/calls/c1") == (200, DECISION.as_json())


@pytest.mark.parametrize(
    ("field", "text"),
    [("queue", "social_security"), ("number", ""), ("confirmed", "0"), ("needs", "[]")],
)
async def test_a_dialplan_asks_for_one_value(
    desk: Callable[..., Opened], field: str, text: str
) -> None:
    async with desk() as (made, session):
        made.sources.registry.begin(record("c1", decision=DECISION))
        async with session.get("/calls/c1", params={"field": field}) as response:
            assert (response.status, await response.text()) == (200, text)


async def test_a_gateway_is_told_all_and_an_operator_no_numbers(
    desk: Callable[..., Opened],
) -> None:
    async with desk() as (made, session):
        made.sources.registry.begin(record("c1", caller="13800138000", decision=DECISION))
        _, told = await get(session, "/calls/c1", headers=made.token(Role.GATEWAY))
        assert told["slots"][0]["value"] == "13800138000"
        viewer = made.token(Role.VIEW)
        _, shown = await get(session, "/calls/c1", headers=viewer)
        _, listed = await get(session, "/calls", headers=viewer)
        assert listed["count"] == 1
        assert listed["calls"][0]["caller"] == "*********00"
        assert "13800138000" not in json.dumps([shown, listed])


class OtherNode:
    """A store in which another node wrote a decision."""

    def __init__(self, told: dict[str, Any] | None) -> None:
        self.told = told

    async def decision(self, call_id: str) -> dict[str, Any] | None:
        if self.told is None:
            raise ServerError("the store cannot be reached")
        return self.told if call_id == self.told["call_id"] else None


async def test_any_node_knows_the_decision(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.sources = replace(made.sources, shared=OtherNode(DECISION.as_json()))
    async with made.serve() as api, aiohttp.ClientSession(api.url) as session:
        assert (await get(session, "/calls/c1"))[1]["queue"] == "social_security"
        assert (await get(session, "/calls/c2"))[0] == 404
        made.sources.registry.begin(record("c1"))  # a new call of that id is ours
        assert (await get(session, "/calls/c1"))[0] == 202


async def test_a_store_that_is_gone_is_503_and_own_calls_go_on(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.sources = replace(made.sources, shared=OtherNode(None))
    made.sources.registry.begin(record("mine", decision=DECISION))
    async with made.serve() as api, aiohttp.ClientSession(api.url) as session:
        assert await get(session, "/calls/x") == (503, {"error": "the store cannot be reached"})
        assert (await get(session, "/calls/mine"))[0] == 200


# --- queues ---------------------------------------------------------------------------------


async def test_the_queues_with_who_waits(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        for event in ("arrived", "answered"):
            told = {"event": event, "call_id": "c1"}
            async with session.post("/queues/general/events", json=told) as response:
                assert response.status == 204
        assert made.board.told == [("general", "arrived", "c1"), ("general", "answered", "c1")]
        _, body = await get(session, "/queues")
        general = next(queue for queue in body["queues"] if queue["id"] == "general")
        assert (general["waiting"], general["expected_wait_s"], general["open"]) == (2, 42.0, True)
        async with session.get("/queues?format=yaml") as response:
            assert await response.text() == QUEUES


@pytest.mark.parametrize(
    ("queue", "body", "status"),
    [
        ("nobody", b'{"event": "arrived", "call_id": "c"}', 404),
        ("general", b'{"event": "vanished", "call_id": "c"}', 400),
        ("general", b'{"event": "arrived", "call_id": 7}', 400),
        ("general", b"[" * 4000, 400),
        ("general", b"x" * 5000, 413),
        ("general", b"", 400),
    ],
)
async def test_a_report_that_is_wrong(
    desk: Callable[..., Opened], queue: str, body: bytes, status: int
) -> None:
    async with desk() as (made, session):
        async with session.post(f"/queues/{queue}/events", data=body) as response:
            assert response.status == status
        assert made.board.told == []


async def test_an_edit_is_taken_written_and_audited(desk: Callable[..., Opened]) -> None:
    edited = QUEUES.replace("agents: 4", "agents: 5", 1)
    async with desk() as (made, session):
        made.queues.chmod(0o640)
        editor = made.token(Role.EDIT)
        _, seen = await get(session, "/queues", headers=editor)
        tag = {"If-Match": f'"{seen["file_version"]}"'}
        status, body = await put(session, edited, headers=editor | tag)
        assert (status, body["ok"], body["changed"]) == (200, True, True)
        assert any("write at least" in warning for warning in body["warnings"])
        assert made.queues.read_text("utf-8") == edited
        assert made.queues.stat().st_mode & 0o777 == 0o640
        (entry,) = made.sources.audit.last(9)
        assert entry["who"].startswith("the edit (")
        assert "from 127.0.0.1" in entry["who"]
        assert "+    agents: 5" in entry["diff"]
        status, body = await put(session, QUEUES, headers=editor | tag)  # an old version
        assert status == 412
        assert "has been changed since you read it" in body["error"]
        assert made.queues.read_text("utf-8") == edited


async def test_a_refused_edit_names_every_place_and_mend(desk: Callable[..., Opened]) -> None:
    bad = QUEUES.replace("default_queue: general", "default_queue: genral").replace(
        "agents: 4", "agents: four", 1
    )
    async with desk() as (made, session):
        status, body = await put(session, bad)
        assert status == 422
        assert body["errors"][0]["file"] == "queues.yaml"
        assert {(e["line"], e["column"]) for e in body["errors"]} == {(2, 16), (13, 13)}
        assert all(e["what"] and e["mend"] for e in body["errors"])
        assert made.queues.read_text("utf-8") == QUEUES
        assert [e["outcome"] for e in made.sources.audit.last(9)] == ["refused"]
        assert not list(made.home.glob("*.part")) + list(made.home.glob(".*.part"))


async def test_a_dry_run_changes_and_records_nothing(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        edited = QUEUES.replace("agents: 4", "agents: 5", 1)
        status, body = await put(session, edited, path="/queues?dry_run=1")
        assert (status, body["changed"]) == (200, False)
        assert (await put(session, "queues: [", path="/queues?dry_run=1"))[0] == 422
        assert made.queues.read_text("utf-8") == QUEUES
        assert made.sources.audit.last(9) == []


@pytest.mark.parametrize(
    ("body", "status"), [(b"\xff\xfe", 400), (b"#" * (6 * 1024 * 1024 + 1), 413), (b"", 422)]
)
async def test_what_is_no_text_or_too_long(
    desk: Callable[..., Opened], body: bytes, status: int
) -> None:
    async with desk() as (_, session):
        assert (await put(session, body))[0] == status


async def test_a_change_that_cannot_be_recorded_is_not_made(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        (made.home / "audit.jsonl").mkdir()
        status, body = await put(session, QUEUES.replace("agents: 4", "agents: 5", 1))
        assert status == 503
        assert "no change is made without it" in body["error"]
        assert made.queues.read_text("utf-8") == QUEUES


# --- who may --------------------------------------------------------------------------------

#: (method, path) -> the roles that may
MAY = {
    ("GET", "/metrics"): {Role.VIEW, Role.EDIT, Role.ADMINISTER},
    ("GET", "/calls"): {Role.VIEW, Role.EDIT, Role.ADMINISTER},
    ("GET", "/calls/x"): set(Role),
    ("GET", "/queues"): {Role.VIEW, Role.EDIT, Role.ADMINISTER},
    ("PUT", "/queues"): {Role.EDIT, Role.ADMINISTER},
    ("POST", "/queues/general/events"): {Role.GATEWAY},
    ("GET", "/audit"): {Role.ADMINISTER},
}


async def test_roles(desk: Callable[..., Opened]) -> None:
    async with desk() as (made, session):
        tokens = {role: made.token(role) for role in Role}
        for (method, path), roles in MAY.items():
            async with session.request(method, path) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
            for role, header in tokens.items():
                async with session.request(method, path, headers=header) as response:
                    assert (response.status == 403) == (role not in roles), (path, role)
        assert value(made.sources.metrics, "kapok_access_denied_total", reason="token") == len(MAY)


async def test_pages_of_other_addresses_are_turned_away(desk: Callable[..., Opened]) -> None:
    async with desk(origins=("https://desk.example",)) as (_, session):
        status, body = await get(session, "/queues", headers={"Origin": "https://evil.example"})
        assert status == 403
        assert "server.access.origins" in body["error"]
        assert (await get(session, "/queues", headers={"Origin": "https://desk.example"}))[0] == 200
        rebound = {"Host": "evil.example"}
        assert (await get(session, "/audit", headers=rebound))[0] == 403
        assert (await get(session, "/audit", headers={"X-Forwarded-For": "1.2.3.4"}))[0] == 403


async def test_too_many_requests(desk: Callable[..., Opened]) -> None:
    async with desk(request_burst=3, requests_per_s=0.001) as (_, session):
        statuses = [(await get(session, "/healthz"))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_a_connection_too_many_is_closed_unread(desk: Callable[..., Opened]) -> None:
    async with desk(max_connections=2) as (made, session):
        host, port = made.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET /healthz HTTP/1.1\r\n")
        await asyncio.sleep(0.01)
        with pytest.raises(aiohttp.ClientError):
            await get(session, "/healthz")
        for _, writer in held:
            writer.close()
        assert value(made.sources.metrics, "kapok_access_denied_total", reason="connections")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_whoever_says_nothing_or_half_a_request_is_let_go(
    desk: Callable[..., Opened], sent: bytes
) -> None:
    async with desk(request_timeout_s=0.05) as (made, _):
        host, port = made.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(10):
            assert b"200" not in await reader.read()
        writer.close()


async def test_a_body_that_never_comes_is_given_up(desk: Callable[..., Opened]) -> None:
    async with desk(request_timeout_s=0.05) as (made, _):
        host, port = made.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PUT /queues HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\nqu")
        async with asyncio.timeout(10):
            assert b"408" in await reader.readline()
        writer.close()
        assert made.queues.read_text("utf-8") == QUEUES


async def test_what_is_not_there(desk: Callable[..., Opened]) -> None:
    async with desk() as (_, session):
        assert (await get(session, "/../etc/passwd"))[0] == 404
        status, body = await put(session, "x", path="/calls")
        assert status == 405
        assert set(body) == {"error"}


# --- TLS, addresses -------------------------------------------------------------------------


async def test_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = Tls(write_certificate(tmp_path, authority, "127.0.0.1"))
    made, context = make(tmp_path), ssl.create_default_context()
    authority.configure_trust(context)
    async with made.serve(tls=tls) as api:
        assert api.url.startswith("https://127.0.0.1:")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(api.url, connector=connector) as session:
            assert (await get(session, "/healthz"))[0] == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):  # plain text
                await get(session, api.url.replace("https", "http") + "/healthz")


async def test_an_address_that_is_taken_is_one_clear_error(tmp_path: Path) -> None:
    made = make(tmp_path)
    async with made.serve() as api:
        other = HttpApi(made.sources, made.settings, host="127.0.0.1", port=api.port)
        with pytest.raises(ServerError, match=r"for HTTP .*--http-port"):
            await other.__aenter__()
