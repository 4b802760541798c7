"""``ivr replay``: recordings through the server, and what it decides."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console

from ivr import event_loop
from ivr.cli._logs import replay_logs
from ivr.cli._outputs import check_file, check_folder, writing
from ivr.cli.clock import at_option, moment, working_morning
from ivr.cli.progress import progress
from ivr.errors import ConfigError, IvrError
from ivr.queues.catalogue import load_catalogue
from ivr.queues.navigation import (
    MeasuredOn,
    Observation,
    measure_navigation,
    write_navigation,
)
from ivr.replay.client import Pace, Result, replay_in_process, replay_over_socket
from ivr.replay.clips import Clip, find_audio, read_clip, speech_end_s
from ivr.replay.labels import Kind, Label, Labels, load_labels
from ivr.replay.report import Outcome, Report, confusion_table, result_table, write_junit
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.local import LocalCall
from ivr.settings import CallLogSettings, Settings, load_settings

__all__ = ["command"]

Replay = Callable[[Clip, float | None], Awaitable[Result]]

#: Cells of the table fold where a terminal is narrow; a pipe gets whole lines.
_PIPE_WIDTH = 160
_NEVER_S = 86_400.0
#: A server under load refuses calls for some seconds.
_TRIES = 30
#: Names in a message; so many say what is wrong.
_NAMED = 3


@dataclass(frozen=True)
class _Options:
    files: list[Path]
    url: str | None
    in_process: bool
    pace: Pace
    jobs: int
    as_json: bool
    labels: Labels | None
    at: datetime | None


@click.command("replay")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--url", help="A running server, ws://HOST:PORT; without it one is started.")
@click.option("--in-process", is_flag=True, help="Go round the server and its socket.")
@click.option(
    "--pace",
    type=click.Choice([pace.value for pace in Pace]),
    default=Pace.FAST.value,
    show_default=True,
    help="As a caller speaks, or as fast as the server takes it.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Calls.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--expect", type=click.Path(path_type=Path), help="labels.csv: what is right.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write a JUnit file.")
@click.option(
    "--navigation",
    type=click.Path(path_type=Path),
    help="Write what ivr simulate reads: who is sent where, and in how many seconds.",
)
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    help="Exit with status 1 where fewer decisions are right (0 to 1); needs --expect.",
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The event log of a call, or a folder of them, to run again instead of audio.",
)
@click.option("--rematch", is_flag=True, help="With --log: match what was said anew.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep the event log of each call there."
)
@at_option("without it Tuesday at 10:00, so that a replay does not depend on the hour")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(
    paths: tuple[Path, ...],
    url: str | None,
    in_process: bool,
    pace: str,
    jobs: int,
    as_json: bool,
    expect: Path | None,
    junit: Path | None,
    navigation: Path | None,
    min_accuracy: float | None,
    logs: tuple[Path, ...],
    rematch: bool,
    keep: Path | None,
    at: datetime | None,
    config: Path | None,
) -> None:
    """Stream audio files, or folders of them, into the server and show what it decides.

    latency is from the end of speech (the labels' speech_end_s, or by the energy of the file) to
    the arrival of the decision at real-time pace; at fast pace it is processing time alone.

    With --log, event logs of calls are run again instead: the same inputs through the call's rules
    of today, without speech models, and every record that comes out otherwise is shown.

    The exit status is 1 where a file could not be replayed, a log came out otherwise, or, with
    --min-accuracy, accuracy is below it or the labels name a file that is not there.
    """
    _check_sources(paths, logs, rematch=rematch, keep=keep, url=url)
    if logs:
        same = replay_logs(logs, load_settings(config), rematch=rematch, as_json=as_json)
        sys.exit(0 if same else 1)
    _check_usage(url, in_process, min_accuracy, expect)
    if navigation is not None and expect is None:
        raise click.UsageError("--navigation needs --expect labels.csv")
    if url and at:
        raise click.UsageError("--at is for a server started here; give it to ivr serve instead")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    files = find_audio(list(paths))
    if not files:
        raise ConfigError(f"no audio files in {', '.join(map(str, paths))}; check the path")
    settings = None if url else _keeping(load_settings(config), keep)
    labels = _labels(expect, settings) if expect else None
    astray = _tell_unmatched(labels, files, paths) if labels else []
    for file in (junit, navigation):
        if file is not None:
            check_file(file)
    if keep is not None:
        check_folder(keep)
    options = _Options(
        files=files,
        url=url,
        in_process=in_process,
        pace=Pace(pace),
        jobs=jobs,
        as_json=as_json,
        labels=labels,
        at=at,
    )
    outcomes = event_loop.run(_replay_all(options, settings))
    report = Report(outcomes)
    _print(outcomes, report, as_json=as_json)
    if junit is not None:
        with writing(junit):
            write_junit(junit, outcomes)
    if navigation is not None:
        _write_navigation(navigation, paths, outcomes, load_settings(config))
    sys.exit(_status(report, min_accuracy, astray=bool(astray), expects=labels is not None))


def _check_sources(
    paths: tuple[Path, ...],
    logs: tuple[Path, ...],
    *,
    rematch: bool,
    keep: Path | None,
    url: str | None,
) -> None:
    if bool(paths) == bool(logs):
        raise click.UsageError("give audio files or folders, or event logs by --log")
    if rematch and not logs:
        raise click.UsageError("--rematch needs --log")
    if keep is not None and (logs or url):
        raise click.UsageError("--keep is for calls to a server started here")


def _keeping(settings: Settings, keep: Path | None) -> Settings:
    if keep is None:
        return settings
    return settings.model_copy(update={"call_log": CallLogSettings(folder=keep.absolute())})


def _check_usage(
    url: str | None, in_process: bool, min_accuracy: float | None, expect: Path | None
) -> None:
    if url and in_process:
        raise click.UsageError("--url and --in-process exclude each other")
    if min_accuracy is not None and expect is None:
        raise click.UsageError("--min-accuracy needs --expect labels.csv")


def _labels(expect: Path, settings: Settings | None) -> Labels:
    """The labels; without settings, as of a server elsewhere, any queue may be named."""
    queues = load_catalogue(settings.queues).queue_ids if settings else None
    return load_labels(expect, queues=queues)


def _tell_unmatched(labels: Labels, files: Sequence[Path], paths: Sequence[Path]) -> list[str]:
    """Say what of recordings and labels has no counterpart; the rows without one."""
    without = [str(path) for path in files if labels[path] is None]
    if without:
        have = f"{len(without)} of {len(files)} recordings " + _verb(without, "has", "have")
        click.echo(f"ivr: {have} no row in {labels.path}: {_few(without)}", err=True)
    astray = labels.astray(files, [path for path in paths if path.is_dir()])
    if astray:
        rows = f"{len(astray)} " + _verb(astray, "row names a file", "rows name files")
        were = _verb(astray, "was", "were")
        click.echo(f"ivr: {rows} that {were} not replayed: {_few(astray)}", err=True)
    return astray


def _verb(of: Sequence[str], one: str, many: str) -> str:
    return one if len(of) == 1 else many


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _status(report: Report, min_accuracy: float | None, *, astray: bool, expects: bool) -> int:
    failed = [outcome for outcome in report.outcomes if outcome.error is not None]
    share = report.accuracy.value
    if expects and share is None:
        click.echo(
            "ivr: no file has a label; accuracy is not known; "
            "paths in the table count from its folder",
            err=True,
        )
    if min_accuracy is None:
        return 1 if failed else 0
    if share is not None and share < min_accuracy:
        click.echo(f"ivr: accuracy {share:.3f} is below {min_accuracy:g}", err=True)
    return 1 if failed or astray or share is None or share < min_accuracy else 0


# --- running ----------------------------------------------------------------------------------


async def _replay_all(options: _Options, settings: Settings | None) -> list[Outcome]:
    async with _replayer(options, settings) as replay:
        lines = asyncio.Semaphore(options.jobs)
        with progress("Replaying", len(options.files)) as advance:

            async def one(path: Path) -> Outcome:
                async with lines:
                    outcome = await _one(path, options, replay)
                _tell(outcome, as_json=options.as_json)
                advance(1)
                return outcome

            return list(await asyncio.gather(*(one(path) for path in options.files)))


async def _one(path: Path, options: _Options, replay: Replay) -> Outcome:
    label = options.labels[path] if options.labels else None
    try:
        clip = await asyncio.to_thread(read_clip, path)
        result = await replay(clip, label.speech_end_s if label else None)
    except IvrError as error:
        return Outcome(str(path), None, str(error), label)
    return Outcome(str(path), _unless_silent(result, label), None, label)


def _unless_silent(result: Result, label: Label | None) -> Result:
    """No latency where the label says that nobody speaks, whatever the energy is."""
    silent = label is not None and label.speech_end_s is None and label.language is None
    return replace(result, latency_ms=None) if silent else result


@asynccontextmanager
async def _replayer(options: _Options, settings: Settings | None) -> AsyncIterator[Replay]:
    """How a clip is replayed: into ``--url``, this process, or a server started for it."""
    if options.url is not None or settings is None:
        yield _over_socket(options.url or "", options.pace)
        return
    services = await asyncio.to_thread(Services.load, settings)
    zone = services.catalogue.timezone
    at = moment(options.at or working_morning(datetime.now(ZoneInfo(zone))), zone)
    if options.in_process:
        yield _in_process(services, options.pace, at)
        return
    settings = _patient(settings)
    async with KapokServer(services, settings, host="127.0.0.1", port=0, now=lambda: at) as server:
        yield _over_socket(server.url, options.pace)


def _patient(settings: Settings) -> Settings:
    """No call is refused because audio waits: at fast pace it always does."""
    server = settings.server.model_copy(update={"shed_lag_s": _NEVER_S})
    return settings.model_copy(update={"server": server})


def _over_socket(url: str, pace: Pace) -> Replay:
    async def replay(clip: Clip, end_s: float | None) -> Result:
        return await replay_over_socket(clip, url=url, pace=pace, end_s=end_s, tries=_TRIES)

    return replay


def _in_process(services: Services, pace: Pace, at: datetime) -> Replay:
    async def replay(clip: Clip, end_s: float | None) -> Result:
        call = LocalCall(services, local_time=at)
        return await replay_in_process(clip, call, pace=pace, end_s=end_s)

    return replay


# --- navigation file --------------------------------------------------------------------------


def _write_navigation(
    path: Path, recordings: tuple[Path, ...], outcomes: Sequence[Outcome], settings: Settings
) -> None:
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed:  # what is left of a busy server, or a broken folder, would be no fair sample
        raise ConfigError(
            f"{failed} of {len(outcomes)} recordings could not be replayed, so {path} was not "
            "written; mend that, or replay with --in-process and fewer --jobs"
        )
    seen = [seen for outcome in outcomes if (seen := _observed(outcome)) is not None]
    if not seen:
        raise ConfigError(
            "no replayed recording is labelled as speech with a queue; check --expect"
        )
    measured = MeasuredOn(
        by="ivr replay",
        recordings=" ".join(map(str, recordings)),
        date=str(datetime.now().date()),
        calls=len(seen),
        queues=settings.queues.name,
        models={code.value: entry.model.name for code, entry in settings.languages.items()},
    )
    found = measure_navigation(
        seen,
        measured=measured,
        catalogue=load_catalogue(settings.queues),
        prompts=settings.prompts,
    )
    write_navigation(path, found)
    click.echo(f"wrote {path}", err=True)


def _observed(outcome: Outcome) -> Observation | None:
    """What a scenario needs of a recording; None where it does not name a queue."""
    label, result = outcome.label, outcome.result
    if label is None or result is None or label.kind is not Kind.SPEECH or not label.queue:
        return None
    said_s = label.speech_end_s
    if said_s is None:
        said_s = speech_end_s(read_clip(result.path))
    late_s = None if said_s is None else max(0.0, result.decided_s - said_s)
    return Observation(label.queue, result.decision, result.queue, said_s, late_s)


# --- printing ---------------------------------------------------------------------------------


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    """Results as they come, for pipes; errors at once."""
    if outcome.error is not None:
        click.echo(f"ivr: {outcome.error}", err=True)
    elif as_json and outcome.result is not None:
        click.echo(json.dumps(outcome.result.as_json(outcome.name), ensure_ascii=False))


def _print(outcomes: Sequence[Outcome], report: Report, *, as_json: bool) -> None:
    labelled = bool(report.labelled)
    # JSON lines stay alone on standard output.
    console = Console(stderr=True) if as_json else Console()
    if not console.is_terminal:
        console = Console(stderr=as_json, width=_PIPE_WIDTH)
    if not as_json:
        console.print(result_table(outcomes))
    if labelled:
        console.print(confusion_table(outcomes))
    for line in report.lines():
        if labelled or not as_json:
            console.print(line, highlight=False, markup=False)
