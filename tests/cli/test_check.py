"""``ivr check`` as an operator and as a script see it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.asr.joint_decoding import JointDecoder
from ivr.cli.check import command
from ivr.errors import ModelError
from ivr.language import Language

ROOT = Path(__file__).parents[2]
QUEUES = ROOT / "config" / "queues.yaml"


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The real file with an id given twice and a misspelt key."""
    text = QUEUES.read_text(encoding="utf-8")
    text = text.replace("- id: public_security", "- id: general").replace("agents: 40", "agent: 40")
    path = tmp_path / "queues.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_real_file_is_ok():
    result = check(QUEUES)
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith(f"OK {QUEUES}")
    # what is said about the file is true: 入学 and 入户 do sound nearly alike
    assert all("nearly sounds like" in line for line in result.stderr.splitlines())
    for word in ("consumer_rights", "general (default)", "城管公积金", "24x7", "person: key 0"):
        assert word in result.stdout


def test_without_a_path_the_file_of_the_settings_is_checked():
    result = check("--config", ROOT / "config" / "kapok.yaml")
    assert result.exit_code == 0
    assert f"OK {QUEUES}" in result.stdout


def test_faults_come_one_a_line_with_exit_status_1(broken: Path):
    result = check(broken)
    assert result.exit_code == 1
    assert result.stdout == ""
    first, second, count = result.stderr.splitlines()
    assert first.startswith(f"{broken}:")
    assert "the id 'general' is here twice" in first + second
    assert "unknown key 'agent'; did you mean 'agents'?" in first + second
    assert count == "2 errors"


