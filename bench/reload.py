"""What taking up an edit of the queues costs the calls under way.

    python -m bench.reload

A server answers calls at real-time pace while ``queues.yaml`` is edited again and again, each time
with another phrase. Measured are the time from the look that takes the edit up to the new queues in
force, and by how much the server's event loop was late meanwhile (a frame is missed where it is
late by a frame, 20 ms), beside the same calls without an edit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivr import event_loop
from ivr.replay.client import Pace, replay_over_socket
from ivr.replay.clips import Clip, read_clip
from ivr.replay.labels import Kind, load_labels
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
TICK_S = 0.005
FRAME_S = 0.02
PHRASE = "试试改一句例句第{}次"


def installation(folder: Path) -> Settings:
    """The shipped settings over a copy of the queues."""
    shutil.copytree(ROOT / "config", folder / "config")
    settings = load_settings(ROOT / "config/kapok.yaml")
    server = settings.server.model_copy(update={"port": 0, "http_port": None, "reload_s": 3600.0})
    return settings.model_copy(update={"queues": folder / "config/queues.yaml", "server": server})


async def lateness(stop: asyncio.Event, late_s: list[float]) -> None:
    """How late the event loop comes to a timer, again and again."""
    while not stop.is_set():
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late_s.append(time.perf_counter() - due)


async def calling(server: KapokServer, clips: list[Clip], stop: asyncio.Event) -> None:
    """One line: a call after the other."""
    for clip in cycle(clips):
        if stop.is_set():
            return
        await replay_over_socket(clip, url=server.url, pace=Pace.REAL)


async def edits(server: KapokServer, file: Path, count: int) -> list[float]:
    """The seconds that each of some edits takes."""
    out = []
    for n in range(count):
        with file.open("a", encoding="utf-8") as written:
            written.write("\n" + PHRASE.format("一二三四五六七八九十"[n % 10]) + "\n")
        await server.reload()  # sees the change
        begin = time.perf_counter()
        await server.reload()  # has settled: takes it up
        out.append(time.perf_counter() - begin)
    return out


def _row(late_s: list[float]) -> list[str]:
    ordered = sorted(late_s)
    return [
        f"{ordered[len(ordered) // 2] * 1000:.1f} ms",
        f"{ordered[int(0.99 * len(ordered))] * 1000:.1f} ms",
        f"{ordered[-1] * 1000:.1f} ms",
        f"{sum(late > FRAME_S for late in ordered)} of {len(ordered)}",
    ]


async def measure(calls: int, rounds: int, console: Console) -> None:
    """Print both rows."""
    with tempfile.TemporaryDirectory() as name:
        settings = installation(Path(name))
        services = Services.load(settings)
        gc.collect()
        gc.freeze()  # as `ivr serve` does
        labels = load_labels(ROOT / "audio_fixtures/labels.csv").by_file
        paths = sorted(path for path, label in labels.items() if label.kind is Kind.SPEECH)
        clips = [read_clip(path) for path in islice(paths, 0, None, 12)]
        phrases = settings.queues.parent / "phrases/general.txt"
        table = Table("", "late, median", "p99", "most", "over 20 ms", "taken up in",
                      title=f"{calls} calls")  # fmt: skip
        async with KapokServer(services, settings, host="127.0.0.1", port=0) as server:
            stop = asyncio.Event()
            lines = [
                asyncio.create_task(calling(server, clips[n::calls] or clips, stop))
                for n in range(calls)
            ]
            await asyncio.sleep(1.0)
            for edited in (False, True):
                late_s: list[float] = []
                done = asyncio.Event()
                watch = asyncio.create_task(lateness(done, late_s))
                took_s = await edits(server, phrases, rounds) if edited else []
                if not edited:
                    await asyncio.sleep(5.0)
                done.set()
                await watch
                told = f"{max(took_s):.2f} s at most" if took_s else ""
                table.add_row("edits" if edited else "no edit", *_row(late_s), told)
            stop.set()
            await asyncio.gather(*lines)
        console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What an edit of the queues costs calls.")
    parser.add_argument("--calls", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="edits")
    options = parser.parse_args()
    event_loop.run(measure(options.calls, options.rounds, Console(width=110)))


if __name__ == "__main__":
    main()
