"""The clients of Asterisk's three protocols, FreeSWITCH and jambonz: alone, and ringing a server.

The calls go over real sockets into real Vosk, all at the same time.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.audio.codecs import Encoding
from ivr.errors import ServerError
from ivr.gateways.audiosocket import Kind, frame
from ivr.gateways.chan_websocket import ChanWebSocketGateway
from ivr.gateways.clients import client_class
from ivr.gateways.clients.aeap import AeapClient
from ivr.gateways.clients.audiosocket import AudioSocketClient
from ivr.gateways.clients.chan_websocket import ChanWebSocketClient
from ivr.gateways.clients.client import (
    Answer,
    Ended,
    GatewayClient,
    Ready,
    Silenced,
    Sound,
    Text,
    Told,
    Trouble,
)
from ivr.gateways.clients.freeswitch import FreeSwitchClient
from ivr.gateways.clients.ring import CallResult, ring
from ivr.gateways.gateway import Close, Played, StopPlaying
from ivr.language import Language
from ivr.replay.client import Pace
from ivr.replay.clips import Clip
from ivr.server.app import KapokServer
from ivr.server.registry import CallRecord
from tests.gateways.contract import ANYTHING, only, say
from tests.server.installation import RATE_HZ, Installation, speak, write_installation

CALL = "4a6e2b0c-0f1d-4b9a-9c3e-0123456789ab"
NAMES = ("audiosocket", "asterisk", "aeap", "freeswitch", "jambonz")


def client(name: str, **parameters: str) -> GatewayClient:
    return client_class(name)(call_id=CALL, caller="02012345", parameters=parameters)


# --- alone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(messages=st.lists(ANYTHING, max_size=8))
@settings(max_examples=25)
def test_whatever_a_server_says_a_client_never_raises(
    name: str, messages: list[str | bytes]
) -> None:
    ringing = client(name)
    assert ringing.begin()
    for number, message in enumerate(messages):
        assert isinstance(ringing.receive(message, now_s=float(number)), list)
    ringing.advance(now_s=60.0)
    ringing.hang_up()


def test_audiosocket_takes_audio_and_the_hang_up_alone() -> None:
    ringing = client("audiosocket")
    sound, over, trouble = ringing.receive(
        frame(0x10, bytes(320)) + frame(Kind.HANG_UP) + frame(Kind.DTMF, b"5"), now_s=0.0
    )
    assert sound == Sound(bytes(320), 8000)
    assert isinstance(over, Ended)
    assert isinstance(trouble, Trouble)
    assert ringing.buffer.left_s(0.0) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("kind", "given", "what"),
    [
        (AudioSocketClient, {"call_id": "17.3"}, "UUIDs"),
        (AudioSocketClient, {"call_id": CALL, "parameters": {"rate": "11025"}}, "8000, 12000"),
        (ChanWebSocketClient, {"call_id": "17.3", "parameters": {"codec": "opus"}}, "ulaw, alaw"),
        (ChanWebSocketClient, {"call_id": "17.3", "parameters": {"format": "xml"}}, "plain-text"),
        (FreeSwitchClient, {"call_id": "c-1", "parameters": {"rate": "11025"}}, "8000, 16000"),
    ],
)
def test_a_call_that_the_gateway_cannot_make_is_refused(
    kind: type[GatewayClient], given: dict[str, Any], what: str
) -> None:
    with pytest.raises(ServerError, match=what):
        kind(**given)


@pytest.mark.parametrize("form", ["json", "plain-text"])
def test_asterisks_queue_reports_what_was_played_and_what_was_flushed_not(form: str) -> None:
    ringing, gateway = client("asterisk", format=form), ChanWebSocketGateway()
    gateway.receive(only(ringing.begin()))
    heard = [
        said
        for packet in gateway.play(say(1.0, play_id="p-1"))
        for said in ringing.receive(packet.message, now_s=0.0)
    ]
    assert sum(len(each.pcm) for each in heard if isinstance(each, Sound)) == 16_000
    assert ringing.advance(now_s=0.9) == []
    done = only(ringing.advance(now_s=1.0))
    assert gateway.receive(done) == [Played("p-1")]
    for packet in gateway.play(say(1.0, play_id="p-2")):
        ringing.receive(packet.message, now_s=2.0)
    assert ringing.receive(only(gateway.send(StopPlaying())), now_s=2.1) == [Silenced()]
    assert ringing.advance(now_s=9.0) == []
    assert isinstance(only(ringing.receive(only(gateway.send(Close())), now_s=9.0)), Ended)


def test_asterisks_queue_asks_to_wait_and_throws_away_what_comes_all_the_same() -> None:
    ringing = client("asterisk", codec="slin")
    ringing.begin()
    ringing.receive('{"command":"START_MEDIA_BUFFERING"}', now_s=0.0)
    said = []
    for _ in range(22):
        said += ringing.receive(bytes(16_000), now_s=0.0)  # a second each
    asked = [each for each in said if isinstance(each, Answer)]
    assert json.loads(only(only(asked).messages))["event"] == "MEDIA_XOFF"
    lost = [each for each in said if isinstance(each, Trouble)]
    assert len(lost) == 2
    assert json.loads(only(ringing.advance(now_s=5.0)))["event"] == "MEDIA_XON"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ('{"command":"DANCE"}', "unknown command 'DANCE'"),
        ('{"command":"MARK_MEDIA","correlation_id":"' + "x" * 90 + '"}', "more than 128 bytes"),
        (bytes(66_000), "Asterisk reads 65500"),
        (bytes(100), "100 bytes of media outside of buffering"),
    ],
)
def test_what_asterisk_would_pass_over_is_trouble(message: str | bytes, what: str) -> None:
    said = client("asterisk").receive(message, now_s=0.0)
    assert isinstance(said[0], Trouble)
    assert what in said[0].reason


def test_aeap_asks_what_to_do_after_each_result() -> None:
    ringing = AeapClient(call_id="17.3", caller="02012345")
    setup = json.loads(only(ringing.begin()))
    answer = {"response": "setup", "id": setup["id"], "codecs": [{"name": "ulaw"}]}
    sets, ready = ringing.receive(json.dumps(answer), now_s=0.0)
    assert isinstance(ready, Ready)
    assert isinstance(sets, Answer)
    assert [json.loads(m)["params"] for m in sets.messages] == [
        {"call_id": "17.3"},
        {"caller": "02012345"},
    ]
    results = [{"text": "a", "score": 1}, {"text": "best", "score": 91, "grammar": "general"}]
    request = {"request": "set", "id": "kapok-1", "params": {"results": results}}
    confirm, text, asked = ringing.receive(json.dumps(request), now_s=1.0)
    assert confirm == Answer(('{"response": "set", "id": "kapok-1"}',))
    assert isinstance(text, Text)
    assert (text.text, text.added["grammar"]) == ("best", "general")
    assert isinstance(asked, Answer)
    told: list[Any] = []
    for question in map(json.loads, asked.messages):
        name = only(question["params"])
        value = {"action": "queue", "queue": "general"}.get(name, "")
        reply = {"response": "get", "id": question["id"], "params": {name: value}}
        told += ringing.receive(json.dumps(reply), now_s=1.0)
    decision = only(told)
    assert isinstance(decision, Told)
    assert decision.decision["queue"] == "general"


def test_freeswitch_reports_prompts_and_those_that_were_broken_off() -> None:
    ringing = client("freeswitch")
    play = {"audioContentType": "raw", "sampleRate": 8000, "audioContent": "AAAA" * 400}
    message = {"type": "playAudio", "data": {**play, "id": "p-1"}}
    assert ringing.receive(json.dumps(message), now_s=0.0) == [Sound(bytes(1200), 8000)]
    assert json.loads(only(ringing.advance(now_s=1.0))) == {
        "type": "playDone",
        "data": {"id": "p-1"},
    }
    ringing.receive(json.dumps(message), now_s=2.0)
    done, silenced = ringing.receive('{"type":"killAudio"}', now_s=2.0)
    assert isinstance(done, Answer)
    assert silenced == Silenced()
    wrong = {"type": "playAudio", "data": {**play, "audioContentType": "mp3"}}
    assert isinstance(only(ringing.receive(json.dumps(wrong), now_s=3.0)), Trouble)


# --- ringing a server -----------------------------------------------------------------------

#: (gateway, parameters, keys): every way, some in another codec or form, some with a key alone.
RINGS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("audiosocket", {}, ""),
    ("audiosocket", {"rate": "16000"}, ""),
    ("asterisk", {}, ""),
    ("asterisk", {"codec": "alaw", "format": "plain-text"}, ""),
    ("asterisk", {"codec": "slin16"}, ""),
    ("aeap", {}, ""),
    ("freeswitch", {}, ""),
    ("freeswitch", {"rate": "16000"}, ""),
    ("jambonz", {}, ""),
    *((name, {}, "0") for name in NAMES),
)


async def ring_all(installation: Installation) -> list[tuple[CallResult, CallRecord | None]]:
    settings = installation.settings()
    limits = settings.server.model_copy(update={"max_calls": len(RINGS), "shed_lag_s": 60.0})
    gateways = settings.gateways.model_copy(update={"audiosocket_port": 0})
    settings = settings.model_copy(update={"server": limits, "gateways": gateways})
    pcm = speak(Language.CANTONESE, "我想查吓", "社保")
    async with KapokServer(installation.services(), settings) as server:

        async def one(name: str, parameters: dict[str, str], key: str) -> CallResult:
            call_id = str(uuid.uuid4())
            ringing = client_class(name)(
                call_id=call_id, caller="02012345", parameters=dict(parameters)
            )
            url = server.audiosocket_url if ringing.transport == "tcp" else server.url
            clip = Clip(Path("call"), bytes(16_000) if key else pcm, Encoding.S16LE, RATE_HZ)
            keys = [(0.2, key)] if key else []
            return await ring(ringing, url or "", clip, pace=Pace.FAST, keys=keys, patience_s=10)

        results = await asyncio.gather(*(one(*each) for each in RINGS))
        return [(result, server.registry.call(result.call_id)) for result in results]


@pytest.fixture(scope="module")
def rung(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[CallResult, CallRecord | None]]:
    return asyncio.run(ring_all(write_installation(tmp_path_factory.mktemp("kapok"))))


@pytest.mark.parametrize(
    "number", range(len(RINGS)), ids=["-".join((n, *p.values(), k)) for n, p, k in RINGS]
)
def test_a_call_is_decided(number: int, rung: list[tuple[CallResult, CallRecord | None]]) -> None:
    name, _, key = RINGS[number]
    result, record = rung[number]
    assert record is not None
    assert record.decision is not None
    assert record.gateway == name
    if key:
        assert record.decision.action == "person"
    else:
        assert (record.decision.action, record.decision.queue) == ("queue", "social_security")
    assert record.decision.language == (None if key else "yue")
    assert record.caller == (None if name == "audiosocket" else "02012345")
    assert not [each.said for each in result.heard if isinstance(each.said, Trouble)]
    if name in ("aeap", "freeswitch"):  # the others have it out of band
        assert result.decision is not None
        assert result.decision["action"] == record.decision.action
    assert bool(result.prompts) == (name != "aeap")  # Asterisk plays them itself
