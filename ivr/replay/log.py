"""The log of a call, run again: the same inputs through the call's rules as they are today.

    replay = replay_log(read_log(path), catalogue=catalogue, texts=texts, version=version)
    replay.differences      # none: every record came out the same, byte for byte

What a call asked meanwhile (the matcher about a correction, the expected wait, the length of a
prompt) is answered from the log, so that neither models nor the matcher are needed and nothing
depends on the hour. Where the queues or the prompts were edited since, names and texts may differ;
that is said. With ``rematch`` the words are matched anew instead: what the call would be today.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ivr.call.event_log import EventLog, Opened, as_line, read_input, read_match, read_opened
from ivr.call.events import Input, Prompt, UtteranceMatched
from ivr.call.prompts import PromptTexts, spoken_s
from ivr.call.session import Matching
from ivr.errors import ProtocolError, ReplayError
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue

__all__ = ["Difference", "LogReplay", "decisions", "read_log", "replay_log"]

Record = Mapping[str, Any]

#: Events that decide where a call goes.
_DECIDE = frozenset(
    {
        "routed",
        "emergency_routed",
        "handed_off",
        "call_back_accepted",
        "confirmation_asked",
        "ended",
    }
)
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that came out otherwise; None where there is none on that side."""

    seq: int
    logged: Record | None
    now: Record | None

    def __str__(self) -> str:
        return f"record {self.seq}: {_what_differs(self.logged, self.now)}"


@dataclass(frozen=True, slots=True)
class LogReplay:
    """What came of running a log again."""

    call: str
    logged: tuple[Record, ...]
    records: tuple[Record, ...]
    differences: tuple[Difference, ...]
    version: str  # of the queues and prompts then
    version_now: str

    @property
    def same_decisions(self) -> bool:
        """Whether the call went where it went before."""
        return decisions(self.logged) == decisions(self.records)


def decisions(records: Iterable[Record]) -> list[str]:
    """What a call decided, in order: ``routed social_security``, ``handed_off asked``."""
    keys = ("queue", "number", "reason")
    return [
        " ".join([str(r["type"]), *(str(r[key]) for key in keys if r.get(key) is not None)])
        for r in records
        if r.get("type") in _DECIDE
    ]


