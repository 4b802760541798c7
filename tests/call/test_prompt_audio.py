from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ivr.call.events import Piece, Prompt
from ivr.call.prompt_audio import RATE_HZ, SLOW_SPEED, PromptAudio
from ivr.call.prompts import load_prompts, prompt, spoken_s
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

CMN, YUE = Language.MANDARIN, Language.CANTONESE
GENERAL = ("general", "综合")


@pytest.fixture(scope="module")
def audio() -> PromptAudio:
    return PromptAudio(load_settings().prompts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the installed prompts, to change."""
    return Path(shutil.copytree(load_settings().prompts, tmp_path / "prompts"))


def tone(path: Path, *, seconds: float, rate_hz: int = RATE_HZ, comment: str = "") -> None:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    with soundfile.SoundFile(path, "w", samplerate=rate_hz, channels=1) as file:
        if comment:
            file.comment = comment
        file.write(wave)


def level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.sqrt(np.mean(samples**2))) / 32768


def test_every_prompt_of_the_installation_has_its_audio() -> None:
    settings = load_settings()
    catalogue, texts = load_catalogue(settings.queues), load_prompts(settings.prompts)
    audio = PromptAudio(settings.prompts)
    for language in Language:
        names = {queue.id: queue.name[language] for queue in catalogue.queues}
        assert list(audio.faults(language, texts.pieces(language, names))) == []


def test_a_prompt_is_speech_at_the_level_of_the_line(audio: PromptAudio) -> None:
    for language in Language:
        pcm = audio.pcm(prompt("greeting", language))
        assert 0.05 < level(pcm) < 0.2
        assert audio.duration_s(prompt("greeting", language)) == pytest.approx(3, abs=1.5)


def test_pieces_follow_each_other_without_a_gap(audio: PromptAudio) -> None:
    samples = np.frombuffer(audio.pcm(prompt("confirm", CMN, queue=GENERAL)), "<i2")
    quiet = np.convolve(np.abs(samples.astype(float)), np.ones(800) / 800, "valid")
    assert quiet[1600:-1600].min() > 30  # nowhere 100 ms of silence within


def test_a_slow_prompt_is_longer_and_as_loud(audio: PromptAudio) -> None:
    plain = prompt("greeting", YUE)
    slow = Prompt(plain.id, plain.text, plain.language, plain.pieces, slow=True)
    ratio = audio.duration_s(slow) / audio.duration_s(plain)
    assert ratio == pytest.approx(1 / SLOW_SPEED, rel=0.02)
    assert level(audio.pcm(slow)) == pytest.approx(level(audio.pcm(plain)), rel=0.3)


@pytest.mark.parametrize(("suffix", "rate_hz"), [("wav", 44_100), ("flac", 16_000), ("ogg", 8000)])
def test_an_operator_replaces_a_file_by_any_recording(
    folder: Path, suffix: str, rate_hz: int
) -> None:
    (folder / "cmn" / "greeting.wav").unlink()
    tone(folder / "cmn" / f"greeting.{suffix}", seconds=1.5, rate_hz=rate_hz)
    replaced = PromptAudio(folder)
    assert replaced.duration_s(prompt("greeting", CMN)) == pytest.approx(1.5, abs=0.02)
    assert list(replaced.faults(CMN, [Piece("greeting", "您好")])) == []


def test_a_missing_file_is_silence_of_that_length_and_one_log_line(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "yue" / "greeting.wav").unlink()
    audio, said = PromptAudio(folder), prompt("greeting", YUE)
    with caplog.at_level(logging.ERROR):
        assert not any(audio.pcm(said))
        audio.pcm(said)
    assert audio.duration_s(said) == pytest.approx(spoken_s(said.text), abs=0.3)
    assert [r.message for r in caplog.records] == [
        "prompt yue/greeting.wav is missing: callers hear silence instead"
    ]


def test_an_unreadable_file_is_silence_and_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "cmn" / "closed.wav").write_text("not audio")
    audio = PromptAudio(folder)
    with caplog.at_level(logging.ERROR):
        assert not any(audio.pcm(prompt("closed", CMN)))
    assert "closed.wav: this is text, not audio" in caplog.text
    (fault,) = audio.faults(CMN, prompt("closed", CMN).pieces)
    assert str(fault) == "cmn/closed.wav: this is text, not audio; give a WAV, FLAC or Ogg file"


def test_a_file_that_says_an_older_text_is_found(folder: Path) -> None:
    (fault,) = PromptAudio(folder).faults(CMN, [Piece("greeting", "早上好。")])
    assert fault.file == "cmn/greeting.wav"
    assert fault.what == "says '您好，请讲出您要办理的事情。', the text is '早上好。'"


def test_no_folder_is_silence(tmp_path: Path) -> None:
    audio = PromptAudio(tmp_path / "none")
    assert not any(audio.pcm(prompt("greeting", CMN)))
    assert [f.what for f in audio.faults(CMN, [Piece("greeting", "您好")])] == ["is missing"]
