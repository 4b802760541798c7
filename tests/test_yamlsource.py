"""YAML with places: what is read, what is refused, and where the fault is said to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from ivr.errors import ConfigError
from ivr.yamlsource import (
    FaultsError,
    Place,
    did_you_mean,
    parse_yaml,
    read_yaml,
    validate,
)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)
    name: str = Field(examples=["name: 木棉"])
    agents: int = Field(default=1, strict=True, examples=["agents: 12"])


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    entries: tuple[_Entry, ...]
    words: dict[str, str] = {}


def faults_of(text: str) -> FaultsError:
    with pytest.raises(FaultsError) as caught:
        validate(_Document, parse_yaml(text, name="f.yaml"))
    return caught.value


def only_fault(text: str) -> str:
    (line,) = str(faults_of(text)).splitlines()
    return line


def test_values_keys_and_entries_have_their_places():
    source = parse_yaml("a:\n  - x\n  - {b: 木棉, c: 2}\n", name="f")
    assert source.data == {"a": ["x", {"b": "木棉", "c": 2}]}
    assert source.value_place(("a", 1, "b")) == Place(3, 9)
    assert source.key_place(("a", 1, "c")) == Place(3, 13)
    assert source.value_place(("a", 1, "nowhere", 7)) == Place(3, 5)
    assert source.get(("a", 1, "c")) == 2
    assert source.get(("a", 5)) is None


def test_keys_are_text_as_written():
    assert parse_yaml("110: a\non: b\n24x7: c", name="f").data == {
        "110": "a",
        "on": "b",
        "24x7": "c",
    }


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "1:1", "empty"),
        ("# only a remark\n", "1:1", "empty"),
        ("a:\n\tb: 1", "2:1", "a tab"),
        ("a: 1\nb: [1, 2\nc: 3", "3:2", "not closed"),
        ('a: 1\nb: "open\nc: 3\n', "2:4", "never closed"),
        ("a: b: c", "1:5", "':' where no key can stand"),
        ("a:\n  - 1\n b: 2", "3:2", "does not fit the lines above"),
        ("a: @x", "1:4", "a sign that has a meaning"),
        ("a: 1\n---\nb: 2", "2:1", "second document"),
        ("a: &x 1\nb: *x", "1:4", "'&' begins an anchor"),
        ("a: *x", "1:4", "'*' begins an alias"),
        ("a: *紧急", "1:5", "text begins with '*'"),
        ("id：社保\nb: 1", "1:3", "a Chinese colon"),
        ("a: \x01", "1:4", "U+0001"),
        ('a: "\\U00110000"', "1:1", "an escape"),
        ("[" * 5000, "1:21", "levels of nesting"),
        ("a: " + "{b: " * 5000, "", "levels of nesting"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text, place, what):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, name="f.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"f.yaml:{place}")
    assert what in line
    assert "; " in line  # the mend


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: 1\na: 2", "2:1", "first in line 1"),
        ("a: !!python/object/apply:os.system [echo]", "1:4", "tag"),
        ("a: !!binary aGVsbG8=", "1:4", "tag"),
        ("<<: {a: 1}", "1:1", "a key must be one word"),
        ("? [a, b]\n: 1", "1:3", "a key must be one word"),
        ('a: "x\\ty"', "1:4", "control character"),
        ('a: "\\ud800"', "1:4", "half a character"),
        ("a: " + "9" * 5000, "1:4", "looks like a number"),
    ],
)
def test_what_spoils_one_value_lets_the_rest_be_read(text, place, what):
    (fault,) = parse_yaml(text, name="f").faults
    assert str(fault).startswith(f"{place}: ")
    assert what in fault.what


# --- slips of the hand ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n  - 社保\n    - 查询\n    - 余额\n  - 医保\n",
            "3:5: this entry is indented further than the one above, and so a part of it; "
            "align its '-' with the one above",
        ),
        (
            "a:\n  - 社保\n    查询\n",
            "3:5: this line is read as a part of the entry above; "
            "begin it with '- ', aligned with the '-' above",
        ),
        (
            "a: [社保,\n  查询\n  余额]\n",
            "3:3: this line is read as a part of the entry above; "
            "put a comma between the two, or write the entry in one line",
        ),
        (
            'a:\n  - "社保\n  - 查询"\n',
            "2:5: quotation marks open here and are closed only in line 3; "
            "close them at the end of the text, with the same plain sign and in the same line",
        ),
        (
            "a:\n  - id: 1\n    b: 2\n    c: 3\n    id: 4\n    b: 5\n    c: 6\n",
            "5:5: the key 'id' is here twice, first in line 2; "
            "begin a new entry with '- id:', or delete one of the two",
        ),
        (
            "a:\n  - id: 1\n    b: 2\n    b: 3\n",
            "4:5: the key 'b' is here twice, first in line 3; delete one of the two",
        ),
    ],
)
def test_lines_that_run_into_one_another_are_told_once(text: str, expected: str):
    (fault,) = parse_yaml(text, name="f").faults
    assert str(fault) == expected


def test_entries_that_ran_into_one_another_are_still_counted():
    source = parse_yaml("a:\n  - 社保\n    - 查询\n    余额\n", name="f")
    assert source.data == {"a": ["社保", "查询", "余额"]}
    assert source.value_place(("a", 1)) == Place(3, 5)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a:\n  - 社保\n  查询\n  - 医保\n", "3:3", "neither begins an entry"),
        ("a:\n  - id: 1\n    b: 2\n  id: 3\n    b: 4\n", "4:3", "neither begins an entry"),
        ("t:\n  route 0.8\n  confirm: 0.3\n", "2:3", "a key without ':'"),
        ('a:\n  - "社保"查询\n  - x\n', "2:9", "text stands after the closing quotation mark"),
        ("a:\n  - x\n  － y\n  - z\n", "3:3", "'－' is not the '-' that begins an entry"),
        ("a:\n  - x\n  -\xa0y\n  - z\n", "3:3", "no plain space stands after '-'"),
        ("a:\n  - x\n　　- y\n  - z\nb: 1\n", "3:1", "a space that is not the plain one (U+3000)"),
        ("a:\n　　b: 1\n", "2:1", "a space that is not the plain one (U+3000)"),
        ("a:\n  b：\n    - x\n  c:\n    - y\n", "2:4", "a Chinese colon"),
        ("a:\n  b:1\n  c: 2\n", "2:4", "no plain space stands after ':'"),
        ("a: { b: 木， c: 棉 }\n", "1:10", "a Chinese '，' stands among the brackets"),
        # two slips: the first is told
        ('a:\n  - "社保\n  - x\n  -y\n  - z\nb: "0"\n', "2:5", "quotation marks open here"),
        ("a:\n  - x\n  -y\n  -z\nb：1\nc: 2\n", "3:3", "no plain space stands after '-'"),
        # numbers and folded text are no slips
        ("a: -5\nb:\n  -5\nc: d: e\n", "4:5", "':' where no key can stand"),
        ("a: >\n  -x\n  ：y\nb: c: d\n", "4:5", "':' where no key can stand"),
        ("-5: a: b\n", "1:6", "':' where no key can stand"),
        ("http://x: a: b\n", "1:12", "':' where no key can stand"),
    ],
)
def test_where_the_fault_is_said_to_be(text: str, place: str, what: str):
    (line,) = told(lambda: parse_yaml(text, name="f"))
    assert line.startswith(f"f:{place}: ")
    assert what in line


def test_folded_text_outside_of_a_list_is_read():
    source = parse_yaml("a: one\n  two\nb:\n  - >\n    three\n    four\n", name="f")
    assert source.data == {"a": "one two", "b": ["three four\n"]}
    assert not source.faults


def test_nothing_is_run_by_a_tag(tmp_path: Path):
    mark = tmp_path / "ran"
    text = f"a: !!python/object/apply:os.mkdir ['{mark}']"
    assert parse_yaml(text, name="f").faults
    assert not mark.exists()


def test_a_billion_laughs_are_refused_at_once():
    lines = ["a: &a [x, x]"] + [
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    with pytest.raises(ConfigError, match="anchor"):
        parse_yaml("\n".join(lines), name="f")


def test_too_long_a_file_is_refused():
    with pytest.raises(ConfigError, match="longer than"):
        parse_yaml("a: " + "x" * 3_000_000, name="f")


# --- files ----------------------------------------------------------------------------------


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def test_utf8_is_read_with_and_without_byte_order_mark(tmp_path: Path):
    for codec in ("utf-8", "utf-8-sig"):
        path = write(tmp_path / "f.yaml", "a: 社保\n".encode(codec))
        assert read_yaml(path).data == {"a": "社保"}


@pytest.mark.parametrize(
    ("raw", "place", "what"),
    [
        ("a: 1\nb: 社保查询\n".encode("gbk"), "2:4", "GBK"),
        ("a: 社保\n".encode("utf-16"), "1:1", "UTF-16"),
        (b"a: \xff\xff\xff", "1:4", "damaged"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, raw: bytes, place: str, what: str):
    path = write(tmp_path / "f.yaml", raw)
    with pytest.raises(ConfigError, match=what) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert "UTF-8" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="a directory"):
        read_yaml(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml("f\0.yaml")


# --- schema ---------------------------------------------------------------------------------


def test_valid_data_become_the_model():
    document = validate(_Document, parse_yaml("entries: [{name: 综合, agents: 3}]", name="f"))
    assert document.entries[0].agents == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "entries:\n  - name: a\n    agent: 3",
            "f.yaml:3:5: unknown key 'agent'; did you mean 'agents'?",
        ),
        (
            "entries:\n  - name: a\n    colour: 3",
            "f.yaml:3:5: unknown key 'colour'; the keys here are name, agents",
        ),
        (
            "entries:\n  - agents: 3",
            "f.yaml:2:5: the key 'name' is missing; add 'name: 木棉'",
        ),
        (
            "entries:\n  - nam: a",
            "f.yaml:2:5: unknown key 'nam'; did you mean 'name'?",
        ),
        (
            "entries:\n  - name: 0",
            "f.yaml:2:11: text is needed here, not the number '0'; "
            'put it in quotation marks: "0"',
        ),
        (
            "entries:\n  - name: 'a'\n    agents: many",
            "f.yaml:3:13: a whole number is needed here, not 'many'; for example 'agents: 12'",
        ),
        (
            "entries:\n  - name:",
            "f.yaml:2:10: text is needed here, not nothing; fill it in, for example 'name: 木棉'",
        ),
        (
            "entries: [{name：a, agents: 3}]",
            "f.yaml:1:12: unknown key 'name：a'; write a plain ':' and a space after 'name'",
        ),
        (
            "entries: none",
            "f.yaml:1:10: a list is needed here, not 'none'; "
            "write each entry in a line of its own that begins with '- '",
        ),
        (
            "entries:\n  - name：a",
            "f.yaml:2:5: a group of keys is needed here, not 'name：a'; "
            "write ':' and a space instead of the Chinese colon '：'",
        ),
    ],
)
def test_schema_faults_name_line_column_and_mend(text: str, line: str):
    assert only_fault(text) == line


def test_all_faults_are_told_in_the_order_of_the_file():
    text = "entries:\n  - name: yes\n  - agents: x\nentries: 1\nwords: {a: 1}\nmore: 2"
    lines = str(faults_of(text)).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "3", "4", "5", "6"]


def test_did_you_mean_lists_the_words_where_none_is_near():
    assert did_you_mean("agnets", ["agents", "hours"]) == "did you mean 'agents'?"
    assert did_you_mean("xyz", ["agents", "hours"]) == "the keys here are agents, hours"


# --- properties -----------------------------------------------------------------------------


def told(read: Callable[[], object]) -> list[str]:
    """The lines of the error that ``read`` raises, none where it raises none."""
    try:
        read()
    except ConfigError as error:
        str(error).encode()  # can be shown
        return str(error).split("\n")
    return []


yamlish = st.text(
    alphabet=st.sampled_from(list("ab0:- \n\t'\"[]{},#&*!|>%@`?~.\\ux：木\x85\u2028")), max_size=60
)


@given(st.one_of(st.text(max_size=60), yamlish))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused_by_one_error(text: str):
    lines = told(lambda: validate(_Document, parse_yaml(text, name="f")))
    assert all(line.startswith("f:") for line in lines)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused_by_one_error(tmp_path_factory, raw: bytes):
    path = write(tmp_path_factory.getbasetemp() / "bytes.yaml", raw)
    assert all(line.startswith(f"{path}:") for line in told(lambda: read_yaml(path)))


plain = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.none(), st.text("ab木0:'\"# -", max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("ab木", min_size=1, max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab木", min_size=1, max_size=3), plain, min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_plain_data_survive_and_every_place_is_right(data: dict[str, object]):
    text = yaml.safe_dump(data, allow_unicode=True)
    source = parse_yaml(text, name="f")
    assert source.data == data
    lines = text.split("\n")
    for path, place in source.keys.items():
        key = str(path[-1])
        assert key in lines[place.line - 1][place.column - 1 :]
