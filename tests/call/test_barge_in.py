"""Barge-in on speech alone: real prompts, speech of the fixtures, noise and echo made from them."""

from __future__ import annotations

import numpy as np
import pytest

from audio_fixtures import effects
from audio_fixtures.effects import Samples
from bench.barge_in import SPEECH_DBFS, _at, _pcm, _speech, echoes, first_s, noises
from ivr.call.barge_in import BargeIn
from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import prompt
from ivr.call.voice import CHUNK_SAMPLES, RATE_HZ, VoiceModel
from ivr.language import Language
from ivr.settings import load_settings

LATEST_S = 0.25  # after the first sound, which may well be a soft consonant


@pytest.fixture(scope="module")
def model() -> VoiceModel:
    return VoiceModel.load()


@pytest.fixture(scope="module")
def playing() -> bytes:
    audio = PromptAudio(load_settings().prompts)
    ids = ("greeting", "no_input")
    return b"".join(audio.pcm(prompt(i, language)) for i in ids for language in Language)


@pytest.fixture(scope="module")
def voices() -> list[Samples]:
    return list(_speech(14))


def barge_in_s(model: VoiceModel, playing: bytes, line: Samples) -> float | None:
    """When the prompt is cut, seconds from its beginning; None for never."""
    barge_in = BargeIn(model.stream())
    barge_in.play(playing)
    return first_s(barge_in.hear, line)


def test_speech_stops_a_prompt(model: VoiceModel, playing: bytes, voices: list[Samples]) -> None:
    hiss = effects.white_noise(RATE_HZ, np.random.default_rng(1)) * 10 ** (-66 / 20)
    late = []
    for voice in voices:
        at_s = barge_in_s(model, playing, np.concatenate([hiss, voice]))
        assert at_s is not None
        late.append(at_s - 1.0)
    assert min(late) > 0
    assert np.median(late) < 0.2
    assert np.mean(np.array(late) < LATEST_S) > 0.85


@pytest.mark.parametrize(
    "kind", ["white noise", "pink noise", "crackle", "hum", "busy tone", "12 voices", "6 voices"]
)
def test_noise_at_10_db_never_cuts_a_prompt(
    model: VoiceModel, playing: bytes, voices: list[Samples], kind: str
) -> None:
    noise = noises(10 * RATE_HZ, voices, np.random.default_rng(2))[kind]
    assert barge_in_s(model, playing, noise) is None


def test_speech_in_noise_stops_a_prompt(
    model: VoiceModel, playing: bytes, voices: list[Samples]
) -> None:
    noise = noises(8 * RATE_HZ, voices, np.random.default_rng(3))["pink noise"]
    late = []
    for voice in voices[:8]:
        line = noise.copy()
        line[2 * RATE_HZ : 2 * RATE_HZ + len(voice)] += voice[: len(line) - 2 * RATE_HZ]
        late.append((barge_in_s(model, playing, line) or np.inf) - 2.0)
    assert min(late) > 0
    assert np.median(late) < LATEST_S


def test_the_prompts_own_echo_never_cuts_it(model: VoiceModel, playing: bytes) -> None:
    said = np.frombuffer(playing, "<i2") / 32768
    for name, echo in echoes(said, np.random.default_rng(4)).items():
        assert barge_in_s(model, playing, echo) is None, name


def test_the_same_sound_without_that_prompt_is_speech(model: VoiceModel, playing: bytes) -> None:
    line = np.frombuffer(playing, "<i2") / 32768
    hiss = np.random.default_rng(6).standard_normal(RATE_HZ // 2) * 1e-4
    assert barge_in_s(model, bytes(len(playing)), np.concatenate([hiss, line])) is not None


def test_speech_over_an_echo_stops_a_prompt(
    model: VoiceModel, playing: bytes, voices: list[Samples]
) -> None:
    said = np.frombuffer(playing, "<i2") / 32768
    echo = echoes(said, np.random.default_rng(5))["line, -20 dB, after 300 ms"]
    late = []
    for voice in voices[:8]:
        line = echo.copy()
        line[2 * RATE_HZ : 2 * RATE_HZ + len(voice)] += voice[: len(line) - 2 * RATE_HZ]
        late.append((barge_in_s(model, playing, line) or np.inf) - 2.0)
    assert min(late) > 0
    assert np.median(late) < LATEST_S


def test_nothing_is_heard_while_nothing_plays(model: VoiceModel, voices: list[Samples]) -> None:
    barge_in = BargeIn(model.stream())
    assert first_s(barge_in.hear, voices[0]) is None
    barge_in.play(bytes(16_000))
    assert barge_in.playing
    barge_in.stop()
    assert not barge_in.playing
    assert first_s(barge_in.hear, voices[0]) is None


def test_the_blocks_in_which_audio_comes_change_nothing(
    model: VoiceModel, playing: bytes, voices: list[Samples]
) -> None:
    pcm = _pcm(np.concatenate([np.zeros(RATE_HZ), _at(voices[1], SPEECH_DBFS)]))
    heard = []
    for step in (160, 320, 1000, 4096):
        barge_in = BargeIn(model.stream())
        barge_in.play(playing)
        taken = 0
        for start in range(0, len(pcm), 2 * step):
            taken += step
            if barge_in.hear(pcm[start : start + 2 * step]):
                break
        heard.append(taken)
    assert max(heard) - min(heard) <= 4096


def test_probability_of_silence_and_of_speech(model: VoiceModel, voices: list[Samples]) -> None:
    voice = model.stream()
    silence = np.zeros(CHUNK_SAMPLES, dtype=np.float32)
    assert voice.probability(silence) < 0.1
    chunks = voices[0][: 20 * CHUNK_SAMPLES].astype(np.float32).reshape(-1, CHUNK_SAMPLES)
    assert max(voice.probability(chunk) for chunk in chunks) > 0.9
    voice.reset()
    assert voice.probability(silence) < 0.1
