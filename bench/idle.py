"""Live calls beside a crowd of connections that open and say nothing.

    python -m bench.idle                     # 40 calls, 2,000 connections
    python -m bench.idle --connections 10000

The same calls before the crowd comes (the peer) and beside it, on one server: how late decisions
and partial results are. With ``--check`` the exit status is 1 where a frame was lost, a call broke,
or the decisions beside the crowd missed the deadline. The server lets go of a connection that says
nothing for ten seconds; the crowd is measured within them.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr import event_loop
from ivr.load.crowd import crowd
from ivr.load.figures import Figures
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter
from ivr.load.run import Load, ramp
from ivr.load.script import load_scripts
from ivr.load.server import started

FIXTURES = Path(__file__).resolve().parents[1] / "audio_fixtures"
#: With the settling it must be over before the first of the crowd is let go of, seconds.
SETTLE_S, MEASURE_S = 2.0, 6.0


async def measure(url: str, pid: int, calls: int, connections: int) -> tuple[list[Figures], int]:
    """The calls without the crowd and beside it, and how many the crowd is."""
    _, _, frame_s = audio_of("vosk")
    scripts = load_scripts(FIXTURES, frame_s=frame_s, listen_s=4.0)
    load = Load(gateway="vosk", url=url, scripts=scripts, meter=ServerMeter(pid))
    levels = ramp(
        load, levels=[calls, calls], seconds=MEASURE_S, deadline_s=float("inf"), settle_s=SETTLE_S
    )
    found: list[Figures] = []
    opened = 0
    with ExitStack() as stack:
        async for figures in levels:  # the calls go on in between
            found.append(figures)
            if not opened:
                waited = stack.enter_context(crowd(url, connections))
                opened = await asyncio.to_thread(waited)
    return found, opened


@click.command()
@click.option("--calls", default=40, show_default=True)
@click.option("--connections", default=2_000, show_default=True)
@click.option("--deadline", "deadline_s", default=1.0, show_default=True)
@click.option("--check", is_flag=True, help="Fail where the deadline is missed.")
def main(calls: int, connections: int, deadline_s: float, check: bool) -> None:
    """Measure and compare."""
    with started() as server:
        found, opened = event_loop.run(measure(server.url, server.pid, calls, connections))
    if len(found) < 2:
        f = found[0]
        sys.exit(
            f"{calls} calls are not held even alone, so nothing can be compared: "
            f"{f.decided} decided, {f.undecided} undecided, {f.frames_lost} frames lost, "
            f"{f.refused} refused, {f.broken} broken; take fewer by --calls"
        )
    alone, beside = found
    shown = Table("", "decision p50 ms", "p95 ms", "partial p95 ms", "lost", "broken", "cores")
    for name, f in ((f"{calls} calls", alone), (f"beside {opened} connections", beside)):
        cells = (f.decision.p50, f.decision.p95, f.partial.p95, f.frames_lost, f.broken)
        shown.add_row(name, *map(str, cells), f"{f.cpu_cores or 0:.2f}")
    Console(width=100).print(shown)
    print(f"decisions, p95: {(beside.decision.p95 or 0) / (alone.decision.p95 or 1):.2f} times")
    if check and not (opened and beside.held(deadline_s=deadline_s)):
        sys.exit(1)


if __name__ == "__main__":
    main()
