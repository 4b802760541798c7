"""Genesys AudioHook: the session, the decision, and the signature of the upgrade request."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.audio.codecs import Encoding
from ivr.call.decision import Action, Decision
from ivr.gateways.clients.client import Answer, Ended, Ready, Silenced, Sound, Told, Trouble
from ivr.gateways.clients.genesys import GenesysClient
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    HungUp,
    Message,
    Played,
    Refused,
    Reply,
    Started,
    StopPlaying,
    StreamConfig,
    Upgrade,
    UpgradeError,
)
from ivr.gateways.genesys import GenesysGateway, verify
from tests.gateways.contract import mixed, obeys, only, say

MEDIA = [
    {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
    {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000},
    {"type": "audio", "format": "L16", "channels": ["external"], "rate": 8000},
]
OPEN: dict[str, Any] = {
    "organizationId": "d7934305-0972-4844-938e-9060eef73d05",
    "conversationId": "090eaa2f-72fa-480a-83e0-8667ff89c0ec",
    "participant": {"id": "883efee8", "ani": "tel:+8620123", "aniName": "", "dnis": ""},
    "media": MEDIA,
    "language": "zh-CN",
    "inputVariables": {"language": "cmn"},
}


def message(kind: str, seq: int, parameters: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "version": "2",
            "id": "s-1",
            "type": kind,
            "seq": seq,
            "serverseq": 0,
            "position": "PT1.2S",
            "parameters": parameters or {},
        }
    )


CALL: list[Message] = [
    message("open", 1, OPEN),
    b"\xff" * 800,
    message("ping", 2, {"rtt": "PT0.1S"}),
    message("dtmf", 3, {"digit": "5"}),
    message("playback_started", 4),
    message("playback_completed", 5),
    message("paused", 6),
    message("discarded", 7, {"start": "PT1S", "discarded": "PT2S"}),
    message("resumed", 8),
    message("update", 9, {"language": "yue-CN"}),
    message("error", 10, {"code": 429, "message": "too many"}),
    message("close", 11, {"reason": "end"}),
]


def opened(**changed: Any) -> GenesysGateway:
    gateway = GenesysGateway()
    gateway.receive(message("open", 1, OPEN | changed))
    return gateway


def replies(item: object) -> list[dict[str, Any]]:
    assert isinstance(item, Reply)
    return [json.loads(str(reply)) for reply in item.messages]


def sent(gateway: GenesysGateway, outbound: Any) -> list[dict[str, Any]]:
    return [json.loads(str(m)) for m in gateway.send(outbound)]


def refusal(gateway: GenesysGateway, got: Message) -> str:
    item = only(gateway.receive(got))
    assert isinstance(item, Refused)
    return item.reason


# --- the session ------------------------------------------------------------------------------


def test_open_is_answered_at_once_and_starts_the_call() -> None:
    reply, started = GenesysGateway().receive(CALL[0])
    (answer,) = replies(reply)
    assert answer == {
        "version": "2",
        "id": "s-1",
        "type": "opened",
        "seq": 1,
        "clientseq": 1,
        "parameters": {"startPaused": False, "media": [MEDIA[1]]},
    }
    assert started == Started(
        stream=StreamConfig(encoding=Encoding.MULAW, language="cmn"),  # type: ignore[arg-type]
        call_id=OPEN["conversationId"],
        caller="+8620123",
        parameters={"language": "cmn"},
    )


def test_a_call() -> None:
    items = obeys(GenesysGateway(), CALL)
    kinds = [reply["type"] for item in items if isinstance(item, Reply) for reply in replies(item)]
    assert kinds == ["opened", "pong", "updated", "closed"]
    rest = [item for item in items if not isinstance(item, Reply | Started | Refused)]
    assert rest == [Audio(b"\xff" * 800), Digit("5"), HungUp()]


def test_of_two_channels_the_callers_is_heard() -> None:
    gateway = opened(media=[MEDIA[0] | {"channels": ["internal", "external"]}])
    assert gateway.receive(bytes([1, 2, 3, 4])) == [Audio(bytes([2, 4]))]


def test_the_check_of_the_connection_is_answered_and_is_no_call() -> None:
    probe = OPEN | {"conversationId": "00000000-0000-0000-0000-000000000000"}
    gateway = GenesysGateway()
    (reply,) = gateway.receive(message("open", 1, probe))
    assert replies(reply)[0]["type"] == "opened"
    closed, hung_up = gateway.receive(message("close", 2, {"reason": "end"}))
    assert replies(closed)[0]["type"] == "closed"
    assert hung_up == HungUp()


def test_media_that_cannot_be_heard_ends_the_session() -> None:
    gateway = GenesysGateway()
    item = only(gateway.receive(message("open", 1, OPEN | {"media": [MEDIA[2]]})))
    assert isinstance(item, Refused)
    assert item.closes
    (answer,) = sent(gateway, item)
    assert answer["type"] == "disconnect"
    assert answer["parameters"]["reason"] == "error"
    assert "PCMU" in answer["parameters"]["info"]


@pytest.mark.parametrize(
    ("got", "what"),
    [
        ("x", "not JSON"),
        ('{"type": "ping"}', "message: version: Field required"),
        (message("ping", 1), "seq 1 has been seen; the last was 1"),
        (message("sing", 2), "type 'sing' is not known"),
        (message("open", 2, OPEN), "a second open"),
        (message("dtmf", 2, {"digit": "x"}), "dtmf.digit: 'x' is not one of"),
        (message("error", 2, {"code": 400}), "Genesys reports an error"),
        (bytes(16_001), "send at most a second"),
    ],
)
def test_refused(got: Message, what: str) -> None:
    assert what in refusal(opened(), got)


def test_nothing_before_open_and_nothing_after_close() -> None:
    assert "before open" in refusal(GenesysGateway(), message("ping", 1))
    assert "before opened" in refusal(GenesysGateway(), b"\xff")
    gateway = opened()
    gateway.receive(message("close", 2))
    assert "after close" in refusal(gateway, message("ping", 3))
    assert "after close" in refusal(gateway, b"\xff")


@settings(max_examples=50, deadline=None)
@given(mixed(CALL))
def test_no_message_breaks_it(messages: list[Message]) -> None:
    obeys(GenesysGateway(), messages)


# --- out --------------------------------------------------------------------------------------

DECISION = Decision(
    call_id="090eaa2f",
    gateway="genesys",
    action=Action.QUEUE,
    queue="social_security",
    confidence=0.91,
    language="yue",
    transcript="我想查吓社保",
    slots=({"kind": "date", "value": "2026-11-23", "text": "昨天"},),
    at=datetime(2026, 11, 24, 10, 0, tzinfo=UTC),
)


def test_the_decision_is_texts_in_output_variables() -> None:
    (disconnect,) = sent(opened(), DECISION)
    assert disconnect["type"] == "disconnect"
    assert disconnect["parameters"]["reason"] == "completed"
    told = disconnect["parameters"]["outputVariables"]
    assert (told["action"], told["queue"]) == ("transfer", "social_security")
    assert (told["confidence"], told["confirmed"]) == ("0.91", "false")
    assert json.loads(told["slots"])[0]["value"] == "2026-11-23"
    assert all(isinstance(value, str) for value in told.values())
    assert "number" not in told


def test_nothing_follows_a_disconnect() -> None:
    gateway = opened()
    sent(gateway, DECISION)
    assert sent(gateway, Close(reason="late")) == sent(gateway, StopPlaying()) == []


def test_a_person_is_an_agent() -> None:
    (disconnect,) = sent(opened(), replace(DECISION, action=Action.PERSON, queue=None))
    assert disconnect["parameters"]["outputVariables"]["action"] == "agent"


def test_a_server_that_shuts_down_says_so() -> None:
    (disconnect,) = sent(opened(), Close(reason="shutting down", error=True))
    assert disconnect["parameters"] == {"reason": "error", "info": "shutting down"}


def test_barge_in_is_an_event() -> None:
    (event,) = sent(opened(), StopPlaying())
    assert event["type"] == "event"
    assert event["parameters"] == {"entities": [{"type": "barge_in", "data": {}}]}


def test_prompts_are_large_packets_and_their_end_is_reported() -> None:
    gateway = opened()
    packets = [*gateway.play(say(0.5, play_id="p1")), *gateway.play(say(0.1, play_id="p2"))]
    assert [len(p.message) for p in packets] == [1600, 1600, 800, 800]
    completed = gateway.receive(message("playback_completed", 2))
    assert completed == [Played("p1"), Played("p2")]
    assert gateway.receive(message("playback_completed", 3)) == []


def test_what_was_barged_into_is_not_reported_as_played() -> None:
    gateway = opened()
    list(gateway.play(say()))
    gateway.send(StopPlaying())
    assert gateway.receive(message("playback_completed", 2)) == []


def test_each_message_counts_on() -> None:
    gateway = opened()
    gateway.receive(message("ping", 7))
    (event,) = sent(gateway, StopPlaying())
    assert (event["seq"], event["clientseq"]) == (3, 7)


# --- the signature ----------------------------------------------------------------------------

#: The example of "AudioHook security" in the Genesys Cloud developer centre.
KEY, SECRET = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
EXAMPLE = Upgrade(
    path="/api/v1/voicebiometrics/ws",
    target="/api/v1/voicebiometrics/ws",
    headers={
        "host": "audiohook.example.com",
        "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
        "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
        "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
        "x-api-key": KEY,
        "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
        "signature-input": (
            'sig1=("@request-target" "@authority" "audiohook-organization-id" '
            '"audiohook-session-id" "audiohook-correlation-id" "x-api-key");'
            f'keyid="{KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256";'
            "created=1641013200;expires=3282026430"
        ),
    },
)


def changed(**headers: str) -> Upgrade:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(EXAMPLE, headers={**EXAMPLE.headers, **given})


def test_the_example_of_the_specification_is_accepted() -> None:
    verify(EXAMPLE, {KEY: SECRET}, max_age=None)


@pytest.mark.parametrize(
    "upgrade",
    [
        changed(audiohook_session_id="30b0e395-84d3-4570-ac13-9a62d8f514c1"),
        changed(host="audiohook.example.org"),
        replace(EXAMPLE, target="/api/v1/voicebiometrics/ws?x=1"),
        changed(signature="sig1=:AAAAyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"),
        changed(signature="nonsense"),
        changed(signature_input=EXAMPLE.headers["signature-input"].replace('"@authority" ', "")),
        changed(x_api_key="other"),
        Upgrade(),
    ],
)
def test_what_was_changed_on_the_way_is_refused(upgrade: Upgrade) -> None:
    with pytest.raises(UpgradeError, match="AudioHook signature") as error:
        verify(upgrade, {KEY: SECRET}, max_age=None)
    assert error.value.status == 401
    assert SECRET not in str(error.value)


def test_an_unknown_key_and_an_old_signature_are_refused() -> None:
    with pytest.raises(UpgradeError):
        verify(EXAMPLE, {"other": SECRET}, max_age=None)
    with pytest.raises(UpgradeError, match="age"):
        verify(EXAMPLE, {KEY: SECRET})


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["signature", "signature-input", "host", "x-api-key"]),
        st.text(max_size=60),
    )
)
def test_no_header_breaks_the_check(headers: dict[str, str]) -> None:
    with pytest.raises(UpgradeError):
        verify(replace(EXAMPLE, headers={**EXAMPLE.headers, **headers, "x-api-key": "no"}), {})


# --- its client -------------------------------------------------------------------------------


def test_the_client_signs_as_genesys_does() -> None:
    secret = base64.b64encode(b"0123456789abcdef").decode()
    client = GenesysClient(call_id="c-1", parameters={"api_key": "k", "secret": secret, "a": "b"})
    headers = {"host": "ivr.example:2700"} | {
        name.lower(): value
        for name, value in client.headers(host="ivr.example:2700", path="/genesys?x=1").items()
    }
    upgrade = Upgrade(path="/genesys", target="/genesys?x=1", headers=headers)
    verify(upgrade, {"k": secret})
    with pytest.raises(UpgradeError):
        verify(upgrade, {"k": base64.b64encode(b"another secret!!").decode()})
    assert client.parameters == {"a": "b"}


def test_client_and_gateway_understand_each_other() -> None:
    client, gateway = GenesysClient(call_id="c-1", caller="+8620123"), GenesysGateway()
    reply, started = gateway.receive(client.begin()[0])
    assert isinstance(reply, Reply)
    assert client.receive(reply.messages[0], now_s=0.0) == [Ready()]
    assert isinstance(started, Started)
    assert gateway.receive(client.digit("5")[0]) == [Digit("5")]
    heard = [s for p in gateway.play(say(0.3)) for s in client.receive(p.message, now_s=1.0)]
    assert all(isinstance(s, Sound) for s in heard)
    assert client.advance(now_s=1.1) == []
    assert gateway.receive(client.advance(now_s=1.4)[0]) == [Played("p1")]
    list(gateway.play(say(0.3)))
    assert client.receive(gateway.send(StopPlaying())[0], now_s=1.5) == [Silenced()]
    told, answer, ended = client.receive(gateway.send(DECISION)[0], now_s=2.0)
    assert isinstance(told, Told)
    assert told.decision["queue"] == "social_security"
    assert ended == Ended("completed")
    assert isinstance(answer, Answer)
    closed, hung_up = gateway.receive(answer.messages[0])
    assert hung_up == HungUp()
    assert client.receive(replies_of(closed)[0], now_s=2.0) == [Ended("closed")]


def replies_of(item: object) -> tuple[Message, ...]:
    assert isinstance(item, Reply)
    return item.messages


def test_the_client_says_what_genesys_would_not_take() -> None:
    for got in ("x", '{"type": "opened", "seq": 5}', '{"type": "sing", "seq": 1}'):
        (trouble,) = GenesysClient(call_id="1").receive(got, now_s=0.0)
        assert isinstance(trouble, Trouble)
