from __future__ import annotations

import builtins
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "asr"))

from tone_model import CANTONESE_WORDS, MANDARIN_WORDS, say, tone, write_tone_model

from ivr.asr.bilingual import BilingualRecogniser, Heard
from ivr.asr.language_decision import LanguageDecider
from ivr.asr.vosk_engine import VoskEngine
from ivr.cli import talk
from ivr.errors import DeviceError
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(tmp_path: Path) -> BilingualRecogniser:
    words = {Language.MANDARIN: MANDARIN_WORDS, Language.CANTONESE: CANTONESE_WORDS}
    recognisers = {
        language: VoskEngine.load(write_tone_model(tmp_path / language, w), language).recogniser()
        for language, w in words.items()
    }
    return BilingualRecogniser(recognisers, LanguageDecider())


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(load_catalogue(ROOT / "config/queues.yaml"))


def blocks(pcm: bytes) -> list[bytes]:
    return [pcm[i : i + 1600] for i in range(0, len(pcm), 1600)]


def test_what_is_said_is_heard_and_matched(call: BilingualRecogniser, matcher: Matcher) -> None:
    speech = say(CANTONESE_WORDS, "我", "想", "查吓", "社保", after_s=1.5)
    said = list(talk.converse(call, matcher, blocks(speech + tone(0, 1.0))))
    partials = [item.partial for item in said if isinstance(item, Heard)]
    assert "我想查吓" in partials
    ((utterance, match),) = [item for item in said if not isinstance(item, Heard)]
    assert (utterance.text, utterance.language) == ("我想查吓社保", Language.CANTONESE)
    assert match.queue == "social_security"


def test_what_was_being_said_at_the_end_counts(call: BilingualRecogniser, matcher: Matcher) -> None:
    said = list(talk.converse(call, matcher, blocks(say(MANDARIN_WORDS, "社保", after_s=0.1))))
    assert isinstance(said[-1], tuple)
    assert said[-1][0].text == "社保"


class NoMicrophone(types.ModuleType):
    """PortAudio as it answers on a machine without an input device."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, device: Any = None, kind: str | None = None) -> str:
        if kind:
            raise self.PortAudioError("Error querying device -1")
        return ""

    def RawInputStream(self, **_: Any) -> None:  # noqa: N802
        raise self.PortAudioError("Error opening RawInputStream: Invalid number of channels")


def test_no_microphone_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", NoMicrophone("sounddevice"))
    result = CliRunner().invoke(talk.command, ["--config", str(ROOT / "config/kapok.yaml")])
    assert isinstance(result.exception, DeviceError)
    assert "no microphone: Error querying device -1" in str(result.exception)
    assert "ivr transcribe FILE" in str(result.exception)
    named = CliRunner().invoke(talk.command, ["--device", "headset"])
    assert "no input device 'headset' (see `ivr talk --devices`)" in str(named.exception)
    with (
        pytest.raises(DeviceError, match="cannot be opened"),
        talk.microphone(NoMicrophone("sounddevice"), None, 8000),
    ):
        pass
    listed = CliRunner().invoke(talk.command, ["--devices"])
    assert "no audio device" in listed.stdout


def test_no_portaudio_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", fake)
    result = CliRunner().invoke(talk.command, [])
    assert isinstance(result.exception, DeviceError)
    assert "libportaudio2" in str(result.exception)
