"""FreeSWITCH's mod_audio_fork: free metadata, L16 at any rate, base64 prompts."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from ivr.asr.engine import Hypothesis
from ivr.call.decision import Action, Decision
from ivr.call.turn import Final
from ivr.gateways.freeswitch import MAX_PLAY_S, FreeSwitchGateway
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Partial,
    Played,
    Refused,
    Started,
    StopPlaying,
    StreamConfig,
)
from ivr.language import Language
from tests.gateways.contract import hear, mixed, obeys, only, say

METADATA = '{"call_id":"c-1","caller":"02012345","sampleRate":16000,"customer":{"a":1}}'
CALL = [
    METADATA,
    bytes(320),
    '{"event":"dtmf","dtmf":"5","duration":"2000"}',
    '{"type":"playDone","data":{"id":"greeting-1"}}',
    '{"type":"note"}',
]


def started(**query: str) -> FreeSwitchGateway:
    gateway = FreeSwitchGateway(query)
    gateway.receive("{}")
    return gateway


def start_of(message: str | bytes, **query: str) -> Started:
    first = FreeSwitchGateway(query).receive(message)[0]
    assert isinstance(first, Started), first
    return first


def decision(action: Action = Action.QUEUE, queue: str | None = "social_security") -> Decision:
    at = datetime(2026, 11, 25, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
    return Decision(call_id="c-1", gateway="freeswitch", action=action, queue=queue, at=at)


def sent(messages: list[Any]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(only(messages))
    return message


# --- in -------------------------------------------------------------------------------------


def test_the_metadata_says_what_is_known() -> None:
    begun = start_of(METADATA)
    assert begun.stream == StreamConfig(rate_hz=16_000)
    assert (begun.call_id, begun.caller) == ("c-1", "02012345")
    assert begun.parameters["sampleRate"] == "16000"
    assert "customer" not in begun.parameters


def test_a_script_that_speaks_itself_is_sent_no_prompts() -> None:
    assert not start_of('{"prompts": "off"}').stream.prompts


def test_the_query_of_the_url_counts_more() -> None:
    begun = start_of(METADATA, rate="8000", call_id="c-2", language="yue")
    assert begun.stream == StreamConfig(rate_hz=8_000, language=Language.CANTONESE)
    assert begun.call_id == "c-2"


def test_metadata_is_free_text_and_need_not_be_there() -> None:
    assert start_of("any text\nat all").parameters == {"metadata": "any textat all"}
    assert FreeSwitchGateway().receive(bytes(320))[1] == Audio(bytes(320))
    assert start_of(bytes(320)).call_id is None


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ('{"sampleRate": "fast"}', "'fast' is no rate of speech; 8000 is taken"),
        ('{"sampleRate": 1e9}', "is no rate of speech"),
        ('{"mixType": "mixed"}', "has our own prompts in it"),
        ('{"mixType": "left"}', "is none of mono, stereo"),
        ('{"language": "en"}', "language: 'en' is not known"),
    ],
)
def test_metadata_that_makes_no_sense_is_told_and_the_call_goes_on(
    metadata: str, what: str
) -> None:
    begun, refused = FreeSwitchGateway().receive(metadata)
    assert isinstance(begun, Started)
    assert begun.stream == StreamConfig()
    assert isinstance(refused, Refused)
    assert what in refused.reason


def test_of_stereo_the_left_channel_is_heard_however_it_is_cut() -> None:
    left, right = b"\1\2" * 100, b"\7\7" * 100
    both = b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, 200, 2))
    gateway = started(mix="stereo")
    assert hear(gateway.receive(both[:7]) + gateway.receive(both[7:])) == left


def test_keys_and_reports() -> None:
    gateway = started()
    assert gateway.receive(CALL[2]) == [Digit("5")]
    assert gateway.receive('{"type":"dtmf","digit":"#"}') == [Digit("#")]
    assert gateway.receive(CALL[3]) == [Played("greeting-1")]
    assert gateway.receive(CALL[4]) == []


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("hello", "not JSON"),
        ('{"event":"dtmf"}', "dtmf: 'null' is not one of"),
        ('{"type":"playDone"}', "playDone without the id"),
        ('{"type":"playDone","data":{"id":["x"]}}', "playDone without the id"),
        (bytes((1 << 20) + 1), "the module sends 20 ms"),
    ],
)
def test_what_is_not_allowed_is_refused_and_the_call_goes_on(
    message: str | bytes, what: str
) -> None:
    gateway = started()
    refused = only(gateway.receive(message))
    assert isinstance(refused, Refused)
    assert what in refused.reason
    assert gateway.receive(bytes(320)) == [Audio(bytes(320))]


@given(mixed(CALL))
@settings(max_examples=80)
def test_random_cut_and_reordered_messages(messages: list[str | bytes]) -> None:
    obeys(FreeSwitchGateway({"mix": "stereo"}), messages)


# --- out ------------------------------------------------------------------------------------


def test_a_prompt_is_one_message() -> None:
    packet = only(list(started().play(say(0.5, play_id="greeting-1"))))
    assert packet.audio_s == 0.5
    data = sent([packet.message])["data"]
    assert base64.b64decode(data.pop("audioContent")) == say(0.5).pcm
    assert data == {"audioContentType": "raw", "sampleRate": 8000, "id": "greeting-1"}


def test_a_long_prompt_is_several_and_the_last_has_its_id() -> None:
    packets = list(started().play(say(2.5 * MAX_PLAY_S, play_id="greeting-1")))
    ids = [sent([packet.message])["data"]["id"] for packet in packets]
    assert ids == ["greeting-1/1", "greeting-1/2", "greeting-1"]
    assert sum(packet.audio_s for packet in packets) == 2.5 * MAX_PLAY_S
    assert all(len(packet.message) < 650_000 for packet in packets)


def test_barge_in_the_decision_and_the_end() -> None:
    gateway = started()
    assert sent(gateway.send(StopPlaying())) == {"type": "killAudio"}
    transfer = sent(gateway.send(decision()))
    assert transfer["type"] == "transfer"
    assert transfer["data"]["queue"] == "social_security"
    assert sent(gateway.send(Close(reason="bye")))["data"] == {"reason": "bye"}
    assert gateway.send(Partial("我")) == []


def test_a_final_is_a_transcription() -> None:
    final = Final(
        hypotheses=(Hypothesis("我想查吓社保", (), -1.0, 0.9),),
        added={"decision": "route", "queue": "social_security", "call": {"state": "routing"}},
    )
    message = sent(started().send(final))
    assert message["type"] == "transcription"
    assert message["data"]["text"] == "我想查吓社保"
    assert message["data"]["queue"] == "social_security"
    assert started().send(Final()) == []
