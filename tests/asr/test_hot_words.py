"""Words added to the models that come with Kapok, heard in the fixtures; the graph by itself."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tone_model import CANTONESE_WORDS, write_tone_model

from ivr.asr.factory import EngineFactory
from ivr.asr.graph import Graph
from ivr.asr.hot_words import COST, add_hot_words, spell, supports_hot_words
from ivr.audio.files import read_audio
from ivr.errors import ModelError
from ivr.intent.sounds import plain
from ivr.language import Language

ROOT = Path(__file__).parents[2]
CMN, YUE = Language.MANDARIN, Language.CANTONESE
#: What a fixture says and the plain model mishears.
MISHEARD = [
    (CMN, "cmn_consumer_rights_004.wav", "餐厅结账"),
    (YUE, "yue_consumer_rights_003.wav", "嘅面包畀"),
]


def hear(language: Language, file: str, *hot_words: str) -> str:
    factory = EngineFactory(hot_words=hot_words)
    recogniser = factory.load("vosk", ROOT / "models" / language, language).recogniser()
    recogniser.accept(read_audio(ROOT / "audio_fixtures" / file, rate_hz=8000).pcm)
    return recogniser.finish().text


@pytest.mark.parametrize(("language", "file", "word"), MISHEARD)
def test_a_new_word_is_heard_at_once(language: Language, file: str, word: str) -> None:
    assert word not in hear(language, file)
    assert word in hear(language, file, word)


def test_other_words_do_not_change_what_is_heard() -> None:
    file = "cmn_consumer_rights_001.wav"
    assert hear(CMN, file, "十五运会", "穗好办") == hear(CMN, file)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph.read(ROOT / "models/cmn/graph/HCLG.fst")


def walk(graph: Graph, start: int, unit: int) -> list[np.void]:
    state = graph.states[start]
    arcs = graph.arcs[int(state["at"]) : int(state["at"]) + int(state["arcs"])]
    return [arc for arc in arcs if arc["input"] == 2 * (unit + 1)]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 190), min_size=1, max_size=6), min_size=1, max_size=4),
)
def test_every_new_path_leads_from_the_middle_back_to_it(
    graph: Graph, words: list[list[int]]
) -> None:
    home = graph.between_words()
    numbered = [(900_000 + n, labels) for n, labels in enumerate(words)]
    longer = graph.with_words(numbered, cost=COST)
    for n, labels in enumerate(words):
        (arc,) = (a for a in walk(longer, home, labels[0]) if a["output"] == 900_000 + n)
        cost = float(arc["cost"])
        for following in [*labels[1:], None]:
            sounding = longer.states[arc["to"]]
            loop, out = longer.arcs[int(sounding["at"]) : int(sounding["at"]) + 2]
            assert loop["to"] == arc["to"]
            assert (out["input"], out["output"]) == (0, 0)
            if following is None:
                assert out["to"] == home
            else:
                (arc,) = walk(longer, int(out["to"]), following)
        assert cost == COST
    # All that was there is there, in the same order.
    state, before = longer.states[home], graph.states[home]
    assert state["arcs"] == before["arcs"] + len(words)
    last, was = longer.states[len(graph.states) - 1], graph.states[-1]
    old = graph.arcs[int(was["at"]) : int(was["at"]) + int(was["arcs"])]
    new = longer.arcs[int(last["at"]) : int(last["at"]) + int(last["arcs"])]
    assert np.array_equal(old, new)
    silent = longer.arcs["input"] == 0
    assert longer.states["inputs0"].sum() == silent.sum()


def test_a_graph_is_written_as_it_was_read(graph: Graph, tmp_path: Path) -> None:
    graph.write(tmp_path / "HCLG.fst")
    again = Graph.read(tmp_path / "HCLG.fst")
    assert np.array_equal(again.arcs, graph.arcs)
    assert np.array_equal(again.states, graph.states)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=120))
def test_what_is_no_graph_is_one_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("graph") / "HCLG.fst"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="is no graph of Kapok's"):
        Graph.read(file)


def test_a_graph_cut_off_is_one_error(tmp_path: Path) -> None:
    content = (ROOT / "models/cmn/graph/HCLG.fst").read_bytes()
    (tmp_path / "HCLG.fst").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="is no graph of Kapok's"):
        Graph.read(tmp_path / "HCLG.fst")


def test_words_are_spelt_as_they_are_said() -> None:
    shipped = (ROOT / "models/cmn/units.txt").read_text("utf-8").split()
    known = list(dict.fromkeys(map(plain, shipped)))
    said = ["s", "uei4", "h", "ao3", "b", "an4"]
    assert [known[n] for n in spell("穗好办", CMN, known) or ()] == said
    assert [plain(shipped[n]) for n in spell("穗好办", CMN, shipped) or ()] == said
    assert spell("wifi", CMN, known) is None
    assert spell("穗好办", CMN, ["<blk>", "s"]) is None
    finer = ["<blk>", "s", "s_u", "d_uei4", "uei4", "h_a", "g_ao3", "p_an4", "b", "an4"]
    assert [finer[n] for n in spell("穗好办", CMN, finer) or ()] == [
        "s_u", "d_uei4", "h_a", "g_ao3", "b", "p_an4",
    ]  # fmt: skip


def test_the_model_lies_beside_with_links(tmp_path: Path) -> None:
    model, out = ROOT / "models/yue", tmp_path / "yue"
    assert add_hot_words(model, ["穗好办", "A座", "穗好办"], YUE, out) == ("A座",)
    words = (out / "graph/words.txt").read_text("utf-8").splitlines()
    assert words[-1].startswith("穗好办 ")
    numbers = [int(line.split()[1]) for line in words]
    assert len(set(numbers)) == len(numbers)
    assert (out / "am/final.mdl").read_bytes() == (model / "am/final.mdl").read_bytes()
    assert supports_hot_words(out)


def test_other_models_go_on_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tone_model(tmp_path / "yue", CANTONESE_WORDS)
    with caplog.at_level(logging.WARNING):
        EngineFactory(hot_words=["穗好办"]).load("vosk", path, YUE)
    assert "hot words cannot be added to this model" in caplog.text
    with pytest.raises(ModelError, match=r"has no units\.txt"):
        add_hot_words(path, ["穗好办"], YUE, tmp_path / "out")


def test_what_cannot_be_spelt_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tmp_path / "yue"
    shutil.copytree(ROOT / "models/yue", model)
    (model / "units.txt").write_text("<blk>\nm4\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        EngineFactory(hot_words=["穗好办"]).load("vosk", model, YUE)
    assert "cannot spell 穗好办" in caplog.text
