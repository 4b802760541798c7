"""The gate with the real detectors on recordings, and on the rules that it keeps whatever comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_fixtures import effects
from ivr.asr.bilingual import BilingualRecogniser, EndpointRules
from ivr.asr.factory import load_speech
from ivr.asr.voice_gate import VoiceGate
from ivr.audio.files import read_audio
from ivr.call.voice import VoiceModel
from ivr.load.script import line_noise
from ivr.replay.labels import load_labels
from ivr.settings import load_settings

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "audio_fixtures"
RATE_HZ = 8000
#: Clean, noisy, and one whose voice Silero's network does not take for one at first.
RECORDINGS = [
    "cmn_consumer_rights_001.wav",
    "cmn_consumer_rights_004.wav",
    "yue_consumer_rights_005.wav",
]


@pytest.fixture(scope="module")
def model() -> VoiceModel:
    return VoiceModel.load()


def pcm_of(name: str) -> bytes:
    return read_audio(FIXTURES / name, rate_hz=RATE_HZ).pcm


def opened_s(gate: VoiceGate, pcm: bytes) -> float | None:
    """Where the gate opens, seconds."""
    for at in range(0, len(pcm), 320):
        gate.hear(pcm[at : at + 320])
        if gate.open:
            return at / 2 / RATE_HZ
    return None


@pytest.mark.parametrize("name", RECORDINGS)
def test_it_opens_for_a_caller_and_knows_when_he_has_finished(model: VoiceModel, name: str) -> None:
    label = load_labels(FIXTURES / "labels.csv")[FIXTURES / name]
    assert label is not None
    assert label.speech_end_s is not None
    gate = VoiceGate(model.stream())
    gate.hear(line_noise(2.0, rate_hz=RATE_HZ))
    assert not gate.open
    pcm = pcm_of(name)
    opened = opened_s(gate, pcm)
    assert opened is not None
    assert opened < 1.3  # the recordings begin with 0.4 s of silence
    tail_s = 0.6
    end = 2 * round((label.speech_end_s + tail_s) * RATE_HZ)
    rest = pcm[2 * round(opened * RATE_HZ) + 320 : end]
    gate.hear(rest + line_noise(max(0.0, (end - len(pcm)) / 2 / RATE_HZ), rate_hz=RATE_HZ))
    assert 0.3 < gate.silence_s < 0.8


@pytest.mark.parametrize("name", ["yue_general_002.wav", "yue_general_009.wav"])
def test_noise_over_a_caller_is_no_silence(model: VoiceModel, name: str) -> None:
    label = load_labels(FIXTURES / "labels.csv")[FIXTURES / name]
    assert label is not None
    assert label.speech_end_s is not None
    said = np.frombuffer(pcm_of(name), "<i2")[: round(label.speech_end_s * RATE_HZ)] / 32768
    heard = effects.over_noisy_line(said, 15.0, np.random.default_rng(1))
    pcm = effects.to_pcm16(heard).tobytes()
    gate, longest_s = VoiceGate(model.stream()), 0.0
    for at in range(0, len(pcm), 512):
        gate.hear(pcm[at : at + 512])
        longest_s = max(longest_s, gate.silence_s if gate.open else 0.0)
    assert gate.open
    assert longest_s < EndpointRules().end_silence_s


def test_line_noise_and_silence_stay_outside(model: VoiceModel) -> None:
    gate = VoiceGate(model.stream())
    assert opened_s(gate, line_noise(5.0, rate_hz=RATE_HZ) + bytes(5 * 2 * RATE_HZ)) is None
    assert gate.silence_s == pytest.approx(10.0, abs=0.04)


def test_what_was_dealt_with_needs_a_new_voice(model: VoiceModel) -> None:
    gate = VoiceGate(model.stream())
    assert opened_s(gate, pcm_of(RECORDINGS[0])) is not None
    gate.shut()
    gate.hear(line_noise(1.0, rate_hz=RATE_HZ))
    assert not gate.open


class Doubts:
    """A network that is sure of a voice for half a second, and doubts all that follows."""

    def __init__(self) -> None:
        self.heard = 0

    def probability(self, chunk: npt.NDArray[np.float32]) -> float:
        self.heard += 1
        return 0.9 if self.heard < 16 else 0.2

    def reset(self) -> None:
        pass


@pytest.mark.parametrize(("below_db", "goes_on"), [(0, True), (3, True), (7, False), (20, False)])
def test_what_is_doubted_goes_on_where_it_is_as_loud_as_the_caller(
    below_db: float, goes_on: bool
) -> None:
    gate = VoiceGate(Doubts())
    speech = np.frombuffer(pcm_of(RECORDINGS[0]), "<i2")[round(0.6 * RATE_HZ) :][:4096] / 32768
    loud = np.tile(effects.set_level(speech[:256], -24.0), 16)
    after = loud * 10 ** (-below_db / 20)
    gate.hear(effects.to_pcm16(loud).tobytes())
    assert gate.open
    gate.hear(effects.to_pcm16(after).tobytes())
    assert (gate.silence_s == 0) is goes_on


class Denies:
    """A network that takes nothing for a voice."""

    def probability(self, chunk: npt.NDArray[np.float32]) -> float:
        return 0.0

    def reset(self) -> None:
        pass


def test_a_caller_whom_the_network_does_not_know_is_heard_all_the_same() -> None:
    gate = VoiceGate(Denies())
    opened = opened_s(gate, pcm_of(RECORDINGS[0]))
    assert opened is not None
    assert gate.silence_s < 0.1


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_cutting_of_the_audio_changes_nothing(model: VoiceModel, data: st.DataObject) -> None:
    pcm = pcm_of(RECORDINGS[0])[: 2 * RATE_HZ * 2]
    whole, cut = VoiceGate(model.stream()), VoiceGate(model.stream())
    whole.hear(pcm)
    at = 0
    while at < len(pcm):
        size = 2 * data.draw(st.integers(100, 6000))
        cut.hear(pcm[at : at + size])
        at += size
    assert (cut.open, cut.silence_s) == (whole.open, pytest.approx(whole.silence_s))


# --- in a call ---------------------------------------------------------------------------------

needs_models = pytest.mark.skipif(
    not (ROOT / "models" / "cmn" / "am" / "final.mdl").exists(),
    reason="the trained models are not in models/",
)


def hear(call: BilingualRecogniser, pcm: bytes) -> float | None:
    """Where the utterance ends, seconds; None where it does not."""
    for at in range(0, len(pcm), 1600):
        if call.accept(pcm[at : at + 1600]).endpoint:
            return (at + 1600) / 2 / RATE_HZ
    return None


@needs_models
def test_an_utterance_ends_half_a_second_after_the_voice_and_knows_its_place() -> None:
    call = load_speech(load_settings(ROOT / "config" / "kapok.yaml")).call(rate_hz=RATE_HZ)
    label = load_labels(FIXTURES / "labels.csv")[FIXTURES / RECORDINGS[0]]
    assert label is not None
    assert label.speech_end_s is not None
    before_s = 4.0
    pcm = line_noise(before_s, rate_hz=RATE_HZ) + pcm_of(RECORDINGS[0])
    ended = hear(call, pcm + line_noise(2.0, rate_hz=RATE_HZ))
    assert ended is not None
    assert 0.4 < ended - before_s - label.speech_end_s < 0.9
    utterance = call.finish()
    assert utterance.text
    # It begins a little before the voice, not where the waiting began.
    assert before_s - 0.4 < utterance.start_s < before_s + 0.5
    best = utterance.recognition.best
    assert best is not None
    assert best.words[-1].end_s <= utterance.duration_s
    assert hear(call, line_noise(3.0, rate_hz=RATE_HZ)) is None
