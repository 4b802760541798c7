from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.event_log import EventLog
from ivr.call.events import CallStarted, UtteranceMatched
from ivr.call.prompts import PromptTexts
from ivr.call.session import Limits
from ivr.errors import ReplayError
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.replay.log import read_log, replay_log

QUEUES = Path(__file__).parents[2] / "config" / "queues.yaml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    assert len(read_log(written(tmp_path, '{"seq":0}\n{"seq":1}\n{"se'))) == 2


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no record in it"),
        ("hello\n", ":1: no JSON"),
        ("[1]\n", ":1: no JSON object"),
        ('{"seq":0}\n{"seq":2}\n', ":2: record 1 is missing"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ReplayError, match=what):
        read_log(written(tmp_path, text))


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "c.jsonl"
    path.write_bytes(data)
    with pytest.raises(ReplayError):
        read_log(path)


def logged(matched: dict[str, object]) -> list[dict[str, object]]:
    """A call whose one request was matched so."""
    records: list[dict[str, object]] = []
    began = datetime(2026, 11, 25, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
    catalogue = load_catalogue(QUEUES)
    log = EventLog(records.append, call_id="c", began=began, version="v")
    log.session(matcher=Nobody(), catalogue=catalogue, texts=PromptTexts(), limits=Limits())
    asked = Match("查", "查", Decision.CONFIRM, catalogue.queue_ids[0], 0.6, ())
    for each in (CallStarted(0.0, began), UtteranceMatched(6.0, asked, Language.MANDARIN)):
        log.receive(each)
    match = next(r["match"] for r in records if r["type"] == "utterance_matched")
    assert isinstance(match, dict)
    match.update(matched)
    return records


class Nobody:
    def match(self, said: str, language: Language, /) -> Match:
        raise AssertionError


@pytest.mark.parametrize("matched", [{"queue": "gone"}, {"needs": ["gone"]}])
def test_a_call_to_a_queue_that_is_gone_is_told_so(matched: dict[str, object]) -> None:
    catalogue = load_catalogue(QUEUES)
    told = {"catalogue": catalogue, "texts": PromptTexts(), "version": "v"}
    assert not replay_log(logged({}), **told).differences
    with pytest.raises(ReplayError, match=r"'gone', which is no queue today; .* --rematch"):
        replay_log(logged(matched), **told)
