"""Slots of a transcript, and the masking of numbers."""

from __future__ import annotations

import itertools
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.intent.numerals import digits, value
from ivr.intent.slots import SECRET, find, is_identity, mask, mask_partial
from ivr.language import Language

TODAY = date(2026, 11, 24)  # a Tuesday
SPOKEN = "零一二三四五六七八九"


def slots(text: str, language: Language = Language.MANDARIN) -> list[tuple[str, str]]:
    return [(s.kind, s.value) for s in find(text, today=TODAY, language=language)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("我住在天河区石牌街", [("district", "天河"), ("street", "天河/石牌")]),
        ("我喺番禺市桥", [("district", "番禺"), ("street", "番禺/市桥")]),
        ("白云山好靓", []),
        ("白雲區嘅路燈壞咗", [("district", "白云")]),
        ("新塘镇的公交", [("street", "新塘")]),
        ("人民路塌了", []),
        ("人民街道办几点开门", [("street", "越秀/人民")]),
        ("中山六路一百二十三号漏水", [("address", "中山六路一百二十三号")]),
        ("中山大道西89号", [("address", "中山大道西89号")]),
        ("欠了我三千五百块", [("amount", "3500")]),
        ("佢争我两万几蚊", [("amount", "20000+")]),
        ("交咗三千五蚊订金", [("amount", "3500")]),
        ("罚了1.2万元", [("amount", "12000")]),
        ("十二块五", [("amount", "12.5")]),
        ("昨天开始没水", [("date", "2026-11-23")]),
        ("琴日冇电", [("date", "2026-11-23")]),
        ("上个月五号交的费", [("date", "2026-10-05")]),
        ("十月一号去嘅", [("date", "2026-10-01")]),
        ("一月五号到期", [("date", "2027-01-05")]),
        ("二零二五年三月办的", [("date", "2025-03")]),
        ("去年十二月十号", [("date", "2025-12-10")]),
        ("下星期三之前", [("date", "2026-12-02")]),
        ("上周五送的货", [("date", "2026-11-20")]),
        ("旧年买嘅", [("date", "2025")]),
        ("二月三十号", []),
        ("地铁三号线很挤", []),
        ("二十号发工资", [("date", "2026-11-20")]),
        ("我要投诉永旺超市", [("company", "永旺超市")]),
        ("我喺恒大物业有限公司做嘢", [("company", "恒大物业有限公司")]),
        ("我公司想查社保", []),
        ("我想查社保", []),
        ("电话一三八零零一三八零零零", [("phone", "13800138000")]),
        ("打零二零八一二三四五六七", [("phone", "02081234567")]),
        ("身份证11010519491231002X", [("identity", "11010519491231002X")]),
        ("卡号4111111111111111", [("card", "4111111111111111")]),
        ("工单编号二零二六一一二四零零零一九", [("number", "2026112400019")]),
    ],
)
def test_slots(said: str, expected: list[tuple[str, str]]) -> None:
    assert slots(said) == expected


def test_a_misheard_district_is_known_by_its_sound() -> None:
    assert slots("我在天和区") == [("district", "天河")]
    assert slots("我喺潘余区", Language.CANTONESE) == [("district", "番禺")]
    assert slots("小区没水") == []


def test_places_are_those_of_the_text() -> None:
    text = "噚日我喺天河区俾人呃咗三千蚊"
    for slot in find(text, today=TODAY):
        assert text[slot.start : slot.end] == slot.text


def test_secret_slots_have_a_masked_value() -> None:
    (slot,) = find("电话13800138000", today=TODAY)
    assert slot.kind in SECRET
    assert slot.masked == "*********00"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("电话13800138000", "电话*********00"),
        ("电话138-0013-8000谢谢", "电话***-****-**00谢谢"),
        ("一三八零零一三八零零零", "*********零零"),
        ("11010519491231002X", "****************2X"),
        ("三千五百块, 12345热线", "三千五百块, 12345热线"),
    ],
)
def test_mask(text: str, shown: str) -> None:
    assert mask(text) == shown


number = st.lists(st.sampled_from("0123456789" + SPOKEN), min_size=7, max_size=19).map("".join)
words = st.text(alphabet="我的电话系身份证号码、, ", max_size=8)


@given(words, number, words)
def test_no_long_run_of_digits_is_left(before: str, secret: str, after: str) -> None:
    masked = mask(before + secret + after)
    assert secret not in masked
    assert not re.search(rf"[0-9{SPOKEN}]{{7}}", masked)
    assert len(masked) == len(before + secret + after)


@given(st.text(alphabet="0123456789零一二三xX叉 -我电话*", max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(
    st.text(
        alphabet=st.characters(
            exclude_categories=("Nd", "Cs"), exclude_characters=SPOKEN + "〇两幺洞"
        )
    )
)
def test_text_without_digits_is_left(text: str) -> None:
    assert mask(text) == text


@given(st.text(max_size=60), st.sampled_from(list(Language)))
def test_any_text_is_read(text: str, language: Language) -> None:
    found = find(text, today=TODAY, language=language)
    for left, right in itertools.pairwise(found):
        assert left.end <= right.start
    for slot in found:
        assert text[slot.start : slot.end] == slot.text
        assert slot.value


@given(
    st.text(
        alphabet="0123456789零一二三四五六七八九十百千万亿两廿上下个星期礼拜周月号日年今去块蚊几多.",
        max_size=20,
    )
)
def test_numbers_and_dates_never_raise(text: str) -> None:
    find(text, today=TODAY)


@given(st.integers(0, 10**17 - 1))
def test_one_wrong_digit_breaks_an_identity_number(base: int) -> None:
    body = str(10**16 + base % (9 * 10**16)).zfill(17)[:17]
    valid = [body + c for c in "0123456789X" if is_identity(body + c)]
    assert len(valid) == 1


@given(st.integers(1, 99_999_999))
def test_written_numbers_have_their_value(n: int) -> None:
    assert value(str(n)) == n
    assert digits(str(n)) == str(n)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("幺三八零零幺三八零零零", "*********零零"),
        ("我电话系一三八 呃 零零一 三八 零零零", "我电话系*** * *** ** *零零"),
        ("一三八三个零一三八三个零", "**********个零"),
        ("一三八零零要三八零零零", "*********零零"),  # 要 is 幺, misheard
        ("一三八零零一三八然后零零零", "***********零零"),
        ("１３８００１３８０００", "*********００"),
        ("我要三四五六个人", "我要三四五六个人"),
        ("二零二五年三月一号", "二零二五年三月一号"),
        ("拨打一一九", "拨打一一九"),
    ],
)
def test_dictated_numbers_are_masked(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("我电话系一三八", "我电话系一三八"),
        ("我电话系一三八零", "我电话系****"),
        ("我电话系 一三 八零 零", "我电话系 ** ** *"),
        ("我电话系一三八零零一三八零零零我想", "我电话系*********零零我想"),
        ("我要拨一一九", "我要拨一一九"),
    ],
)
def test_a_number_under_way_is_hidden_as_a_whole(text: str, shown: str) -> None:
    assert mask_partial(text) == shown
