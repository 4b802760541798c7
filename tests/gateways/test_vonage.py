"""Vonage's WebSocket: what comes, what is refused, what goes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from ivr.errors import ServerError
from ivr.gateways.clients.client import Answer, Silenced, Sound, Trouble
from ivr.gateways.clients.vonage import VonageClient
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Played,
    Refused,
    Started,
    StopPlaying,
    StreamConfig,
)
from ivr.gateways.vonage import VonageGateway
from tests.gateways.contract import mixed, obeys, only, say

CONNECTED = (
    '{"event":"websocket:connected","content-type":"audio/l16;rate=16000",'
    '"uuid":"63f6","caller":"8620123"}'
)
CALL = [
    CONNECTED,
    bytes(640),
    '{"event":"websocket:dtmf","digit":"5","duration":260}',
    '{"event":"websocket:cleared"}',
    '{"event":"websocket:notify","payload":{"play_id":"p1"}}',
]


def started(rate_hz: int = 16_000) -> VonageGateway:
    gateway = VonageGateway()
    gateway.receive(CONNECTED.replace("16000", str(rate_hz)))
    return gateway


def refusal(gateway: VonageGateway, message: str | bytes) -> str:
    item = only(gateway.receive(message))
    assert isinstance(item, Refused)
    return item.reason


def test_a_call() -> None:
    assert obeys(VonageGateway(), CALL) == [
        Started(
            stream=StreamConfig(rate_hz=16_000),
            call_id="63f6",
            caller="8620123",
            parameters={"uuid": "63f6", "caller": "8620123"},
        ),
        Audio(bytes(640)),
        Digit("5"),
        Played("p1"),
    ]


def test_headers_may_stand_in_a_map_of_their_own() -> None:
    nested = {"event": "websocket:connected", "content-type": "audio/l16;rate=8000"}
    item = only(VonageGateway().receive(json.dumps(nested | {"headers": {"call_id": "7"}})))
    assert isinstance(item, Started)
    assert (item.call_id, item.stream.rate_hz) == ("7", 8_000)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (CONNECTED, "a second websocket:connected"),
        ("x", "not JSON"),
        ('{"event":"websocket:dtmf","digit":"x"}', "digit: 'x' is not one of"),
        ('{"event":"websocket:sing"}', "is none of"),
        (bytes(50_000), "send 20 ms at a time"),
    ],
)
def test_refused(message: str | bytes, what: str) -> None:
    assert what in refusal(started(), message)


@pytest.mark.parametrize("kind", ["audio/l16", "audio/l16;rate=11025", "audio/opus;rate=16000"])
def test_another_format_is_refused(kind: str) -> None:
    message = json.dumps({"event": "websocket:connected", "content-type": kind})
    assert "write audio/l16;rate=N in the NCCO" in refusal(VonageGateway(), message)


def test_nothing_before_connected() -> None:
    assert "before websocket:connected" in refusal(VonageGateway(), bytes(640))
    assert "before websocket:connected" in refusal(VonageGateway(), CALL[2])


@settings(max_examples=50, deadline=None)
@given(mixed(CALL))
def test_no_message_breaks_it(messages: list[str | bytes]) -> None:
    obeys(VonageGateway(), messages)


@pytest.mark.parametrize(("rate_hz", "size"), [(8_000, 320), (16_000, 640), (24_000, 960)])
def test_prompts_are_frames_of_exactly_the_size_that_comes(rate_hz: int, size: int) -> None:
    *frames, notify = started(rate_hz).play(say(0.25))
    assert {len(frame.message) for frame in frames} == {size}
    assert {frame.audio_s for frame in frames} == {0.02}
    assert 0.24 < sum(frame.audio_s for frame in frames) <= 0.28
    assert json.loads(str(notify.message)) == {"action": "notify", "payload": {"play_id": "p1"}}


def test_barge_in_clears() -> None:
    assert [json.loads(str(m)) for m in started().send(StopPlaying())] == [{"action": "clear"}]
    assert started().send(Close()) == []


# --- its client -------------------------------------------------------------------------------


def test_the_client_sends_what_vonage_sends() -> None:
    client = VonageClient(call_id="63f6", caller="8620123", parameters={"language": "yue"})
    begun, *rest = obeys(
        VonageGateway(), [*client.begin(), *client.audio(bytes(640)), *client.digit("#")]
    )
    assert isinstance(begun, Started)
    assert (begun.call_id, begun.caller, begun.stream.language) == ("63f6", "8620123", "yue")
    assert rest == [Audio(bytes(640)), Digit("#")]


def test_the_client_notifies_once_the_sound_has_been_played() -> None:
    gateway, client = started(), VonageClient(call_id="1", parameters={"rate": "16000"})
    heard = [s for p in gateway.play(say(0.1)) for s in client.receive(p.message, now_s=1.0)]
    assert all(isinstance(s, Sound) for s in heard)
    assert client.advance(now_s=1.05) == []
    (notify,) = client.advance(now_s=1.2)
    assert gateway.receive(notify) == [Played("p1")]


def test_the_client_forgets_what_is_cleared() -> None:
    gateway, client = started(), VonageClient(call_id="1", parameters={"rate": "16000"})
    for packet in gateway.play(say(0.1)):
        client.receive(packet.message, now_s=1.0)
    assert client.receive(gateway.send(StopPlaying())[0], now_s=1.05) == [
        Silenced(),
        Answer(('{"event": "websocket:cleared"}',)),
    ]
    assert client.advance(now_s=9.0) == []


def test_the_client_has_the_rates_that_vonage_has() -> None:
    assert VonageClient(call_id="1").rate_hz == 8000
    with pytest.raises(ServerError, match="Vonage has 8000, 16000, 24000 Hz"):
        VonageClient(call_id="1", parameters={"rate": "44100"})


def test_the_client_says_what_vonage_would_not_take() -> None:
    for message in (bytes(639), "x", '{"action": "sing"}'):
        (trouble,) = VonageClient(call_id="1").receive(message, now_s=0.0)
        assert isinstance(trouble, Trouble)
