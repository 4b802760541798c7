"""Asterisk's WebSocket channel: events in both forms, commands, prompts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from ivr.audio.codecs import Decoder, Encoding
from ivr.errors import ProtocolError
from ivr.gateways.chan_websocket import (
    CODECS,
    MAX_COMMAND_BYTES,
    MAX_MESSAGE_BYTES,
    ChanWebSocketGateway,
    command,
    event,
)
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Flow,
    Partial,
    Played,
    Refused,
    Started,
    StopPlaying,
    StreamConfig,
)
from ivr.language import Language
from tests.gateways.contract import mixed, obeys, only, say

START: dict[str, Any] = {
    "event": "MEDIA_START",
    "connection_id": "kapok",
    "channel": "WebSocket/kapok/0x7f1",
    "channel_id": "1795572358.7",
    "format": "ulaw",
    "optimal_frame_size": 160,
    "ptime": 20,
    "channel_variables": {"MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE": "160"},
}
PLAIN_START = (
    "MEDIA_START connection_id:kapok channel:WebSocket/kapok/0x7f1 channel_id:1795572358.7 "
    "format:ulaw optimal_frame_size:160 ptime:20"
)
# As Asterisk 22.10 sends them.
CALL = [
    json.dumps(START),
    bytes(160),
    '{"event":"DTMF_END","channel_id":"1795572358.7","digit":"5"}',
    '{"event":"MEDIA_XOFF","channel_id":"1795572358.7"}',
    '{"event":"MEDIA_XON","channel_id":"1795572358.7"}',
    '{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"1795572358.7","correlation_id":"p1"}',
    '{"event":"STATUS","channel_id":"1795572358.7","queue_length":0,"queue_full":false}',
    '{"event":"ERROR","channel_id":"1795572358.7","error_text":"Unable to parse JSON command"}',
    PLAIN_START,
    "DTMF_END digit:# channel_id:1795572358.7",
    "MEDIA_XOFF",
    "MEDIA_BUFFERING_COMPLETED p1",
    "ERROR channel_id:1795572358.7 error_text:no such thing",
]


def started(**changed: Any) -> ChanWebSocketGateway:
    gateway = ChanWebSocketGateway()
    gateway.receive(json.dumps(START | changed))
    return gateway


def plain() -> ChanWebSocketGateway:
    gateway = ChanWebSocketGateway()
    gateway.receive(PLAIN_START)
    return gateway


def start_of(gateway: ChanWebSocketGateway, **changed: Any) -> Started:
    item = only(gateway.receive(json.dumps(START | changed)))
    assert isinstance(item, Started), item
    return item


def refusal(gateway: ChanWebSocketGateway, message: str | bytes) -> Refused:
    item = only(gateway.receive(message))
    assert isinstance(item, Refused), item
    return item


# --- in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [json.dumps(START), PLAIN_START])
def test_the_start_in_both_forms(message: str) -> None:
    item = only(ChanWebSocketGateway().receive(message))
    assert isinstance(item, Started)
    assert item.stream == StreamConfig(encoding=Encoding.MULAW, rate_hz=8000)
    assert item.call_id == "1795572358.7"
    assert item.caller is None


def test_the_id_of_the_callers_channel_comes_by_url_or_variable() -> None:
    by_url = ChanWebSocketGateway({"call_id": "17.1", "caller": "02012345"})
    by_variable = {"KAPOK_CALL_ID": "17.2", "KAPOK_CALLER": "13800138000"}
    started = start_of(by_url, channel_variables=by_variable)
    assert (started.call_id, started.caller) == ("17.1", "02012345")
    started = start_of(ChanWebSocketGateway(), channel_variables=by_variable)
    assert (started.call_id, started.caller) == ("17.2", "13800138000")
    assert started.parameters["KAPOK_CALL_ID"] == "17.2"


def test_the_dialplan_settles_language_and_prompts() -> None:
    stream = start_of(ChanWebSocketGateway({"language": "yue", "prompts": "off"})).stream
    assert (stream.language, stream.prompts) == (Language.CANTONESE, False)
    begun, refused = ChanWebSocketGateway({"language": "en"}).receive(PLAIN_START)
    assert isinstance(begun, Started)
    assert isinstance(refused, Refused)
    assert "use cmn, yue or auto" in refused.reason


@pytest.mark.parametrize("name", CODECS)
def test_every_codec(name: str) -> None:
    stream = start_of(ChanWebSocketGateway(), format=name).stream
    assert (stream.encoding, stream.rate_hz) == CODECS[name]


@pytest.mark.parametrize("name", ["opus", "g729", None, {"a": 1}])
def test_a_codec_that_cannot_be_heard_ends_the_connection(name: object) -> None:
    refused = refusal(ChanWebSocketGateway(), json.dumps(START | {"format": name}))
    assert refused.closes
    assert "c(ulaw), c(alaw) or c(slin)" in refused.reason


def test_what_comes_in_a_call() -> None:
    gateway = started()
    got = [only(gateway.receive(message)) for message in CALL[1:6]]
    assert got == [Audio(bytes(160)), Digit("5"), Flow(open=False), Flow(open=True), Played("p1")]
    assert gateway.receive(CALL[6]) == []
    assert "Unable to parse JSON" in refusal(gateway, CALL[7]).reason


def test_what_comes_in_plain_text() -> None:
    gateway = plain()
    got = [only(gateway.receive(message)) for message in CALL[9:12]]
    assert got == [Digit("#"), Flow(open=False), Played("p1")]
    assert "no such thing" in refusal(gateway, CALL[12]).reason
    assert gateway.receive("QUEUE_DRAINED") == []


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (json.dumps(START), "a second MEDIA_START"),
        ('{"event":"DTMF_END","digit":"55"}', "DTMF_END: '55' is not one of"),
        ('{"event":"DTMF_END"}', "DTMF_END: 'null' is not one of"),
        ('{"event":7}', "without an event"),
        ('{"event":', "not JSON"),
        ("hello there", "no event of Asterisk's: 'hello there'"),
        ("", "no event of Asterisk's"),
        (bytes((1 << 20) + 1), "Asterisk sends 20 ms"),
    ],
)
def test_what_is_not_allowed_is_refused_and_the_call_goes_on(
    message: str | bytes, what: str
) -> None:
    gateway = started()
    refused = refusal(gateway, message)
    assert what in refused.reason
    assert not refused.closes
    assert gateway.receive(bytes(160)) == [Audio(bytes(160))]


@pytest.mark.parametrize("message", [bytes(160), CALL[2]])
def test_nothing_comes_before_the_start(message: str | bytes) -> None:
    assert "before MEDIA_START" in refusal(ChanWebSocketGateway(), message).reason


@given(mixed(CALL))
@settings(max_examples=80)
def test_random_cut_and_reordered_messages(messages: list[str | bytes]) -> None:
    obeys(ChanWebSocketGateway({"call_id": "17.1"}), messages)


# --- out ------------------------------------------------------------------------------------


def test_barge_in_and_the_end_in_both_forms() -> None:
    assert started().send(StopPlaying()) == ['{"command":"FLUSH_MEDIA"}']
    assert started().send(Close()) == ['{"command":"HANGUP"}']
    assert plain().send(StopPlaying()) == ["FLUSH_MEDIA"]
    assert plain().send(Close()) == ["HANGUP"]
    assert started().send(Partial("我")) == []


@pytest.mark.parametrize("name", CODECS)
def test_a_prompt_is_bulk_media_in_the_codec_of_the_call(name: str) -> None:
    gateway = started(format=name)
    encoding, rate_hz = CODECS[name]
    first, *sound, last = gateway.play(say(2.1, play_id="greeting-1"))
    assert json.loads(first.message) == {"command": "START_MEDIA_BUFFERING"}
    assert json.loads(last.message) == {
        "command": "STOP_MEDIA_BUFFERING",
        "correlation_id": "greeting-1",
    }
    assert first.audio_s == last.audio_s == 0
    assert sum(packet.audio_s for packet in sound) == pytest.approx(2.1, abs=0.01)
    assert all(len(packet.message) <= MAX_MESSAGE_BYTES for packet in sound)
    data = b"".join(packet.message for packet in sound)
    assert len(Decoder(encoding).decode(data)) / 2 == pytest.approx(2.1 * rate_hz, abs=rate_hz / 99)


def test_a_prompt_in_plain_text() -> None:
    first, *_, last = plain().play(say(0.1, play_id="greeting-1"))
    assert first.message == "START_MEDIA_BUFFERING"
    assert last.message == "STOP_MEDIA_BUFFERING greeting-1"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_command_that_asterisk_would_pass_over_is_not_made(as_json: bool) -> None:
    known = command("STOP_MEDIA_BUFFERING", correlation_id="x" * 60, as_json=as_json)
    assert len(known) <= MAX_COMMAND_BYTES
    with pytest.raises(ProtocolError, match="reads 128"):
        command("STOP_MEDIA_BUFFERING", correlation_id="好" * 60, as_json=as_json)


def test_both_forms_of_an_event_read_the_same() -> None:
    whole = event(json.dumps(START))
    del whole["channel_variables"]
    assert event(PLAIN_START) == {key: str(value) for key, value in whole.items()}
