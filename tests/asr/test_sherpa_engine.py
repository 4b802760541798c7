from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs onnx: pip install -e .[test]")
pytest.importorskip("sherpa_onnx", reason="needs sherpa-onnx: pip install -e .[test]")

from ivr.asr.engine import Engine, Recogniser
from ivr.asr.factory import load_speech
from ivr.asr.installed import installed_models
from ivr.asr.sherpa_engine import SherpaEngine, words_of_graph, words_of_tokens
from ivr.asr.sherpa_models import check_sherpa_directory
from ivr.asr.vosk_engine import VoskEngine
from ivr.audio.files import read_audio
from ivr.errors import AudioError, ModelError
from ivr.language import Language
from ivr.settings import load_settings
from training.sherpa import convert

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/cmn"
RATE_HZ = 8000
BLOCK = 2 * RATE_HZ // 10
SPOKEN = [ROOT / f"audio_fixtures/cmn_consumer_rights_{n:03}.wav" for n in (1, 3, 5)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sherpa") / "cmn-onnx"
    convert(MODEL, out)
    return out


@pytest.fixture(scope="session")
def engine(folder: Path) -> SherpaEngine:
    return SherpaEngine.load(folder, Language.MANDARIN)


def audio(path: Path) -> bytes:
    return read_audio(path, rate_hz=RATE_HZ).pcm


def hear(recogniser: Recogniser, pcm: bytes) -> list[bool]:
    return [recogniser.accept(pcm[i : i + BLOCK]) for i in range(0, len(pcm), BLOCK)]


def test_it_is_an_engine(engine: SherpaEngine) -> None:
    as_engine: Engine = engine
    recogniser: Recogniser = as_engine.recogniser()
    assert (recogniser.language, recogniser.rate_hz) == (Language.MANDARIN, RATE_HZ)
    assert engine.for_language(Language.CANTONESE).language is Language.CANTONESE
    with pytest.raises(ValueError, match="alternatives is 0"):
        engine.recogniser(alternatives=0)


@pytest.mark.parametrize("file", SPOKEN, ids=lambda path: path.stem)
def test_it_hears_what_vosk_hears(engine: SherpaEngine, file: Path) -> None:
    vosk = VoskEngine.load(MODEL, Language.MANDARIN).recogniser()
    sherpa = engine.recogniser()
    pcm = audio(file)
    hear(vosk, pcm)
    hear(sherpa, pcm)
    assert sherpa.finish().text == vosk.finish().text


def test_words_have_times_and_partials_grow(engine: SherpaEngine) -> None:
    recogniser = engine.recogniser()
    pcm = audio(SPOKEN[0])
    seen = []
    for i in range(0, len(pcm), BLOCK):
        recogniser.accept(pcm[i : i + BLOCK])
        seen.append(len(recogniser.partial()))
    assert 0 < seen[len(seen) // 2] < seen[-1]
    recognition = recogniser.finish()
    assert recognition.best is not None
    words = recognition.best.words
    assert "".join(word.text for word in words) == recognition.text
    assert all(0 <= w.start_s <= w.end_s <= recognition.duration_s for w in words)
    assert [w.start_s for w in words] == sorted(w.start_s for w in words)
    assert recogniser.partial() == ""


def test_the_endpoint_comes_after_silence(engine: SherpaEngine) -> None:
    recogniser = engine.recogniser()
    assert not any(hear(recogniser, bytes(2 * 3 * RATE_HZ)))  # nothing said: no endpoint
    recogniser.reset()
    hear(recogniser, audio(SPOKEN[0]))
    ends = hear(recogniser, bytes(2 * 2 * RATE_HZ))
    assert ends[-1]


def test_utterances_do_not_touch_each_other(engine: SherpaEngine) -> None:
    one, two = engine.recogniser(), engine.recogniser()
    first, second = audio(SPOKEN[0]), audio(SPOKEN[1])
    alone = []
    for pcm in (first, second):
        recogniser = engine.recogniser()
        hear(recogniser, pcm)
        alone.append(recogniser.finish().text)
    for i in range(0, max(len(first), len(second)), BLOCK):
        one.accept(first[i : i + BLOCK])
        two.accept(second[i : i + BLOCK])
    assert [one.finish().text, two.finish().text] == alone
    hear(one, second)
    assert one.finish().text == alone[1]


def test_nothing_said_is_heard_as_nothing(engine: SherpaEngine) -> None:
    recogniser = engine.recogniser()
    assert recogniser.finish().hypotheses == ()
    hear(recogniser, bytes(2 * 2 * RATE_HZ))
    recognition = recogniser.finish()
    assert (recognition.text, recognition.duration_s) == ("", 2.0)
    with pytest.raises(AudioError, match="3 bytes"):
        recogniser.accept(b"abc")


def test_one_line_of_the_settings_chooses_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config/kapok.yaml"
    file.write_text(
        f"languages:\n  cmn: {{ engine: sherpa, model: {folder} }}\n"
        f"  yue: {{ engine: vosk, model: {ROOT}/models/yue }}\n"
    )
    speech = load_speech(load_settings(file))
    assert isinstance(speech.engines[Language.MANDARIN], SherpaEngine)
    call = speech.call()
    call.accept(audio(SPOKEN[0]))
    assert call.finish().recognitions[Language.MANDARIN].text


def test_it_is_listed_among_the_models(folder: Path) -> None:
    (model,) = installed_models(folder.parent)
    assert (model.rate_hz, model.problem) == (RATE_HZ, None)
    assert model.name == "kapok-small-cmn-onnx"


# --- what is wrong with a directory ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokens.txt", None, r"tokens\.txt: missing"),
        ("tokens.txt", "a 0\nb 1\n", "none of <blk>"),
        ("tokens.txt", "<blk> 0\na\n", r"tokens\.txt:2: 'a' is not a symbol and its number"),
        ("tokens.txt", "<blk> 0\na 7\n", "do not run from 0 to 1"),
        ("model.onnx", None, r"model\.onnx: missing"),
        ("model.onnx", "", "the file is empty"),
        ("model.onnx", "version https://git-lfs", "git lfs pull"),
        ("HLG.fst", None, r"HLG\.fst: missing"),
        ("words.txt", None, r"words\.txt: missing"),
        ("sherpa.json", '{"kind": "whisper"}', r"sherpa\.json: kind: "),
        ("sherpa.json", "{", r"sherpa\.json: "),
        ("other.onnx", "x", "which of"),
    ],
)
def test_what_is_wrong_is_said_before_sherpa_sees_it(
    folder: Path, tmp_path: Path, name: str, content: str | None, expected: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_text(content)
    with pytest.raises(ModelError, match=expected):
        check_sherpa_directory(broken)


def test_what_sherpa_dies_of_is_one_error(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100_000])
    with pytest.raises(ModelError, match="sherpa-onnx cannot load this model"):
        SherpaEngine.load(broken, Language.MANDARIN)
    with pytest.raises(ModelError, match="no such model directory"):
        SherpaEngine.load(tmp_path / "none", Language.MANDARIN)


