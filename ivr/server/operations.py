"""What runs beside the calls: metrics, health, access, TLS, the HTTP port, the store.

    operations = Operations.open(settings, catalogue=services.catalogue, host="0.0.0.0")
    async with KapokServer(services, settings, operations=operations) as server: ...

The server tells it what happens; calls never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from ivr.call.decision import Decision
from ivr.errors import ConfigError
from ivr.gateways import GATEWAYS
from ivr.intent.calibration import CALIBRATION_FILE
from ivr.queues.catalogue import Catalogue
from ivr.queues.live import ExpectedWaits, plans_of
from ivr.queues.scenario import load_scenario
from ivr.server.access import Access, Permission, TokenFile, is_loopback
from ivr.server.audit import AuditLog
from ivr.server.config_audit import ConfigAudit
from ivr.server.health import Health, watch_loop_lag
from ivr.server.http_api import HttpApi, Sources
from ivr.server.metrics import Metrics
from ivr.server.queue_board import QueueBoard, Waits
from ivr.server.queues_editor import QueuesEditor
from ivr.server.registry import Registry
from ivr.server.tls import Tls
from ivr.server.tracing import Tracing
from ivr.settings import Settings, load_settings
from ivr.store import Store, open_store

__all__ = ["Operations", "Running", "http_port_for"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the server shows of itself."""

    registry: Registry
    catalogue: Callable[[], Catalogue]
    version: Callable[[], str]
    audio_waiting_s: Callable[[], float]
    recognition_jobs: Callable[[], int]
    #: processes that recognise and are alive, and how many died; None where there are none
    workers: Callable[[], tuple[int, int] | None] = lambda: None
    now: Callable[[], datetime]


