"""Kapok's engine beside Vosk, on the models that ship."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from tone_model import CANTONESE_WORDS, write_tone_model

from ivr.asr.factory import GATED_FRAMES_PER_CHUNK, EngineFactory
from ivr.asr.kapok_engine import KapokEngine, KapokRecogniser
from ivr.asr.vosk_engine import VoskEngine
from ivr.audio.files import read_audio
from ivr.errors import AudioError, ModelError
from ivr.language import Language
from ivr.settings import load_settings

ROOT = Path(__file__).parents[2]
MODELS, FIXTURES = ROOT / "models", ROOT / "audio_fixtures"
CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.fixture(scope="module")
def engines() -> dict[Language, KapokEngine]:
    return {
        k: KapokEngine.load(MODELS / k, k, frames_per_chunk=GATED_FRAMES_PER_CHUNK)
        for k in Language
    }


def spoken(language: Language, count: int) -> list[bytes]:
    files = sorted(FIXTURES.glob(f"{language}_*.wav"))
    return [read_audio(f, rate_hz=8000).pcm for f in files[:: len(files) // count][:count]]


def feed(recogniser: KapokRecogniser, pcm: bytes, block: int = 3200) -> list[str]:
    partials = [""]
    for at in range(0, len(pcm), block):
        recogniser.accept(pcm[at : at + block])
        if recogniser.partial() != partials[-1]:
            partials.append(recogniser.partial())
    return partials


@pytest.mark.parametrize("language", list(Language))
def test_it_hears_what_vosk_hears(language: Language, engines: dict[Language, KapokEngine]) -> None:
    vosk = VoskEngine.load(MODELS / language, language, frames_per_chunk=GATED_FRAMES_PER_CHUNK)
    same, calls = 0, spoken(language, 12)
    for pcm in calls:
        recogniser, peer = engines[language].recogniser(), vosk.recogniser()
        feed(recogniser, pcm)
        peer.accept(pcm)
        ours, theirs = recogniser.finish(), peer.finish()
        assert ours.duration_s == theirs.duration_s
        if ours.text == theirs.text:
            same += 1
            if ours.best and theirs.best:
                assert ours.score == pytest.approx(theirs.score, abs=0.5)
                assert ours.best.confidence == pytest.approx(theirs.best.confidence, abs=0.15)
                last = ours.best.words[-1].end_s, theirs.best.words[-1].end_s
                assert last[0] == pytest.approx(last[1], abs=1.5)
        else:
            assert Levenshtein.normalized_distance(ours.text, theirs.text) < 0.3
    assert same >= len(calls) - 2


def test_blocks_change_nothing(engines: dict[Language, KapokEngine]) -> None:
    (pcm,) = spoken(CMN, 1)
    at_once, in_blocks = engines[CMN].recogniser(), engines[CMN].recogniser()
    at_once.accept(pcm)
    feed(in_blocks, pcm, block=322)
    one, other = at_once.finish(), in_blocks.finish()
    assert one.text == other.text
    assert one.score == pytest.approx(other.score, abs=0.1)
    assert np.allclose(at_once.finished_scores, in_blocks.finished_scores, atol=1e-3)


def test_words_come_while_the_caller_speaks(engines: dict[Language, KapokEngine]) -> None:
    pcm = read_audio(FIXTURES / "yue_person_001.wav", rate_hz=8000).pcm
    recogniser = KapokEngine.load(MODELS / YUE, YUE).recogniser()
    partials = feed(recogniser, pcm)
    heard = recogniser.finish()
    assert len(partials) > 3
    assert heard.best is not None
    assert partials[-1][:2] == heard.text[:2]
    starts = [word.start_s for word in heard.best.words]
    assert starts == sorted(starts)
    assert 0 < starts[0] < heard.best.words[-1].end_s <= heard.duration_s
    assert recogniser.partial() == ""


def test_silence_after_words_is_an_endpoint(engines: dict[Language, KapokEngine]) -> None:
    recogniser = engines[CMN].recogniser()
    pcm = read_audio(FIXTURES / "cmn_general_001.wav", rate_hz=8000).pcm
    over = [recogniser.accept(pcm[at : at + 3200]) for at in range(0, len(pcm), 3200)]
    over += [recogniser.accept(bytes(3200)) for _ in range(15)]
    assert not any(over[: len(over) // 3])
    assert over[-1]


def test_utterances_one_after_the_other(engines: dict[Language, KapokEngine]) -> None:
    recogniser = engines[YUE].recogniser(alternatives=3)
    first, second = spoken(YUE, 2)
    texts = []
    for pcm in (first, second, first):
        feed(recogniser, pcm)
        heard = recogniser.finish()
        assert 1 <= len(heard.hypotheses) <= 3
        assert heard.duration_s == pytest.approx(len(pcm) / 16000)
        texts.append(heard.text)
    assert texts[0] == texts[2] != texts[1]
    feed(recogniser, first)
    recogniser.reset()
    assert recogniser.partial() == ""
    feed(recogniser, second)
    assert recogniser.finish().text == texts[1]


@pytest.mark.parametrize("samples", [0, 1, 150, 400])
def test_next_to_nothing(engines: dict[Language, KapokEngine], samples: int) -> None:
    recogniser = engines[CMN].recogniser()
    recogniser.accept(bytes(2 * samples))
    heard = recogniser.finish()
    assert heard.hypotheses == ()
    assert heard.duration_s == samples / 8000


def test_bad_input(engines: dict[Language, KapokEngine]) -> None:
    with pytest.raises(AudioError, match="3 bytes are no whole number"):
        engines[CMN].recogniser().accept(b"abc")
    with pytest.raises(ValueError, match="alternatives is 0"):
        engines[CMN].recogniser(alternatives=0)


def test_other_models_are_for_vosk(tmp_path: Path) -> None:
    write_tone_model(tmp_path / "tones", CANTONESE_WORDS)
    with pytest.raises(ModelError, match=r"runs Kapok's own models.*use engine: vosk"):
        KapokEngine.load(tmp_path / "tones", YUE)
    with pytest.raises(ModelError, match="there is no such model directory"):
        KapokEngine.load(tmp_path / "none", YUE)
    shutil.copytree(MODELS / "yue", tmp_path / "broken")
    network = tmp_path / "broken" / "am" / "final.mdl"
    network.write_bytes(network.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"final\.mdl is no network of Kapok's"):
        KapokEngine.load(tmp_path / "broken", YUE)


def test_network_and_graph_of_two_models_are_refused(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "yue", tmp_path / "mixed")
    shutil.copy(MODELS / "cmn/graph/HCLG.fst", tmp_path / "mixed/graph/HCLG.fst")
    with pytest.raises(ModelError, match=r"of two models .*copy the whole model directory again"):
        KapokEngine.load(tmp_path / "mixed", YUE)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("graph/HCLG.fst", r"HCLG\.fst is no graph of Kapok's"),
        ("graph/words.txt", r"words\.txt: not all words of the graph are here"),
    ],
)
def test_a_file_cut_off_is_named(tmp_path: Path, file: str, said: str) -> None:
    shutil.copytree(MODELS / "yue", tmp_path / "cut")
    content = (tmp_path / "cut" / file).read_bytes()
    content = content[: content.index(b"\n", 2000) + 1] if file.endswith("txt") else content[:9999]
    (tmp_path / "cut" / file).write_bytes(content)
    with pytest.raises(ModelError, match=said + ".*copy the whole model directory again"):
        KapokEngine.load(tmp_path / "cut", YUE)


def test_a_model_is_loaded_once_until_it_changes(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "yue", tmp_path / "yue")
    first = KapokEngine.load(tmp_path / "yue", YUE)
    assert KapokEngine.load(tmp_path / "yue", YUE).model is first.model
    conf = tmp_path / "yue" / "conf" / "model.conf"
    conf.write_text(conf.read_text(encoding="utf-8").replace("--beam=11", "--beam=9"))
    assert KapokEngine.load(tmp_path / "yue", YUE).model.options.beam == 9.0


def test_hot_words_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    pcm = read_audio(FIXTURES / "cmn_consumer_rights_004.wav", rate_hz=8000).pcm

    def hear(*hot_words: str) -> str:
        recogniser = EngineFactory(hot_words=hot_words).load("kapok", MODELS / "cmn", CMN)
        one = recogniser.recogniser()
        one.accept(pcm)
        return one.finish().text

    assert "餐厅结账" not in hear()
    assert "餐厅结账" in hear("餐厅结账", "WiFi")
    assert "the model cannot spell WiFi" in caplog.text


def test_it_is_what_the_settings_that_ship_name() -> None:
    settings = load_settings(ROOT / "config" / "kapok.yaml")
    assert {entry.engine for _, entry in settings.languages.items()} == {"kapok"}
