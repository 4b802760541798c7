"""AudioSocket's frames, cut anywhere, and what the gateway makes of them."""

from __future__ import annotations

import uuid
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ProtocolError
from ivr.gateways.audiosocket import (
    AUDIO_KINDS,
    RATES_HZ,
    AudioSocketGateway,
    Frame,
    FrameParser,
    Kind,
    Malformed,
    frame,
)
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    HungUp,
    Refused,
    Started,
    StopPlaying,
    StreamChanged,
    StreamConfig,
)
from tests.gateways.contract import hear, obeys, only, say

CALL = uuid.UUID("4a6e2b0c-0f1d-4b9a-9c3e-0123456789ab")
HELLO = frame(Kind.UUID, CALL.bytes)


def started() -> AudioSocketGateway:
    gateway = AudioSocketGateway()
    gateway.receive(HELLO)
    return gateway


def tone(rate_hz: int) -> bytes:
    """A second of 440 Hz."""
    t = np.arange(rate_hz) / rate_hz
    pcm: bytes = (8000 * np.sin(2 * np.pi * 440 * t)).astype("<i2").tobytes()
    return pcm


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(ends)]


def refusal(data: bytes, gateway: AudioSocketGateway | None = None) -> Refused:
    item = only((gateway or started()).receive(data))
    assert isinstance(item, Refused), item
    return item


# --- frames ---------------------------------------------------------------------------------

FRAMES = st.one_of(
    st.builds(Frame, st.sampled_from(sorted(RATES_HZ)), st.binary(max_size=700)),
    st.builds(Frame, st.just(int(Kind.UUID)), st.binary(min_size=16, max_size=16)),
    st.builds(Frame, st.just(int(Kind.DTMF)), st.binary(min_size=1, max_size=1)),
    st.just(Frame(Kind.HANG_UP, b"")),
)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 3000), max_size=12))
@settings(max_examples=60)
def test_frames_come_out_whole_however_they_were_cut(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(frame(each.kind, each.payload) for each in sent)
    parser = FrameParser()
    got = [each for piece in pieces(data, cuts) for each in parser.feed(piece)]
    assert got == sent
    assert parser.held == 0


@given(st.lists(st.binary(max_size=200), max_size=12))
@settings(max_examples=60)
def test_any_bytes_end_in_frames_or_are_skipped(data: list[bytes]) -> None:
    parser = FrameParser()
    for piece in data:
        for each in parser.feed(piece):
            assert isinstance(each, Frame | Malformed)
        assert parser.held < 3 + 65_535


def test_a_frame_that_is_too_large_is_skipped_without_being_kept() -> None:
    parser = FrameParser()
    huge = bytes([Kind.DTMF]) + (60_000).to_bytes(2, "big") + bytes(60_000)
    got = []
    for piece in pieces(huge + frame(Kind.DTMF, b"5"), list(range(0, 70_000, 1000))):
        got += parser.feed(piece)
        assert parser.held < 1000
    assert [type(each) for each in got] == [Malformed, Frame]
    assert got[1] == Frame(Kind.DTMF, b"5")


def test_a_frame_holds_at_most_65535_bytes() -> None:
    assert len(frame(0x18, bytes(0xFFFF))) == 3 + 0xFFFF
    with pytest.raises(ProtocolError, match="65535"):
        frame(0x18, bytes(0x10000))


# --- in -------------------------------------------------------------------------------------


def test_the_uuid_names_the_call() -> None:
    item = only(AudioSocketGateway().receive(HELLO))
    assert item == Started(stream=StreamConfig(rate_hz=8000), call_id=str(CALL))


def test_audio_digits_and_the_hang_up() -> None:
    gateway = started()
    data = frame(0x10, b"\1\2" * 160) + frame(Kind.DTMF, b"#") + frame(Kind.HANG_UP)
    assert gateway.receive(data) == [Audio(b"\1\2" * 160), Digit("#"), HungUp()]
    assert gateway.receive(frame(0x10, bytes(320))) != [HungUp()]


def test_nothing_counts_after_the_hang_up_of_one_piece() -> None:
    assert started().receive(frame(Kind.HANG_UP) + frame(0x10, bytes(320))) == [HungUp()]


@pytest.mark.parametrize("kind", sorted(RATES_HZ))
def test_the_first_audio_says_its_rate(kind: int) -> None:
    size = round(RATES_HZ[kind] * 0.02) * 2
    gateway = started()
    got = gateway.receive(frame(kind, bytes(size)))
    changed = StreamChanged(StreamConfig(rate_hz=RATES_HZ[kind]))
    assert got == [*([changed] if kind != 0x10 else []), Audio(bytes(size))]
    assert gateway.receive(frame(kind, bytes(size))) == [Audio(bytes(size))]


def test_a_rate_that_changes_in_the_call_is_brought_to_the_first() -> None:
    gateway = started()
    gateway.receive(frame(0x10, bytes(320)))
    sent = tone(16_000)
    heard = b"".join(
        hear(gateway.receive(frame(0x12, sent[i : i + 640]))) for i in range(0, len(sent), 640)
    )
    samples = np.frombuffer(heard, "<i2")
    assert 0.9 * 8000 < len(samples) <= 8000
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * 8000 / len(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (HELLO, "a second UUID"),
        (frame(Kind.DTMF, b"x"), "DTMF frame: 'x' is not one of 0-9"),
        (frame(Kind.DTMF, b"12"), "DTMF frame of 2 bytes instead of 1"),
        (frame(Kind.UUID, b"12"), "UUID frame of 2 bytes instead of 16"),
        (frame(0x10, bytes(20_000)), "audio frame of 20000 bytes; send at most a second, 16000"),
        (frame(0x42, b"what"), "unknown kind 0x42, 4 bytes; it is skipped"),
        (frame(Kind.ERROR, b"\2"), "error 2: forwarding a frame failed"),
        (frame(Kind.ERROR, b"\x77"), "error 119: not documented"),
    ],
)
def test_what_is_not_allowed_is_refused_and_the_call_goes_on(data: bytes, what: str) -> None:
    gateway = started()
    refused = refusal(data, gateway)
    assert what in refused.reason
    assert not refused.closes
    assert gateway.receive(frame(0x10, bytes(320))) == [Audio(bytes(320))]


