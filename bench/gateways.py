"""The same recordings through every gateway: do they get the same decisions, and how soon?

    python -m bench.gateways                          a few recordings, under a minute
    python -m bench.gateways --fixtures 60 --real 60  the figures of docs/gateways/README.md

One server, over real sockets, with a client of each gateway that sends exactly what that gateway
does. The first table is at fast pace: of how many recordings each gateway gets the decision that
the first one gets (the Vosk protocol), and the right one by the labels. The second is at real-time
pace, three calls at a time by default, with the prompts as callers hear them:

* barge-in: from the beginning of speech, by the recording's energy, until the gateway is told to be
  silent (AudioSocket, which knows no such message: until the last of the prompt is sent);
* decision: from the labelled end of speech until the decision on what was said stands.
"""

from __future__ import annotations

import asyncio
import statistics
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ivr.audio.codecs import Decoder
from ivr.call.events import Prompt
from ivr.cli.clock import moment, working_morning
from ivr.gateways import GATEWAYS, gateway_class
from ivr.gateways.clients import client_class
from ivr.gateways.clients.client import Silenced, Sound
from ivr.gateways.clients.ring import CallResult, ring
from ivr.replay.client import Pace
from ivr.replay.clips import Clip, read_clip
from ivr.replay.labels import REJECTED, Label, load_labels
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.registry import CallRecord, LiveCall
from ivr.settings import Settings, load_settings

FIXTURES = Path(__file__).parents[1] / "audio_fixtures"
#: How long the caller waits on the line for something more; a busy machine may take a while.
_PATIENCE_S = {Pace.FAST: 6.0, Pace.REAL: 2.0}
_CALLS_AT_FAST_PACE = 8
#: At fast pace the caller lets the (brief) greeting end: a second of it would be many of audio.
_PAUSE_S = 1.5
_STEP_S = 0.01
_BELOW_LOUD_DB = 25.0
_ABOVE_FLOOR_DB = 8.0


class BriefVoice:
    """Prompts of a tenth of a second: at fast pace nobody listens."""

    def pcm(self, prompt: Prompt) -> bytes:
        """See :class:`ivr.server.playout.Voice`."""
        return bytes(1600)


class Watched(KapokServer):
    """Keeps what was understood of each call, and when."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.understood: dict[str, list[tuple[float, dict[str, Any]]]] = {}
        self._over: dict[str, asyncio.Event] = {}
        begin = self.registry.begin

        def begun(record: CallRecord) -> LiveCall:
            call, call_id = begin(record), record.call_id
            note, end = call.understood, call.end

            def noted(what: Any) -> None:
                at_s = asyncio.get_running_loop().time()
                self.understood.setdefault(call_id, []).append((at_s, dict(what)))
                note(what)

            def ended(*, at: datetime) -> None:
                end(at=at)
                self._over.setdefault(call_id, asyncio.Event()).set()

            call.understood = noted  # type: ignore[method-assign]
            call.end = ended  # type: ignore[method-assign]
            return call

        self.registry.begin = begun  # type: ignore[method-assign]

    async def over(self, call_id: str) -> None:
        """Wait until a call is over."""
        await self._over.setdefault(call_id, asyncio.Event()).wait()


@dataclass(frozen=True)
class Heard:
    """What came of one recording through one gateway."""

    label: Label
    outcome: tuple[str, str | None]  # decision, and queue or number
    barge_in_s: float | None
    decision_s: float | None


def outcome(understood: Sequence[tuple[float, dict[str, Any]]]) -> tuple[str, str | None]:
    """The last decision that names something; asking again where none does."""
    for _, what in reversed(understood):
        if what["decision"] != "ask_again":
            return str(what["decision"]), what["queue"] or what["emergency"]
    return "ask_again", None


def is_right(label: Label, got: tuple[str, str | None]) -> bool:
    """Whether it is what the label says; a confirmation of the right queue is right."""
    decision, name = got
    if label.kind in REJECTED:
        return decision == "ask_again"
    if label.queue:
        return name == label.queue
    return decision == label.kind.value and name in (label.emergency or None, name)


def speech_start_s(clip: Clip) -> float | None:
    """Where speech begins, by the rule by which ivr.replay.clips finds its end."""
    pcm = np.frombuffer(Decoder(clip.encoding).decode(clip.data), dtype="<i2").astype(np.float64)
    step = round(_STEP_S * clip.rate_hz)
    power = np.mean(pcm[: len(pcm) // step * step].reshape(-1, step) ** 2, axis=1)
    level_db = 10.0 * np.log10(power + 1.0)
    floor, loud = np.percentile(level_db, [10.0, 95.0])
    heard = np.flatnonzero(level_db >= max(loud - _BELOW_LOUD_DB, floor + _ABOVE_FLOOR_DB))
    return float(heard[0] * _STEP_S) if len(heard) else None


async def one(server: Watched, name: str, clip: Clip, label: Label, pace: Pace) -> Heard:
    """One call."""
    client = client_class(name)(call_id=str(uuid.uuid4()))
    url = server.audiosocket_url if client.transport == "tcp" else server.url
    result = await ring(
        client,
        str(url),
        clip,
        pace=pace,
        pause_s=_PAUSE_S if pace is Pace.FAST and client_plays(name) else 0.0,
        patience_s=_PATIENCE_S[pace],
    )
    async with asyncio.timeout(30):
        await server.over(client.call_id)
    understood = server.understood.get(client.call_id, [])
    return Heard(
        label=label,
        outcome=outcome(understood),
        barge_in_s=_barge_in_s(result, clip),
        decision_s=_decision_s(result, label, understood),
    )


def client_plays(name: str) -> bool:
    """Whether the caller of this gateway hears prompts of the server's."""
    return gateway_class(name).plays_prompts


