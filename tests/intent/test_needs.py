"""Corrections, and several needs in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.intent import Decision, Matcher
from ivr.intent.needs import corrected, several
from ivr.intent.normalise import normalise
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue

ROOT = Path(__file__).resolve().parents[2]
CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(load_catalogue(ROOT / "config/queues.yaml"))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("不是查社保，是公积金", "公积金"),
        ("唔系查社保，系公积金", "公积金"),
        ("我不是要查社保我是要查公积金", "查公积金"),
        ("查社保，哦不对，是公积金", "公积金"),
        ("我想查社保讲错咗系公积金", "公积金"),
        ("我不想问社保我想问公积金提取", "问公积金提取"),
        ("我想问下是不是可以查社保", None),
        ("系唔系要本人去办社保卡", None),
        ("买到的不是正品", None),
        ("买返嚟嘅唔系真货", None),
        ("这个手机不是我买的", None),
        ("公司是不是要给我买社保", None),
    ],
)
def test_what_is_taken_back(said: str, meant: str | None) -> None:
    assert corrected(said) == (normalise(said) if meant is None else meant)


@given(st.text(alphabet="不是唔系查社保公积金我想要而对错说讲了，", max_size=24))
def test_a_correction_keeps_an_end_of_what_was_said(said: str) -> None:
    meant = corrected(said)
    assert normalise(said).endswith(meant)
    assert bool(meant) == bool(normalise(said))


@given(st.text(alphabet="还有另外同埋仲顺便想查社保噪音", max_size=24))
def test_parts_stand_in_the_text_in_order(said: str) -> None:
    parts, at = several(said), 0
    assert parts
    for part in parts:
        at = said.index(part, at) + len(part)


@pytest.mark.parametrize(
    ("said", "language", "queue"),
    [
        ("不是查社保，是公积金提取", CMN, "urban_housing_fund"),
        ("唔系查社保，系公积金提取", YUE, "urban_housing_fund"),
        ("不是公积金，是查社保", CMN, "social_security"),
        ("唔系公积金系社保卡唔见咗", YUE, "social_security"),
    ],
)
def test_a_correction_goes_where_it_is_meant(
    matcher: Matcher, said: str, language: Language, queue: str
) -> None:
    assert matcher.match(said, language).queue == queue


@pytest.mark.parametrize(
    ("said", "language", "needs"),
    [
        (
            "我想查一下社保交了多少年另外投诉网店卖假货不给退款",
            CMN,
            ("social_security", "consumer_rights"),
        ),
        (
            "我想查下社保交咗几多年同埋公积金点样提取",
            YUE,
            ("social_security", "urban_housing_fund"),
        ),
    ],
)
def test_two_needs_are_both_named_and_the_first_is_confirmed(
    matcher: Matcher, said: str, language: Language, needs: tuple[str, ...]
) -> None:
    match = matcher.match(said, language)
    assert match.needs == needs
    assert (match.queue, match.decision) == (needs[0], Decision.CONFIRM)


def test_two_wordings_of_one_need_are_one(matcher: Matcher) -> None:
    match = matcher.match("我想查社保交了多少年还有社保卡丢了怎么补", CMN)
    assert match.needs == ()
    assert match.queue == "social_security"


def test_an_emergency_goes_before_any_need(matcher: Matcher) -> None:
    match = matcher.match("我想查社保另外这里着火了快来救火", CMN)
    assert match.emergency == "119"
