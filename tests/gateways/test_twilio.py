"""Twilio Media Streams: what comes, what is refused, what goes out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings

from ivr.audio.codecs import Decoder, Encoding
from ivr.gateways.clients.client import Answer, Silenced, Sound, Trouble
from ivr.gateways.clients.twilio import TwilioClient
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    HungUp,
    Partial,
    Played,
    Refused,
    Started,
    StopPlaying,
    StreamConfig,
    Upgrade,
    UpgradeError,
)
from ivr.gateways.twilio import TwilioGateway, signature, verify
from ivr.language import Language
from tests.gateways.contract import mixed, obeys, only, say

START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"caller": "+8620123", "language": "yue"},
    },
}


def media(payload: str = base64.b64encode(b"\xff" * 160).decode(), **more: Any) -> str:
    body = {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": payload} | more
    return json.dumps({"event": "media", "sequenceNumber": "4", "streamSid": "MZ1", "media": body})


CALL = [
    json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
    json.dumps(START),
    media(),
    '{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5",'
    '"dtmf":{"track":"inbound_track","digit":"1"}}',
    '{"event":"mark","sequenceNumber":"6","streamSid":"MZ1","mark":{"name":"p1"}}',
    '{"event":"stop","sequenceNumber":"7","streamSid":"MZ1","stop":{"callSid":"CA1"}}',
]


def started() -> TwilioGateway:
    gateway = TwilioGateway()
    gateway.receive(CALL[1])
    return gateway


def refusal(gateway: TwilioGateway, message: str | bytes) -> str:
    item = only(gateway.receive(message))
    assert isinstance(item, Refused)
    assert not item.closes
    return item.reason


def test_a_call() -> None:
    assert obeys(TwilioGateway(), CALL) == [
        Started(
            stream=StreamConfig(encoding=Encoding.MULAW, language=Language.CANTONESE),
            call_id="CA1",
            caller="+8620123",
            parameters={"caller": "+8620123", "language": "yue"},
        ),
        Audio(b"\xff" * 160),
        Digit("1"),
        Played("p1"),
        HungUp(),
    ]


def test_the_other_side_of_a_stream_of_both_tracks_is_not_the_caller() -> None:
    assert started().receive(media(track="outbound")) == []


def test_a_parameter_that_is_not_known_costs_no_call() -> None:
    start = START | {"start": START["start"] | {"customParameters": {"language": "fr"}}}
    begun, refused = TwilioGateway().receive(json.dumps(start))
    assert isinstance(begun, Started)
    assert begun.stream.language is None
    assert isinstance(refused, Refused)
    assert "language: 'fr'" in refused.reason


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\0\0", "no binary messages"),
        ("hello", "not JSON"),
        (media("???"), "media.payload is not base64"),
        (media("f39/木fw=="), "media.payload is not base64"),
        ('{"event":"media","media":{}}', "media: media.payload: Field required"),
        ('{"event":"dtmf","dtmf":{"digit":"12"}}', "dtmf.digit: '12' is not one of"),
        ('{"event":"sing"}', "'sing' is none of"),
        (CALL[1], "a second start"),
    ],
)
def test_refused(message: str | bytes, what: str) -> None:
    assert what in refusal(started(), message)


def test_nothing_before_start_and_nothing_after_stop() -> None:
    assert "media before start" in refusal(TwilioGateway(), media())
    gateway = started()
    gateway.receive(CALL[-1])
    assert "media after stop" in refusal(gateway, media())


def test_another_codec_is_refused() -> None:
    format_ = {"encoding": "audio/opus", "sampleRate": 48000, "channels": 2}
    start = START | {"start": START["start"] | {"mediaFormat": format_}}
    assert "mediaFormat.encoding" in refusal(TwilioGateway(), json.dumps(start))


@settings(max_examples=50, deadline=None)
@given(mixed(CALL))
def test_no_message_breaks_it(messages: list[str | bytes]) -> None:
    obeys(TwilioGateway(), messages)


# --- out --------------------------------------------------------------------------------------


def test_a_prompt_is_media_and_a_mark() -> None:
    gateway, prompt = started(), say(0.25)
    packets = list(gateway.play(prompt))
    messages = [json.loads(str(packet.message)) for packet in packets]
    assert {m["streamSid"] for m in messages} == {"MZ1"}
    assert [p.audio_s for p in packets] == [0.1, 0.1, 0.05, 0.0]
    assert messages[-1] == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "p1"}}
    sound = b"".join(base64.b64decode(m["media"]["payload"]) for m in messages[:-1])
    assert len(Decoder(Encoding.MULAW).decode(sound)) == len(prompt.pcm)


def test_barge_in_clears() -> None:
    (clear,) = started().send(StopPlaying())
    assert json.loads(str(clear)) == {"event": "clear", "streamSid": "MZ1"}


def test_there_is_no_message_for_anything_else() -> None:
    assert started().send(Partial("我 想")) == started().send(Close()) == []


# --- its client -------------------------------------------------------------------------------


def test_the_client_sends_what_twilio_sends() -> None:
    client = TwilioClient(call_id="CA1", caller="+8620123")
    frame = b"\xff" * 160
    messages = [*client.begin(), *client.audio(frame), *client.digit("5"), *client.hang_up()]
    begun, *rest = obeys(TwilioGateway(), messages)
    assert isinstance(begun, Started)
    assert (begun.call_id, begun.caller) == ("CA1", "+8620123")
    assert rest == [Audio(frame), Digit("5"), HungUp()]


def test_the_client_returns_a_mark_once_the_sound_before_it_has_been_played() -> None:
    gateway, client = TwilioGateway(), TwilioClient(call_id="CA1")
    for message in client.begin():
        gateway.receive(message)
    for packet in gateway.play(say(0.25)):
        client.receive(packet.message, now_s=1.0)
    assert client.advance(now_s=1.2) == []
    (mark,) = client.advance(now_s=1.26)
    assert gateway.receive(mark) == [Played("p1")]


def test_the_client_returns_all_marks_when_it_is_cleared() -> None:
    gateway, client = TwilioGateway(), TwilioClient(call_id="CA1")
    for message in client.begin():
        gateway.receive(message)
    heard = [s for p in gateway.play(say(0.25)) for s in client.receive(p.message, now_s=1.0)]
    assert all(isinstance(s, Sound) for s in heard)
    silenced, answer = client.receive(gateway.send(StopPlaying())[0], now_s=1.1)
    assert silenced == Silenced()
    assert isinstance(answer, Answer)
    assert gateway.receive(answer.messages[0]) == [Played("p1")]
    assert client.buffer.left_s(1.1) == 0


def test_the_client_says_what_twilio_would_not_take() -> None:
    client = TwilioClient(call_id="CA1")
    for message in ("x", b"x", '{"event": "media", "streamSid": "other"}'):
        (trouble,) = client.receive(message, now_s=0.0)
        assert isinstance(trouble, Trouble)


# --- the signature ----------------------------------------------------------------------------


def upgrade(token: str = "0123456789abcdef", **changed: str) -> Upgrade:
    headers = {"host": "ivr.example", "x-twilio-signature": signature(token, "wss://ivr.example/t")}
    return Upgrade(path="/t", target="/t", headers=headers | changed)


def test_the_example_of_twilios_documentation() -> None:
    """Of "Webhooks Security", whose form fields stand behind the address in what is signed."""
    fields = "CallSidCA1234567890ABCDECaller+14158675310Digits1234From+14158675310To+18005551212"
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url + fields) == "GvWf1cFY/Q7PnoempGyD5oXAezc="


def test_a_signature_is_checked() -> None:
    verify(upgrade(), "0123456789abcdef")
    slash = signature("0123456789abcdef", "wss://ivr.example/t/")
    verify(upgrade(**{"x-twilio-signature": slash}), "0123456789abcdef")


@pytest.mark.parametrize(
    "given",
    [
        upgrade("another token !!"),
        upgrade(host="ivr.example.org"),
        upgrade(**{"x-twilio-signature": ""}),
        Upgrade(path="/t", target="/t"),
    ],
)
def test_what_is_not_signed_by_the_account_is_refused(given: Upgrade) -> None:
    with pytest.raises(UpgradeError, match="X-Twilio-Signature") as error:
        verify(given, "0123456789abcdef")
    assert error.value.status == 401


def test_the_client_signs_as_twilio_does() -> None:
    client = TwilioClient(call_id="CA1", parameters={"auth_token": "0123456789abcdef"})
    headers = client.headers(host="ivr.example", path="/t")
    verify(upgrade(**{k.lower(): v for k, v in headers.items()}), "0123456789abcdef")
    assert client.parameters == {}
