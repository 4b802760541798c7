"""Two catalogues over the same calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr.intent.cases import Case
from ivr.intent.compare import Edit, compare, other_edits
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue, parse_catalogue

ROOT = Path(__file__).resolve().parents[2]
CMN = Language.MANDARIN
YUE_SOCIAL = "查吓社保, 养老保险点样供, 医保卡唔见咗, 失业金点攞, 社保断咗"
YUE_GENERAL = "睇医生挂号, 小朋友入学, 点样注册结婚, 巴士成日唔嚟, 老人院有冇位"


def yaml(social: str, general: str) -> str:
    return f"""
default_queue: general
person: {{key: "0", phrases: {{cmn: [人工], yue: [人工]}}}}
emergencies: []
queues:
  - id: social
    name: {{cmn: 社会保障, yue: 社会保障, en: Social}}
    agents: 2
    hours: 24x7
    phrases: {{cmn: [{social}], yue: [{YUE_SOCIAL}]}}
  - id: general
    name: {{cmn: 综合, yue: 综合, en: General}}
    agents: 2
    hours: 24x7
    phrases: {{cmn: [{general}], yue: [{YUE_GENERAL}]}}
"""


SOCIAL = "我要查社保, 养老保险怎么交, 医保卡丢了, 失业金怎么领, 社保断交了"
GENERAL = "看病挂号, 学校报名, 结婚登记, 公交车不来, 养老院床位"
MOVED = "生育津贴怎么领"
OLD = yaml(f"{SOCIAL}, {MOVED}", GENERAL)
NEW = yaml(SOCIAL, f"{GENERAL}, {MOVED}")


#: The same calls, other hours, agents, words, key.
OTHERS = [
    ("hours: 24x7", 'hours: {mon: "09:00-10:00"}'),
    ("agents: 2", "agents: 1"),
    ('key: "0"', 'key: "9"'),
    ("emergencies: []", "emergencies: []\nhot_words: [十五运会, 穗好办]"),
]


def case(text: str, expected: str | None) -> Case:
    return Case(text, {CMN: [(text, 1.0)]}, CMN, expected=expected)


@pytest.fixture(scope="module")
def matchers() -> tuple[Matcher, Matcher]:
    return Matcher(parse_catalogue(OLD)), Matcher(parse_catalogue(NEW))


def test_a_moved_phrase_moves_its_calls(matchers: tuple[Matcher, Matcher]) -> None:
    cases = [
        case("生育津贴怎么领", "general"),
        case("我要查社保", "social"),
        case("看病挂号", None),
    ]
    found = compare(*matchers, cases)
    (moved,) = found.moved
    assert (moved.case.text, moved.verdict) == ("生育津贴怎么领", "better")
    assert found.accuracy() == (0.5, 1.0)
    assert found.shares()["general"] == (1, 2)
    assert found.p_value() == 1.0


def test_mcnemars_exact_test(matchers: tuple[Matcher, Matcher]) -> None:
    found = compare(*matchers, [case("生育津贴怎么领", "social")] * 6)
    assert found.accuracy() == (1.0, 0.0)
    assert found.p_value() == pytest.approx(2 * 0.5**6)
    assert {change.verdict for change in found.moved} == {"worse"}


def test_nothing_moves_where_nothing_is_edited() -> None:
    matcher = Matcher(load_catalogue(ROOT / "config/queues.yaml"))
    found = compare(matcher, matcher, [case("我要查社保", None)])
    assert (found.moved, found.accuracy(), found.p_value()) == ([], None, 1.0)


def test_what_is_heard_anew_is_matched_after_the_edit(matchers: tuple[Matcher, Matcher]) -> None:
    before, anew = case("我要查社保", None), case("看病挂号", None)
    (moved,) = compare(*matchers, [before], [anew]).moved
    assert (moved.before.queue, moved.after.queue) == ("social", "general")
    with pytest.raises(ValueError, match="zip"):
        compare(*matchers, [before], [])


def test_edits_that_no_matching_shows() -> None:
    text = OLD
    for was, now in OTHERS:
        text = text.replace(was, now, 1)
    old, new = parse_catalogue(OLD), parse_catalogue(text)
    assert other_edits(old, old) == []
    of_queues = [
        Edit("hours", "social", "24x7", "mon 09:00-10:00"),
        Edit("agents", "social", 2, 1),
    ]
    key, words = Edit("person.key", None, "0", "9"), "十五运会, 穗好办"
    assert other_edits(old, new) == [key, Edit("hot_words", None, "none", words), *of_queues]
    assert other_edits(new, old)[1] == Edit("hot_words", None, words, "none")
    assert other_edits(old, new, hot_words=False) == [key, *of_queues]
