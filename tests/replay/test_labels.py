from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.language import Language
from ivr.replay.client import Result
from ivr.replay.labels import Kind, Label, is_right, load_labels

HEAD = "file,language,kind,queue,text,speech_end_s,emergency\n"


def result(decision: str, queue: str | None = None, emergency: str | None = None) -> Result:
    return Result(Path("a.wav"), "cmn", "x", queue, 0.9, decision, 1.0, (), emergency, ())


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_found_by_their_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEAD + "in/a.wav,yue,speech,general,我想查吓,1.25,\nb.wav,,silence,,,,\n"
        "c.wav,cmn,emergency,,着火了,2,119\n",
    )
    labels = load_labels(path)
    assert labels[tmp_path / "in" / ".." / "in" / "a.wav"] == Label(
        "in/a.wav", Kind.SPEECH, Language.CANTONESE, "general", "我想查吓", "", 1.25, None
    )
    assert labels[tmp_path / "b.wav"] == Label("b.wav", Kind.SILENCE)
    emergency = labels[tmp_path / "c.wav"]
    assert emergency is not None
    assert emergency.emergency == "119"
    assert labels[tmp_path / "d.wav"] is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("file,queue\n", r"labels\.csv:1: no column kind"),
        ("", "no column file and kind"),
        (HEAD + "a.wav,yue,song,,,,\n", r"csv:2: kind 'song' is not known; use one of speech"),
        (HEAD + "a.wav,eng,speech,general,,,\n", "language 'eng' is not known; use one of cmn"),
        (HEAD + "a.wav,yue,speech,,,,\n", "speech without a queue"),
        (HEAD + ",yue,speech,general,,,\n", "no file is named"),
        (HEAD + "a.wav,yue,noise,,,soon,\n", "speech_end_s 'soon' is not a number"),
        (HEAD + "a.wav,yue,noise,,,nan,\n", "speech_end_s 'nan' is not a number"),
        (HEAD + "a.wav,cmn,emergency,,,,\n", "csv:2: emergency without a number; write 110, 119"),
        (HEAD + "a.wav,cmn,emergency,,,,911\n", "emergency '911' is not known; use one of 110"),
        (
            HEAD + "a.wav,yue,speech,general,社保,点解,2.5,\n",
            "csv:2: more values than columns; put text with commas in quotation marks",
        ),
        (HEAD + "a.wav,,noise,,,,\n./a.wav,,noise,,,,\n", r"csv:3: \./a\.wav is here twice"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_labels(write(tmp_path, text))


def test_a_queue_that_is_none_is_refused_where_queues_are_known(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "a.wav,yue,speech,socal_security,,,\nb.wav,,noise,-,,,\n")
    with pytest.raises(
        ConfigError, match=r"csv:2: queue 'socal_security' is not known; use one of general, soc"
    ):
        load_labels(path, queues=["social_security", "general"])
    assert len(load_labels(path).by_file) == 2  # of a server elsewhere


def test_rows_astray_are_of_files_that_should_be_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "in/b.wav", "in/c.txt"):
        (tmp_path / name).touch()
    long = "x" * 300 + ".wav"
    rows = "".join(f"{name},,noise,,,,\n" for name in ("a.wav", "in/b.wav", "in/c.txt", long))
    path = write(tmp_path, HEAD + rows)
    labels = load_labels(path)
    a, b = tmp_path / "a.wav", tmp_path / "in" / "b.wav"
    missing = f"{path}:5 {long}"
    assert labels.astray([a], []) == [missing]  # b and c were not asked for
    assert labels.astray([b], [tmp_path / "in"]) == [f"{path}:4 in/c.txt", missing]
    assert labels.astray([a, b], [tmp_path]) == [f"{path}:4 in/c.txt", missing]


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_labels(tmp_path / "none.csv")


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"file,kind\n\xff\xfe,noise\n")
    with pytest.raises(ConfigError, match="not a CSV file in UTF-8"):
        load_labels(path)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(HEAD + text.replace("\ud800", ""), encoding="utf-8", errors="replace")
    with suppress(ConfigError):
        assert all(label.kind in Kind for label in load_labels(path).by_file.values())


@pytest.mark.parametrize(
    ("label", "right", "wrong"),
    [
        (
            Label("a", Kind.SPEECH, queue="general"),
            [result("route", "general"), result("confirm", "general")],
            [result("route", "other"), result("ask_again"), result("person")],
        ),
        (
            Label("a", Kind.OFF_TOPIC),
            [result("ask_again")],
            [result("route", "general"), result("confirm", "general"), result("person")],
        ),
        (Label("a", Kind.SILENCE), [result("ask_again")], [result("person")]),
        (Label("a", Kind.NOISE), [result("ask_again")], [result("emergency", emergency="110")]),
        (Label("a", Kind.PERSON), [result("person")], [result("ask_again")]),
        (
            Label("a", Kind.EMERGENCY, emergency="119"),
            [result("emergency", emergency="119")],
            [result("emergency", emergency="110"), result("route", "general")],
        ),
    ],
)
def test_what_is_right(label: Label, right: list[Result], wrong: list[Result]) -> None:
    assert all(is_right(label, given) for given in right)
    assert not any(is_right(label, given) for given in wrong)
