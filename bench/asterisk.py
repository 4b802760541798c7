"""Real calls through a real Asterisk: the right agent, and what the caller hears, and when.

    python -m bench.asterisk                 four callers in each of Asterisk's three ways
    python -m bench.asterisk --fixtures 20

Callers speak into the greeting. Asterisk records both directions of the caller's own channel, so
that the figures hold everything between the caller's mouth and ear but the telephone network:

* barge-in: from the beginning of speech until the prompt is silent in the caller's ear;
* answer: from the end of speech until the caller hears where the call goes.

With AEAP Asterisk plays the prompts, and stops them once the sentence is understood.
Needs an Asterisk (``scripts/get_asterisk``); without one it says so and measures nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.gateways import speech_start_s
from ivr.audio.codecs import Decoder
from ivr.audio.files import read_audio
from ivr.replay.client import replay_in_process
from ivr.replay.clips import read_clip
from ivr.replay.labels import Kind, Label, load_labels
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.local import LocalCall
from ivr.server.operations import Operations
from tests.gateways.asterisk import ROOT, Asterisk, asterisk_program, running
from tests.gateways.asterisk_page import (
    NOW,
    QUEUES,
    configuration,
    convert_sounds,
    settings_for,
)

FIXTURES = ROOT / "audio_fixtures"
WAYS = ("kapok-audiosocket", "kapok-websocket", "kapok-aeap")
#: The caller speaks so long after the call was answered; the greeting takes seven seconds.
_AFTER_S = 4.0
_RATE_HZ = 8_000
_STEP_S = 0.01
#: A step is loud so far below the loudest.
_BELOW_LOUDEST_DB = 30.0
#: A prompt is over where so much silence follows.
_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Caller:
    """One call, and what came of it."""

    number: str
    way: str
    fixture: str
    queue: str
    speech_end_s: float  # in the recording
    answered: str | None = None
    barge_in_s: float | None = None
    answer_s: float | None = None


@click.command()
@click.option("--fixtures", default=4, show_default=True, help="Callers in each way, at once.")
def main(fixtures: int) -> None:
    """Measure real calls through a real Asterisk."""
    if asterisk_program() is None:
        click.echo("no Asterisk here: scripts/get_asterisk unpacks one")
        return
    with tempfile.TemporaryDirectory() as home:
        callers = asyncio.run(ring(Path(home), fixtures))
    show(callers)


def candidates() -> list[tuple[str, Label]]:
    """Recordings of requests, the languages and queues mixed, always in the same order."""
    labels = load_labels(FIXTURES / "labels.csv")
    files = sorted(FIXTURES.glob("*.wav"), key=lambda file: (file.stem[-3:], file.stem))
    known = [(file.name, labels[file]) for file in files]
    return [(name, label) for name, label in known if label and label.kind is Kind.SPEECH]


async def chosen(services: Services, count: int) -> list[tuple[str, Label]]:
    """Requests that are routed at once without Asterisk: what differs then is Asterisk's doing."""
    found: list[tuple[str, Label]] = []
    for name, label in candidates():
        if len(found) == count:
            break
        call = LocalCall(services, local_time=NOW)
        result = await replay_in_process(read_clip(FIXTURES / name), call)
        if (result.decision, result.queue) == ("route", label.queue):
            found.append((name, label))
    return found


async def ring(home: Path, count: int) -> list[Caller]:
    """All calls, the callers of a way at once."""
    settings, token = settings_for(home)
    services = Services.load(settings)
    requests = await chosen(services, count)
    convert_sounds(home / "sounds")
    operations = Operations(settings, catalogue=services.catalogue, host="127.0.0.1", http_port=0)
    callers = [
        Caller(f"02083{number:06}", way, name, str(label.queue), label.speech_end_s or 0.0)
        for number, (way, (name, label)) in enumerate((w, r) for w in WAYS for r in requests)
    ]
    done: list[Caller] = []
    async with KapokServer(
        services, settings, host="127.0.0.1", port=0, now=lambda: NOW, operations=operations
    ) as server:
        files = configuration(server, operations, token, home / "sounds")
        extensions = files.pop("extensions.conf")
        async with running(
            home, extensions=extensions, queues=QUEUES, configuration=files
        ) as asterisk:
            for way in WAYS:
                at_once = [caller for caller in callers if caller.way == way]
                for caller in at_once:
                    asterisk.call(way, speech(caller), caller=caller.number, record=True)
                answered = await agents_of(asterisk, len(at_once))
                done += [heard(home, caller, answered[caller.number]) for caller in at_once]
    return done


