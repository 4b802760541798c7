from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from tone_model import CANTONESE_WORDS, MANDARIN_WORDS, say, write_tone_model

from ivr.asr.bilingual import utterances
from ivr.asr.factory import LANGUAGE_NETWORK, LANGUAGE_WEIGHTS, EngineFactory, load_speech
from ivr.asr.language_decision import LanguageDecider, Weights
from ivr.asr.vosk_engine import VoskEngine
from ivr.errors import ConfigError, ModelError
from ivr.language import Language
from ivr.settings import Settings, load_settings

CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_tone_model(tmp_path / "models/cmn", MANDARIN_WORDS)
    write_tone_model(tmp_path / "models/yue", CANTONESE_WORDS)
    return tmp_path


def settings(home: Path, *, yue: str = "models/yue") -> Settings:
    (home / "config").mkdir(exist_ok=True)
    file = home / "config/kapok.yaml"
    file.write_text(
        "languages:\n  cmn: { engine: vosk, model: models/cmn }\n"
        f"  yue: {{ engine: vosk, model: {yue} }}\n"
        "recognition: { alternatives: 3, max_utterance_s: 7 }\n"
    )
    return load_settings(file)


def test_speech_is_built_from_the_settings(home: Path) -> None:
    speech = load_speech(settings(home))
    assert speech.rate_hz == 8000
    assert speech.rules.max_utterance_s == 7
    call = speech.call()
    assert call.languages == (CMN, YUE)
    (said,) = utterances(call, say(CANTONESE_WORDS, "我", "查吓"))
    assert (said.text, said.language) == ("我查吓", YUE)
    assert len(said.recognition.hypotheses) <= 3


def test_one_language_loads_one_model(home: Path) -> None:
    (home / "models/yue/am/final.mdl").unlink()
    speech = load_speech(settings(home), languages=[CMN])
    assert list(speech.engines) == [CMN]
    with pytest.raises(ModelError, match=r"yue/am/final\.mdl: missing"):
        load_speech(settings(home))


def test_a_model_directory_is_loaded_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load = VoskEngine.load
    monkeypatch.setattr(
        VoskEngine,
        "load",
        lambda path, lang, **given: loads.append(path) or load(path, lang, **given),
    )
    factory = EngineFactory()
    for _ in range(2):
        speech = load_speech(settings(home, yue="models/../models/cmn"), factory=factory)
    assert len(loads) == 1
    assert {language: engine.language for language, engine in speech.engines.items()} == {
        CMN: CMN,
        YUE: YUE,
    }


def test_an_unknown_engine_names_those_known(home: Path) -> None:
    expected = r"languages\.yue\.engine is 'whisper'.*use one of kapok, sherpa, vosk"
    with pytest.raises(ConfigError, match=expected):
        EngineFactory().load("whisper", home / "models/yue", YUE)


def test_engines_can_be_added(home: Path) -> None:
    factory = EngineFactory({"mine": VoskEngine.load})
    assert factory.names == ("kapok", "mine", "sherpa", "vosk")
    assert factory.load("mine", home / "models/yue", YUE).language is YUE


def test_weights_beside_the_models_are_used_where_they_fit(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Weights(bias=0.5, models={CMN: "cmn", YUE: "yue"})
    LanguageDecider(weights).save(home / "models" / LANGUAGE_WEIGHTS)
    assert load_speech(settings(home)).decider.weights == weights
    assert not caplog.records
    write_tone_model(home / "models/vosk-model-small-cn-0.22", CANTONESE_WORDS)
    with caplog.at_level(logging.WARNING):
        other = load_speech(settings(home, yue="models/vosk-model-small-cn-0.22"))
    assert other.decider == LanguageDecider()
    assert "fitted on other models than cmn, vosk-model-small-cn-0.22" in caplog.text


def test_broken_weights_are_an_error(home: Path) -> None:
    (home / "models" / LANGUAGE_WEIGHTS).write_text("[]")
    with pytest.raises(ModelError, match=LANGUAGE_WEIGHTS):
        load_speech(settings(home))


NETWORK = Path(__file__).resolve().parents[2] / "models" / "language.onnx"


def test_the_network_beside_any_models_hears_the_language(home: Path) -> None:
    assert load_speech(settings(home)).sound is None
    shutil.copy(NETWORK, home / "models" / LANGUAGE_NETWORK)
    speech = load_speech(settings(home))
    assert speech.sound is not None
    speech.call().accept(bytes(16_000))
    # One language leaves nothing to be heard.
    assert load_speech(settings(home), languages=[CMN]).sound is None


def test_a_broken_network_is_named_at_the_start(home: Path) -> None:
    (home / "models" / LANGUAGE_NETWORK).write_bytes(NETWORK.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"language\.onnx is no network .* or delete it"):
        load_speech(settings(home))
