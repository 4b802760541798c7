from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.call.events import Piece
from ivr.call.prompts import (
    MINUTES,
    PROMPTS,
    PromptTexts,
    load_prompts,
    parse_prompts,
    prompt,
    rounded_minutes,
    spoken_s,
)
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.settings import load_settings

CMN, YUE = Language.MANDARIN, Language.CANTONESE


def test_the_greeting_is_one_open_question_and_no_menu() -> None:
    assert prompt("greeting", CMN).text == "您好，请讲出您要办理的事情。"
    assert prompt("greeting", YUE).text == "你好，请讲出你想办嘅事。"


def test_a_prompt_with_a_gap_is_put_together_from_pieces() -> None:
    said = prompt("confirm", YUE, queue=("social_security", "社会保障"))
    assert said.text == "请问你系唔系想揾社会保障？"
    assert said.pieces == (
        Piece("confirm_1", "请问你系唔系想揾"),
        Piece("queue_social_security", "社会保障"),
    )


def test_numbers_are_read_out_as_on_the_telephone() -> None:
    assert prompt("emergency_route", CMN, number="119").pieces[1] == Piece("number_119", "幺幺九")
    assert prompt("emergency_route", YUE, number="119").pieces[1] == Piece("number_119", "一一九")
    assert prompt("wait_offer", CMN, minutes=2).pieces[1] == Piece("minutes_2", "两分钟")


def test_a_wait_is_rounded_up_and_a_very_long_one_is_not_told() -> None:
    assert rounded_minutes(1) == 1
    assert rounded_minutes(601) == 15
    assert rounded_minutes(3600) == 60
    assert rounded_minutes(3601) is None


def test_every_piece_that_a_call_plays_is_listed() -> None:
    texts = PromptTexts()
    for language in Language:
        listed = set(texts.pieces(language, {"general": "综合"}))
        for id_ in PROMPTS:
            for minutes in MINUTES:
                said = texts.prompt(
                    id_, language, queue=("general", "综合"), number="110", minutes=minutes
                )
                assert set(said.pieces) <= listed


def test_the_committed_texts_are_those_built_in() -> None:
    committed = load_prompts(load_settings().prompts)
    assert committed.texts == {id_: dict(texts) for id_, texts in PROMPTS.items()}


def test_a_file_may_leave_prompts_out() -> None:
    texts = parse_prompts("greeting: {cmn: 您好，请问什么事？, yue: 你好，请问乜嘢事？}")
    assert texts.prompt("greeting", CMN).text == "您好，请问什么事？"
    assert texts.prompt("closed", YUE).text == PROMPTS["closed"][YUE]


def test_no_folder_gives_the_built_in_texts(tmp_path: Path) -> None:
    assert load_prompts(tmp_path / "none").texts == PROMPTS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "greetin: {cmn: 您好, yue: 你好}",
            "p:1:1: unknown key 'greetin'; did you mean 'greeting'",
        ),
        ("greeting: {cmn: 您好}", "p:1:1: the key 'yue' is missing; add 'yue: 你好"),
        ("greeting: {cmn: '', yue: 你好}", "p:1:17: the text is empty; write what"),
        ("greeting: {cmn: hello, yue: 你好}", "p:1:17: no Chinese character in 'hello'"),
        (
            "confirm: {cmn: 是吗, yue: '系唔系{queue}'}",
            "p:1:16: confirm has no gap; write {queue} once",
        ),
        (
            "closed: {cmn: '{queue}关了', yue: 收咗工}",
            "p:1:15: closed has {queue}; write it without { and }",
        ),
        ("closed: {cmn: '关了}', yue: 收咗工}", "p:1:15: a brace { or } without its partner"),
    ],
)
def test_a_fault_has_its_place_and_its_mend(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_prompts(text, name="p")
    assert str(caught.value).startswith(fault)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="您好{}queue:! ,\n'\"", max_size=40))
def test_any_file_is_read_or_refused_by_one_error(text: str) -> None:
    try:
        texts = parse_prompts(text)
    except ConfigError:
        return
    assert texts.prompt("greeting", CMN).text


def test_the_length_of_a_prompt_is_estimated() -> None:
    assert 2.0 < spoken_s(prompt("greeting", CMN).text) < 5.0