def _barge_in_s(result: CallResult, clip: Clip) -> float | None:
    start_s, silenced_s = speech_start_s(clip), result.first(Silenced)
    if start_s is None:
        return None
    if result.gateway == "audiosocket":
        times = [h.at_s for h in result.heard if isinstance(h.said, Sound)]
        gaps = [a for a, b in pairwise(times) if b - a > 0.2]
        silenced_s = gaps[0] if gaps and gaps[0] >= start_s else None
    return None if silenced_s is None or silenced_s < start_s else silenced_s - start_s


def _decision_s(
    result: CallResult, label: Label, understood: Sequence[tuple[float, dict[str, Any]]]
) -> float | None:
    if label.speech_end_s is None:
        return None
    over_s = result.began_s + label.speech_end_s
    late = [at_s - over_s for at_s, _ in understood if at_s >= over_s]
    return late[0] if late else None


# --- choosing --------------------------------------------------------------------------------


def chosen(count: int, *, spoken: bool = False) -> list[tuple[Clip, Label]]:
    """``count`` recordings, of every kind, language and queue in turn."""
    groups: dict[Any, list[tuple[Path, Label]]] = {}
    for path, label in sorted(load_labels(FIXTURES / "labels.csv").by_file.items()):
        if not spoken or label.kind.value == "speech":
            groups.setdefault((label.kind, label.queue, label.language), []).append((path, label))
    turns = [islice(cycle(group), count) for group in groups.values()]
    picked: dict[Path, Label] = {}
    for turn in zip(*turns, strict=True):
        picked |= dict(turn)
    return [(read_clip(path), label) for path, label in islice(picked.items(), count)]


async def all_of(
    server: Watched,
    name: str,
    said: Iterable[tuple[Clip, Label]],
    pace: Pace,
    lines: asyncio.Semaphore,
) -> list[Heard]:
    """All recordings through one gateway, as many at a time as ``lines`` has."""

    async def limited(clip: Clip, label: Label) -> Heard:
        async with lines:
            return await one(server, name, clip, label, pace)

    return list(await asyncio.gather(*(limited(*pair) for pair in said)))


# --- the tables ------------------------------------------------------------------------------


