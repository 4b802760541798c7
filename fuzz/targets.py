"""The parsers. A target takes any bytes; whatever it raises is a fault of ours.

What a parser says of bad input is an :class:`~ivr.errors.IvrError` and is taken as an answer.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from fuzz.kept import KEPT
from fuzz.target import (
    BREAK,
    NOON,
    ROOT,
    Target,
    answers,
    catalogue,
    file,
    files,
    folder,
    text,
)
from ivr.audio import files as audio_files
from ivr.audio.codecs import Decoder, Encoding
from ivr.audio.resample import Resampler
from ivr.call import event_log
from ivr.call.caller_list import CallerList
from ivr.errors import AccessError, IvrError, ProtocolError
from ivr.gateways import GATEWAYS, choose, gateway_class
from ivr.gateways.clients import CLIENTS, client_class
from ivr.gateways.gateway import Gateway, Inbound, Refused, Upgrade
from ivr.gateways.genesys import verify
from ivr.intent.normalise import to_simplified
from ivr.intent.slots import find, mask
from ivr.queues.catalogue import parse_catalogue
from ivr.queues.hours import parse_hours
from ivr.queues.navigation import parse_navigation
from ivr.queues.phrases import parse_phrases
from ivr.queues.records import read_records
from ivr.queues.scenario import CallColumns, read_scenario
from ivr.replay.labels import load_labels
from ivr.server import access, http_api, webhook
from ivr.server.logs import redacted
from ivr.settings import AccessSettings, load_settings
from ivr.store.operations import load
from ivr.yamlsource import parse_yaml, validate

__all__ = ["TARGETS", "Target"]


# --- gateways -------------------------------------------------------------------------------


def _messages(data: bytes) -> Iterator[str | bytes]:
    """Text where it is UTF-8 and begins like JSON or a word; the first byte can say otherwise."""
    for part in data.split(BREAK):
        if part[:1] == b"\x00":
            yield part[1:]
            continue
        try:
            yield part.decode("utf-8")
        except UnicodeDecodeError:
            yield part


def _gateway(name: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        gateway: Gateway = gateway_class(name)()
        for message in _messages(data):
            for inbound in gateway.receive(message):
                assert isinstance(inbound, Inbound), inbound
                if isinstance(inbound, Refused):
                    assert inbound.reason
                    for reply in gateway.send(inbound):
                        assert isinstance(reply, str | bytes)
        assert gateway.frame_bytes >= 0

    return run


def _client(name: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        client = client_class(name)(call_id="9f8e7d6c-0000-4000-8000-0123456789ab")
        client.begin()
        for number, message in enumerate(_messages(data)):
            try:
                client.receive(message, now_s=0.02 * number)
            except ProtocolError as error:
                assert str(error)

    return run


def _json(*messages: Mapping[str, Any]) -> bytes:
    return BREAK.join(json.dumps(message).encode() for message in messages)


_START: Final = {
    "accountSid": "AC1",
    "streamSid": "MZ1",
    "callSid": "CA1",
    "tracks": ["inbound"],
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    "customParameters": {"language": "yue", "caller": "13800138000"},
}
_ENVELOPE: Final = {"version": "2", "id": "a", "seq": 1, "serverseq": 0, "position": "PT0S"}
_MEDIA: Final = [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]

#: What each side really sends, by gateway.
_GATEWAY_SEEDS: Final[Mapping[str, list[bytes]]] = {
    "vosk": [
        _json({"config": {"sample_rate": 8000, "words": True, "max_alternatives": 3}}, {"eof": 1}),
        _json({"config": {"encoding": "mulaw", "language": "yue", "call_id": "x", "caller": "1"}}),
        BREAK.join([b"\x00" + bytes(320), b'{"dtmf": "5"}', b'{"reset": 1}', b'{"partial": "x"}']),
        _json({"text": "a", "result": [{"conf": 1, "start": 0, "end": 1, "word": "a"}]}),
    ],
    "twilio": [
        _json(
            {"event": "connected", "protocol": "Call", "version": "1.0.0"},
            {"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": _START},
            {
                "event": "media",
                "sequenceNumber": "4",
                "streamSid": "MZ1",
                "media": {
                    "track": "inbound",
                    "chunk": "2",
                    "timestamp": "5",
                    "payload": "f39/fw==",
                },
            },
            {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "1"}},
            {"event": "mark", "streamSid": "MZ1", "mark": {"name": "x"}},
            {"event": "stop", "streamSid": "MZ1", "stop": {"accountSid": "AC1", "callSid": "CA1"}},
        ),
        _json({"event": "clear", "streamSid": "MZ1"}),
    ],
    "vonage": [
        _json(
            {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "uuid": "u"},
            {"event": "websocket:dtmf", "digit": "5", "duration": 260},
            {"event": "websocket:cleared"},
        )
        + BREAK
        + b"\x00"
        + bytes(640),
        _json({"action": "clear"}),
    ],
    "genesys": [
        _json(
            {
                **_ENVELOPE,
                "type": "open",
                "parameters": {
                    "organizationId": "o",
                    "conversationId": "c",
                    "participant": {"id": "p", "ani": "+8613800138000", "dnis": "12345"},
                    "media": _MEDIA,
                    "language": "zh-CN",
                },
            },
            {**_ENVELOPE, "type": "ping", "seq": 2, "parameters": {"rtt": "PT0.1S"}},
            {**_ENVELOPE, "type": "dtmf", "seq": 3, "parameters": {"digit": "5"}},
            {**_ENVELOPE, "type": "playback_started", "seq": 4, "parameters": {}},
            {**_ENVELOPE, "type": "close", "seq": 5, "parameters": {"reason": "end"}},
        ),
        _json(
            {**_ENVELOPE, "type": "opened", "parameters": {"startPaused": False, "media": _MEDIA}}
        ),
    ],
    "audiosocket": [
        b"\x00\x01\x00\x10" + bytes(range(16)) + b"\x10\x01\x40" + bytes(320) + b"\x03\x00\x015",
        b"\x00\x10\x00\x00\x00\x00\x00\xff\x00\x01\x01",
    ],
    "asterisk": [
        _json(
            {
                "event": "MEDIA_START",
                "connection_id": "c",
                "channel": "x",
                "channel_id": "1",
                "format": "ulaw",
                "optimal_frame_size": 160,
                "ptime": 20,
                "channel_variables": {},
            },
            {"event": "DTMF_END", "digit": "5"},
            {"event": "MEDIA_XOFF"},
            {"event": "MEDIA_BUFFERING_COMPLETED", "correlation_id": "a"},
            {"event": "QUEUE_DRAINED"},
        ),
        BREAK.join(
            [
                b"MEDIA_START connection_id:c channel:x format:slin16 optimal_frame_size:640",
                b"\x00" + bytes(640),
                b"DTMF_END digit:1",
                b"MEDIA_MARK_PROCESSED correlation_id:a",
            ]
        ),
        _json({"command": "START_MEDIA_BUFFERING"}, {"command": "HANGUP"}),
    ],
    "aeap": [
        _json(
            {
                "request": "setup",
                "id": "1",
                "version": "0.1.0",
                "codecs": [{"name": "ulaw"}],
                "params": {"language": "yue"},
            },
            {"request": "get", "id": "2", "params": ["results"]},
            {"request": "set", "id": "3", "params": {"results": [{"text": "x", "score": 90}]}},
        ),
        _json({"response": "setup", "id": "1", "codecs": [{"name": "ulaw"}]}),
    ],
    "freeswitch": [
        _json({"callId": "c", "sampleRate": 8000}, {"event": "dtmf", "dtmf": "5", "duration": 20})
        + BREAK
        + b"\x00"
        + bytes(320),
        _json({"type": "playAudio", "data": {"audioContentType": "raw", "sampleRate": 8000}}),
    ],
    "jambonz": [
        _json(
            {"callSid": "c", "from": "1", "to": "2", "sampleRate": 8000, "mixType": "mono"},
            {"event": "dtmf", "dtmf": "5", "duration": 20},
            {"event": "playDone", "data": {"id": "1"}},
        ),
        _json({"type": "disconnect"}, {"type": "killAudio"}),
    ],
}


def _seeds_of(name: str) -> Callable[[], list[bytes]]:
    return lambda: list(_GATEWAY_SEEDS.get(name, [b"{}"]))


def _upgrade(data: bytes) -> None:
    """The request of a WebSocket: path, subprotocols, and what admits it."""
    head, _, rest = data.partition(BREAK)
    lines = [line.partition(":") for line in text(rest).split("\n")]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    path, token = access.without_token(text(head))
    kind, accepted = choose(path, headers.get("sec-websocket-protocol", "").split(","))
    assert accepted is None or accepted in kind.subprotocols
    assert "token" not in dict(parse_qsl(path.partition("?")[2], keep_blank_values=True))
    door = _door()
    try:
        door.check_origin(headers.get("origin"), headers.get("host"))
        door.identify(
            address="10.0.0.7",
            authorization=headers.get("authorization"),
            query=token,
            host=headers.get("host"),
        )
    except AccessError as error:
        assert error.status in (401, 403, 429)


@cache
def _door() -> access.Access:
    made = folder()
    _, token = access.new_token("x", access.Role.VIEW, now=NOON)
    access.TokenFile(made / "tokens.yaml").add(token)
    settings = AccessSettings(tokens=made / "tokens.yaml", failures_per_minute=10_000)
    clock = iter(range(1 << 62))
    return access.Access(
        settings, host="127.0.0.1", now=lambda: NOON, now_s=lambda: float(next(clock))
    )


def _signature(data: bytes) -> None:
    head, _, body = data.partition(BREAK)
    lines = [line.partition(":") for line in text(body).split("\n")]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    webhook_header = text(head)
    for check in (
        lambda: verify(Upgrade(target="/genesys", headers=headers), {"key": "c2VjcmV0"}),
        lambda: webhook.check("secret", webhook_header, body, now_s=NOON.timestamp()),
    ):
        try:
            check()
        except ProtocolError as error:
            assert str(error)


# --- files that people edit -----------------------------------------------------------------


def _settings(data: bytes) -> None:
    load_settings(file("kapok.yaml", data))


def _tokens(data: bytes) -> None:
    validate(access._Tokens, parse_yaml(text(data), name="tokens.yaml"))


def _scenario(data: bytes) -> None:
    source = parse_yaml(text(data), name="scenario.yaml")
    read_scenario(source, path=ROOT / "config" / "scenarios" / "x.yaml", catalogue=catalogue())


def _records(data: bytes) -> None:
    columns = CallColumns(
        arrived="begin", queue="queue", answered="answered", ended="end", abandoned="gave_up"
    )
    read_records(file("calls.csv", data), columns, catalogue())


def _hours(data: bytes) -> None:
    source = parse_yaml(text(data), name="hours")
    hours, faults = parse_hours(source.data)
    assert hours is not None or faults
    if hours is not None:
        hours.is_open(NOON)
        hours.next_opening(NOON)
        again, _ = parse_hours(str(hours))
        assert str(hours) == "24x7" or again is None or str(again) == str(hours)


# --- the rest -------------------------------------------------------------------------------


def _audio(data: bytes) -> None:
    audio_files._decode(io.BytesIO(data), Path("x.wav"), 8000)


def _codec(data: bytes) -> None:
    encoding = list(Encoding)[data[0] % len(Encoding)] if data else Encoding.S16LE
    decoder, resampler = Decoder(encoding), Resampler(from_hz=8000, to_hz=16_000)
    for part in data.split(BREAK):
        pcm = resampler.resample(decoder.decode(part))
        assert len(pcm) % 2 == 0
    assert len(resampler.flush()) % 2 == 0


def _slots(data: bytes) -> None:
    said = text(data)
    for slot in find(said, today=date(2026, 11, 25)):
        assert 0 <= slot.start < slot.end <= len(said)
    assert mask(mask(said)) == mask(said)
    assert redacted(redacted(said)) == redacted(said)
    to_simplified(said)


def _http_body(data: bytes) -> None:
    assert isinstance(http_api._object(data), dict)


def _spooled(data: bytes) -> None:
    try:
        load(text(data))
    except ValueError as error:
        assert "not an operation" in str(error)


def _logged(data: bytes) -> None:
    for line in text(data).splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            for read in (event_log.read_opened, lambda r: event_log.read_input(r, zone=None)):
                try:
                    read(record)
                except IvrError as error:
                    assert str(error)


_QUEUES: Final = """default_queue: general
person: {key: "0", phrases: {cmn: [人工], yue: [人工]}}
emergencies:
  - {number: "119", name: {cmn: 火警, yue: 火警, en: Fire}, phrases: {cmn: [着火了], yue: [火烛]}}
