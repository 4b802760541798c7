"""What callers asked for in the logs of their calls, as cases for the matcher.

    cases = logged_cases(path, queues=catalogue.queue_ids)

A server leaves a log of each call in ``call_log.folder`` (:mod:`ivr.call.event_log`). Each request
in it becomes a case, with the language in which it was heard: answers to a question, wishes for
another language and what is said once the call is decided are none. Texts are as the log has them:
the best transcript, numbers masked.

The label is where the call went in the end: the queue that it was put into (the one meant, where
that was closed) or for which the caller is called back, whether or not they had been asked;
``emergency:NUMBER`` where the caller took the offer; ``person`` for the words that asked for one. A
call that ended otherwise has no label. So a label is what the caller accepted, which is not always
what was right: whoever was put through without a question had no say.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ivr.call.answers import AnswerKind, read_answer
from ivr.call.event_log import read_input, read_match, read_opened
from ivr.call.events import UtteranceMatched
from ivr.call.wishes import read_wish
from ivr.intent.cases import Case
from ivr.intent.types import Decision
from ivr.language import Language
from ivr.replay.log import read_log

__all__ = ["find_logs", "is_log", "logged_cases"]

Record = Mapping[str, Any]

_FIRST_LINE_BYTES = 65_536
#: Prompts (:mod:`ivr.call.prompts`) after which an answer is due.
_QUESTIONS = frozenset(
    {
        "confirm",
        "confirm_first",
        "confirm_again",
        "emergency_offer",
        "wait_offer",
        "wait_offer_long",
    }
)
#: Prompts after which the call is on its way.
_DECIDED = frozenset(
    {"route", "route_closed", "emergency_route", "person", "person_limit", "callback", "closed"}
)


def is_log(path: Path) -> bool:
    """Whether a file begins as the log of a call does."""
    try:
        with path.open("rb") as stream:
            record = json.loads(stream.readline(_FIRST_LINE_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("type") == "opened" and "v" in record


def find_logs(folder: Path) -> list[Path]:
    """The logs in a folder and those below it, sorted."""
    return [path for path in sorted(folder.rglob("*.jsonl")) if path.is_file() and is_log(path)]


def logged_cases(path: Path, *, queues: Collection[str]) -> list[Case]:
    """The requests in one log; none where nothing was asked for.

    Args:
        path: the log.
        queues: those that a label may name; a call that went to another has none.

    Raises:
        ReplayError: it is no log, or damaged, or of another version.
    """
    records = read_log(path)
    zone = read_opened(records[0]).zone
    went = _went(records)
    label = went if went is None or went.startswith("emergency:") or went in queues else None
    return [
        replace(case, expected=label if decision is not Decision.PERSON else "person")
        for case, decision in _requests(path, records, zone)
    ]


def _went(records: Iterable[Record]) -> str | None:
    """Where the call went in the end, as a label says it; None where that says nothing."""
    went = None
    for record in records:
        match record.get("type"):
            case "routed":
                went = record.get("closed_queue") or record.get("queue")
            case "call_back_accepted":
                went = record.get("queue")
            case "emergency_routed":
                went = f"emergency:{record.get('number')}"
            case "handed_off":
                went = None
    return went if isinstance(went, str) else None


def _requests(
    path: Path, records: Iterable[Record], zone: str | None
) -> Iterator[tuple[Case, Decision]]:
    prompt = ""
    for line, record in enumerate(records, start=1):
        type_ = record.get("type")
        if type_ == "prompt":
            prompt = str(record.get("id"))
        elif type_ == "matched_again":  # what the caller corrected a question to
            found = read_match(record.get("match"))
            if found.decision is not Decision.ASK_AGAIN and record.get("language") in list(
                Language
            ):
                said = str(record.get("said"))
                yield _case(path, line, said, Language(record["language"])), found.decision
        elif type_ == "utterance_matched" and prompt not in _DECIDED:
            given = read_input(record, zone=zone)
            assert isinstance(given, UtteranceMatched)
            if _asks(given, answer_due=prompt in _QUESTIONS):
                yield _case(path, line, given.match.text, given.language), given.match.decision


def _asks(given: UtteranceMatched, *, answer_due: bool) -> bool:
    """Whether an utterance is a request: to be matched, and neither an answer nor a wish."""
    wish = read_wish(given.match.text)
    if not given.match.text or (wish is not None and wish.alone):
        return False
    if not answer_due:
        return True
    neither = read_answer(given.match.text, given.language).kind is AnswerKind.NEITHER
    return neither and given.match.decision is not Decision.ASK_AGAIN


def _case(path: Path, line: int, text: str, language: Language) -> Case:
    return Case(where=f"{path}:{line}", heard={language: [(text, 1.0)]}, language=language)
