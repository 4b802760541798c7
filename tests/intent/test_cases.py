"""Files of utterances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.intent.cases import OFF_TOPIC, decided, judge, read_cases
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, load_catalogue

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(ROOT / "config/queues.yaml")


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_table(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(
        tmp_path,
        "calls.csv",
        "# a comment\ntext,language,expected\n我想查社保,cmn,social_security\n"
        "揾人听,yue,person\n火烛呀,yue,emergency:119\n食咗饭未,yue,\n",
    )
    cases = read_cases(path, catalogue)
    assert [c.expected for c in cases] == ["social_security", "person", "emergency:119", OFF_TOPIC]
    assert [c.language for c in cases] == ["cmn", "yue", "yue", "yue"]
    assert cases[0].where == f"{path}:3"
    matcher = Matcher(catalogue)
    assert [decided(judge(matcher, c)) for c in cases[:3]] == [c.expected for c in cases[:3]]


def test_labels_may_name_a_queue_of_any_catalogue(tmp_path: Path, catalogue: Catalogue) -> None:
    general = catalogue.queue("general").model_copy(update={"id": "sports"})
    edited = catalogue.model_copy(update={"queues": (*catalogue.queues, general)})
    path = write(tmp_path, "new.csv", "text,language,expected\n我想订个羽毛球场,cmn,sports\n")
    (case,) = read_cases(path, catalogue, edited)
    assert case.expected == "sports"
    with pytest.raises(ConfigError, match=r"new.csv:2: 'sports' is no queue"):
        read_cases(path, catalogue)


def test_what_replay_prints_has_no_labels(tmp_path: Path, catalogue: Catalogue) -> None:
    said = {
        "file": "a.wav",
        "language": "yue",
        "text": "查社保",
        "queue": "general",
        "decision": "route",
    }
    path = write(tmp_path, "calls.jsonl", json.dumps(said) + "\n")
    (case,) = read_cases(path, catalogue)
    assert (case.text, case.expected) == ("查社保", None)


def test_plain_text_needs_a_language(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(tmp_path, "calls.txt", "我想查社保\n\n我要报警\n")
    with pytest.raises(ConfigError, match=r"calls.txt:1: language is None; write cmn or yue"):
        read_cases(path, catalogue)
    assert len(read_cases(path, catalogue, language=Language.MANDARIN)) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "words\nx\n", r"a.csv:1: no column 'text'"),
        ("a.csv", "text,language,expected\nx,cmn,nowhere\n", r"a.csv:2: 'nowhere' is no queue"),
        ("a.csv", "text,language\nx,eng\n", r"a.csv:2: language is 'eng'"),
        ("a.jsonl", "{\n", r"a.jsonl:1: not JSON"),
        ("a.jsonl", "[1]\n", r"a.jsonl:1: not a JSON object"),
        ("a.txt", "", r"a.txt: holds no utterance"),
        ("a.doc", "x", r"a.doc: a file of cases ends in"),
    ],
)
def test_a_fault_has_its_line(
    tmp_path: Path, catalogue: Catalogue, name: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_cases(write(tmp_path, name, text), catalogue)


def test_other_encodings_are_named(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "a.csv").write_bytes("text\n社保\n".encode("gb18030"))
    with pytest.raises(ConfigError, match="iconv"):
        read_cases(tmp_path / "a.csv", catalogue)
    with pytest.raises(ConfigError, match="no such file"):
        read_cases(tmp_path / "b.csv", catalogue)


@given(text=st.text(max_size=80), name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.txt"]))
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue, text: str, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = read_cases(path, catalogue, language=Language.CANTONESE)
    except ConfigError:
        return
    assert all(isinstance(case.text, str) for case in found)
