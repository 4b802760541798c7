"""``ivr load``: many calls at once, and whether the server holds them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr import event_loop
from ivr.errors import ConfigError
from ivr.gateways.clients import CLIENTS
from ivr.load.figures import Figures, most_held
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter, find_server
from ivr.load.run import Load, hold, ramp
from ivr.load.script import load_scripts
from ivr.load.server import SERVE, started
from ivr.settings import find_home

__all__ = ["command"]

_RAMP_STEPS = 8


@click.command("load")
@click.option("--calls", type=click.IntRange(1, 5_000), default=20, show_default=True)
@click.option(
    "--gateway", type=click.Choice(list(CLIENTS)), default="vosk", show_default=True, help="Whose."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=7_200),
    default=20.0,
    show_default=True,
    help="How long each level is measured.",
)
@click.option(
    "--ramp", "ramps", is_flag=True, help="From few calls up to --calls, until it is not held."
)
@click.option("--step", type=click.IntRange(min=1), help="Calls added by --ramp; an eighth.")
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds within which 95 % of decisions must come.",
)
@click.option(
    "--listen",
    "listen_s",
    type=click.FloatRange(min=0, max=60),
    default=4.0,
    show_default=True,
    help="Seconds of line noise before a caller speaks, as long as the greeting is heard.",
)
@click.option(
    "--fixtures",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Recordings with labels.csv, instead of the installation's audio_fixtures.",
)
@click.option("--url", help="A running server; without it one is started here.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml of that one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Who says what, and when.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a level.")
def command(
    calls: int,
    gateway: str,
    seconds: float,
    ramps: bool,
    step: int | None,
    deadline_s: float,
    listen_s: float,
    fixtures: Path | None,
    url: str | None,
    config: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Keep so many calls going at real-time pace, and report how late the server answers.

    Each line makes one call after the other: line noise while the greeting is heard, a recorded
    request, and silence until the decision; then the next call. The decision's latency counts
    from the end of speech to the arrival of the decision, with nothing subtracted: the silence by
    which the end is known is in it. Gateways whose protocol tells no decision before it has been
    announced (genesys, twilio, vonage, asterisk, jambonz) are timed to the first sound of that
    announcement; vosk, freeswitch and aeap to the text that comes with it. A partial result's
    counts from the moment at which a frame's last sample was spoken to the answer to that frame
    (Vosk's protocol alone answers frames).

    CPU and memory are the server's, workers and all, where it runs on this machine. The exit
    status is 1 where the load is not held: the 95th percentile past --deadline, a frame lost, a
    call refused or broken, or more than 2 % of the calls left without a decision.
    """
    if url and config:
        raise click.UsageError("--config is for a server started here; leave it or --url away")
    levels = _levels(calls, step) if ramps else [calls]
    rate_hz, encoding, frame_s = audio_of(gateway)
    scripts = load_scripts(
        fixtures or _fixtures(),
        frame_s=frame_s,
        listen_s=listen_s,
        rate_hz=rate_hz,
        encoding=encoding,
    )
    report = _Report(as_json, deadline_s)
    with _server(url, config) as (address, pid):
        load = Load(
            gateway=gateway, url=address, scripts=scripts, meter=ServerMeter(pid), seed=seed
        )
        found = event_loop.run(_run(load, levels, seconds, deadline_s, report))
    report.end(found)
    held = most_held(found, deadline_s=deadline_s)
    sys.exit(0 if held is not None and (ramps or held.calls == calls) else 1)


def _levels(calls: int, step: int | None) -> list[int]:
    step = step or max(1, calls // _RAMP_STEPS)
    return [*range(step, calls, step), calls]


def _fixtures() -> Path:
    folder = find_home() / "audio_fixtures"
    if not (folder / "labels.csv").exists():
        raise ConfigError(
            f"{folder}/labels.csv is not there; name a folder of labelled recordings by --fixtures"
        )
    return folder


@contextmanager
def _server(url: str | None, config: Path | None) -> Iterator[tuple[str, int | None]]:
    if url is not None:
        yield url, find_server(url)
        return
    with started([*SERVE, *(["--config", str(config)] if config else [])]) as server:
        yield server.url, server.pid


async def _run(
    load: Load, levels: Sequence[int], seconds: float, deadline_s: float, report: _Report
) -> list[Figures]:
    if len(levels) == 1:
        figures = await hold(load, calls=levels[0], seconds=seconds)
        report.level(figures)
        return [figures]
    ramped = ramp(load, levels=levels, seconds=seconds, deadline_s=deadline_s)
    found = []
    async for figures in ramped:
        report.level(figures)
        found.append(figures)
    return found


class _Report:
    """JSON lines as the levels come, or a table at the end."""

    def __init__(self, as_json: bool, deadline_s: float) -> None:
        self._as_json, self._deadline_s = as_json, deadline_s

    def level(self, figures: Figures) -> None:
        if self._as_json:
            click.echo(json.dumps(figures.as_json(), ensure_ascii=False))
        elif sys.stderr.isatty():
            click.echo(f"{figures.calls} calls: p95 {figures.decision.p95} ms", err=True)

    def end(self, found: Sequence[Figures]) -> None:
        if self._as_json:
            return
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(_table(found))
        held = most_held(found, deadline_s=self._deadline_s)
        said = f"held: {held.calls} calls" if held else "not held"
        console.print(f"{said} (p95 within {self._deadline_s:g} s, nothing lost)")
        for figures in found:
            for what, count in figures.troubles.items():
                console.print(f"{figures.calls} calls: {count} x {what}", markup=False)


_COLUMNS = (
    "calls",
    "decision p50",
    "p95",
    "p99 ms",
    "partial p50",
    "p95 ms",
    "frames",
    "lost",
    "undecided",
    "refused",
    "cores",
    "MB",
    "MB/call",
)


def _table(found: Sequence[Figures]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for f in found:
        cells = (
            f.calls,
            f.decision.p50,
            f.decision.p95,
            f.decision.p99,
            f.partial.p50,
            f.partial.p95,
            f.frames_sent,
            f.frames_lost,
            f.undecided,
            f.refused,
            f.cpu_cores,
            f.memory_mb,
            f.memory_per_call_mb,
        )
        table.add_row(*map(_cell, cells))
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
