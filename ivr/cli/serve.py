"""``ivr serve``: the server."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

import click

from ivr import event_loop
from ivr.cli.clock import at_option, moment
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.logs import LogFormat, configure
from ivr.server.operations import Operations, http_port_for
from ivr.settings import Settings, load_settings

__all__ = ["command"]

_LEVELS = ("debug", "info", "warning", "error")


@click.command("serve")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings instead of config/kapok.yaml."
)
@click.option("--host", help="Address to listen on, instead of the settings' server.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on, instead of the settings' server.port; 0 takes any free one.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65_535),
    help="Port for health, metrics, calls and queues, instead of the settings' server.http_port; "
    "with --port alone it is the next one.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the address to this file once the server listens.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds that calls under way may go on after SIGTERM or Ctrl-C.",
)
@at_option("for tests and demonstrations; without it by the real clock")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(
    config: Path | None,
    host: str | None,
    port: int | None,
    http_port: int | None,
    ready_file: Path | None,
    drain_s: float,
    at: datetime | None,
    log_level: str,
    log_format: LogFormat,
) -> None:
    """Run the server: calls of every gateway (docs/gateways/), with queues and decisions.

    The first line of standard output is `listening on ws://HOST:PORT`; the log goes to standard
    error. SIGTERM or Ctrl-C lets calls under way finish; a second one ends them at once.
    """
    configure(level=log_level, form=log_format)
    settings = load_settings(config)
    services = Services.load(settings, isolated=True)
    # What was loaded stays: a full collection would look through it for a third of a second, and
    # every call would wait. Measured by bench/reload.py.
    gc.collect()
    gc.freeze()
    fixed = moment(at, services.catalogue.timezone) if at else None
    now = (lambda: fixed) if fixed else None
    operations = Operations.open(
        settings,
        catalogue=services.catalogue,
        host=host,
        http_port=http_port_for(settings, port, http_port),
        now=now,
    )
    server = KapokServer(services, settings, host=host, port=port, now=now, operations=operations)
    try:
        event_loop.run(_run(server, settings, ready_file=ready_file, drain_s=drain_s))
    finally:
        services.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


async def _run(
    server: KapokServer, settings: Settings, *, ready_file: Path | None, drain_s: float
) -> None:
    stop, at_once = _on_signals()
    async with server:
        if ready_file is not None:
            _write_whole(ready_file, server.url + "\n")
        click.echo(f"listening on {server.url}")
        if server.http_url:
            click.echo(f"  http: {server.http_url}")
        if server.audiosocket_url:
            click.echo(f"  audiosocket: {server.audiosocket_url}")
        for language, entry in settings.languages.items():
            click.echo(f"  {language}: {entry}")
        click.echo(f"  queues: {settings.queues}")
        sys.stdout.flush()
        await stop.wait()
        await _close(server, drain_s, at_once)


async def _close(server: KapokServer, drain_s: float, at_once: asyncio.Event) -> None:
    draining = asyncio.create_task(server.close(drain_s=drain_s))
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not draining.done():
        draining.cancel()
        await asyncio.wait({draining})
        await server.close(drain_s=0.0)


def _on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """An event for the first SIGTERM or SIGINT, and one for the second."""
    stop, at_once = asyncio.Event(), asyncio.Event()

    def received() -> None:
        (at_once if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    return stop, at_once


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