def test_text_is_refused() -> None:
    item = only(started().receive("hello"))
    assert isinstance(item, Refused)
    assert "no text" in item.reason


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", frame(0x10, bytes(320)), b"\x16\3\1" + bytes(800)]
)
def test_what_is_no_audiosocket_is_closed(data: bytes) -> None:
    refused = refusal(data, AudioSocketGateway())
    assert refused.closes
    assert "UUID" in refused.reason


def test_the_error_that_the_caller_has_gone_is_a_hang_up() -> None:
    assert started().receive(frame(Kind.ERROR, b"\1")) == [HungUp()]


WIRE = st.one_of(
    st.just(HELLO),
    FRAMES.map(lambda each: frame(each.kind, each.payload)),
    st.binary(max_size=30),
)


@given(st.lists(WIRE, max_size=10), st.lists(st.integers(0, 3000), max_size=10))
@settings(max_examples=80)
def test_random_cut_and_reordered_frames(parts: list[bytes], cuts: list[int]) -> None:
    obeys(AudioSocketGateway(), pieces(b"".join(parts), cuts))


# --- out ------------------------------------------------------------------------------------


def test_a_prompt_is_20_ms_frames_each_in_one_piece() -> None:
    packets = list(started().play(say(0.05)))
    assert [packet.audio_s for packet in packets] == [0.02] * 3
    sent = [only(list(FrameParser().feed(packet.message))) for packet in packets]
    assert {(each.kind, len(each.payload)) for each in sent} == {(0x10, 320)}
    pcm = b"".join(each.payload for each in sent)
    assert pcm == say(0.05).pcm + bytes(160)  # the last frame is filled up


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 192_000])
def test_a_prompt_is_sent_as_the_audio_comes(rate_hz: int) -> None:
    gateway = started()
    gateway.receive(frame(AUDIO_KINDS[rate_hz], bytes(gateway.frame_bytes)))
    assert gateway.frame_bytes == round(rate_hz * 0.02) * 2
    packets = list(gateway.play(say(0.1)))
    assert len(packets) == 5
    assert {packet.message[0] for packet in packets} == {AUDIO_KINDS[rate_hz]}


def test_the_end_of_the_call_is_a_hang_up_frame() -> None:
    gateway = started()
    assert gateway.send(Close()) == [b"\0\0\0"]
    assert gateway.send(StopPlaying()) == []
    assert gateway.plays_prompts
    assert gateway.paced
    assert gateway.lead_s == 0.0
