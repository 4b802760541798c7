from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ivr.asr.bilingual import BilingualRecogniser, Heard
from ivr.audio.codecs import Encoding, encode
from ivr.call.transitions import State
from ivr.errors import ModelError
from ivr.language import Language
from ivr.server.conversation import Conversation, Services
from tests.server.installation import RATE_HZ, speak

CMN, YUE = Language.MANDARIN, Language.CANTONESE
NOON = datetime(2025, 6, 3, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def conversation(services: Services) -> Conversation:
    return Conversation(services, local_time=NOON)


def stream(conversation: Conversation, data: bytes, *, frame: int = 1600) -> list[dict[str, Any]]:
    """Every reply to ``data``, sent 100 ms at a time."""
    replies = []
    for start in range(0, len(data), frame):
        reply = conversation.step(data[start : start + frame])
        assert reply.text is not None
        assert not reply.closes
        replies.append(json.loads(reply.text))
    return replies


def finals(replies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [reply for reply in replies if "text" in reply]


def say(conversation: Conversation, language: Language, *words: str) -> dict[str, Any]:
    """Say one utterance; its final."""
    (final,) = finals(stream(conversation, speak(language, *words)))
    return final


def test_a_cantonese_request_is_routed(conversation: Conversation) -> None:
    final = say(conversation, YUE, "我想查吓", "社保")
    assert final["text"] == "我想查吓 社保"
    assert (final["language"], final["queue"], final["decision"]) == (
        "yue",
        "social_security",
        "route",
    )
    assert final["candidates"][0]["queue"] == "social_security"
    assert final["confidence"] == final["candidates"][0]["confidence"]
    assert final["language_confidence"] > 0.9
    assert final["emergency"] is None
    assert final["call"]["state"] == "routing"
    assert final["call"]["prompt_id"] == "route"
    assert "社会保障" in final["call"]["prompt"]


def test_one_reply_a_message_and_partials_grow(conversation: Conversation) -> None:
    replies = stream(conversation, speak(CMN, "我要查", "公积金"))
    partials = [reply["partial"] for reply in replies if "partial" in reply]
    assert partials[0] == ""
    assert "我要查" in partials
    assert "我要查公积金" in partials


def test_word_times_are_on_the_streams_clock(conversation: Conversation) -> None:
    first = say(conversation, CMN, "我要查", "公积金")
    second = say(conversation, CMN, "我要查", "社保")
    spoken_s = len(speak(CMN, "我要查", "公积金")) / 2 / RATE_HZ
    starts = [word["start"] for word in first["result"] + second["result"]]
    assert starts == sorted(starts)
    assert second["result"][1]["end"] == pytest.approx(spoken_s + 1.05, abs=0.3)


def test_a_correction_over_the_whole_path(conversation: Conversation) -> None:
    say(conversation, CMN, "我要查", "社保")
    final = say(conversation, CMN, "不是", "公积金")
    assert final["queue"] == "housing_fund"
    assert final["call"]["state"] in ("routing", "confirming")


def test_off_topic_is_asked_again_without_a_queue(conversation: Conversation) -> None:
    final = say(conversation, CMN, "天上有月亮")
    assert (final["decision"], final["queue"]) == ("ask_again", None)
    assert final["call"]["prompt_id"] == "ask_again"


def test_the_prompt_is_in_the_language_of_the_caller(conversation: Conversation) -> None:
    assert "唔好意思" in say(conversation, YUE, "天上有月光")["call"]["prompt"]


def test_words_reach_a_person(conversation: Conversation) -> None:
    final = say(conversation, YUE, "人工")
    assert (final["decision"], final["queue"]) == ("person", None)
    assert final["call"]["reason"] == "asked"


def test_digit_0_reaches_a_person(conversation: Conversation) -> None:
    reply = conversation.step('{"dtmf": "0"}')
    assert reply.text is not None
    assert json.loads(reply.text)["decision"] == "person"
    assert conversation.state is State.HANDING_OFF


def test_an_empty_stream_is_asked_again(conversation: Conversation) -> None:
    reply = conversation.step('{"eof" : 1}')
    assert reply.closes
    assert reply.text is not None
    message = json.loads(reply.text)
    assert (message["text"], message["decision"], message["language"]) == ("", "ask_again", None)


def test_eof_ends_an_utterance_in_the_middle(conversation: Conversation) -> None:
    stream(conversation, speak(CMN, "我要查", "社保", after_s=0.1))
    reply = conversation.step('{"eof" : 1}')
    assert reply.text is not None
    assert json.loads(reply.text)["queue"] == "social_security"


def test_reset_ends_an_utterance_and_goes_on(conversation: Conversation) -> None:
    stream(conversation, speak(CMN, "我要查", "社保", after_s=0.1))
    reply = conversation.step('{"reset" : 1}')
    assert reply.text is not None
    assert not reply.closes
    assert json.loads(reply.text)["text"] == "我要查 社保"
    assert say(conversation, CMN, "我要查", "公积金")["text"] == "我要查 公积金"


def test_a_config_is_not_answered(conversation: Conversation) -> None:
    assert conversation.step('{"config": {"sample_rate": 8000}}').text is None


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_companded_audio(conversation: Conversation, encoding: Encoding) -> None:
    conversation.step(json.dumps({"config": {"encoding": encoding}}))
    data = encode(speak(CMN, "我要查", "社保"), encoding)
    (final,) = finals(stream(conversation, data, frame=800))
    assert final["queue"] == "social_security"


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_other_rates_are_resampled(conversation: Conversation, rate_hz: int) -> None:
    conversation.step(json.dumps({"config": {"sample_rate": str(rate_hz)}}))
    data = speak(CMN, "我要查", "社保", rate_hz=rate_hz)
    (final,) = finals(stream(conversation, data, frame=2 * rate_hz // 10))
    assert final["queue"] == "social_security"


def test_frames_may_split_a_sample(conversation: Conversation) -> None:
    (final,) = finals(stream(conversation, speak(CMN, "我要查", "社保"), frame=801))
    assert final["queue"] == "social_security"


def test_a_forced_language_is_kept(conversation: Conversation) -> None:
    conversation.step('{"config": {"language": "yue"}}')
    replies = stream(conversation, speak(CMN, "我要查", "社保"))
    assert not [reply for reply in finals(replies) if reply["language"] == "cmn"]


def test_silence_asks_again_and_then_hands_off(conversation: Conversation) -> None:
    prompts = [f["call"]["prompt_id"] for f in finals(stream(conversation, bytes(16_000 * 90)))]
    assert prompts == ["no_input", "no_input_short", "person_limit"]


def test_the_alternatives_asked_for(conversation: Conversation) -> None:
    conversation.step('{"config": {"max_alternatives": 2}}')
    final = say(conversation, CMN, "我要查", "社保")
    assert final["alternatives"][0]["text"] == "我要查 社保"
    assert "result" not in final


@pytest.mark.parametrize("message", ["hello", '{"config": {"sample_rate": 1}}', b"\0" * 65_537])
def test_bad_messages_are_answered_and_the_call_goes_on(
    conversation: Conversation, message: str | bytes
) -> None:
    reply = conversation.step(message)
    assert reply.text is not None
    assert set(json.loads(reply.text)) == {"error"}
    assert say(conversation, CMN, "我要查", "社保")["queue"] == "social_security"


class _Breaking(BilingualRecogniser):
    error: Exception

    def accept(self, pcm: bytes) -> Heard:
        raise self.error


@pytest.mark.parametrize("error", [ModelError("the cmn model failed"), MemoryError("no room")])
def test_a_failing_recogniser_hands_the_call_to_a_person(
    services: Services, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*, rate_hz: int, alternatives: int) -> BilingualRecogniser:
        recognisers = {lang: e.recogniser() for lang, e in services.speech.engines.items()}
        broken = _Breaking(recognisers, services.speech.decider, rate_hz=rate_hz)
        broken.error = error
        return broken

    speech = replace(services.speech)
    object.__setattr__(speech, "call", call)
    conversation = Conversation(replace(services, speech=speech), local_time=NOON)
    first, *rest = stream(conversation, speak(CMN, "我要查", "社保"))
    assert (first["text"], first["decision"]) == ("", "person")
    assert first["call"]["reason"] == "recogniser_failed"
    assert first["error"]
    assert rest == [{"partial": ""}] * len(rest)
    reply = conversation.step('{"eof" : 1}')
    assert reply.closes


def test_no_transcript_at_info(
    conversation: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        say(conversation, CMN, "我要查", "社保")
    assert "social_security" in caplog.text
    assert "我要查" not in caplog.text


def test_hanging_up_twice_is_harmless(conversation: Conversation) -> None:
    say(conversation, CMN, "我要查", "社保")
    conversation.hang_up()
    conversation.hang_up()
    assert conversation.state is State.ENDED