class Operations:
    """Made before the server listens; started and stopped by it.

    Args:
        settings: all of kapok.yaml.
        catalogue: the queues in force.
        host: what the server listens on.
        http_port: of the HTTP port, None for none.
        store: where call records go, None for nowhere.
        now: the wall clock, with its time zone.
        waits: what is learnt of the waits in the queues.

    Raises:
        ConfigError: tokens, certificate or audit log are wrong.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalogue: Catalogue,
        host: str | None = None,
        http_port: int | None = None,
        store: Store | None = None,
        now: Callable[[], datetime] | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._settings = settings
        self._host = host or settings.server.host
        self._http_port = http_port
        zone = ZoneInfo(catalogue.timezone)
        clock = now or (lambda: datetime.now(zone))
        self.metrics = Metrics(queues=catalogue.queue_ids, gateways=tuple(GATEWAYS))
        self.health = Health()
        self.tls = Tls(settings.server.tls) if settings.server.tls else None
        self.access = Access(
            settings.server.access, host=self._host, now=clock, now_s=time.monotonic
        )
        self.store = store
        if store is not None:
            store.recorder = self.metrics
        self.waits = waits
        self.tracing = Tracing(settings.server.traces_url)
        self._audit = AuditLog(settings.server.audit_log, now=clock)
        self._catalogue = catalogue
        elders = settings.dialogue.elders.callers
        self._files = ConfigAudit(
            self._audit, self._configuration, home=settings.home, personal=(elders,)
        )
        self._editor = QueuesEditor(settings.queues, self._audit, told=self._files.told)
        self._board = QueueBoard(self.metrics, shared=store, waits=waits)
        self._stack = AsyncExitStack()
        self._api: HttpApi | None = None

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        catalogue: Catalogue,
        host: str | None = None,
        http_port: int | None = None,
        now: Callable[[], datetime] | None = None,
        waits: Waits | None = None,
    ) -> Self:
        """With the store and the plan of waits of the settings; see the class."""
        store = open_store(settings.store, home=settings.home)
        planned = settings.server.expected_waits
        if waits is None and planned is not None:
            waits = ExpectedWaits(plans_of(load_scenario(planned)))
        return cls(
            settings,
            catalogue=catalogue,
            host=host,
            http_port=http_port,
            store=store,
            now=now,
            waits=waits,
        )

    @property
    def http_url(self) -> str | None:
        """Where the HTTP port listens; None where it does not."""
        return self._api.url if self._api else None

    async def start(self, running: Running) -> None:
        """Listen for HTTP, watch the event loop.

        Raises:
            ServerError: the HTTP port cannot be listened on.
        """
        await asyncio.to_thread(self._look)  # what was edited while no server ran
        for warning in self.access.warnings():
            _log.warning(warning)
        gateways = self._settings.gateways
        open_port = gateways.audiosocket_port is not None and not gateways.audiosocket_peers
        if open_port and not is_loopback(self._host):
            _log.warning(
                "AudioSocket knows no tokens and no TLS: name your Asterisk under "
                "gateways.audiosocket_peers, or let a firewall admit it alone"
            )
        live = self.metrics.live
        live.calls = lambda: [(r.gateway, str(r.state)) for r in running.registry.calls()]
        live.audio_waiting_s = running.audio_waiting_s
        live.recognition_jobs = running.recognition_jobs
        loop = asyncio.get_running_loop()
        live.tasks = lambda: len(asyncio.all_tasks(loop))
        live.workers = running.workers
        live.waiting = self._board.counts
        live.expected_waits_s = self._board.expected_waits_s
        live.ready = lambda: self.health.ready
        if self.store is not None:
            self._stack.push_async_callback(self.store.aclose)
            live.store_pending = lambda: self.store.pending if self.store else (0, 0)
        self._stack.push_async_callback(asyncio.to_thread, self.tracing.close)
        if self._http_port is not None:
            self._api = await self._stack.enter_async_context(self._http_api(running))
            _log.info("listening on %s for HTTP", self._api.url)
        watching = asyncio.create_task(watch_loop_lag(self.metrics))
        self._stack.push_async_callback(_cancel, watching)
        self.health.loaded()

    async def stop(self) -> None:
        """Close the HTTP port, and write what the store has not taken yet."""
        await self._stack.aclose()

    def decided(self, decision: Decision) -> None:
        """A gateway was told a decision, or a call ended without one."""
        self.metrics.decided(decision.gateway, decision.action, decision.queue)
        if self.store is not None:
            self.store.decided(decision.as_json())

    def reloaded(self, catalogue: Catalogue | None, error: ConfigError | None) -> None:
        """An edit of the queues was taken up, or refused; blocks on files."""
        self.metrics.reloaded(
            taken=catalogue is not None, queues=catalogue.queue_ids if catalogue else None
        )
        self._catalogue = catalogue or self._catalogue
        self._look(
            outcome="taken" if catalogue is not None else "refused",
            detail=str(error) if error is not None else None,
            but=self._of_the_start,
        )

    def look_at_files(self) -> None:
        """Write down edits of the files that no reload of the queues reads; blocks on files."""
        for path in self._of_the_start:
            outcome, detail = self._outcome(path)
            self._look(outcome=outcome, detail=detail, only=(path,))

    def _outcome(self, path: Path) -> tuple[str, str | None]:
        """What comes of the text that is in one of these files now."""
        tokens = path == self._settings.server.access.tokens
        try:
            if tokens and path.exists():
                TokenFile(path)
            elif path == self._settings.file:
                load_settings(path)
        except ConfigError as error:
            return "refused", str(error)
        return ("taken" if tokens else "at the next start"), None

    @property
    def _of_the_start(self) -> tuple[Path, ...]:
        """Settings and scenario are read at the start alone, tokens at every request."""
        server = self._settings.server
        planned = (server.expected_waits,) if server.expected_waits else ()
        return (self._settings.file, server.access.tokens, *planned)

    def _look(
        self,
        *,
        outcome: str = "taken",
        detail: str | None = None,
        only: tuple[Path, ...] | None = None,
        but: tuple[Path, ...] = (),
    ) -> None:
        try:
            self._files.look(outcome=outcome, detail=detail, only=only, but=but)
        except ConfigError as error:
            _log.error("%s", error)

    def _configuration(self) -> list[Path]:
        """The files whose changes are written down."""
        queues = self._settings.queues
        phrases = self._catalogue.phrase_folder
        listed = sorted((queues.parent / phrases).glob("*.txt")) if phrases else []
        elders, prompts = self._settings.dialogue.elders.callers, self._settings.prompts
        spoken = sorted(path for path in prompts.glob("**/*.*") if path.is_file())
        read = [queues, queues.parent / CALIBRATION_FILE, elders, *spoken, *listed]
        return [*self._of_the_start, *read]

    def admit_call(self, *, address: str, headers: dict[str, str], token: str | None) -> None:
        """Raises AccessError where a WebSocket request may not open calls.

        Args:
            address: of the client.
            headers: of the request, names in small letters.
            token: of the query.
        """
        identity = self.access.identify(
            address=address,
            authorization=headers.get("authorization"),
            query=token,
            host=headers.get("host"),
        )
        self.access.require(identity, Permission.STREAM)

    def _http_api(self, running: Running) -> HttpApi:
        assert self._http_port is not None
        sources = Sources(
            health=self.health,
            metrics=self.metrics,
            registry=running.registry,
            access=self.access,
            audit=self._audit,
            editor=self._editor,
            catalogue=running.catalogue,
            version=running.version,
            now=running.now,
            board=self._board,
            shared=self.store,
            stream_url=self._stream_url,
        )
        server = self._settings.server
        return HttpApi(
            sources,
            server.access,
            host=server.http_host or self._host,
            port=self._http_port,
            tls=self.tls,
        )

    def _stream_url(self, host: str) -> str:
        """Where jambonz streams to: as the settings say, else where it asked, at our port."""
        told = self._settings.gateways.jambonz.stream_url
        name = f"[{host}]" if ":" in host else host
        scheme = "wss" if self.tls else "ws"
        return told or f"{scheme}://{name}:{self._settings.server.port}/jambonz"


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def http_port_for(settings: Settings, port: int | None, http_port: int | None) -> int | None:
    """The HTTP port meant: as told; else beside a port that was told; else of the settings."""
    if http_port is not None:
        return http_port
    configured = settings.server.http_port
    if port is None or configured is None:
        return configured
    return port + 1 if port else 0