queues:
  - id: general
    name: {cmn: 综合, yue: 综合, en: General}
    agents: 4
    hours: {mon-fri: "08:30-18:00"}
    phrases: {cmn: [学校报名, 看病挂号, 结婚登记], yue: [小朋友入学, 睇医生, 注册结婚]}
"""


def _all() -> Iterator[Target]:
    for name in GATEWAYS:
        yield Target(f"gateway-{name}", _gateway(name), _seeds_of(name), share=2.0)
    for name in CLIENTS:
        yield Target(f"client-{name}", _client(name), _seeds_of(name), share=0.5)
    yield Target(
        "upgrade",
        _upgrade,
        lambda: [
            b"/twilio?token=kapok_12345678_x&a=1" + BREAK + b"Host: 127.0.0.1:2700\nOrigin: null",
            b"/" + BREAK + b"Authorization: Bearer kapok_12345678_" + b"A" * 43,
            b"//[" + BREAK + b"Sec-WebSocket-Protocol: ws,media\nHost: [::1]",
        ],
    )
    yield Target(
        "signature",
        _signature,
        lambda: [
            b"t=1795608000,v1=" + b"0" * 64 + BREAK + b"X-API-KEY: key\nSignature: sig1=:AA==:\n"
            b'Signature-Input: sig1=("@request-target");keyid="key";created=1795608000;alg="x"'
        ],
        share=0.3,
    )
    yield Target(
        "yaml",
        answers(lambda data: parse_yaml(text(data), name="x")),
        lambda: [_QUEUES.encode(), *files("config/*.yaml")()],
        share=0.7,
    )
    yield Target(
        "queues",
        answers(lambda data: parse_catalogue(text(data))),
        lambda: [_QUEUES.encode()],
        share=0.5,
    )
    yield Target("settings", answers(_settings), files("config/kapok.yaml"), share=0.4)
    yield Target(
        "tokens",
        answers(_tokens),
        lambda: [b'tokens:\n- {id: "1f2e3d4c", name: x, role: view, sha256: "' + b"0" * 64 + b'"}'],
        share=0.4,
    )
    yield Target("scenario", answers(_scenario), files("config/scenarios/*.yaml"), share=0.2)
    yield Target(
        "navigation",
        answers(lambda data: parse_navigation(text(data))),
        files("config/scenarios/*navigation*.yaml", "config/*navigation*.yaml"),
        share=0.2,
    )
    yield Target(
        "phrases",
        answers(lambda data: parse_phrases(text(data), "phrases.txt")),
        lambda: [data[:1_500] for data in files("config/phrases/*.txt")()],
        share=0.7,
    )
    yield Target(
        "callers",
        answers(lambda data: CallerList.load(file("callers.txt", data))),
        lambda: [b"13800138000  # x\n020-8123 4567\n"],
        share=0.5,
    )
    yield Target(
        "records",
        answers(_records),
        lambda: [
            b"begin,queue,answered,end,gave_up\n"
            b"2026-11-25 08:00:00,general,2026-11-25 08:00:20,2026-11-25 08:04:00,\n"
            b"2026-11-25 08:01:00,general,,2026-11-25 08:03:00,1\n"
        ],
        share=0.4,
    )
    yield Target(
        "labels",
        answers(lambda data: load_labels(file("labels.csv", data))),
        lambda: [data[:2_000] for data in files("audio_fixtures/labels.csv")()],
        share=0.3,
    )
    yield Target(
        "hours",
        answers(_hours),
        lambda: [b"24x7", b'{mon-fri: "08:30-18:00", sat: "09:00-12:00, 13:00-24:00"}'],
        share=0.6,
    )
    yield Target(
        "wav",
        answers(_audio),
        lambda: [data[:4_000] for data in files("audio_fixtures/*_001.wav")()],
        share=0.4,
    )
    yield Target("codec", answers(_codec), lambda: [bytes(range(256)) + BREAK + b"\x01"], share=0.4)
    yield Target(
        "slots",
        _slots,
        lambda: [
            "我喺天河区石牌街, 电话一三八零零一三八零零零, 上个月5号, 三千五百块".encode(),
            "身份证 440106199001011234，12345678".encode(),
        ],
        share=0.3,
    )
    yield Target(
        "http-body", _http_body, lambda: [b'{"event": "arrived", "call_id": "c1"}'], share=0.7
    )
    yield Target(
        "spool",
        _spooled,
        lambda: [b'{"kind": "Event", "call": "c", "leg": "", "seq": 1, "at": 1.5, "record": "{}"}'],
        share=0.5,
    )
    yield Target(
        "event-log",
        _logged,
        lambda: [
            _json(
                {"v": 1, "call": "c", "seq": 1, "at_s": 0, "wall": NOON.isoformat(), "type": kind}
            )
            for kind in ("opened", "digit_pressed", "utterance_matched", "tick", "hung_up")
        ],
        share=0.4,
    )


TARGETS: Final[Mapping[str, Target]] = {target.name: target for target in (*_all(), *KEPT)}
