"""A server at half load for a long time, and whether anything in it grows.

    python -m ivr.load.soak --minutes 60         # make soak

Memory, threads, open files and child processes of the server are sampled while calls come and go.
The first tenth of the time is warming up: caches fill, the allocator takes what it will need. From
then on the slope of a least-squares line through the memory, over the whole time, must stay
under :data:`MOST_GROWTH` of what was in use, and the counts must be what they were. Once the calls
are over, so must be what belonged to them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

import click
import numpy as np
import psutil

from ivr import event_loop
from ivr.load.figures import Figures
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter
from ivr.load.run import Load, hold
from ivr.load.script import load_scripts
from ivr.load.server import SERVE, started
from ivr.settings import find_home

__all__ = ["MOST_GROWTH", "Sample", "faults"]

#: Of memory over the whole time, by its trend.
MOST_GROWTH = 0.05
_WARM_SHARE = 0.1
#: Log files turn over, a probe connects: counts may differ by so much.
_SLACK = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server and its workers hold at one moment."""

    at_s: float
    memory_mb: float
    threads: int
    files: int
    processes: int


def sample(meter: ServerMeter, pid: int, at_s: float) -> Sample:
    """Count everything, of the server and its children."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return Sample(
        at_s=round(at_s, 1),
        memory_mb=round(meter.memory_mb() or 0.0, 1),
        threads=sum(process.num_threads() for process in family),
        files=sum(process.num_fds() for process in family),
        processes=len(family),
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
    most = max(each.threads for each in warm)
    if after.threads > most + _SLACK:
        found.append(f"threads: at most {most} with calls, {after.threads} after them")
    return found


async def _soak(
    load: Load, pid: int, *, calls: int, seconds: float
) -> tuple[Figures, list[Sample]]:
    samples: list[Sample] = []
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def keep() -> None:
        while True:
            at_s = loop.time() - began_s
            samples.append(await asyncio.to_thread(sample, load.meter, pid, at_s))
            await asyncio.sleep(max(1.0, seconds / 200))

    keeping = asyncio.create_task(keep())
    try:
        return await hold(load, calls=calls, seconds=seconds), samples
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.2), default=60.0, show_default=True)
@click.option("--calls", type=click.IntRange(min=1), default=25, show_default=True)
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
    with started(SERVE) as server:
        meter = ServerMeter(server.pid)
        load = Load(gateway=gateway, url=server.url, scripts=scripts, meter=meter)
        # The first call loads what is loaded once.
        event_loop.run(hold(load, calls=1, seconds=8.0, settle_s=0.0))
        before = sample(meter, server.pid, 0.0)
        figures, during = event_loop.run(_soak(load, server.pid, calls=calls, seconds=60 * minutes))
        after = sample(meter, server.pid, during[-1].at_s)
    found = faults(during, before, after)
    if figures.frames_lost or figures.broken:
        found.append(f"{figures.frames_lost} frames lost, {figures.broken} calls broken")
    said = {"load": figures.as_json(), "before": asdict(before), "after": asdict(after)}
    click.echo(json.dumps(said | {"samples": len(during), "faults": found}, ensure_ascii=False))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
