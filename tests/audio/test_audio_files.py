from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ivr.audio.files import _completed, _is_audio, _riff_chunks, read_audio, wav_header
from ivr.errors import AudioError

WAVE = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.int16)


def wav(rate_hz: int = 8000, data: bytes = WAVE.tobytes(), *, claimed: int | None = None) -> bytes:
    size = len(data) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * 2 & 0xFFFFFFFF, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", size) + data)
    )


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_linear_wav_is_read_sample_for_sample(tmp_path: Path) -> None:
    audio = read_audio(write(tmp_path / "a.wav", wav()))
    assert audio.pcm == WAVE.tobytes()
    assert (audio.rate_hz, audio.source_rate_hz, audio.source_channels) == (8000, 8000, 1)
    assert audio.duration_s == 1.0


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "ULAW", 300),
        ("a.wav", "ALAW", 300),
        ("a.wav", "PCM_24", 1),
        ("a.wav", "FLOAT", 1),
        ("a.flac", "PCM_16", 0),
        ("a.ogg", "VORBIS", 800),
    ],
)
def test_every_common_format(tmp_path: Path, name: str, subtype: str, tolerance: int) -> None:
    soundfile.write(tmp_path / name, WAVE / 32768, 8000, subtype=subtype)
    pcm = np.frombuffer(read_audio(tmp_path / name).pcm, "<i2").astype(int)
    assert len(pcm) == 8000
    assert np.abs(pcm - WAVE)[400:-400].max() <= tolerance


def test_stereo_is_mixed_and_resampled(tmp_path: Path) -> None:
    left = np.repeat(WAVE, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), 16000)
    audio = read_audio(tmp_path / "a.wav", rate_hz=8000)
    assert audio.source_channels == 2
    assert audio.duration_s == pytest.approx(1.0, abs=0.01)
    assert np.abs(np.frombuffer(audio.pcm, "<i2")).max() <= 1


def test_not_a_number_becomes_silence(tmp_path: Path) -> None:
    samples = np.array([0.5, np.nan, np.inf, -np.inf], dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    assert np.frombuffer(read_audio(tmp_path / "a.wav").pcm, "<i2").tolist() == [
        16384, 0, 32767, -32768,
    ]  # fmt: skip


def test_a_file_cut_off_in_the_middle_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.wav", wav()[: 44 + 9001])
    assert read_audio(path).pcm == WAVE.tobytes()[:9000]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (wav()[: 44 + 9001], "cut.wav: the file ends 0.4 s before its header says"),
        (wav(), None),
        (wav(claimed=16_044), None),  # writers count their header too
        (wav(claimed=0xFFFF_FFFF - 36), None),  # into a pipe: not known
    ],
)
def test_a_file_cut_off_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, told: str | None
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_audio(write(tmp_path / "cut.wav", data)).pcm
    assert len(caplog.messages) == (told is not None)
    assert told is None or told in caplog.text


@pytest.mark.parametrize("data", [wav(claimed=0), wav()[:4] + bytes(4) + wav(claimed=0)[8:]])
def test_a_header_that_was_never_completed_is_told_and_all_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_audio(write(tmp_path / "a.wav", data)).pcm == WAVE.tobytes()
    (message,) = caplog.messages
    assert message.endswith("the header was never completed, as where a recorder breaks off; all "
                            "that follows it is heard")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_walked_through(content: bytes) -> None:
    whole = b"RIFF\0\0\0\0WAVE" + content
    for name, start, size in _riff_chunks(io.BytesIO(whole)):
        assert len(name) == 4
        assert 12 < start <= len(whole)
        assert len(whole[start : start + size]) <= len(content)
    header = wav_header(io.BytesIO(whole))
    assert header is None or 0 <= header.there <= len(content)
    if header is not None and _is_audio(io.BytesIO(whole), header):
        assert wav_header(_completed(io.BytesIO(whole), header)).said == header.there


def test_the_wanted_rate_is_checked(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="wanted sample rate is 3 Hz"):
        read_audio(write(tmp_path / "a.wav", wav()), rate_hz=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty \\(0 bytes\\).*give a WAV"),
        ("我想查吓社保\n".encode(), "this is text, not audio"),
        (b"file,language\na.wav,cmn\n", "this is text, not audio"),
        (wav(data=b""), "no audio follows"),
        (wav()[:44], "no audio follows"),
        (wav(data=b"") + b"LIST\x04\0\0\0INFO", "no audio follows"),
        (wav()[:30], "broken WAV file"),
        (wav(rate_hz=7), "7 Hz: it must be between"),
        (wav(rate_hz=3_000_000_000), "Hz|broken WAV"),
        (b"\x00\x01\x02\x03" * 100, "not an audio file"),
        (b"fLaC" + bytes(200), "broken FLAC file"),
        (b"OggS" + bytes(200), "broken Ogg file"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path / "bad.wav", data)
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="No such file"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="directory"):
        read_audio(tmp_path)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    head=st.sampled_from([b"", wav()[:44], wav()[:20], b"fLaC", b"OggS", b"RIFF", b"\xff\xfb\x90"]),
    tail=st.binary(max_size=300),
)
@example(head=wav()[:44], tail=b"\x00")
def test_random_bytes_are_audio_or_an_audio_error(tmp_path: Path, head: bytes, tail: bytes) -> None:
    path = write(tmp_path / "random.wav", head + tail)
    try:
        pcm = read_audio(path).pcm
    except AudioError as error:
        message = str(error)
    else:
        message = str(path) if pcm and len(pcm) % 2 == 0 else "no whole samples"
    assert str(path) in message
