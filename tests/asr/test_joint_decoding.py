"""The second pass that decodes with three networks, with the models that ship."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from audio_fixtures import effects
from ivr.asr.engine import Hypothesis, Recognition, Word
from ivr.asr.factory import EngineFactory
from ivr.asr.joint_decoding import (
    CONFORMER,
    CONVOLUTIONAL,
    LABELS,
    SURE,
    JointDecoder,
    check_goes_with,
    is_joint,
)
from ivr.asr.kapok_engine import KapokEngine
from ivr.asr.second_pass import TwoPassEngine, load_second_pass
from ivr.asr.vosk_engine import VoskEngine
from ivr.audio.files import read_audio
from ivr.errors import ModelError
from ivr.language import Language
from ivr.replay.labels import load_labels

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
SECOND = MODELS / "second"
FIXTURES = ROOT / "audio_fixtures"
CMN, YUE = Language.MANDARIN, Language.CANTONESE


def load(language: Language, *hot_words: str) -> JointDecoder:
    return JointDecoder.load(SECOND, MODELS / language, language, hot_words=hot_words)


@pytest.fixture(scope="module")
def decoders() -> dict[Language, JointDecoder]:
    return {language: load(language) for language in Language}


@pytest.fixture(scope="module")
def engines() -> dict[Language, VoskEngine]:
    factory = EngineFactory()
    return {k: factory.load("vosk", MODELS / k, k) for k in Language}  # type: ignore[misc]


def calls(language: Language, count: int) -> list[tuple[bytes, str]]:
    rows = sorted(load_labels(FIXTURES / "labels.csv").by_file.items())
    said = {p: "".join(filter(str.isalnum, r.text)) for p, r in rows if r.language is language}
    spoken = [(p, text) for p, text in said.items() if re.fullmatch("[\u4e00-\u9fff]+", text)]
    return [
        (read_audio(p, rate_hz=8000).pcm, t) for p, t in spoken[:: len(spoken) // count][:count]
    ]


def hear_first(engine: VoskEngine, pcm: bytes) -> Recognition:
    recogniser = engine.recogniser()
    recogniser.accept(pcm)
    return recogniser.finish()


def near(found: str, said: str) -> bool:
    return Levenshtein.normalized_distance(found, said) < 0.25


def heard(text: str = "我要社保", confidence: float = 0.5) -> Recognition:
    words = tuple(Word(c, 0.3 * i, 0.3 * i + 0.3, confidence) for i, c in enumerate(text))
    return Recognition((Hypothesis(text, words, -10.0, confidence),), duration_s=2.0, score=-10.0)


@pytest.mark.parametrize("language", list(Language))
def test_what_the_first_pass_keeps_is_not_computed_again(
    language: Language, decoders: dict[Language, JointDecoder]
) -> None:
    pcm, _ = calls(language, 1)[0]
    recogniser = KapokEngine.load(MODELS / language, language).recogniser()
    recogniser.accept(pcm)
    recogniser.finish()
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    kept = decoders[language].scores(samples, recogniser.finished_scores)
    assert np.abs(kept - decoders[language].scores(samples)).max() < 1e-3


@pytest.mark.parametrize("language", list(Language))
def test_together_they_hear_more(
    language: Language, engines: dict[Language, VoskEngine], decoders: dict[Language, JointDecoder]
) -> None:
    rng = np.random.default_rng(7)
    first = both = 0
    for pcm, text in calls(language, 24):
        samples = np.frombuffer(pcm, "<i2") / 32768
        noisy = effects.to_pcm16(effects.over_noisy_line(samples, 15.0, rng)).tobytes()
        alone = hear_first(engines[language], noisy)
        again = decoders[language].again(alone, noisy, 8000, count=10)
        first += Levenshtein.distance(alone.text, text)
        both += Levenshtein.distance(again.text, text)
    assert both < first


def test_what_is_heard_again(decoders: dict[Language, JointDecoder]) -> None:
    pcm, text = calls(CMN, 1)[0]
    found = decoders[CMN].again(heard(), pcm, 8000, count=4)
    assert near(found.text, text)
    assert 1 <= len(found.hypotheses) <= 4
    assert found.score == -10.0  # the language is decided by the first pass's
    assert len({h.text for h in found.hypotheses}) == len(found.hypotheses)
    confidences = [h.confidence for h in found.hypotheses]
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) <= 1.0 + 1e-6
    for hypothesis in found.hypotheses:
        assert "".join(w.text for w in hypothesis.words) == hypothesis.text
        starts = [w.start_s for w in hypothesis.words]
        assert starts == sorted(starts)
        assert all(w.start_s <= w.end_s for w in hypothesis.words)
        assert 0 <= starts[0] <= len(pcm) / 16_000


def test_nothing_and_noise_stay_what_they_were(decoders: dict[Language, JointDecoder]) -> None:
    decoder = decoders[CMN]
    nothing = Recognition((), duration_s=1.0)
    assert not decoder.wants(nothing)
    assert decoder.again(nothing, bytes(32_000), 8000, count=5) is nothing
    something = heard()
    assert decoder.again(something, bytes(1000), 8000, count=5) is something  # too short
    assert decoder.again(something, bytes(32_000), 8000, count=5) is something  # no words in it


def test_what_is_sure_is_not_heard_again(decoders: dict[Language, JointDecoder]) -> None:
    pcm, _ = calls(CMN, 1)[0]
    sure = heard(confidence=SURE)
    assert not decoders[CMN].wants(sure)
    assert decoders[CMN].again(sure, pcm, 8000, count=5) is sure
    assert decoders[CMN].wants(heard(confidence=SURE - 0.01))


def test_audio_at_another_rate(decoders: dict[Language, JointDecoder]) -> None:
    pcm, text = calls(CMN, 1)[0]
    twice = np.repeat(np.frombuffer(pcm, "<i2"), 2).tobytes()
    assert near(decoders[CMN].again(heard(), twice, 16_000, count=1).text, text)


@given(length=st.integers(800, 8000))
@settings(max_examples=10, deadline=None)
def test_a_score_for_every_30_ms(decoders: dict[Language, JointDecoder], length: int) -> None:
    scores = decoders[YUE].scores(np.zeros(length, np.float32))
    assert len(scores) == (length + 40) // 80 // 3
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("file", "word"), [("cmn_consumer_rights_004.wav", "餐厅结账")], ids=["餐厅结账"]
)
def test_hot_words_are_known_to_it_too(file: str, word: str) -> None:
    pcm = read_audio(FIXTURES / file, rate_hz=8000).pcm
    found = load(CMN, word).again(heard(), pcm, 8000, count=5)
    assert any(w.text == word for w in found.hypotheses[0].words)


def test_real_calls_are_heard_again(engines: dict[Language, VoskEngine]) -> None:
    second = load_second_pass(SECOND, YUE, first=MODELS / "yue")
    assert isinstance(second, JointDecoder)
    pcm, text = calls(YUE, 1)[0]
    recogniser = TwoPassEngine(engines[YUE], second).recogniser(alternatives=3)
    recogniser.accept(pcm)
    both = recogniser.finish()
    assert near(both.text, text)
    assert 1 <= len(both.hypotheses) <= 3
    assert both.score == hear_first(engines[YUE], pcm).score


def test_both_languages_share_one_network(decoders: dict[Language, JointDecoder]) -> None:
    assert decoders[CMN]._conformer is decoders[YUE]._conformer


def test_a_network_that_is_none(tmp_path: Path) -> None:
    assert not is_joint(tmp_path)
    (tmp_path / CONFORMER).write_bytes(b"nonsense")
    assert is_joint(tmp_path)
    with pytest.raises(ModelError, match="is no network that ONNX Runtime can load"):
        load_second_pass(tmp_path, CMN, first=MODELS / "cmn")


def test_another_network(tmp_path: Path) -> None:
    (tmp_path / CONFORMER).write_bytes((MODELS / "language.onnx").read_bytes())
    with pytest.raises(ModelError, match="it was not written by training"):
        JointDecoder.load(tmp_path, MODELS / "cmn", CMN)


def test_another_streaming_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of the same units have heard, and this is none"):
        JointDecoder.load(SECOND, tmp_path, CMN)
    with pytest.raises(ModelError, match="of the same units have heard, and this is none"):
        JointDecoder.load(SECOND, MODELS / "yue", CMN)


def test_what_goes_together_is_told_from_the_labels_alone(tmp_path: Path) -> None:
    for language in Language:
        check_goes_with(SECOND, MODELS / language, language)
    model = tmp_path / "cmn"
    (model / "graph").mkdir(parents=True)
    (model / "graph" / "HCLG.fst").touch()
    shutil.copy(MODELS / "cmn" / "units.txt", model)
    check_goes_with(SECOND, model, CMN)
    with pytest.raises(ModelError, match="of the same units have heard, and this is none"):
        check_goes_with(SECOND, model, YUE)


def test_a_streaming_network_cut_off(tmp_path: Path) -> None:
    copy = tmp_path / "cmn"
    shutil.copytree(MODELS / "cmn", copy)
    file = copy / "am" / "final.mdl"
    file.write_bytes(file.read_bytes()[:200_000])
    with pytest.raises(ModelError, match=r"final\.mdl is no network of Kapok's"):
        JointDecoder.load(SECOND, copy, CMN)


def copied(language: Language, folder: Path) -> Path:
    """The streaming model once more, with what stands beside it."""
    return Path(shutil.copytree(MODELS / language, folder / language))


def test_without_the_third_network_two_decode(tmp_path: Path) -> None:
    model = copied(YUE, tmp_path)
    (model / CONVOLUTIONAL).unlink()
    check_goes_with(SECOND, model, YUE)
    pcm, text = calls(YUE, 1)[0]
    two, three = JointDecoder.load(SECOND, model, YUE), load(YUE)
    assert near(two.again(heard(), pcm, 8000, count=4).text, text)
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    assert np.abs(two.scores(samples) - three.scores(samples)).max() > 0.1


@pytest.mark.parametrize(
    "other", [SECOND / CONFORMER, MODELS / "yue" / CONVOLUTIONAL, MODELS / "language.onnx"]
)
def test_another_network_as_the_third(other: Path, tmp_path: Path) -> None:
    model = copied(CMN, tmp_path)
    shutil.copy(other, model / CONVOLUTIONAL)
    with pytest.raises(ModelError, match=r"not written by training\.export_convolutional for cmn"):
        check_goes_with(SECOND, model, CMN)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (json.dumps({"cmn": ["<blk>", "a1"]}), "was written for other units than those of"),
        ("a,b,c", r"not written by training\.export_convolutional for cmn"),
        ("[1]", r"not written by training\.export_convolutional for cmn"),
    ],
)
def test_a_third_network_of_other_units(labels: str, message: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip(
        "onnx", reason="needs the training extra: pip install -e .[training]"
    )
    model = copied(CMN, tmp_path)
    network = onnx.load(model / CONVOLUTIONAL)
    onnx.helper.set_model_props(network, {LABELS: labels})
    (model / CONVOLUTIONAL).write_bytes(network.SerializeToString())
    with pytest.raises(ModelError, match=message):
        check_goes_with(SECOND, model, CMN)


def test_a_third_network_cut_off(tmp_path: Path) -> None:
    model = copied(CMN, tmp_path)
    file = model / CONVOLUTIONAL
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"can load .* or delete it: the other two"):
        JointDecoder.load(SECOND, model, CMN)


def test_words_that_cannot_be_spelt_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(CMN, "Ω")
    assert not caplog.records  # the first pass has said so
