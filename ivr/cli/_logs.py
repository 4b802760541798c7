"""``ivr replay --log``: logs of calls, run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from ivr.call.prompts import PromptTexts, load_prompts
from ivr.errors import ReplayError
from ivr.intent.matcher import Matcher
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.replay.log import LogReplay, decisions, read_log, replay_log
from ivr.server.conversation import version_now
from ivr.settings import Settings

__all__ = ["replay_logs"]

#: Differences shown of one log; the first says most, the others follow from it.
_SHOWN = 10


def replay_logs(paths: Sequence[Path], settings: Settings, *, rematch: bool, as_json: bool) -> bool:
    """Run each log again and print what came of it; True where all came out the same.

    With ``rematch`` the same means the same decisions.

    Raises:
        ConfigError: the queues or the prompts are not valid.
        ReplayError: no log is found.
    """
    files = list(_files(paths))
    if not files:
        raise ReplayError(f"no logs (*.jsonl) in {', '.join(map(str, paths))}; check the path")
    catalogue, texts = load_catalogue(settings.queues), load_prompts(settings.prompts)
    version = version_now(settings, catalogue)
    matcher = Matcher(catalogue) if rematch else None
    same = True
    for path in files:
        try:
            replay = _again(path, catalogue, texts, version, matcher)
        except ReplayError as error:
            click.echo(f"ivr: {error}", err=True)
            same = False
            continue
        _print(path, replay, rematch=rematch, as_json=as_json)
        same = same and (replay.same_decisions if rematch else not replay.differences)
    return same


def _again(
    path: Path, catalogue: Catalogue, texts: PromptTexts, version: str, matcher: Matcher | None
) -> LogReplay:
    """Run one log again; every ReplayError names the file."""
    records = read_log(path)
    try:
        return replay_log(
            records, catalogue=catalogue, texts=texts, version=version, matcher=matcher
        )
    except ReplayError as error:
        raise ReplayError(f"{path}: {error}") from error


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]


def _print(path: Path, replay: LogReplay, *, rematch: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_json(path, replay), ensure_ascii=False))
        return
    decided = ", ".join(decisions(replay.records)) or "nothing decided"
    if rematch:
        before = ", ".join(decisions(replay.logged)) or "nothing decided"
        told = decided if replay.same_decisions else f"{decided}; then: {before}"
        click.echo(f"{path}: {'the same' if replay.same_decisions else 'otherwise'}: {told}")
        return
    count = len(replay.differences)
    what = f"{count} of {len(replay.records)} records differ" if count else "the same"
    click.echo(f"{path}: {len(replay.records)} records, {what}: {decided}")
    if replay.version != replay.version_now:
        click.echo(f"  queues or prompts were {replay.version}, now {replay.version_now}")
    for difference in replay.differences[:_SHOWN]:
        click.echo(f"  {difference}")
    if count > _SHOWN:
        click.echo(f"  and {count - _SHOWN} more")


def _as_json(path: Path, replay: LogReplay) -> dict[str, object]:
    return {
        "file": str(path),
        "call": replay.call,
        "records": len(replay.records),
        "same": not replay.differences,
        "same_decisions": replay.same_decisions,
        "decisions": decisions(replay.records),
        "decisions_logged": decisions(replay.logged),
        "version": replay.version,
        "version_now": replay.version_now,
        "differences": [
            {"seq": d.seq, "logged": d.logged, "now": d.now} for d in replay.differences
        ],
    }
