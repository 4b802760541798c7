"""The server over real sockets, with real Vosk behind it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from ivr.errors import ServerError
from ivr.language import Language
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.settings import Settings
from tests.server.installation import Installation, speak

CMN, YUE = Language.MANDARIN, Language.CANTONESE


def limited(installation: Installation, **limits: Any) -> Settings:
    settings = installation.settings()
    return settings.model_copy(update={"server": settings.server.model_copy(update=limits)})


@pytest.fixture
async def server(services: Services, installation: Installation) -> AsyncIterator[KapokServer]:
    async with KapokServer(services, installation.settings()) as running:
        yield running


async def vosk_client(url: str, pcm: bytes, *, rate_hz: int = 8000) -> list[dict[str, Any]]:
    """Written after vosk-server's own example client, ``websocket/test.py``: one reply a block."""
    replies = []
    async with connect(url) as websocket:
        await websocket.send(f'{{ "config" : {{ "sample_rate" : {rate_hz} }} }}')
        buffer_size = int(rate_hz * 0.2) * 2  # 0.2 seconds of audio
        for start in range(0, len(pcm), buffer_size):
            await websocket.send(pcm[start : start + buffer_size])
            replies.append(json.loads(await websocket.recv()))
        await websocket.send('{"eof" : 1}')
        replies.append(json.loads(await websocket.recv()))
    return replies


async def ask(websocket: ClientConnection, message: str | bytes) -> dict[str, Any]:
    await websocket.send(message)
    answer: dict[str, Any] = json.loads(await websocket.recv())
    return answer


async def serves(server: KapokServer) -> None:
    """A new call is answered as it should be."""
    replies = await vosk_client(server.url, speak(CMN, "我要查", "社保"))
    assert [r["queue"] for r in replies if r.get("text")] == ["social_security"]


# --- existing clients -----------------------------------------------------------------------


async def test_a_vosk_client_that_reads_text_and_partial(server: KapokServer) -> None:
    pcm = speak(YUE, "我想查吓", "社保") + speak(CMN, "我要查", "公积金")
    replies = await vosk_client(server.url, pcm)
    assert all(("partial" in r) != ("text" in r) for r in replies)
    assert [r["text"] for r in replies if r.get("text")] == ["我想查吓 社保", "我要查 公积金"]
    assert replies[-1]["text"] == ""
    assert next(r["partial"] for r in replies if r.get("partial")) == "我想查吓"


async def test_a_gateway_that_sends_no_config_and_never_eof(server: KapokServer) -> None:
    """As Asterisk's and FreeSWITCH's modules do: 3,200 bytes a block, and then gone."""
    texts = []
    async with connect(server.url, subprotocols=["ws"]) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == "ws"
        pcm = speak(CMN, "我要查", "社保")
        for start in range(0, len(pcm), 3200):
            await websocket.send(pcm[start : start + 3200])
            raw = await websocket.recv()
            assert isinstance(raw, str)
            if '""' not in raw:  # mod_vosk's own test
                reply = json.loads(raw)
                texts.append(reply["text"] if "text" in reply else reply["partial"])
    assert texts[-1] == "我要查 社保"
    await drained(server)


async def drained(server: KapokServer) -> None:
    async with asyncio.timeout(10):
        await server.wait_idle()
    assert server.calls == 0


@pytest.mark.parametrize("offered", [None, ["media"], ["media", "ws"]])
async def test_subprotocols_turn_nobody_away(
    server: KapokServer, offered: list[str] | None
) -> None:
    async with connect(server.url + "/any/path?x=1", subprotocols=offered) as websocket:  # type: ignore[arg-type]
        assert websocket.subprotocol == ("ws" if offered and "ws" in offered else None)
        assert await ask(websocket, bytes(320)) == {"partial": ""}


async def test_the_server_closes_after_eof(server: KapokServer) -> None:
    async with connect(server.url) as websocket:
        assert (await ask(websocket, '{"eof" : 1}'))["text"] == ""
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_everything_at_once_is_answered_one_by_one(server: KapokServer) -> None:
    """A client that does not wait for replies; more than the water marks hold."""
    pcm = speak(CMN, "我要查", "社保") + bytes(16_000 * 8)
    frames = [pcm[i : i + 1600] for i in range(0, len(pcm), 1600)]
    async with connect(server.url) as websocket:
        sending = asyncio.gather(*(websocket.send(frame) for frame in frames))
        replies = [json.loads(await websocket.recv()) for _ in frames]
        await sending
        await websocket.send('{"eof":1}')
        replies.append(json.loads(await websocket.recv()))
    assert [r["queue"] for r in replies if r.get("text")] == ["social_security"]


# --- many calls -----------------------------------------------------------------------------


async def test_calls_at_the_same_time_do_not_mix(server: KapokServer) -> None:
    said = [
        (CMN, ("我要查", "社保"), "我要查 社保"),
        (YUE, ("我想查吓", "公积金"), "我想查吓 公积金"),
        (CMN, ("天上有月亮",), "天上有月亮"),
    ]
    calls = (vosk_client(server.url, speak(lang, *words)) for lang, words, _ in said)
    heard = await asyncio.gather(*calls)
    for replies, (_, _, text) in zip(heard, said, strict=True):
        assert [r["text"] for r in replies if r.get("text")] == [text]


async def test_a_call_too_many_is_told_so(server: KapokServer) -> None:
    url = server.url
    async with connect(url), connect(url), connect(url), connect(url) as refused:
        with pytest.raises(ConnectionClosedError) as closed:
            await refused.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    assert closed.value.rcvd.reason == "all 3 lines are busy; try again later"
    await drained(server)
    await serves(server)


