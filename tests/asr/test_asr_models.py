from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tone_model import MANDARIN_WORDS, write_tone_model

from ivr.asr.installed import installed_models
from ivr.asr.models import check_vosk_directory, model_id, read_card, read_units
from ivr.asr.vosk_engine import VoskEngine
from ivr.errors import ModelError
from ivr.language import Language


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tone_model(tmp_path / "cmn", MANDARIN_WORDS)


def graph_with_words(path: Path) -> bytes:
    """The graph with the header flag that says its words are inside."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 4 + 4 + 6 + 4 + 8 + 4, 0x2)
    return bytes(data)


def test_a_whole_model_passes_and_tells_its_rate(model: Path) -> None:
    directory = check_vosk_directory(model)
    assert directory.rate_hz == 8000
    assert not directory.word_boundaries
    assert not directory.runtime_grammar


@pytest.mark.parametrize(
    "name",
    ["am/final.mdl", "conf/mfcc.conf", "conf/model.conf", "graph/HCLG.fst", "graph/words.txt"],
)
@pytest.mark.parametrize("harm", ["missing", "empty", "pointer"])
def test_a_harmed_file_is_named_with_its_mend(model: Path, name: str, harm: str) -> None:
    file = model / name
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(
            b"" if harm == "empty" else b"version https://git-lfs.github.com/spec/v1\n"
        )
    mend = "git lfs pull" if harm == "pointer" else r"copy the whole model directory|kapok\.yaml"
    with pytest.raises(ModelError, match=mend) as caught:
        check_vosk_directory(model)
    assert str(file).replace("//", "/") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("am/final.mdl", b"\x07garbage", "not a Kaldi acoustic model"),
        ("graph/HCLG.fst", b"not a graph", "not an OpenFst graph"),
        ("graph/HCLG.fst", b"\xd6\xfd\xb2~\x06\x00", "cut off"),
        ("graph/words.txt", "我 1 2\n".encode(), "words.txt:1"),
        ("graph/words.txt", "我 1\n".encode("gbk"), "not UTF-8"),
        ("conf/model.conf", b"--beam=12\n", "--endpoint.silence-phones=1"),
        ("conf/model.conf", b"beam 12\n", "model.conf:1"),
        ("conf/mfcc.conf", b"--sample-frequency=0\n", "no rate of speech"),
        ("conf/mfcc.conf", b"--sample-frequency=fast\n", "no rate of speech"),
    ],
)
def test_wrong_contents_are_found_before_vosk_meets_them(
    model: Path, name: str, content: bytes, message: str
) -> None:
    (model / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        check_vosk_directory(model)


def test_what_only_kaldi_can_see_becomes_one_error_with_its_reason(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = model / "graph/HCLG.fst"
    graph.write_bytes(graph.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"cannot load this model.*Read failed"):
        VoskEngine.load(model, Language.MANDARIN)
    (model / "conf/mfcc.conf").write_text("--no-such-option=3\n")
    with pytest.raises(ModelError, match=r"cannot load this model"):
        VoskEngine.load(model, Language.MANDARIN)
    assert capfd.readouterr().err == ""


def test_features_that_do_not_fit_the_network_are_an_error(model: Path) -> None:
    (model / "conf/mfcc.conf").write_text("--sample-frequency=8000\n--num-ceps=13\n")
    with pytest.raises(ModelError, match="cannot load"):
        VoskEngine.load(model, Language.MANDARIN)


def test_directories_that_are_none(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelError, match=r"no such model directory.*config/kapok\.yaml"):
        check_vosk_directory(tmp_path / "nothing")
    with pytest.raises(ModelError, match="this is a file"):
        check_vosk_directory(model / "conf/mfcc.conf")
    with pytest.raises(ModelError, match=f"one level deeper; name {model}"):
        check_vosk_directory(tmp_path)


def test_the_layout_of_official_small_models(model: Path) -> None:
    # vosk-model-small-cn-0.22: lookahead graphs, words inside Gr.fst, i-vectors, 16 kHz by default
    graph = model / "graph/HCLG.fst"
    shutil.copy(graph, model / "graph/HCLr.fst")
    (model / "graph/Gr.fst").write_bytes(graph_with_words(graph))
    (model / "graph/disambig_tid.int").write_text("900\n")
    (model / "graph/phones").mkdir()
    (model / "graph/phones/word_boundary.int").write_text("1 nonword\n")
    (model / "conf/mfcc.conf").write_text("--use-energy=false # as Kaldi writes it\n")
    graph.unlink()
    (model / "graph/words.txt").unlink()
    (model / "ivector").mkdir()
    (model / "ivector/final.ie").write_bytes(b"\0B")
    with pytest.raises(ModelError, match=r"splice.conf: missing \(ivector/final.ie needs it\)"):
        check_vosk_directory(model)
    for name in ("splice.conf", "online_cmvn.conf", "final.mat", "global_cmvn.stats", "final.dubm"):
        (model / "ivector" / name).write_bytes(b"x")
    directory = check_vosk_directory(model)
    assert directory.rate_hz == 16000
    assert directory.word_boundaries
    assert directory.runtime_grammar
    (model / "graph/disambig_tid.int").unlink()
    with pytest.raises(ModelError, match=r"disambig_tid\.int: missing"):
        check_vosk_directory(model)


def test_the_old_flat_layout_loads(model: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("am/final.mdl", "conf/mfcc.conf", "graph/HCLG.fst", "graph/words.txt"):
        shutil.copy(model / name, flat)
    assert check_vosk_directory(flat).rate_hz == 8000
    assert VoskEngine.load(flat, Language.MANDARIN).rate_hz == 8000
    (flat / "words.txt").unlink()
    with pytest.raises(ModelError, match=r"words\.txt: missing"):
        check_vosk_directory(flat)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(
        ["am/final.mdl", "conf/mfcc.conf", "conf/model.conf", "graph/HCLG.fst", "model.json"]
    ),
    content=st.binary(max_size=80) | st.text(max_size=40).map(str.encode),
)
def test_random_contents_pass_or_raise_a_model_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    model = tmp_path / "m"
    shutil.rmtree(model, ignore_errors=True)
    write_tone_model(model, MANDARIN_WORDS)
    (model / name).write_bytes(content)
    for check in (check_vosk_directory, read_card):
        _passes_or_names(check, model)


def _passes_or_names(check: Callable[[Path], object], model: Path) -> None:
    try:
        check(model)
    except ModelError as error:
        message = str(error)
    else:
        message = str(model)
    assert str(model) in message


CARD = {
    "name": "kapok-yue",
    "language": "yue",
    "version": "1",
    "source": "trained by training/",
    "licence": "CC BY-SA 4.0",
    "rate_hz": 8000,
    "trained": {"updates": 12_000, "minutes": 86.0},
    "parameters": 2_000_000,
    "units": 167,
    "accuracy": {"dev": {"base_syllable_error": 0.41}},
}


def test_cards_tell_source_licence_and_accuracy(model: Path) -> None:
    assert model_id(model) == "cmn"
    (model / "model.json").write_text(json.dumps(CARD))
    card = read_card(model)
    assert card.language is Language.CANTONESE
    assert card.accuracy["dev"]["base_syllable_error"] == 0.41
    assert model_id(model) == "kapok-yue 1"


def test_a_broken_card_names_the_key(model: Path) -> None:
    (model / "model.json").write_text(json.dumps(CARD | {"language": "klingon"}))
    with pytest.raises(ModelError, match=r"model.json: language: .*mend it"):
        read_card(model)


def test_installed_models_are_listed_broken_ones_with_their_problem(
    model: Path, tmp_path: Path
) -> None:
    good = write_tone_model(tmp_path / "yue", MANDARIN_WORDS)
    (good / "model.json").write_text(json.dumps(CARD))
    (model / "graph/words.txt").unlink()
    outside = write_tone_model(tmp_path / "elsewhere/special", MANDARIN_WORDS)
    first, second, third, fourth = installed_models(
        tmp_path, also={Language.MANDARIN: model, Language.CANTONESE: outside}
    )
    assert (first.name, first.language) == ("cmn", Language.MANDARIN)
    assert "words.txt" in str(first.problem)
    assert (second.name, "one level deeper" in str(second.problem)) == ("elsewhere", True)
    assert (third.name, third.language, third.problem) == ("special", Language.CANTONESE, None)
    assert (fourth.name, fourth.rate_hz) == ("kapok-yue", 8000)
    assert fourth.size_bytes == sum(f.stat().st_size for f in good.rglob("*") if f.is_file())
    assert fourth.as_json()["accuracy"] == CARD["accuracy"]


def test_no_models_directory_is_no_models(tmp_path: Path) -> None:
    assert installed_models(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("content", "told"), [("ȃ 买\n".encode("gb18030"), "not UTF-8"), (b"", "empty")]
)
def test_a_list_of_units_that_cannot_be_read_is_one_error(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "units.txt").write_bytes(content)
    with pytest.raises(ModelError, match=rf"units\.txt: .*{told}.*copy the whole model"):
        read_units(tmp_path)


def test_the_units_of_a_model_by_number(tmp_path: Path) -> None:
    (tmp_path / "units.txt").write_text("b\na1\nsil\n", "utf-8")
    assert read_units(tmp_path) == ("b", "a1", "sil")
