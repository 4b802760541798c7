"""A level of load held for a time, and a ramp of levels until the deadline is missed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from ivr.load.caller import Caller
from ivr.load.figures import Counts, Figures
from ivr.load.meter import ServerMeter
from ivr.load.script import Script

__all__ = ["Load", "hold", "ramp"]

#: New calls come so many a second at most: nobody's lines are all picked up at once.
_CALLS_PER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent, and where."""

    gateway: str
    url: str
    scripts: Sequence[Script]
    meter: ServerMeter
    seed: int = 1


class _Lines:
    """The lines in use; more can be added while they run."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.counts = Counts()
        self._clock = asyncio.get_running_loop().time
        self._callers: list[Caller] = []
        self._tasks: list[asyncio.Task[None]] = []

    def grow(self, calls: int) -> float:
        """Have ``calls`` lines; when the last of the new ones will have rung, seconds from now."""
        rng = random.Random(self._load.seed)
        # The phases of the callers are spread too: nobody speaks in step.
        new = range(len(self._callers), calls)
        # Were they not, all would speak at once and then listen, for longer than is measured.
        scripts = self._load.scripts
        cycle_s = sum(script.duration_s for script in scripts) / len(scripts)
        span_s = max(len(new) / _CALLS_PER_S, min(cycle_s, 0.2 * len(new)))
        for number in new:
            after_s = span_s * (number - new.start + rng.random()) / len(new)
            caller = Caller(
                number,
                gateway=self._load.gateway,
                url=self._load.url,
                scripts=self._load.scripts,
                counts=self.counts,
                rng=random.Random(f"{self._load.seed}/{number}"),
                clock=self._clock,
            )
            self._callers.append(caller)
            self._tasks.append(asyncio.create_task(caller.run(after_s=after_s)))
        return span_s if new else 0.0

    def begin(self) -> Counts:
        """Count anew from here on."""
        self.counts = Counts()
        for caller in self._callers:
            caller.counts = self.counts
        return self.counts

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def hold(load: Load, *, calls: int, seconds: float, settle_s: float = 8.0) -> Figures:
    """Keep ``calls`` calls going for ``seconds``; nothing is counted before they have settled."""
    lines = _Lines(load)
    base_mb = load.meter.memory_mb()
    try:
        return await _level(load, lines, calls, seconds, settle_s, base_mb)
    finally:
        await lines.stop()


async def ramp(
    load: Load,
    *,
    levels: Sequence[int],
    seconds: float,
    deadline_s: float,
    settle_s: float = 8.0,
    told: Callable[[Figures], None] = lambda figures: None,
) -> AsyncIterator[Figures]:
    """One level after the other, the calls going on, until one is not held."""
    lines = _Lines(load)
    base_mb = load.meter.memory_mb()
    try:
        for calls in levels:
            figures = await _level(load, lines, calls, seconds, settle_s, base_mb)
            told(figures)
            yield figures
            if not figures.held(deadline_s=deadline_s):
                return
    finally:
        await lines.stop()


async def _level(
    load: Load,
    lines: _Lines,
    calls: int,
    seconds: float,
    settle_s: float,
    base_mb: float | None,
) -> Figures:
    await asyncio.sleep(lines.grow(calls) + settle_s)
    counts = lines.begin()
    load.meter.peak_mb = None
    watching = asyncio.create_task(load.meter.watch())
    began_s, own_s, server_s = time.monotonic(), time.process_time(), load.meter.cpu_s()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began_s
    own_s, ended_s = time.process_time() - own_s, load.meter.cpu_s()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    lines.begin()  # what is in flight belongs to the next level
    peak_mb = load.meter.peak_mb
    return Figures.of(
        counts,
        calls=calls,
        seconds=took_s,
        cpu_cores=None if ended_s is None or server_s is None else (ended_s - server_s) / took_s,
        memory_mb=peak_mb,
        memory_per_call_mb=(peak_mb - base_mb) / calls
        if peak_mb is not None and base_mb is not None
        else None,
        generator_cores=own_s / took_s,
    )
