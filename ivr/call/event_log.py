"""The event log of a call: all that went in, and all that came out, one JSON object a line.

    log = EventLog(write, call_id="c-1", began=local_time, version="1a2b3c4d")
    session = log.session(matcher=..., catalogue=..., limits=...)
    log.receive(PromptPlayed(3.2))       # instead of session.receive

Every record has

=========  ===============================================================================
``v``      version of this schema, 1
``call``   the call's id
``seq``    0, 1, 2, ... within the call
``at_s``   seconds on the call's clock, which is its audio
``wall``   the same by the clock on the wall, ISO 8601
``type``   ``opened``, an input or an event of :mod:`ivr.call.events` in lower case
           (``utterance_matched``, ``routed``), or what the session asked for meanwhile:
           ``matched_again`` (the correction in an answer), ``wait_asked``
=========  ===============================================================================

and the fields of that input or event. The first record, ``opened``, holds what the call went by:
version of queues and prompts, limits, time zone. Events follow the input that caused them; a
``prompt`` also tells how long it plays. So a log holds whatever a call depended on, and running it
again (:mod:`ivr.replay.log`) gives the same log, byte for byte.

Ticks, of which there are many a second, are written only where one changed something.

**Personal data**: numbers in what was said are masked (:func:`ivr.intent.slots.mask`), and so is a
key that decided nothing, as it may be part of one. The caller's number is in no record. Queues and
call ids are shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from ivr.call.events import (
    CallStarted,
    DigitPressed,
    Event,
    HungUp,
    Input,
    Prompt,
    PromptPlayed,
    RecogniserFailed,
    SpeechStarted,
    Tick,
    Transferred,
    UtteranceMatched,
)
from ivr.call.prompts import spoken_s
from ivr.call.session import CallSession, Limits, Matching
from ivr.errors import ReplayError
from ivr.intent.slots import mask
from ivr.intent.types import Match
from ivr.language import Language

__all__ = [
    "MASKED_KEY",
    "VERSION",
    "Asked",
    "EventLog",
    "Opened",
    "as_line",
    "masked",
    "read_input",
    "read_match",
    "read_opened",
]

VERSION = 1
#: Stands for a key that decided nothing.
MASKED_KEY = "?"

Record = dict[str, Any]


def _name(type_: type[Any]) -> str:
    """``UtteranceMatched`` -> ``utterance_matched``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type_.__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a call goes by."""

    version: str  # of queues, phrases and prompts
    zone: str | None  # of the clock on the wall, as tzdata names it
    language: Language  # of prompts, before the caller has spoken
    limits: Limits
    elder_limits: Limits


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that the session asked for while it took an input."""

    type: str  # matched_again or wait_asked
    fields: Mapping[str, Any]


class EventLog:
    """The log of one call, and its session.

    Args:
        write: takes each record.
        call_id: the call.
        began: the clock on the wall at 0 s of the call's clock.
        version: of queues, phrases and prompts.
    """

    def __init__(
        self, write: Callable[[Record], None], *, call_id: str, began: datetime, version: str
    ) -> None:
        self._write, self._call_id, self._began, self._version = write, call_id, began, version
        self._seq = 0
        self._asked: list[Asked] = []
        self._duration_s: Callable[[Prompt], float] = lambda said: spoken_s(said.text)
        self._session: CallSession | None = None
        self._seen: tuple[object, ...] = ()  # the session as the last input left it

    def session(
        self,
        *,
        matcher: Matching,
        limits: Limits,
        elder_limits: Limits | None = None,
        language: Language = Language.MANDARIN,
        duration_s: Callable[[Prompt], float] | None = None,
        expected_wait_s: Callable[[str], float | None] = lambda queue: None,
        **options: Any,
    ) -> CallSession:
        """The session that is logged: as :class:`~ivr.call.session.CallSession` takes it."""
        self._duration_s = duration_s or self._duration_s
        self._session = CallSession(
            matcher=_Noted(matcher, self._asked),
            limits=limits,
            elder_limits=elder_limits,
            language=language,
            duration_s=self._duration_s,
            expected_wait_s=self._noting(expected_wait_s),
            **options,
        )
        zone = self._began.tzinfo.key if isinstance(self._began.tzinfo, ZoneInfo) else None
        opened = Opened(
            version=self._version,
            zone=zone,
            language=language,
            limits=limits,
            elder_limits=elder_limits or limits,
        )
        self._put(0.0, "opened", _fields(opened))
        return self._session

    def receive(self, given: Input) -> tuple[Event, ...]:
        """Give the session one input; what came of it is written.

        Raises:
            ProtocolError: as :meth:`ivr.call.session.CallSession.receive`; the input is written.
        """
        assert self._session is not None
        before, self._asked[:] = self._seen or self._session.snapshot(), []
        events: tuple[Event, ...] = ()
        try:
            events = self._session.receive(given)
        finally:
            self._seen = self._session.snapshot()
            changed = self._seen != before
            if events or changed or not isinstance(given, Tick):
                self._note(_without_secrets(given, tells=bool(events) or self._moved(before)))
                self._note_outcome(given.now_s, events)
        return events

    def _moved(self, before: tuple[object, ...]) -> bool:
        assert self._session is not None
        return self._seen[0] is not before[0]

    def _note(self, given: Input) -> None:
        fields = _fields(given)
        self._put(fields.pop("now_s"), _name(type(given)), fields)

    def _note_outcome(self, at_s: float, events: tuple[Event, ...]) -> None:
        for asked in self._asked:
            self._put(at_s, asked.type, dict(asked.fields))
        for event in events:
            fields = _fields(event)
            if isinstance(event, Prompt):
                fields["duration_s"] = self._duration_s(event)
            self._put(at_s, _name(type(event)), fields)

    def _noting(
        self, expected_wait_s: Callable[[str], float | None]
    ) -> Callable[[str], float | None]:
        def ask(queue: str) -> float | None:
            wait_s = expected_wait_s(queue)
            self._asked.append(Asked("wait_asked", {"queue": queue, "wait_s": wait_s}))
            return wait_s

        return ask

    def _put(self, at_s: float, type_: str, fields: Mapping[str, Any]) -> None:
        wall = self._began + timedelta(seconds=at_s)
        self._write(
            {
                "v": VERSION,
                "call": self._call_id,
                "seq": self._seq,
                "at_s": at_s,
                "wall": wall.isoformat(timespec="milliseconds"),
                "type": type_,
                **fields,
            }
        )
        self._seq += 1