def read_log(path: Path) -> tuple[Record, ...]:
    """The records of a log; a last line that was cut off is left out.

    Raises:
        ReplayError: the file cannot be read, is no log, or records are missing in it.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ReplayError(f"{path}: larger than a call's log can be; give the log of one call")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{path}: cannot be read ({error}); give the log of a call") from error
    records = [_record(path, count, line) for count, line in enumerate(lines[:-1], start=1) if line]
    if not records:
        raise ReplayError(f"{path}: no record in it; give the log of a call")
    for count, record in enumerate(records):
        if record.get("seq") != count:
            raise ReplayError(f"{path}:{count + 1}: record {count} is missing; give the whole log")
    return tuple(records)


def _record(path: Path, count: int, line: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReplayError(f"{path}:{count}: no JSON ({error}); give the log of a call") from error
    if not isinstance(record, dict):
        raise ReplayError(f"{path}:{count}: no JSON object; give the log of a call")
    return record


def replay_log(
    logged: Sequence[Record],
    *,
    catalogue: Catalogue,
    texts: PromptTexts,
    version: str,
    matcher: Matching | None = None,
) -> LogReplay:
    """Run a log again.

    Args:
        logged: its records, from :func:`read_log`.
        catalogue, texts: queues and prompts of today.
        version: of these, :func:`ivr.queues.reload.installed_version`.
        matcher: matches what was said anew; without it the matches of the log count.

    Raises:
        ReplayError: the log is damaged, or of a version that is not known.
    """
    opened = read_opened(logged[0])
    queues = frozenset(catalogue.queue_ids)
    answers = _Answers(logged, matcher, queues)
    records: list[Record] = []
    log = EventLog(
        records.append,
        call_id=str(logged[0].get("call")),
        began=_began(logged[0], opened),
        version=opened.version,
    )
    log.session(
        matcher=answers,
        catalogue=catalogue,
        texts=texts,
        limits=opened.limits,
        elder_limits=opened.elder_limits,
        language=opened.language,
        duration_s=answers.duration_s,
        expected_wait_s=answers.expected_wait_s,
    )
    _give_all(log, logged, opened, matcher, queues)
    return LogReplay(
        call=str(logged[0].get("call")),
        logged=tuple(logged),
        records=tuple(records),
        differences=tuple(_differences(logged, records)),
        version=opened.version,
        version_now=version,
    )


def _began(first: Record, opened: Opened) -> datetime:
    try:
        began = datetime.fromisoformat(str(first["wall"]))
    except (KeyError, ValueError) as error:
        raise ReplayError("opened: wall is no time; the log is damaged") from error
    return began.astimezone(ZoneInfo(opened.zone)) if opened.zone else began


def _give_all(
    log: EventLog,
    logged: Sequence[Record],
    opened: Opened,
    matcher: Matching | None,
    queues: Collection[str],
) -> None:
    for record in logged[1:]:
        given = read_input(record, zone=opened.zone)
        if given is None:
            continue
        given = _rematched(given, matcher)
        if isinstance(given, UtteranceMatched):
            _check_queues(given.match, queues)
        try:
            log.receive(given)
        except ProtocolError:
            return  # the call took another way: what follows is not its own


def _rematched(given: Input, matcher: Matching | None) -> Input:
    if matcher is None or not isinstance(given, UtteranceMatched) or not given.match.text:
        return given
    return replace(given, match=matcher.match(given.match.text, given.language))


def _check_queues(match: Match, queues: Collection[str]) -> None:
    named = (*((match.queue,) if match.queue else ()), *match.needs)
    unknown = [queue for queue in named if queue not in queues]
    if unknown:
        raise ReplayError(
            f"the call was matched to {unknown[0]!r}, which is no queue today; give the queues "
            "file of that time by --config, or match what was said anew by --rematch"
        )


class _Answers:
    """Answers what a call asks as its log has it, in the order in which it was asked."""

    def __init__(
        self, logged: Sequence[Record], matcher: Matching | None, queues: Collection[str]
    ) -> None:
        self._matcher, self._queues = matcher, queues
        self._matches = deque(r for r in logged if r.get("type") == "matched_again")
        self._waits = deque(r for r in logged if r.get("type") == "wait_asked")
        self._prompts = {str(r.get("text")): r for r in logged if r.get("type") == "prompt"}

    def match(self, said: str, language: Language, /) -> Match:
        if self._matcher is not None:
            return self._matcher.match(said, language)
        while self._matches:
            record = self._matches.popleft()
            if (record.get("said"), record.get("language")) == (said, language):
                found = read_match(record.get("match"))
                _check_queues(found, self._queues)
                return found
        return Match(said, said, Decision.ASK_AGAIN, None, 0.0, ())

    def expected_wait_s(self, queue: str) -> float | None:
        while self._waits:
            record = self._waits.popleft()
            if record.get("queue") == queue:
                wait_s = record.get("wait_s")
                return float(wait_s) if isinstance(wait_s, int | float) else None
        return None

    def duration_s(self, said: Prompt) -> float:
        logged = self._prompts.get(said.text, {}).get("duration_s")
        return float(logged) if isinstance(logged, int | float) else spoken_s(said.text)


def _differences(logged: Sequence[Record], records: Sequence[Record]) -> Iterable[Difference]:
    for seq in range(max(len(logged), len(records))):
        then = logged[seq] if seq < len(logged) else None
        now = records[seq] if seq < len(records) else None
        if then is None or now is None or as_line(then) != as_line(now):
            yield Difference(seq, then, now)


def _what_differs(logged: Record | None, now: Record | None) -> str:
    if logged is None:
        return f"new: {_short(now or {})}"
    if now is None:
        return f"gone: {_short(logged)}"
    if logged.get("type") != now.get("type"):
        return f"{_short(logged)}, now {_short(now)}"
    keys = [key for key in {**logged, **now} if logged.get(key) != now.get(key)]
    shown = (f"{key} {logged.get(key)!r}, now {now.get(key)!r}" for key in keys)
    return f"{logged.get('type')}: " + "; ".join(shown)


def _short(record: Record) -> str:
    keys = ("id", "queue", "number", "reason", "digit", "language")
    told = (str(record[key]) for key in keys if record.get(key) is not None)
    return " ".join([str(record.get("type")), *told])
