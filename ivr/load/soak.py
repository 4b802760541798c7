"""A server at half load for a long time, and whether anything in it grows.

    python -m ivr.load.soak --minutes 60         # make soak

Memory, tasks of the event loop, threads, open files and child processes of the server are sampled
while calls come and go.
The first tenth of the time is warming up: caches fill, the allocator takes what it will need. From
then on the slope of a least-squares line through the memory, over the whole time, must stay
under :data:`MOST_GROWTH` of what was in use, and the counts must be what they were. Once the calls
are over, so must be what belonged to them. A frame lost, a call broken or refused is a fault too,
and more calls left without a decision than ``ivr load`` allows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass

import click
import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from ivr import event_loop
from ivr.load.figures import Figures
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter
from ivr.load.run import Load, hold
from ivr.load.script import load_scripts
from ivr.load.server import SERVE, Started, started
from ivr.settings import find_home

__all__ = ["MOST_GROWTH", "Sample", "calls_amiss", "faults", "tasks_of"]

#: Of memory over the whole time, by its trend.
MOST_GROWTH = 0.05
_WARM_SHARE = 0.1
#: Log files turn over, a probe connects: counts may differ by so much.
_SLACK = 4
#: Calls that were cut off at the end are hung up by then, seconds.
_SETTLE_S = 15.0
#: Half of the 80 calls that two cores hold within a second: docs/reliability.md.
_HALF_LOAD = 40


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server and its workers hold at one moment."""

    at_s: float
    memory_mb: float
    threads: int
    files: int
    processes: int
    tasks: int  # -1: the HTTP port did not say


def tasks_of(http_url: str | None) -> int:
    """How many tasks the server's event loop has, by its own metrics; -1 where it does not say."""
    with suppress(OSError, ValueError):
        with urllib.request.urlopen(f"{http_url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            if family.name == "kapok_event_loop_tasks":
                return int(family.samples[0].value)
    return -1


def sample(meter: ServerMeter, server: Started, at_s: float) -> Sample:
    """Count everything, of the server and its children."""
    pid = server.pid
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return Sample(
        at_s=round(at_s, 1),
        memory_mb=round(meter.memory_mb() or 0.0, 1),
        threads=sum(process.num_threads() for process in family),
        files=sum(process.num_fds() for process in family),
        processes=len(family),
        tasks=tasks_of(server.http_url),
    )


def faults(during: list[Sample], before: Sample, after: Sample) -> list[str]:
    """What grew, one line each; nothing where all is well."""
    warm = [each for each in during if each.at_s >= _WARM_SHARE * during[-1].at_s]
    found = []
    if len(warm) >= 3:
        times, memory = (np.array([getattr(s, k) for s in warm]) for k in ("at_s", "memory_mb"))
        slope, start = np.polyfit(times - times[0], memory, 1)
        growth = slope * (times[-1] - times[0]) / start
        if growth > MOST_GROWTH:
            found.append(f"memory grew by {growth:.1%} ({memory[0]:.0f} to {memory[-1]:.0f} MB)")
    if after.processes != before.processes:
        found.append(f"processes: {before.processes} before, {after.processes} after")
    if after.files > before.files + _SLACK:
        found.append(f"open files: {before.files} before, {after.files} after")
    if before.tasks < 0 or after.tasks < 0:
        found.append("tasks: the server's HTTP port did not tell them")
    elif after.tasks > before.tasks + _SLACK:
        found.append(f"tasks: {before.tasks} before, {after.tasks} after")
    most = max(each.threads for each in warm)
    if after.threads > most + _SLACK:
        found.append(f"threads: at most {most} with calls, {after.threads} after them")
    return found


def calls_amiss(figures: Figures) -> list[str]:
    """What went wrong with calls, one line each; nothing where all is well."""
    found = []
    if figures.frames_lost or figures.broken:
        found.append(f"{figures.frames_lost} frames lost, {figures.broken} calls broken")
    if figures.refused:
        found.append(f"{figures.refused} calls refused")
    if not figures.decided:
        found.append("no call was decided")
    elif figures.many_undecided:
        found.append(f"{figures.undecided} calls undecided, {figures.decided} decided")
    return found


def _settled(meter: ServerMeter, server: Started, before: Sample, at_s: float) -> Sample:
    """A sample once the calls are over; the last of them may take a moment to be hung up."""
    end_s = time.monotonic() + _SETTLE_S
    while True:
        after = sample(meter, server, at_s)
        over = after.tasks <= before.tasks + _SLACK and after.files <= before.files + _SLACK
        if over or time.monotonic() > end_s:
            return after
        time.sleep(1.0)


async def _soak(
    load: Load, server: Started, *, calls: int, seconds: float
) -> tuple[Figures, list[Sample]]:
    samples: list[Sample] = []
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def keep() -> None:
        while True:
            at_s = loop.time() - began_s
            samples.append(await asyncio.to_thread(sample, load.meter, server, at_s))
            await asyncio.sleep(max(1.0, seconds / 200))

    keeping = asyncio.create_task(keep())
    try:
        return await hold(load, calls=calls, seconds=seconds), samples
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.2), default=60.0, show_default=True)
@click.option("--calls", type=click.IntRange(min=1), default=_HALF_LOAD, show_default=True)
@click.option("--gateway", default="vosk", show_default=True)
def main(minutes: float, calls: int, gateway: str) -> None:
    """Soak a server started here; the exit status is 1 where something grew or was lost."""
    rate_hz, encoding, frame_s = audio_of(gateway)
    scripts = load_scripts(
        find_home() / "audio_fixtures",
        frame_s=frame_s,
        listen_s=4.0,
        rate_hz=rate_hz,
        encoding=encoding,
    )
    with started(SERVE, http=True) as server:
        meter = ServerMeter(server.pid)
        load = Load(gateway=gateway, url=server.url, scripts=scripts, meter=meter)
        # The first call loads what is loaded once.
        event_loop.run(hold(load, calls=1, seconds=8.0, settle_s=0.0))
        before = sample(meter, server, 0.0)
        figures, during = event_loop.run(_soak(load, server, calls=calls, seconds=60 * minutes))
        after = _settled(meter, server, before, during[-1].at_s)
    found = [*faults(during, before, after), *calls_amiss(figures)]
    said = {"load": figures.as_json(), "before": asdict(before), "after": asdict(after)}
    click.echo(json.dumps(said | {"samples": len(during), "faults": found}, ensure_ascii=False))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