class _Noted:
    """A matcher whose answers are noted."""

    def __init__(self, matcher: Matching, asked: list[Asked]) -> None:
        self._matcher, self._asked = matcher, asked

    def match(self, said: str, language: Language, /) -> Match:
        found = self._matcher.match(said, language)
        fields = {"said": said, "language": language.value, "match": _fields(masked(found))}
        self._asked.append(Asked("matched_again", fields))
        return found


def masked(match: Match) -> Match:
    """The match without the numbers in what was said."""
    return replace(match, text=mask(match.text), normalised=mask(match.normalised))


def _without_secrets(given: Input, *, tells: bool) -> Input:
    """``tells``: the input made a difference, so that its key is no part of a number."""
    match given:
        case DigitPressed() if not tells:
            return replace(given, digit=MASKED_KEY)
        case UtteranceMatched():
            texts = tuple(mask(text) for text in given.alternatives)
            return replace(given, match=masked(given.match), alternatives=texts)
        case RecogniserFailed():
            return replace(given, error=mask(given.error))
        case _:
            return given


# --- JSON -----------------------------------------------------------------------------------


_INPUT_TYPES = (
    CallStarted,
    PromptPlayed,
    SpeechStarted,
    UtteranceMatched,
    DigitPressed,
    Tick,
    HungUp,
    RecogniserFailed,
    Transferred,
)
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {
    type_: TypeAdapter(type_) for type_ in (*_INPUT_TYPES, Opened, Match)
}
_BY_NAME = {_name(type_): type_ for type_ in _INPUT_TYPES}


def _fields(thing: Any) -> Record:
    """The fields of a frozen dataclass as JSON holds them."""
    return {name: _plain(value) for name, value in asdict(thing).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value


def as_line(record: Mapping[str, Any]) -> str:
    """A record as a line of the log, without its end."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


_COMMON = ("v", "call", "seq", "at_s", "wall", "type")


def _own(record: Mapping[str, Any]) -> Record:
    return {key: value for key, value in record.items() if key not in _COMMON}


def read_opened(record: Mapping[str, Any]) -> Opened:
    """What the first record of a log says.

    Raises:
        ReplayError: it is none, or of a version that is not known.
    """
    if record.get("type") != "opened":
        raise ReplayError("the first record is not 'opened'; give a whole log")
    if record.get("v") != VERSION:
        raise ReplayError(
            f"a log of version {record.get('v')!r}, where {VERSION} is known; "
            "run it with the Kapok that wrote it"
        )
    return _read(Opened, _own(record))  # type: ignore[no-any-return]


def read_input(record: Mapping[str, Any], *, zone: str | None) -> Input | None:
    """The input that a record holds; None for a record of another kind.

    Raises:
        ReplayError: fields are missing, or are not what they should be.
    """
    type_ = _BY_NAME.get(str(record.get("type")))
    if type_ is None:
        return None
    given = _read(type_, {"now_s": record.get("at_s"), **_own(record)})
    if isinstance(given, CallStarted) and zone is not None:
        return replace(given, local_time=given.local_time.astimezone(ZoneInfo(zone)))
    return given  # type: ignore[no-any-return]


def read_match(fields: object) -> Match:
    """The match of a ``matched_again``; raises ReplayError where it is none."""
    return _read(Match, fields)  # type: ignore[no-any-return]


def _read(type_: type[Any], fields: object) -> Any:
    try:
        return _ADAPTERS[type_].validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise ReplayError(f"{_name(type_)}: {where}: {first['msg']}; the log is damaged") from error