async def agreement(server: Watched, names: Sequence[str], count: int) -> tuple[Table, list[str]]:
    """Which gateway gets which decisions."""
    table = Table(title=f"{count} recordings at fast pace", box=None, header_style="bold")
    for column in ("gateway", "same", "right", "other decisions"):
        table.add_column(
            column, justify="left" if column in ("gateway", "other decisions") else "right"
        )
    said, lines = chosen(count), asyncio.Semaphore(_CALLS_AT_FAST_PACE)
    through = await asyncio.gather(
        *(all_of(server, name, said, Pace.FAST, lines) for name in names)
    )
    first, differ = through[0], []
    for name, heard in zip(names, through, strict=True):
        pairs = list(zip(heard, first, strict=True))
        other = [(h, f) for h, f in pairs if h.outcome != f.outcome]
        right = sum(is_right(h.label, h.outcome) for h in heard)
        shown = "; ".join(
            f"{h.label.file}: {' '.join(map(str, h.outcome))} for {' '.join(map(str, f.outcome))}"
            for h, f in other[:2]
        )
        differ += [h.label.file for h, _ in other]
        table.add_row(
            name, f"{len(heard) - len(other)}/{len(heard)}", f"{right}/{len(heard)}", shown
        )
    return table, differ


def _figures(values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return "-", "-"
    ordered = sorted(1000 * value for value in values)
    return f"{statistics.median(ordered):.0f}", f"{ordered[int(0.95 * (len(ordered) - 1))]:.0f}"


async def latency(server: Watched, names: Sequence[str], count: int, calls: int) -> Table:
    """How soon each gateway is told; ``count`` recordings, shared out among the gateways."""
    each = max(1, count // len(names))
    table = Table(
        title=f"{each} requests a gateway at real-time pace, ms", box=None, header_style="bold"
    )
    for column in ("gateway", "barge-in p50", "p95", "decision p50", "p95"):
        table.add_column(column, justify="left" if column == "gateway" else "right")
    said, lines = cycle(chosen(max(count, each), spoken=True)), asyncio.Semaphore(calls)
    shares = [list(islice(said, each)) for _ in names]
    through = await asyncio.gather(
        *(
            all_of(server, name, share, Pace.REAL, lines)
            for name, share in zip(names, shares, strict=True)
        )
    )
    for name, heard in zip(names, through, strict=True):
        table.add_row(name, *_row(heard))
    table.add_row("all", *_row([h for heard in through for h in heard]), style="bold")
    return table


def _row(heard: Sequence[Heard]) -> tuple[str, str, str, str]:
    barge_in = [h.barge_in_s for h in heard if h.barge_in_s is not None]
    decision = [h.decision_s for h in heard if h.decision_s is not None]
    return (*_figures(barge_in), *_figures(decision))


def _settings(config: Path | None) -> Settings:
    settings = load_settings(config)
    gateways = settings.gateways.model_copy(update={"audiosocket_port": 0})
    return settings.model_copy(update={"gateways": gateways, "webhook": None})


async def measure(
    settings: Settings, names: Sequence[str], fixtures: int, real: int, calls: int
) -> list[str]:
    """Print both tables; the recordings on which gateways differ."""
    services = Services.load(settings)
    now = moment(working_morning(datetime.now(ZoneInfo("UTC"))), services.catalogue.timezone)
    at: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "now": lambda: now}
    console, differ = Console(width=120), []
    if fixtures:
        async with Watched(services, settings, **at, voice=BriefVoice()) as server:
            table, differ = await agreement(server, names, fixtures)
            console.print(table)
    if real:
        async with Watched(services, settings, **at) as server:
            console.print(await latency(server, names, real, calls))
    return differ


@click.command()
@click.option("--fixtures", default=4, show_default=True, help="Recordings through each, fast.")
@click.option("--real", default=9, show_default=True, help="Requests in all at real-time pace.")
@click.option("--calls", default=3, show_default=True, help="Calls at once at real-time pace.")
@click.option("--gateway", "names", multiple=True, type=click.Choice(list(GATEWAYS)))
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def main(fixtures: int, real: int, calls: int, names: tuple[str, ...], config: Path | None) -> None:
    """Measure agreement, barge-in and decision latency over all gateways."""
    differ = asyncio.run(
        measure(_settings(config), names or tuple(GATEWAYS), fixtures, real, calls)
    )
    for file in dict.fromkeys(differ):
        click.echo(f"differs: {file}")


if __name__ == "__main__":
    main()
