from __future__ import annotations

import pytest

from ivr.call.wishes import Wish, read_wish
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.mark.parametrize(
    "said",
    [
        "讲普通话",
        "请讲普通话",
        "普通话",
        "能不能说国语",
        "我听不懂广东话",
        "唔该讲普通话啦",
        "将普通话",
        "清江普通话",
        "请问将普通话",
    ],
)
def test_mandarin_is_asked_for(said: str) -> None:
    assert read_wish(said) == Wish(language=CMN)


@pytest.mark.parametrize(
    "said",
    [
        "讲广东话",
        "可唔可以讲广东话",
        "白话",
        "我唔识讲普通话",
        "转广州话吖",
        "用粤语",
        "将广东化",
        "相关广东话",
    ],
)
def test_cantonese_is_asked_for(said: str) -> None:
    assert read_wish(said) == Wish(language=YUE)


@pytest.mark.parametrize(
    "said",
    [
        "讲慢啲",
        "我年纪大",
        "请你说慢一点",
        "我年纪大咗，讲慢啲",
        "说得太快了",
        "慢一点讲",
        "请说蛮一点",
        "我年纪打了",
        "港慢啲",
    ],
)
def test_more_time_is_asked_for(said: str) -> None:
    assert read_wish(said) == Wish(slower=True)


@pytest.mark.parametrize("said", ["我年纪大咗讲慢啲我想查吓社保", "我老人家想问下公积金点攞"])
def test_a_wish_with_a_request_is_not_alone(said: str) -> None:
    assert read_wish(said) == Wish(slower=True, alone=False)


@pytest.mark.parametrize(
    "said",
    [
        "普通话考试",
        "我想报名普通话水平测试",
        "我要查社保",
        "广东话频道",
        "我想学广东话课程",
        "公交慢一点没关系",
        "满一点",
        "",
        "嗯",
        "快递太慢了",
    ],
)
def test_what_is_no_wish(said: str) -> None:
    assert read_wish(said) is None


def test_no_example_phrase_is_a_wish() -> None:
    catalogue = load_catalogue(load_settings().queues)
    groups = [*catalogue.queues, *catalogue.emergencies, catalogue.person]
    phrases = {
        phrase for group in groups for several in group.phrases.values() for phrase in several
    }
    assert len(phrases) > 1000
    assert sorted(phrase for phrase in phrases if read_wish(phrase)) == []
