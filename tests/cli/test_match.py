"""``ivr match``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli.match import command
from ivr.errors import IvrError

QUEUES = """
default_queue: general
person: {key: "0", phrases: {cmn: [转人工], yue: [揾人听]}}
queues:
  - id: social_security
    name: {cmn: 社会保障, yue: 社会保障, en: Social security}
    agents: 1
    hours: 24x7
    phrases:
      cmn: [查社保, 社保卡丢了, 养老金没到账, 医保报销, 失业金怎么领]
      yue: [查吓社保, 社保卡唔见咗, 养老金未到数, 医保点样报销, 失业金点攞]
  - id: general
    name: {cmn: 综合, yue: 综合, en: General}
    agents: 1
    hours: 24x7
    phrases:
      cmn: [小学报名, 医院挂号, 公交车不来, 停水了, 结婚登记]
      yue: [细路读小学, 医院挂号, 巴士唔嚟, 停水, 结婚登记点预约]
"""


@pytest.fixture
def queues(tmp_path: Path) -> Path:
    path = tmp_path / "queues.yaml"
    path.write_text(QUEUES, encoding="utf-8")
    return path


def _run(queues: Path, *args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(command, ["--queues", str(queues), *args], input=stdin)


def test_json_has_exactly_the_promised_keys(queues: Path) -> None:
    result = _run(queues, "--language", "cmn", "--json", "我想查社保")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert list(found) == ["text", "queue", "confidence", "decision", "candidates"]
    assert found["text"] == "我想查社保"
    assert found["queue"] == "social_security"
    assert list(found["candidates"][0]) == ["queue", "confidence", "phrase"]


def test_each_argument_is_an_utterance(queues: Path) -> None:
    result = _run(queues, "--language", "yue", "--json", "查社保", "停水", "揾人听")
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [f["queue"] for f in found] == ["social_security", "general", None]
    assert found[2]["decision"] == "person"


def test_lines_of_standard_input_are_utterances(queues: Path) -> None:
    result = _run(queues, "--language", "cmn", "--json", stdin="查社保\n\n  停水了 \r\n")
    assert [json.loads(line)["text"] for line in result.output.splitlines()] == ["查社保", "停水了"]


def test_table_names_the_queue(queues: Path) -> None:
    result = _run(queues, "--language", "cmn", "查社保")
    assert result.exit_code == 0
    assert "社会保障" in result.output
    assert "decision" in result.output


def test_a_language_is_needed(queues: Path) -> None:
    assert _run(queues, "查社保").exit_code == 2


def test_bytes_that_are_no_text_are_one_clear_error(queues: Path) -> None:
    result = _run(queues, "--language", "cmn", "--json", stdin="查社保".encode("gb18030"))
    assert isinstance(result.exception, IvrError)
    assert "line 1: not UTF-8" in str(result.exception)


def test_a_missing_catalogue_is_one_clear_error(tmp_path: Path) -> None:
    result = _run(tmp_path / "none.yaml", "--language", "cmn", "查社保")
    assert isinstance(result.exception, IvrError)