async def agents_of(asterisk: Asterisk, calls: int) -> dict[str, str]:
    """The agent of each caller, once all are answered, have hung up, and are recorded."""
    answered: dict[str, str] = {}
    recorded = 0
    while recorded < calls:
        line = await asterisk.until(
            r"agent of (\w+) answers (\d+)|End MixMonitor Recording", within_s=60
        )
        if line[1] is None:
            recorded += 1
            continue
        known = len(answered)  # the console says each twice
        answered[line[2]] = line[1]
        if known < len(answered) == calls:
            await asterisk.command("channel request hangup all")
    return answered


def speech(caller: Caller) -> bytes:
    pcm = read_audio(FIXTURES / caller.fixture).pcm
    return bytes(round(_AFTER_S * 2 * _RATE_HZ)) + pcm


# --- what was heard --------------------------------------------------------------------------


def heard(home: Path, caller: Caller, answered: str) -> Caller:
    """The caller with the figures of the two recordings."""
    said, prompts = (
        np.fromfile(home / f"{caller.number}-{side}.sln", "<i2") for side in ("said", "heard")
    )
    clip = read_clip(FIXTURES / caller.fixture)
    pcm = np.frombuffer(Decoder(clip.encoding).decode(clip.data), "<i2")
    at_s = (np.flatnonzero(said)[0] - np.flatnonzero(pcm)[0]) / _RATE_HZ  # of the clip
    begins_s, ends_s = at_s + (speech_start_s(clip) or 0.0), at_s + caller.speech_end_s
    played = list(stretches(prompts))
    interrupted = [ends for begins, ends in played if begins < begins_s < ends]
    after = [begins for begins, _ in played if begins > ends_s]
    return replace(
        caller,
        answered=answered,
        barge_in_s=interrupted[0] - begins_s if interrupted else None,
        answer_s=after[0] - ends_s if after else None,
    )


def stretches(samples: NDArray[np.int16]) -> Iterator[tuple[float, float]]:
    """Beginning and end of each stretch of sound, seconds; pauses below _PAUSE_S are bridged."""
    size = round(_STEP_S * _RATE_HZ)
    whole = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    level = np.sqrt((whole**2).mean(axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (-_BELOW_LOUDEST_DB / 20))
    if not len(loud):
        return
    breaks = np.flatnonzero(np.diff(loud) * _STEP_S > _PAUSE_S)
    for first, last in zip(
        loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]], strict=True
    ):
        yield first * _STEP_S, (last + 1) * _STEP_S


def show(callers: Sequence[Caller]) -> None:
    table = Table(title="Real calls through a real Asterisk, ms", box=None)
    for name in ("way", "right agent", "barge-in p50", "p95", "answer p50", "p95"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for way in WAYS:
        mine = [caller for caller in callers if caller.way == way]
        right = sum(caller.answered == caller.queue for caller in mine)
        barge_ins = [c.barge_in_s for c in mine if c.barge_in_s is not None]
        answers = [c.answer_s for c in mine if c.answer_s is not None]
        table.add_row(way, f"{right}/{len(mine)}", *percentiles(barge_ins), *percentiles(answers))
    console = Console(width=100)
    console.print(table)
    for caller in callers:
        if caller.answered != caller.queue:
            console.print(
                f"{caller.way} {caller.fixture}: agent of {caller.answered}", highlight=False
            )


def percentiles(seconds: Sequence[float]) -> tuple[str, str]:
    if not seconds:
        return "-", "-"
    middle, high = (1000 * np.percentile(seconds, p) for p in (50, 95))
    return f"{middle:.0f}", f"{high:.0f}"


if __name__ == "__main__":
    main()
