"""End of speech to decision at real-time pace, for 1 to N calls at once, against plain Vosk.

    python bench/latency.py --calls 1,2,4,8

Both servers run as processes of their own and answer the same recordings, one after the other in
one run. The peer does what vosk-server's ``asr_server.py`` does: one recogniser a connection in a
thread pool, one language, and no decision; Kapok runs both languages, matches, and decides. The
latency is from the labelled end of speech to the arrival of the final message.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr import event_loop
from ivr.audio.codecs import Decoder, Encoding
from ivr.errors import ServerError
from ivr.language import Language
from ivr.replay.client import Pace, replay_over_socket
from ivr.replay.clips import Clip, read_clip
from ivr.replay.labels import Kind, Label, load_labels
from ivr.settings import load_settings

FIXTURES = Path(__file__).parents[1] / "audio_fixtures"


# --- the peer ---------------------------------------------------------------------------------


def run_peer(model_path: Path) -> None:
    """vosk-server's logic over one model; prints its address as ``ivr serve`` does."""
    import vosk
    from websockets.asyncio.server import ServerConnection, serve

    vosk.SetLogLevel(-1)
    model = vosk.Model(str(model_path))
    pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def process(recogniser: vosk.KaldiRecognizer, message: str | bytes) -> tuple[str, bool]:
        if isinstance(message, str):
            return recogniser.FinalResult(), True
        if recogniser.AcceptWaveform(message):
            return recogniser.Result(), False
        return recogniser.PartialResult(), False

    async def recognise(connection: ServerConnection) -> None:
        recogniser, rate_hz, stop = None, 8000.0, False
        while not stop:
            message = await connection.recv()
            if isinstance(message, str) and "config" in message:
                rate_hz = float(json.loads(message)["config"].get("sample_rate", rate_hz))
                continue
            if recogniser is None:
                recogniser = vosk.KaldiRecognizer(model, rate_hz)
                recogniser.SetWords(True)
            loop = asyncio.get_running_loop()
            reply, stop = await loop.run_in_executor(pool, process, recogniser, message)
            await connection.send(reply)

    async def main() -> None:
        async with serve(recognise, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            print(f"listening on ws://127.0.0.1:{port}", flush=True)
            await server.serve_forever()

    event_loop.run(main())


# --- measuring --------------------------------------------------------------------------------


@contextmanager
def started(*args: str) -> Iterator[str]:
    """A server process; yields its address."""
    process = subprocess.Popen([sys.executable, *args], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise ServerError(f"{' '.join(args)}: did not start; its error is above")
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait(timeout=30)


def linear(clip: Clip) -> Clip:
    """The recording as s16le: plain Vosk takes nothing else."""
    return Clip(clip.path, Decoder(clip.encoding).decode(clip.data), Encoding.S16LE, clip.rate_hz)


async def measure(url: str, said: list[tuple[Clip, Label]], *, calls: int) -> list[float]:
    """Latencies of all recordings, ``calls`` at a time, milliseconds."""
    lines = asyncio.Semaphore(calls)

    async def one(number: int, clip: Clip, label: Label) -> float | None:
        async with lines:
            # Callers do not speak in step.
            await asyncio.sleep(0.037 * (number % calls))
            result = await replay_over_socket(
                clip, url=url, pace=Pace.REAL, end_s=label.speech_end_s
            )
        return result.latency_ms if result.text else None

    found = await asyncio.gather(*(one(i, *pair) for i, pair in enumerate(said)))
    return [latency for latency in found if latency is not None]


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(values: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), percentile(values, 0.95)


def recordings(language: Language, count: int) -> list[tuple[Clip, Label]]:
    """``count`` labelled requests in one language, the same ones over again where few."""
    labels = load_labels(FIXTURES / "labels.csv")
    chosen = [
        (linear(read_clip(path)), label)
        for path, label in sorted(labels.by_file.items())
        if label.kind is Kind.SPEECH and label.language is language
    ]
    return list(islice(cycle(chosen), count))


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


@click.command()
@click.option("--calls", default="1,2,4,8", show_default=True, help="Calls at once, each measured.")
@click.option("--rounds", default=3, show_default=True, help="Recordings a call.")
@click.option(
    "--language", type=click.Choice([x.value for x in Language]), default=Language.MANDARIN.value
)
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--peer", type=click.Path(path_type=Path), hidden=True)
def main(calls: str, rounds: int, language: str, config: Path | None, peer: Path | None) -> None:
    """Measure end of speech to decision, Kapok against plain Vosk, in one run."""
    if peer is not None:
        run_peer(peer)
        return
    settings = load_settings(config)
    model = settings.languages[language].model
    given = ["--config", str(config)] if config else []
    table = Table(title="end of speech to decision, ms", box=None, header_style="bold")
    for column in ("calls", "Kapok p50", "p95", "Vosk p50", "p95", "ratio p50", "ratio p95"):
        table.add_column(column, justify="right")
    serve = ("-c", "from ivr.cli import main; main()", "serve", "--port", "0")
    with (
        started(*serve, "--log-level", "error", *given) as kapok,
        started(__file__, "--peer", str(model)) as plain,
    ):
        for count in _counts(calls):
            said = recordings(Language(language), rounds * count)
            ours = figures(event_loop.run(measure(kapok, said, calls=count)))
            theirs = figures(event_loop.run(measure(plain, said, calls=count)))
            ratios = [f"{a / b:.2f}" if b else "-" for a, b in zip(ours, theirs, strict=True)]
            shown = [f"{value:.0f}" for value in (*ours, *theirs)]
            table.add_row(str(count), *shown, *ratios)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
