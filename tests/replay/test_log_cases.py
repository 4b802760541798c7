"""Logs of calls as cases, as a server leaves them in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.event_log import EventLog
from ivr.call.events import (
    CallStarted,
    DigitPressed,
    HungUp,
    PromptPlayed,
    UtteranceMatched,
)
from ivr.call.session import Limits
from ivr.errors import ReplayError
from ivr.intent.matcher import Matcher
from ivr.intent.types import Candidate, Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, parse_catalogue
from ivr.replay.log_cases import find_logs, is_log, logged_cases
from ivr.server.call_files import CallFiles
from ivr.settings import CallLogSettings
from tests.server.installation import QUEUES

CMN, YUE = Language.MANDARIN, Language.CANTONESE
TUESDAY = datetime(2025, 6, 3, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
PUBLIC = ("social_security", "housing_fund", "general")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return parse_catalogue(QUEUES)


@pytest.fixture(scope="module")
def matcher(catalogue: Catalogue) -> Matcher:
    return Matcher(catalogue)


class Server:
    """Keeps calls as the server does; what callers say is matched by the real matcher."""

    def __init__(self, folder: Path, catalogue: Catalogue, matcher: Matcher) -> None:
        self.folder, self.catalogue, self.matcher = folder, catalogue, matcher

    def call(self, *said: str | Match, language: Language = CMN, key: str = "") -> Path:
        """A call of these utterances, one every ten seconds, and then a key; its log."""
        files = CallFiles(CallLogSettings(folder=self.folder))
        kept = files.keep("c", began=TUESDAY)
        log = EventLog(kept.record, call_id="c", began=TUESDAY, version="0a1b2c3d")
        log.session(matcher=self.matcher, catalogue=self.catalogue, limits=Limits())
        log.receive(CallStarted(0.0, TUESDAY))
        log.receive(PromptPlayed(8.0))
        now_s = 9.0
        for text in said:
            match = self.matcher.match(text, language) if isinstance(text, str) else text
            log.receive(UtteranceMatched(now_s, match, language))
            now_s += 2.0
        if key:
            log.receive(DigitPressed(now_s, key))
        log.receive(HungUp(now_s + 1.0))
        kept.close()
        return max(find_logs(self.folder), key=lambda path: path.stat().st_mtime_ns)

    def cases(self, *said: str | Match, **how: str | Language) -> list[tuple[str, str | None]]:
        cases = logged_cases(self.call(*said, **how), queues=PUBLIC)  # type: ignore[arg-type]
        return [(case.text, case.expected) for case in cases]


@pytest.fixture
def server(tmp_path: Path, catalogue: Catalogue, matcher: Matcher) -> Server:
    return Server(tmp_path / "calls", catalogue, matcher)


def likely(text: str, queue: str) -> Match:
    """So sure that the caller is asked."""
    return Match(text, text, Decision.CONFIRM, queue, 0.6, (Candidate(queue, 0.6, text),))


def test_where_a_call_was_put_through(server: Server) -> None:
    path = server.call("社保断咗", language=YUE)
    assert path.parent.name == "2025-06-03"
    (case,) = logged_cases(path, queues=PUBLIC)
    assert (case.text, case.language, case.expected) == ("社保断咗", YUE, "social_security")
    where, _, line = case.where.rpartition(":")
    assert json.loads(Path(where).read_text("utf-8").splitlines()[int(line) - 1])["match"]


@pytest.mark.parametrize(
    ("said", "cases"),
    [
        # asked again, asked, confirmed: what was not understood the first time counts too
        (
            ["天上有月亮", likely("医保卡", "social_security"), "是的"],
            [("天上有月亮", "social_security"), ("医保卡", "social_security")],
        ),
        # denied with a correction: both were for what it was in the end
        (
            [likely("查公积金断交", "social_security"), "不是，我要查公积金"],
            [("查公积金断交", "housing_fund"), ("我要查公积金", "housing_fund")],
        ),
        # another request in place of an answer
        (
            [likely("我的卡", "social_security"), "公积金贷款"],
            [("我的卡", "housing_fund"), ("公积金贷款", "housing_fund")],
        ),
        # a wish for the language is no request; what is said after the decision neither
        (["请讲广东话", "医保卡丢了", "谢谢"], [("医保卡丢了", "social_security")]),
        (["房子烧起来了", "是的"], [("房子烧起来了", "emergency:119")]),
        (["天上有月亮", "我要人工"], [("天上有月亮", None), ("我要人工", "person")]),
        (["医保卡丢了", "我要人工"], [("医保卡丢了", None)]),  # not there after all
        (["天上有月亮"], [("天上有月亮", None)]),  # and hung up
        ([], []),
    ],
)
def test_requests_and_where_they_went(
    server: Server, said: Sequence[str | Match], cases: list[tuple[str, str | None]]
) -> None:
    assert server.cases(*said) == cases


def test_a_key_for_a_person_tells_nothing_of_the_words(server: Server) -> None:
    assert server.cases("天上有月亮", key="0") == [("天上有月亮", None)]


def test_a_queue_that_is_no_more_is_no_label(server: Server) -> None:
    (case,) = logged_cases(server.call("医保卡丢了"), queues=("general",))
    assert case.expected is None


def test_a_call_that_is_still_under_way(server: Server) -> None:
    path = server.call("医保卡丢了")
    whole = path.read_text("utf-8")
    path.write_text(whole[: whole.index('"type":"routed"')], encoding="utf-8")
    assert [case.expected for case in logged_cases(path, queues=PUBLIC)] == [None]


def test_what_is_a_log_and_what_is_not(server: Server, tmp_path: Path) -> None:
    first = server.call("医保卡丢了")
    assert is_log(first)
    (tmp_path / "calls" / "result.jsonl").write_text('{"text": "医保卡"}\n', encoding="utf-8")
    (tmp_path / "calls" / "empty.jsonl").touch()
    assert find_logs(tmp_path / "calls") == [first]
    assert not is_log(tmp_path / "none.jsonl")
    damaged = first.read_text("utf-8").replace('"decision":"route"', '"decision":"teleport"')
    first.write_text(damaged, encoding="utf-8")
    with pytest.raises(ReplayError, match=r"utterance_matched: match\.decision"):
        logged_cases(first, queues=PUBLIC)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_log_with_any_record_in_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    json_values = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers())
    type_ = st.sampled_from(["utterance_matched", "matched_again", "routed", "prompt", "opened"])
    keys = st.sampled_from(["match", "language", "said", "queue", "id", "at_s", "number"])
    opened = tmp_path_factory.getbasetemp() / "opened.jsonl"
    if not opened.exists():
        records: list[str] = []
        log = EventLog(lambda r: records.append(json.dumps(r)), call_id="c", began=TUESDAY,
                       version="1")  # fmt: skip
        catalogue = parse_catalogue(QUEUES)
        log.session(matcher=Matcher(catalogue), catalogue=catalogue, limits=Limits())
        opened.write_text("\n".join(records) + "\n", encoding="utf-8")
    fields = data.draw(st.dictionaries(keys, json_values))
    record = {"seq": 1, "at_s": 1.0, **fields, "type": data.draw(type_)}
    path = opened.with_name("log.jsonl")
    path.write_text(opened.read_text("utf-8") + json.dumps(record) + "\n", encoding="utf-8")
    try:
        found = logged_cases(path, queues=PUBLIC)
    except ReplayError:
        return
    assert all(isinstance(case.text, str) for case in found)