def test_json_of_a_good_file():
    result = check(QUEUES, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer["ok"] is True
    assert answer["errors"] == []
    assert all("nearly sounds like" in warning for warning in answer["warnings"])
    queues = {queue["id"]: queue for queue in answer["queues"]}
    assert queues["enterprise_services"]["hours"] == "mon-fri 08:30-18:00"
    assert min(queues["general"]["phrases"].values()) >= 40


def test_json_of_a_broken_file(broken: Path):
    result = check(broken, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["ok"] is False
    lines = broken.read_text(encoding="utf-8").splitlines()
    for error in answer["errors"]:
        pointed = lines[error["line"] - 1][error["column"] - 1 :]
        assert pointed.startswith(("general", "agent"))
        assert error["mend"]


def test_few_phrases_are_a_warning(tmp_path: Path):
    text = QUEUES.read_text(encoding="utf-8").replace("phrase_folder: phrases\n", "")
    head, tail = (
        text[: text.index("  - id: enterprise_services")],
        text[text.index("  - id: enter") :],
    )
    lines = tail.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.strip() == "cmn:") + 1
    path = tmp_path / "queues.yaml"
    path.write_text(head + "".join(lines[:start] + lines[start + 40 :]), encoding="utf-8")
    result = check(path)
    assert result.exit_code == 0
    assert "warning: queue enterprise_services has 13 phrases in cmn" in result.stderr
    assert "OK" in result.stdout


def test_a_missing_file_is_one_line(tmp_path: Path):
    result = check(tmp_path / "queues.yaml")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    answer = json.loads(check(tmp_path / "queues.yaml", "--json").stdout)
    assert "there is no such file" in answer["errors"][0]["what"]


def test_settings_can_be_checked_too(tmp_path: Path):
    path = tmp_path / "kapok.yaml"
    text = (ROOT / "config" / "kapok.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    result = check(path)
    assert result.exit_code == 0
    assert "server: 127.0.0.1:2700" in result.stdout
    assert f"warning: there is no model directory {tmp_path / 'models' / 'cmn'}" in result.stderr
    models = tmp_path / "models"
    assert f"yue: kapok {models / 'yue'}, then {models / 'second'}" in result.stdout
    assert f"warning: there is no model directory {models / 'second'}" in result.stderr
    path.write_text(text.replace("port: 2700", "port: many"), encoding="utf-8")
    result = check(path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["errors"][0]["what"].startswith("a whole number is needed")


def write_settings(folder: Path, **models: Path) -> Path:
    """A kapok.yaml with the second pass that ships behind these models."""
    second = ROOT / "models" / "second"
    rows = (f"  {k}: {{ model: {model}, second_pass: {second} }}\n" for k, model in models.items())
    path = folder / "kapok.yaml"
    path.write_text("languages:\n" + "".join(rows), encoding="utf-8")
    return path


def test_a_second_pass_that_does_not_go_with_the_models_is_an_error(tmp_path: Path):
    ours, other = ROOT / "models", tmp_path / "models" / "vosk-model-small-cn-0.22"
    other.mkdir(parents=True)
    assert check(write_settings(tmp_path, cmn=ours / "cmn", yue=ours / "yue")).exit_code == 0
    result = check(write_settings(tmp_path, cmn=other, yue=ours / "yue"))
    assert result.exit_code == 1
    assert result.stdout == ""
    with pytest.raises(ModelError) as servers:
        JointDecoder.load(ours / "second", other, Language.MANDARIN)
    assert result.stderr.splitlines() == [str(servers.value), "1 error"]
    swapped = write_settings(tmp_path, cmn=ours / "yue", yue=ours / "cmn")
    assert check(swapped).stderr.endswith("2 errors\n")
    first, second = json.loads(check(swapped, "--json").stdout)["errors"]
    assert first["what"].startswith(f"{ours / 'yue'}: {ours / 'second'} hears again what")
    assert second["what"].startswith(f"{ours / 'cmn'}: {ours / 'second'} hears again what")


def test_a_directory_without_a_second_pass_is_an_error(tmp_path: Path):
    ours, empty = ROOT / "models", tmp_path / "second"
    empty.mkdir()
    path = write_settings(tmp_path, cmn=ours / "cmn", yue=ours / "yue")
    text = path.read_text(encoding="utf-8").replace(str(ours / "second"), str(empty))
    path.write_text(text, encoding="utf-8")
    result = check(path)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{empty} holds no second pass: neither conformer.onnx, as Kapok's own has, nor "
        "tokens.txt, as SenseVoice has; get it again, or take second_pass out of "
        "config/kapok.yaml",
        "1 error",
    ]
    (empty / "tokens.txt").write_text("<blk> 0\n", encoding="utf-8")
    assert "model.onnx: missing" in check(path).stderr


@pytest.mark.parametrize(
    ("written", "shown"),
    [("0.74", "0.74"), ("0.995", "0.995"), ("{ wrong_at_most: 2% }", "0.86")],
)
def test_the_thresholds_in_force_are_shown(tmp_path: Path, written: str, shown: str):
    path = tmp_path / "queues.yaml"
    text = QUEUES.read_text(encoding="utf-8").replace("phrase_folder: phrases\n", "")
    path.write_text(re.sub(r"(?m)^  route: .*$", f"  route: {written}", text), encoding="utf-8")
    result = check(path)
    assert f"thresholds: route {shown}, confirm 0.30\n" in result.stdout
    assert "practically nobody" not in result.stderr
    answer = json.loads(check(path, "--json").stdout)
    assert answer["thresholds"] == {"route": float(shown), "confirm": 0.3}


@pytest.mark.parametrize("written", ["1.0", "0.9995", "{ wrong_at_most: 0% }"])
def test_a_threshold_that_routes_nobody_is_a_warning(tmp_path: Path, written: str):
    path = tmp_path / "queues.yaml"
    text = QUEUES.read_text(encoding="utf-8").replace("phrase_folder: phrases\n", "")
    path.write_text(re.sub(r"(?m)^  route: .*$", f"  route: {written}", text), encoding="utf-8")
    shown = "0.9995" if written == "0.9995" else "1.00"
    assert (
        f"warning: thresholds.route is {shown}: practically nobody is put through without a "
        "question; write a lower number, or a larger wrong_at_most\n"
    ) in check(path).stderr


def test_strict_minds_warnings(tmp_path: Path):
    text = QUEUES.read_text(encoding="utf-8").replace("phrase_folder: phrases\n", "")
    path = tmp_path / "queues.yaml"
    path.write_text(text, encoding="utf-8")
    assert check(path, "--strict").exit_code == 0
    # 积分入户怎么申请, of another queue, sounds nearly alike.
    text = text.replace("小孩积分入学要怎么申请", "积分入学怎么申请")
    path.write_text(text, encoding="utf-8")
    assert check(path).exit_code == 0
    assert check(path, "--strict").exit_code == 1


def test_prompts_beside_the_queues_are_checked(tmp_path: Path):
    draft = shutil.copytree(ROOT / "config", tmp_path / "draft")
    (draft / "prompts" / "yue" / "closed.wav").unlink()
    (draft / "prompts" / "cmn" / "closed.wav").write_text("no audio", encoding="utf-8")
    said = [line for line in check(draft / "queues.yaml").stderr.splitlines() if "prompts" in line]
    assert len(said) == 2
    assert f"{draft}/prompts/cmn/closed.wav: this is text, not audio; give a WAV" in said[0]
    assert f"{draft}/prompts/yue/closed.wav: is missing; record it, or run" in said[1]
    assert said[1].endswith(f"python -m scripts.make_prompts --queues {draft}/queues.yaml")


def test_a_fault_in_the_texts_of_the_prompts_is_an_error(tmp_path: Path):
    draft = shutil.copytree(ROOT / "config", tmp_path / "draft")
    (draft / "prompts" / "prompts.yaml").write_text("greetin: {cmn: 您好, yue: 你好}\n", "utf-8")
    result = check(draft / "queues.yaml")
    assert result.exit_code == 1
    assert "prompts.yaml:1:1: unknown key 'greetin'; did you mean 'greeting'" in result.stderr


def test_a_scenario_is_checked_too(tmp_path: Path) -> None:
    scenarios = Path(__file__).resolve().parents[2] / "config" / "scenarios"
    result = CliRunner().invoke(command, [str(scenarios / "city.yaml")])
    assert result.exit_code == 0, result.output
    assert "10,000 calls a day" in result.output
    assert "warning" not in result.output
    wrong = tmp_path / "wrong.yaml"
    text = (scenarios / "city.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("a_day: 10000", "a_dya: 10000"), encoding="utf-8")
    result = CliRunner().invoke(command, [str(wrong)])
    assert result.exit_code == 1
