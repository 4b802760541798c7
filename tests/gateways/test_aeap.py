"""Asterisk's speech engine protocol: requests, responses, and results that lead the dialplan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from ivr.asr.engine import Hypothesis
from ivr.audio.codecs import Encoding
from ivr.call.turn import Final
from ivr.gateways.aeap import SETTINGS, AeapGateway, grammar
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Inbound,
    Partial,
    Refused,
    Reply,
    Started,
    StreamConfig,
)
from ivr.language import Language
from tests.gateways.contract import mixed, obeys, only


def request(name: str, **rest: Any) -> str:
    return json.dumps({"request": name, "id": "r1"} | rest)


# As Asterisk 22.10 sends them.
SETUP = request("setup", version="0.1.0", codecs=[{"name": "ulaw"}], params={"queue": "x"})
CALL = [
    SETUP,
    request("set", params={"call_id": "17.3"}),
    request("get", params=["action"]),
    bytes(160),
    request("set", params={"dtmf": "0"}),
    request("set", params={"results_type": "nbest"}),
    request("get", params=["results"]),
    json.dumps({"response": "set", "id": "kapok-1"}),
    json.dumps({"response": "set", "id": "kapok-1", "error_msg": "no associated speech object"}),
]


def final(
    text: str = "我想查吓社保",
    *others: str,
    decision: str = "route",
    queue: str | None = "social_security",
    state: str = "routing",
    prompt: str | None = "route",
    emergency: str | None = None,
    confidence: float = 0.914,
) -> Final:
    hypotheses = tuple(Hypothesis(each, (), -1.0, 0.5) for each in (text, *others) if each)
    call = {
        "state": state,
        "prompt": "好嘅" if prompt else None,
        "prompt_id": prompt,
        "prompt_files": [f"yue/{prompt}_1", "yue/queue_social_security"] if prompt else [],
    }
    added = {
        "language": "yue" if text else None,
        "decision": decision,
        "queue": queue,
        "confidence": confidence,
        "emergency": emergency,
        "call": call,
    }
    return Final(hypotheses=hypotheses, added=added)


def started(*messages: str) -> AeapGateway:
    gateway = AeapGateway()
    for message in (SETUP, *messages, bytes(160)):
        gateway.receive(message)
    return gateway


def replied(items: Sequence[Inbound]) -> dict[str, Any]:
    reply = only(items)
    assert isinstance(reply, Reply), reply
    answer: dict[str, Any] = json.loads(only(list(reply.messages)))
    return answer


def setting(gateway: AeapGateway, name: str) -> str:
    value: str = replied(gateway.receive(request("get", params=[name])))["params"][name]
    return value


# --- the opening ----------------------------------------------------------------------------


def test_the_setup_is_answered_with_its_codec() -> None:
    answer = replied(AeapGateway().receive(SETUP))
    assert answer == {"response": "setup", "id": "r1", "codecs": [{"name": "ulaw"}]}


def test_the_call_begins_with_its_first_audio_and_what_was_set_before() -> None:
    gateway = AeapGateway()
    gateway.receive(SETUP)
    for name, value in (("call_id", "17.3"), ("caller", "02012345"), ("language", "yue")):
        assert replied(gateway.receive(request("set", params={name: value})))["response"] == "set"
    begun, audio = gateway.receive(bytes(160))
    assert isinstance(begun, Started)
    assert begun.stream == StreamConfig(
        encoding=Encoding.MULAW, language=Language.CANTONESE, prompts=False
    )
    assert (begun.call_id, begun.caller) == ("17.3", "02012345")
    assert begun.parameters == {"queue": "x", "call_id": "17.3", "caller": "02012345"}
    assert audio == Audio(bytes(160))
    assert gateway.receive(bytes(160)) == [Audio(bytes(160))]


@pytest.mark.parametrize(
    ("codecs", "name"),
    [(["alaw"], "alaw"), (["opus", "slin"], "slin"), (["g729", "ulaw", "alaw"], "ulaw")],
)
def test_the_first_codec_that_can_be_heard_is_taken(codecs: list[str], name: str) -> None:
    offered = [{"name": codec} for codec in codecs]
    assert replied(AeapGateway().receive(request("setup", codecs=offered)))["codecs"] == [
        {"name": name}
    ]


@pytest.mark.parametrize("codecs", [None, [], [{"name": "opus"}], ["ulaw"], [{"name": 7}], "ulaw"])
def test_a_setup_without_a_codec_that_can_be_heard_fails(codecs: Any) -> None:
    reply, refused = AeapGateway().receive(request("setup", codecs=codecs))
    assert isinstance(reply, Reply)
    assert "codecs=!all,ulaw" in json.loads(reply.messages[0])["error_msg"]
    assert isinstance(refused, Refused)
    assert refused.closes


def test_the_greeting_is_to_be_played_first() -> None:
    gateway = AeapGateway()
    gateway.receive(request("setup", codecs=[{"name": "slin"}], params={"sounds": "/srv/kapok/"}))
    assert setting(gateway, "prompt") == "greeting"
    assert setting(gateway, "sounds") == "/srv/kapok/cmn/greeting&/srv/kapok/yue/greeting"
    assert setting(gateway, "action") == ""


# --- results --------------------------------------------------------------------------------


def test_an_utterance_is_a_result_with_its_queue() -> None:
    gateway = started()
    sent = json.loads(only(gateway.send(final())))
    result = {"text": "我想查吓社保", "score": 91, "grammar": "social_security", "best": 0}
    assert sent["request"] == "set"
    assert sent["id"]
    assert sent["params"] == {"results": [result]}
    assert replied(gateway.receive(request("get", params=["results"])))["params"] == {
        "results": [result]
    }


def test_the_best_result_is_sent_last_for_asterisk_turns_them_round() -> None:
    gateway = AeapGateway()
    gateway.receive(SETUP)
    gateway.receive(request("set", params={"results_type": "nbest"}))
    begun, _ = gateway.receive(bytes(160))
    assert isinstance(begun, Started)
    assert begun.stream.alternatives == 5
    sent = json.loads(only(gateway.send(final("一", "二", "三"))))
    results = sent["params"]["results"]
    assert [(r["text"], r["best"]) for r in results] == [("三", 2), ("二", 1), ("一", 0)]


def test_what_to_do_can_be_asked_for() -> None:
    gateway = started(request("set", params={"call_id": "17.3"}))
    gateway.send(final())
    asked = {name: setting(gateway, name) for name in SETTINGS}
    assert asked == {
        "action": "queue",
        "queue": "social_security",
        "number": "",
        "confidence": "91",
        "decision": "route",
        "language": "yue",
        "text": "我想查吓社保",
        "state": "routing",
        "prompt": "route",
        "prompt_text": "好嘅",
        "sounds": "kapok/yue/route_1&kapok/yue/queue_social_security",
        "call_id": "17.3",
    }


@pytest.mark.parametrize(
    ("decision", "state", "means", "action"),
    [
        ("route", "routing", "social_security", "queue"),
        ("confirm", "confirming", "confirm:social_security", ""),
        ("ask_again", "asking_again", "ask_again", ""),
        ("person", "handing_off", "person", "person"),
        ("emergency", "offering_emergency", "offer:119", ""),
        ("emergency", "routing", "emergency:119", "emergency"),
        ("ask_again", "ended", "hang_up", "hang_up"),
    ],
)
def test_what_a_result_means(decision: str, state: str, means: str, action: str) -> None:
    assert grammar(decision, queue="social_security", emergency="119", state=state) == means
    gateway = started()
    gateway.send(final(decision=decision, state=state, emergency="119"))
    assert setting(gateway, "action") == action


def test_an_utterance_without_words_changes_nothing_unless_something_is_to_be_said() -> None:
    gateway = started()
    gateway.send(final())
    nothing = final("", decision="ask_again", queue=None, state="listening", prompt=None)
    assert gateway.send(nothing) == []
    assert setting(gateway, "queue") == "social_security"
    asked = final("", decision="ask_again", queue=None, state="no_input", prompt="no_input")
    assert json.loads(only(gateway.send(asked)))["params"]["results"][0]["text"] == ""
    assert setting(gateway, "prompt") == "no_input"


def test_where_nothing_is_to_be_played_silence_is() -> None:
    gateway = started()
    gateway.send(final(state="routing", prompt=None))
    assert (setting(gateway, "prompt"), setting(gateway, "sounds")) == ("", "silence/1")


def test_a_key_is_answered_once_it_is_known_what_it_did() -> None:
    gateway = started()
    key = json.dumps({"request": "set", "id": "k1", "params": {"dtmf": "0"}})
    assert gateway.receive(key) == [Digit("0")]
    person = final("", decision="person", queue=None, state="handing_off", prompt="person")
    assert json.loads(only(gateway.send(person))) == {"response": "set", "id": "k1"}
    assert setting(gateway, "action") == "person"


def test_a_key_before_audio_begins_the_call() -> None:
    gateway = AeapGateway()
    gateway.receive(SETUP)
    begun, one, two = gateway.receive(request("set", params={"dtmf": "1#"}))
    assert isinstance(begun, Started)
    assert (one, two) == (Digit("1"), Digit("#"))
    assert gateway.send(final("")) == []  # of the first key
    assert json.loads(only(gateway.send(final(""))))["response"] == "set"


@pytest.mark.parametrize("outbound", [Partial("我"), Close()])
def test_nothing_else_is_told(outbound: Any) -> None:
    assert started().send(outbound) == []


# --- what is not allowed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (SETUP, "a second setup"),
        (request("get", params=["weather"]), "none of action, queue"),
        (request("get", params=[]), "a list of one name"),
        (request("get"), "a list of one name"),
        (request("set", params={}), "an object of one key"),
        (request("set", params={"volume": "9"}), "none of call_id, caller, language"),
        (request("set", params={"language": "yue"}), "before the first SpeechBackground() alone"),
        (request("set", params={"dtmf": "x"}), "dtmf: 'x' is not one of"),
        (request("set", params={"dtmf": ""}), "is not 1 to 64 keys"),
        (request("dance"), "request 'dance'; setup, get and set are known"),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_an_error(message: str, what: str) -> None:
    gateway = started()
    reply, refused = gateway.receive(message)
    assert isinstance(reply, Reply)
    answer = json.loads(reply.messages[0])
    assert answer["id"] == "r1"
    assert what in answer["error_msg"]
    assert isinstance(refused, Refused)
    assert not refused.closes
    assert gateway.receive(bytes(160)) == [Audio(bytes(160))]


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("hello", "not JSON"),
        ("{}", "neither a request nor a response"),
        ('{"request":"get"}', "neither a request nor a response with an id"),
        ('{"request":"get","id":7}', "with an id"),
        (CALL[-1], "no associated speech object"),
        (bytes((1 << 20) + 1), "Asterisk sends 20 ms"),
    ],
)
def test_what_has_no_answer_is_refused(message: str | bytes, what: str) -> None:
    refused = only(started().receive(message))
    assert isinstance(refused, Refused)
    assert what in refused.reason


def test_audio_before_the_setup_is_refused() -> None:
    refused = only(AeapGateway().receive(bytes(160)))
    assert isinstance(refused, Refused)
    assert "setup" in refused.reason


@given(mixed(CALL))
@settings(max_examples=80)
def test_random_cut_and_reordered_messages(messages: list[str | bytes]) -> None:
    obeys(AeapGateway(), messages)
