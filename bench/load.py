"""How many calls are held, and how late decisions are: Kapok beside plain Vosk, on one machine.

    python -m bench.load                         # up to the limit of each: some four minutes
    python -m bench.load --picture load.svg      # and the curve
    python -m bench.load --one-level --calls 24 --peer-calls 8    # what a call costs, one minute

The peer does what vosk-server's ``asr_server.py`` does, written anew from the protocol: one
asyncio process, a recogniser a connection, every message decoded in a pool of as many threads as
there are cores. Being bilingual costs it a second recogniser a call, which hears every message in
the same job; where either finds the end of the utterance it answers the final results of both. It
decides nothing, and its models are the very directories that Kapok has. Both hear the same callers
at real-time pace: a greeting's length of line noise, a recorded request, silence until the answer.

The load generator runs on the same cores and takes its share of them; it is in no figure but its
own. A level is held while 95 % of the decisions come within the deadline and nothing is lost. The
peer's decoder knows the end of speech late, whatever the load: the deadline is that for both.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr import event_loop
from ivr.load.figures import Figures, most_held
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter
from ivr.load.run import Load, ramp
from ivr.load.script import Script, load_scripts
from ivr.load.server import SERVE, started
from ivr.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "audio_fixtures"


# --- the peer ---------------------------------------------------------------------------------


def run_peer(models: Sequence[str]) -> None:
    """vosk-server's logic over the models; prints its address as ``ivr serve`` does."""
    import vosk
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    vosk.SetLogLevel(-2)
    loaded = [vosk.Model(path) for path in models]
    pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def process(recognisers: list[vosk.KaldiRecognizer], message: str | bytes) -> tuple[str, bool]:
        if isinstance(message, str):
            return _both(recognisers, "FinalResult"), True
        ended = [r.AcceptWaveform(message) for r in recognisers]  # each must hear it
        if any(ended):
            return _both(recognisers, "FinalResult"), False
        partials = [json.loads(r.PartialResult())["partial"] for r in recognisers]
        return json.dumps({"partial": max(partials, key=len)}, ensure_ascii=False), False

    async def recognise(connection: ServerConnection) -> None:
        recognisers: list[vosk.KaldiRecognizer] = []
        rate_hz, stop = 8000.0, False
        loop = asyncio.get_running_loop()
        try:
            while not stop:
                message = await connection.recv()
                if isinstance(message, str) and "config" in message:
                    rate_hz = float(json.loads(message)["config"].get("sample_rate", rate_hz))
                    continue
                if not recognisers:
                    recognisers = [vosk.KaldiRecognizer(model, rate_hz) for model in loaded]
                    for recogniser in recognisers:
                        recogniser.SetWords(True)
                        recogniser.SetMaxAlternatives(10)
                reply, stop = await loop.run_in_executor(pool, process, recognisers, message)
                await connection.send(reply)
        except ConnectionClosed:
            pass

    async def main() -> None:
        async with serve(recognise, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            print(f"listening on ws://127.0.0.1:{port}", flush=True)
            await server.serve_forever()

    event_loop.run(main())


def _both(recognisers: Sequence[object], result: str) -> str:
    found = [json.loads(getattr(r, result)())["alternatives"] for r in recognisers]
    best = max((alternatives[0] for alternatives in found), key=lambda best: len(best["text"]))
    return json.dumps({**best, "both": found}, ensure_ascii=False)


# --- measuring --------------------------------------------------------------------------------


async def measure(
    url: str,
    pid: int,
    scripts: list[Script],
    *,
    levels: Sequence[int],
    seconds: float,
    deadline_s: float,
) -> list[Figures]:
    """The levels, one after the other, until one is not held."""
    load = Load(gateway="vosk", url=url, scripts=scripts, meter=ServerMeter(pid))
    ramped = ramp(load, levels=levels, seconds=seconds, deadline_s=deadline_s, settle_s=6.0)
    return [figures async for figures in ramped]


def table(name: str, found: Sequence[Figures]) -> Table:
    """What one server did at each level."""
    shown = Table(title=name, box=None, header_style="bold", title_justify="left")
    for column in ("calls", "p50 ms", "p95 ms", "p99 ms", "lost", "undecided", "cores", "MB/call"):
        shown.add_column(column, justify="right")
    for f in found:
        cells = (f.calls, f.decision.p50, f.decision.p95, f.decision.p99, f.frames_lost)
        cells = (*cells, f.undecided, f.cpu_cores, f.memory_per_call_mb)
        shown.add_row(*("-" if c is None else f"{c:.2f}".rstrip("0").rstrip(".") for c in cells))
    return shown


def cores_a_call(found: Sequence[Figures]) -> float:
    """Of the last level that was not saturated: the cores that a call takes."""
    level = found[-2] if len(found) > 1 else found[-1]
    return (level.cpu_cores or float("nan")) / level.calls


def draw(path: Path, ours: Sequence[Figures], theirs: Sequence[Figures], deadline_s: float) -> None:
    """Cores and latency over calls, of both."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    cost, late = figure.subplots(1, 2)
    for name, found in (("Kapok", ours), ("Vosk, two recognisers a call", theirs)):
        calls = [f.calls for f in found]
        cost.plot(calls, [f.cpu_cores or 0.0 for f in found], marker="o", label=name)
        late.plot(calls, [(f.decision.p95 or 0.0) / 1000 for f in found], marker="o", label=name)
    cost.set(xlabel="calls", ylabel="cores", ylim=(0, None), xlim=(0, None))
    late.axhline(deadline_s, color="grey", linestyle=":")
    late.set(xlabel="calls", ylabel="decision, p95, s", ylim=(0, 3 * deadline_s), xlim=(0, None))
    cost.legend(frameon=False)
    figure.savefig(path)


@click.command()
@click.option("--calls", default=80, show_default=True, help="The most, for Kapok.")
@click.option("--peer-calls", default=25, show_default=True, help="The most, for the peer.")
@click.option(
    "--ramp/--one-level",
    "ramps",
    default=True,
    show_default=True,
    help="In steps from few calls to the most, until a level is not held; or the most alone.",
)
@click.option("--steps", default=5, show_default=True)
@click.option("--seconds", default=8.0, show_default=True, help="Each level is measured so long.")
@click.option("--deadline", "deadline_s", default=1.5, show_default=True)
@click.option("--listen", "listen_s", default=4.0, show_default=True)
@click.option("--picture", type=click.Path(path_type=Path), help="SVG or PNG: needs matplotlib.")
@click.option("--peer", multiple=True, hidden=True)
def main(
    calls: int,
    peer_calls: int,
    ramps: bool,
    steps: int,
    seconds: float,
    deadline_s: float,
    listen_s: float,
    picture: Path | None,
    peer: tuple[str, ...],
) -> None:
    """Load both servers with the same callers."""
    if peer:
        run_peer(peer)
        return
    _, _, frame_s = audio_of("vosk")
    scripts = load_scripts(FIXTURES, frame_s=frame_s, listen_s=listen_s)
    models = [
        str(entry.model) for _, entry in load_settings(ROOT / "config/kapok.yaml").languages.items()
    ]
    commands = {
        "Kapok": (SERVE, calls),
        "Vosk, two recognisers a call": (
            [sys.executable, __file__, *(a for m in models for a in ("--peer", m))],
            peer_calls,
        ),
    }
    found: list[list[Figures]] = []
    for name, (command, most) in commands.items():
        levels = [max(1, most * step // steps) for step in range(1, steps + 1)] if ramps else [most]
        with started(command) as server:
            found.append(
                event_loop.run(
                    measure(
                        server.url,
                        server.pid,
                        scripts,
                        levels=levels,
                        seconds=seconds,
                        deadline_s=deadline_s,
                    )
                )
            )
        Console(width=100).print(table(name, found[-1]))
    ours, theirs = found
    print(
        f"cores a call: {cores_a_call(ours):.4f} and {cores_a_call(theirs):.4f}, "
        f"ratio {cores_a_call(theirs) / cores_a_call(ours):.1f}"
    )
    held = [most_held(levels, deadline_s=deadline_s) for levels in found]
    counts = [level.calls if level is not None else 0 for level in held]
    ratio = f", ratio {counts[0] / counts[1]:.1f}" if ramps and all(counts) else ""
    print(f"held within {deadline_s:g} s: {counts[0]} and {counts[1]} calls{ratio}")
    if picture is not None:
        draw(picture, ours, theirs, deadline_s)


if __name__ == "__main__":
    main()
