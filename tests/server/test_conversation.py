from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ivr.asr.bilingual import BilingualRecogniser, Heard, Utterance
from ivr.audio.codecs import Encoding, encode
from ivr.call.events import BargedIn, Ended, EndReason, HandedOff, HandOffReason, Prompt
from ivr.call.transitions import State
from ivr.call.turn import Turn
from ivr.errors import ModelError
from ivr.gateways.gateway import StreamConfig
from ivr.language import Language
from ivr.server.conversation import Conversation, Services
from tests.server.installation import RATE_HZ, speak

CMN, YUE = Language.MANDARIN, Language.CANTONESE
NOON = datetime(2025, 6, 3, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def conversation(services: Services) -> Conversation:
    return Conversation(services, local_time=NOON, stream=StreamConfig())


def said(turn: Turn) -> dict[str, Any]:
    """A turn in one object: its partial, or its final with the added keys."""
    if turn.final is None:
        assert turn.partial is not None
        return {"partial": turn.partial}
    assert turn.partial is None
    words = [w for h in turn.final.hypotheses[:1] for w in h.words]
    offset_s = turn.final.offset_s
    times = [{"start": offset_s + w.start_s, "end": offset_s + w.end_s} for w in words]
    text = " ".join(word.text for word in words) or turn.final.text
    return {**turn.final.added, "text": text, "result": times}


def stream(conversation: Conversation, data: bytes, *, frame: int = 1600) -> list[dict[str, Any]]:
    """Every reply to ``data``, sent 100 ms at a time."""
    starts = range(0, len(data), frame)
    return [said(conversation.hear(data[start : start + frame])) for start in starts]


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
    turn = conversation.press("0")
    assert said(turn)["decision"] == "person"
    assert HandedOff(HandOffReason.ASKED) in turn.events
    assert conversation.state is State.HANDING_OFF


def test_an_empty_stream_is_asked_again(conversation: Conversation) -> None:
    message = said(conversation.finish())
    assert (message["text"], message["decision"], message["language"]) == ("", "ask_again", None)


def test_finishing_ends_an_utterance_in_the_middle(conversation: Conversation) -> None:
    stream(conversation, speak(CMN, "我要查", "社保", after_s=0.1))
    assert said(conversation.finish())["queue"] == "social_security"


def test_after_finishing_the_call_goes_on(conversation: Conversation) -> None:
    stream(conversation, speak(CMN, "我要查", "社保", after_s=0.1))
    assert said(conversation.finish())["text"] == "我要查 社保"
    assert say(conversation, CMN, "我要查", "公积金")["text"] == "我要查 公积金"


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_companded_audio(services: Services, encoding: Encoding) -> None:
    stream_config = StreamConfig(encoding=encoding)
    conversation = Conversation(services, local_time=NOON, stream=stream_config)
    data = encode(speak(CMN, "我要查", "社保"), encoding)
    (final,) = finals(stream(conversation, data, frame=800))
    assert final["queue"] == "social_security"


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_other_rates_are_resampled(services: Services, rate_hz: int) -> None:
    stream_config = StreamConfig(rate_hz=rate_hz)
    conversation = Conversation(services, local_time=NOON, stream=stream_config)
    data = speak(CMN, "我要查", "社保", rate_hz=rate_hz)
    (final,) = finals(stream(conversation, data, frame=2 * rate_hz // 10))
    assert final["queue"] == "social_security"


def test_frames_may_split_a_sample(conversation: Conversation) -> None:
    (final,) = finals(stream(conversation, speak(CMN, "我要查", "社保"), frame=801))
    assert final["queue"] == "social_security"


def test_a_forced_language_is_kept(services: Services) -> None:
    stream_config = StreamConfig(language=YUE)
    conversation = Conversation(services, local_time=NOON, stream=stream_config)
    replies = stream(conversation, speak(CMN, "我要查", "社保"))
    assert not [reply for reply in finals(replies) if reply["language"] == "cmn"]


def test_silence_asks_again_and_then_hands_off(conversation: Conversation) -> None:
    prompts = [f["call"]["prompt_id"] for f in finals(stream(conversation, bytes(16_000 * 90)))]
    assert prompts == ["no_input", "no_input_short", "person_limit"]


def test_the_stream_may_change_before_audio(conversation: Conversation) -> None:
    conversation.configure(StreamConfig(encoding=Encoding.MULAW))
    data = encode(speak(CMN, "我要查", "社保"), Encoding.MULAW)
    (final,) = finals(stream(conversation, data, frame=800))
    assert final["queue"] == "social_security"


def prompts(turn: Turn) -> list[str]:
    return [event.id for event in turn.events if isinstance(event, Prompt)]


def test_the_opening_greets(conversation: Conversation) -> None:
    assert set(prompts(conversation.opening)) == {"greeting"}


def test_the_greeting_is_over_once_all_of_it_has_been_played(conversation: Conversation) -> None:
    for prompt_id in prompts(conversation.opening):
        assert conversation.state is State.GREETING
        conversation.played(prompt_id)
    assert conversation.state is State.LISTENING
    assert conversation.played("greeting") == Turn()  # a late report changes nothing


def test_speech_over_a_prompt_barges_in(conversation: Conversation) -> None:
    audio = speak(CMN, "我要查", "社保", after_s=0.0)
    turns = [conversation.hear(audio[i : i + 1600]) for i in range(0, len(audio), 1600)]
    assert [event for turn in turns for event in turn.events].count(BargedIn()) == 1


def test_the_call_is_over_once_it_has_been_transferred(conversation: Conversation) -> None:
    assert conversation.transferred() == Turn()  # nothing was decided yet
    say(conversation, CMN, "我要查", "社保")
    assert conversation.transferred().events == (Ended(EndReason.TRANSFERRED),)


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
    conversation = Conversation(
        replace(services, speech=speech), local_time=NOON, stream=StreamConfig()
    )
    first, *rest = stream(conversation, speak(CMN, "我要查", "社保"))
    assert (first["text"], first["decision"]) == ("", "person")
    assert first["call"]["reason"] == "recogniser_failed"
    assert first["error"]
    assert rest == [{"partial": ""}] * len(rest)
    assert said(conversation.finish())["text"] == ""


def test_talk_in_the_background_is_no_answer_and_not_heard_again(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, finish = [], BilingualRecogniser.finish

    def ending(self: BilingualRecogniser, again: bool = True) -> Utterance:
        ended.append((again, heard := finish(self, again)))
        return heard

    monkeypatch.setattr(BilingualRecogniser, "finish", ending)
    loud = np.frombuffer(speak(CMN, "我要查", "社保"), "<i2")
    quiet = (loud * 0.002 * 32768 / np.abs(loud).max()).astype("<i2").tobytes()
    assert not finals(stream(conversation, quiet))
    ((again, utterance),) = ended
    assert utterance.recognition.text == "我要查社保"
    assert not again
    assert say(conversation, CMN, "我要查", "社保")["queue"] == "social_security"
    assert ended[1][0]


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
