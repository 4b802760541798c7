import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.answers import AnswerKind, read_answer
from ivr.language import Language

CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("是", CMN),
        ("是的", CMN),
        ("对 对 对", CMN),
        ("嗯，没错。", CMN),
        ("好的", CMN),
        ("是啊是啊", CMN),
        ("系", YUE),
        ("係呀", YUE),
        ("啱嘅", YUE),
        ("冇错", YUE),
        ("系呀 啱呀", YUE),
        ("是的", YUE),  # callers mix the two
        ("系", CMN),
    ],
)
def test_yes(text: str, language: Language) -> None:
    assert read_answer(text, language).kind is AnswerKind.YES


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("不是", CMN),
        ("不 对", CMN),
        ("不用", CMN),
        ("嗯不是的", CMN),
        ("唔系", YUE),
        ("唔係呀", YUE),
        ("唔啱", YUE),
        ("错咗", YUE),
        ("不是", YUE),
    ],
)
def test_no(text: str, language: Language) -> None:
    answer = read_answer(text, language)
    assert answer.kind is AnswerKind.NO
    assert answer.rest == ()


@pytest.mark.parametrize(
    ("text", "language"),
    [("事", CMN), ("市", CMN), ("世的", CMN), ("係", YUE)],
)
def test_a_short_answer_by_its_sound(text: str, language: Language) -> None:
    assert read_answer(text, language).kind is AnswerKind.YES


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", CMN),
        ("四", CMN),  # si4 is not shi4
        ("是不是社保", CMN),
        ("系唔系社保", YUE),
        ("对面楼好吵", CMN),
        ("我要查社保", CMN),
        ("事故", CMN),
        ("有人霸咗我车位", YUE),
    ],
)
def test_neither(text: str, language: Language) -> None:
    assert read_answer(text, language).kind is AnswerKind.NEITHER


@pytest.mark.parametrize(
    ("text", "language", "first"),
    [
        ("不是社保，是公积金", CMN, "公积金"),
        ("不是 社保 是 公积金", CMN, "公积金"),
        ("不是，我要查公积金", CMN, "我要查公积金"),
        ("不对我要投诉", CMN, "我要投诉"),
        ("唔系社保，系公积金", YUE, "公积金"),
        ("唔系呀，我想查公积金", YUE, "我想查公积金"),
        ("错咗，我要揾警察", YUE, "我要揾警察"),
    ],
)
def test_a_correction_in_one_breath(text: str, language: Language, first: str) -> None:
    answer = read_answer(text, language)
    assert answer.kind is AnswerKind.NO
    assert answer.rest[0] == first


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("是系不唔对啱冇错好的呀嗯社保公积金，。 a1"), max_size=12))
def test_anything_is_read(text: str) -> None:
    for language in Language:
        answer = read_answer(text, language)
        assert all(answer.rest)
        if answer.kind is not AnswerKind.NO:
            assert not answer.rest
