from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ivr.audio.codecs import Encoding, encode
from ivr.errors import AudioError
from ivr.language import Language
from ivr.replay.clips import Clip, find_audio, read_clip, speech_end_s
from tests.server.installation import speak, write_wav

PCM = speak(Language.MANDARIN, "我要查", "社保")


def samples() -> np.ndarray:
    return np.frombuffer(PCM, dtype="<i2")


def test_a_linear_wav_keeps_its_rate_and_samples(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", PCM, rate_hz=16_000)
    assert read_clip(path) == Clip(path, PCM, Encoding.S16LE, 16_000)


@pytest.mark.parametrize(
    ("subtype", "encoding"), [("ULAW", Encoding.MULAW), ("ALAW", Encoding.ALAW)]
)
def test_companded_wavs_keep_their_bytes(tmp_path: Path, subtype: str, encoding: Encoding) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, samples(), 8000, subtype=subtype)
    clip = read_clip(path)
    assert (clip.encoding, clip.rate_hz) == (encoding, 8000)
    assert clip.data in path.read_bytes()
    assert clip.duration_s == pytest.approx(len(PCM) / 16_000)


def test_stereo_mulaw_is_mixed_down(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([samples(), samples()], axis=1), 8000, subtype="ULAW")
    clip = read_clip(path)
    assert (clip.encoding, clip.duration_s) == (Encoding.S16LE, len(PCM) / 16_000)


def test_flac(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, samples(), 8000)
    assert read_clip(path).data == PCM


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "this is text, not audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00", "broken WAV file"),
        (b"\x00\xff" * 100, "not an audio file"),
    ],
)
def test_what_is_no_recording_is_one_clear_error(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=what):
        read_clip(path)


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
def test_a_recording_cut_off_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, samples(), 8000, subtype=subtype)
    whole_s = read_clip(path).duration_s
    assert not caplog.messages
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert read_clip(path).duration_s == pytest.approx(whole_s / 2, abs=0.05)
    assert len(caplog.messages) == 1
    assert "before its header says" in caplog.text


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
def test_a_header_that_was_never_completed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, samples(), 8000, subtype=subtype)
    content = bytearray(path.read_bytes())
    size = content.index(b"data") + 4
    content[4:8] = content[size : size + 4] = bytes(4)
    whole_s = read_clip(path).duration_s
    path.write_bytes(content)
    assert read_clip(path).duration_s == pytest.approx(whole_s, abs=0.01)
    assert "the header was never completed" in caplog.text


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"cannot be read .*check the path"):
        read_clip(tmp_path / "none.wav")


@given(st.integers(0, 5000), st.sampled_from(Encoding), st.sampled_from([0.02, 0.1, 0.37]))
def test_frames_are_the_whole_recording(count: int, encoding: Encoding, frame_s: float) -> None:
    data = encode(bytes(2 * count), encoding)
    clip = Clip(Path("a.wav"), data, encoding, 8000)
    frames = list(clip.frames(frame_s))
    assert b"".join(frames) == data
    size = round(frame_s * 8000) * encoding.bytes_per_sample
    assert all(len(frame) == size for frame in frames[:-1])
    assert len(clip.silence(frame_s)) == size


def test_folders_are_searched_and_files_taken_as_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.wav", "a.WAV", "notes.txt", "in/c.flac"):
        (tmp_path / name).touch()
    named = tmp_path / "notes.txt"
    found = find_audio([tmp_path, named, tmp_path / "b.wav"])
    assert [p.name for p in found] == ["a.WAV", "b.wav", "c.flac", "notes.txt"]


def noisy(level: float) -> bytes:
    noise = np.random.default_rng(7).normal(0.0, level, len(samples()))
    return (samples() + noise).clip(-32768, 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("level", [0.0, 30.0, 600.0])
def test_the_end_of_speech_by_energy(level: float) -> None:
    spoken_s = len(PCM) / 16_000 - 1.2
    clip = Clip(Path("a.wav"), noisy(level), Encoding.S16LE, 8000)
    assert speech_end_s(clip) == pytest.approx(spoken_s, abs=0.05)


@pytest.mark.parametrize("data", [b"", bytes(16_000)])
def test_silence_has_no_end_of_speech(data: bytes) -> None:
    assert speech_end_s(Clip(Path("a.wav"), data, Encoding.S16LE, 8000)) is None
