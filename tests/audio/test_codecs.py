from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.audio.codecs import Decoder, Encoding, encode
from ivr.errors import AudioError

RAMP = np.arange(-32000, 32000, 7, dtype="<i2").tobytes()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("PCMU", Encoding.MULAW),
        ("audio/x-mulaw", Encoding.MULAW),
        ("ulaw", Encoding.MULAW),
        ("PCMA", Encoding.ALAW),
        ("audio/l16;rate=16000", Encoding.S16LE),
        ("s16le", Encoding.S16LE),
    ],
)
def test_names_as_gateways_write_them(name: str, encoding: Encoding) -> None:
    assert Encoding.parse(name) is encoding


def test_an_unknown_encoding_is_named_with_those_known() -> None:
    with pytest.raises(AudioError, match=r"unknown audio encoding 'opus'.*mulaw"):
        Encoding.parse("opus")


def test_g711_values_of_the_standard() -> None:
    # ITU-T G.711: 0xff and 0x7f are the two zeros of mu-law, 0x80 and 0x00 its extremes;
    # A-law's smallest steps are 0xd5 and 0x55.
    mu = np.frombuffer(Decoder(Encoding.MULAW).decode(b"\xff\x7f\x80\x00"), "<i2")
    assert mu.tolist() == [0, 0, 32124, -32124]
    a = np.frombuffer(Decoder(Encoding.ALAW).decode(b"\xd5\x55"), "<i2")
    assert a.tolist() == [8, -8]


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_companding_keeps_the_signal_within_its_own_step(encoding: Encoding) -> None:
    back = np.frombuffer(Decoder(encoding).decode(encode(RAMP, encoding)), "<i2").astype(int)
    ramp = np.frombuffer(RAMP, "<i2").astype(int)
    assert np.all(np.abs(back - ramp) <= np.maximum(16, np.abs(ramp) * 0.05))


def test_the_odd_byte_of_a_frame_is_carried_to_the_next() -> None:
    decoder = Decoder(Encoding.S16LE)
    assert decoder.decode(b"\x01") == b""
    assert decoder.pending == 1
    assert decoder.decode(b"\x02\x03\x04\x05") == b"\x01\x02\x03\x04"
    decoder.reset()
    assert decoder.decode(b"\x06\x07") == b"\x06\x07"


def test_odd_pcm_cannot_be_encoded() -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        encode(b"abc", Encoding.MULAW)


@given(frames=st.lists(st.binary(max_size=50), max_size=20), encoding=st.sampled_from(Encoding))
def test_framing_never_changes_what_is_decoded(frames: list[bytes], encoding: Encoding) -> None:
    whole = b"".join(frames)
    decoder, at_once = Decoder(encoding), Decoder(encoding)
    assert b"".join(map(decoder.decode, frames)) == at_once.decode(whole)
    assert decoder.pending == at_once.pending < encoding.bytes_per_sample


@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 2 * 2]))
def test_encoding_twice_is_encoding_once(pcm: bytes) -> None:
    for encoding in Encoding:
        decoded = Decoder(encoding).decode(encode(pcm, encoding))
        assert Decoder(encoding).decode(encode(decoded, encoding)) == decoded