def test_the_kind_follows_from_the_files(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    for name, kind in [
        ("encoder.onnx", "paraformer"),
        ("joiner.onnx", "transducer"),
    ]:
        (tmp_path / name).write_text("x")
        (tmp_path / "decoder.int8.onnx").write_text("x")
        (tmp_path / "decoder.onnx").write_text("x")
        found = check_sherpa_directory(tmp_path)
        assert found.kind == kind
        assert found.files[1].name == "decoder.int8.onnx"
    assert found.settings.rate_hz == 16_000


# --- tokens to words ---------------------------------------------------------------------------


def test_pieces_of_words_are_joined() -> None:
    words = words_of_tokens(
        ["我", "想", "▁wi", "fi", "▁ok", "打@@", "开"], [0, 1, 2, 3, 4, 5, 6], [-0.1] * 7, 0.04
    )
    assert [w.text for w in words] == ["我", "想", "wifi", "ok", "打开"]
    assert words[2].start_s == 2
    assert words[0].confidence == pytest.approx(0.905, abs=0.001)


def test_words_of_a_graph_begin_where_their_first_syllable_does() -> None:
    tokens = ["w", "o3", "ch", "a2", "sh", "e4", "b", "ao3"]
    words = words_of_graph(["我", "查", "社保", "[unk]"], tokens, [n / 10 for n in range(8)], 0.03)
    assert [(w.text, w.start_s) for w in words] == [("我", 0.0), ("查", 0.2), ("社保", 0.4)]


@given(
    st.lists(st.text(min_size=0, max_size=3), max_size=8),
    st.lists(st.floats(0, 20), max_size=8),
    st.lists(st.floats(-20, 0), max_size=8),
)
def test_whatever_the_tokens_words_are_in_order(
    tokens: list[str], times: list[float], log_probs: list[float]
) -> None:
    times = sorted(times)
    for words in (
        words_of_tokens(tokens, times, log_probs, 0.03),
        words_of_graph([t for t in tokens if t], tokens, times, 0.03),
    ):
        assert all(w.start_s <= w.end_s for w in words)
        assert all(0 < w.confidence <= 1 for w in words)
        assert [w.start_s for w in words] == sorted(w.start_s for w in words)