# --- bad input: one clear error, and the server keeps serving --------------------------------


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("hello", "audio is due as binary messages"),
        ('{"config": {"sample_rate": 999999}}', "sample_rate '999999' is outside"),
        ('{"config": {"encoding": "mp3"}}', "unknown audio encoding 'mp3'"),
        (bytes(65_537), "send at most 65536 bytes at a time"),
    ],
)
async def test_bad_messages(server: KapokServer, message: str | bytes, what: str) -> None:
    async with connect(server.url) as websocket:
        answer = await ask(websocket, message)
        assert set(answer) == {"error"}
        assert what in answer["error"]
        assert await ask(websocket, bytes(320)) == {"partial": ""}
    await serves(server)


async def test_a_broken_wav_streamed_as_it_is(server: KapokServer) -> None:
    """Header and all, and cut off in the middle of a sample: it is only noise to the server."""
    content = b"RIFF\xff\xff\xff\xffWAVEfmt garbage" + bytes(range(256)) * 5 + b"\x01"
    replies = await vosk_client(server.url, content)
    assert replies[-1]["decision"] == "ask_again"
    await serves(server)


async def test_an_empty_stream(server: KapokServer) -> None:
    (final,) = await vosk_client(server.url, b"")
    assert (final["text"], final["decision"], final["queue"]) == ("", "ask_again", None)
    await serves(server)


async def test_a_frame_too_large_for_the_transport_costs_that_call_alone(
    server: KapokServer,
) -> None:
    async with connect(server.url) as websocket:
        sending = asyncio.create_task(websocket.send(bytes(4 * 65_536 + 1)))
        with pytest.raises(ConnectionClosedError) as closed:
            await websocket.recv()
        await asyncio.gather(sending, return_exceptions=True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    await serves(server)


async def test_a_gateway_that_vanishes(server: KapokServer) -> None:
    websocket = await connect(server.url)
    await websocket.send(speak(CMN, "我要查", "社保"))
    websocket.transport.abort()
    await drained(server)
    await serves(server)


async def test_a_request_that_is_no_websocket(server: KapokServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"426" in await reader.readline()
    writer.close()
    await serves(server)


# --- time-outs, closing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"idle_timeout_s": 0.05}, "nothing came for 0.05 s"),
        ({"max_call_s": 0.05}, "the call is too long"),
    ],
)
async def test_time_outs(
    services: Services, installation: Installation, limits: dict[str, Any], reason: str
) -> None:
    async with KapokServer(services, limited(installation, **limits)) as server:
        async with connect(server.url) as websocket:
            with pytest.raises(ConnectionClosedError) as closed:
                await websocket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, reason)
        await drained(server)


async def test_waiting_for_an_answer_is_not_idle(
    services: Services, installation: Installation
) -> None:
    """A gateway that has sent all and waits, however long recognition takes."""
    settings = limited(installation, idle_timeout_s=0.005)
    async with KapokServer(services, settings) as server, connect(server.url) as websocket:
        pcm = speak(CMN, "我要查", "社保", after_s=0.0) + bytes(16_000 * 3)
        await websocket.send(pcm[:65_536])
        answer = json.loads(await websocket.recv())
    assert answer.get("text") or answer.get("partial")


async def test_closing_lets_a_call_finish(services: Services, installation: Installation) -> None:
    async with KapokServer(services, installation.settings()) as server:
        async with connect(server.url) as websocket:
            await ask(websocket, bytes(320))
            closing = asyncio.create_task(server.close(drain_s=20.0))
            await asyncio.sleep(0)
            for start in range(0, len(pcm := speak(CMN, "我要查", "社保")), 3200):
                answer = await ask(websocket, pcm[start : start + 3200])
                if answer.get("text"):
                    break
            assert answer["queue"] == "social_security"
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url)
            assert refused.value.response.status_code == 503
            assert refused.value.response.body == b"the server is shutting down; call another one\n"
        await closing


async def test_closing_at_once_says_so(services: Services, installation: Installation) -> None:
    async with KapokServer(services, installation.settings()) as server:
        websocket = await connect(server.url)
        await ask(websocket, bytes(320))
    assert json.loads(await websocket.recv())["decision"] == "person"  # not left alone
    with pytest.raises(ConnectionClosed) as closed:
        await websocket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1001,
        "the server is shutting down",
    )


async def test_an_address_in_use(
    server: KapokServer, services: Services, installation: Installation
) -> None:
    other = KapokServer(services, installation.settings(), port=server.port)
    with pytest.raises(ServerError, match=r"cannot listen on 127.0.0.1:\d+ .*--port"):
        await other.__aenter__()


async def test_each_line_of_the_log_has_the_call_and_no_transcript(
    services: Services, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    settings = installation.settings()
    with caplog.at_level(logging.INFO, logger="ivr"):
        async with KapokServer(services, settings, new_call_id=lambda: "first") as server:
            async with connect(server.url) as websocket:
                await websocket.send('{"config": {"call_id": "CA-77"}}')
                pcm = speak(CMN, "我要查", "社保")
                await ask(websocket, pcm)
                await ask(websocket, '{"eof":1}')
            await drained(server)
    of_calls = [r.getMessage() for r in caplog.records if "call " in r.getMessage()]
    assert of_calls[0].startswith("call first: connected")
    assert any(m.startswith("call CA-77: utterance") for m in of_calls)
    assert of_calls[-1] == "call CA-77: ended"
    assert "社保" not in caplog.text
