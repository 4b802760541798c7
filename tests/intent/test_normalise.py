"""The written form that is matched."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ivr.intent import normalise as module
from ivr.intent.normalise import normalise, strip_carriers

SPOKEN = st.text(
    st.sampled_from(
        "我你佢想查社保嘅咗唔喺揾邊著乾麼那个这呢即系就是说嗯啊呃额，。 ?0123456789.-:%年块万dA〇幺"
    ),
    max_size=24,
)


@pytest.mark.parametrize(
    ("said", "matched"),
    [
        ("我想查嚇社保，喺邊度攞？", "我想查吓社保喺边度攞"),
        ("搵人聽", "揾人听"),
        ("甚麼時候", "什么时候"),
        ("著火了", "着火了"),
        ("著名商標", "著名商标"),
        ("有d人霸咗我車位", "有啲人霸咗我车位"),
        ("ＡＰＰ登录", "app登录"),
        ("我 想 查 吓 社保", "我想查吓社保"),
        ("<unk>社保[noise]", "社保"),
    ],
)
def test_characters_are_brought_to_one_form(said: str, matched: str) -> None:
    assert normalise(said) == matched


@pytest.mark.parametrize(
    ("said", "matched"),
    [
        ("3000块", "三千块"),
        ("打12345", "打一二三四五"),
        ("13800138000", "一三八零零一三八零零零"),
        ("020-8888 1234", "零二零八八八八一二三四"),
        ("2024年3月5日", "二零二四年三月五日"),
        ("3.5万", "三点五万"),
        ("百分之5", "百分之五"),
        ("5%", "百分之五"),
        ("1,000元", "一千元"),
        ("10个人", "十个人"),
        ("8:30开门", "八点三十分开门"),
        ("幺幺零", "一一零"),
        ("110", "一一零"),
        ("0", "零"),
    ],
)
def test_numbers_are_read_as_they_are_said(said: str, matched: str) -> None:
    assert normalise(said) == matched


@pytest.mark.parametrize(
    ("said", "matched"),
    [
        ("嗯那个公积金怎么取啊", "公积金怎么取"),
        ("社保，就是说，断了", "社保断了"),
        ("即系话我想问社保呢", "我想问社保"),
        ("呢个系点解", "呢个系点解"),
        ("账户余额", "账户余额"),
        ("那个人打我", "人打我"),
        ("嗯", "嗯"),
        ("我我我想查社保", "我想查社保"),
        ("我想我想查社保", "我想查社保"),
        ("看看社保", "看看社保"),
        ("一一一二二", "一一一二二"),
    ],
)
def test_fillers_and_stutters_go_and_meaning_stays(said: str, matched: str) -> None:
    assert normalise(said) == matched


@settings(max_examples=300, deadline=None)
@given(SPOKEN | st.text(max_size=16))
@example("嗯那个那个我我我，呢")
@example("1.2.3")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@settings(max_examples=100, deadline=None)
@given(SPOKEN)
def test_letters_are_never_all_lost(text: str) -> None:
    assert bool(normalise(text)) == any(c.isalnum() for c in text)


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ("我想问一下社保", "社保"),
        ("请问公积金怎么办理", "公积金"),
        ("唔该我想问下社保点样办理呀", "社保"),
        ("你好我想咨询一下", ""),
        ("谢谢", ""),
        ("特点", "特点"),
    ],
)
def test_carrier_phrases_carry_nothing(said: str, content: str) -> None:
    assert strip_carriers(normalise(said)) == content


@given(st.text(st.sampled_from("我想查社保嘅咗唔喺那个这呢就是说啊额一二看谢 "), max_size=16))
@example("那 个 社保")
def test_what_is_plain_already_is_left_as_every_step_would(text: str) -> None:
    once = module._pass(text)
    plain = text.replace(" ", "")
    if module._is_plain(plain):
        assert normalise(text) == once == plain
