"""``ivr diff``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli import cli
from ivr.cli._cases import load_cases, load_cases_of_each
from ivr.errors import ConfigError
from ivr.intent.cases import Case
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.queues.catalogue import parse_catalogue
from tests.queues.test_experiment import TEXT
from tests.replay.test_log_cases import Server
from tests.server import installation

YUE = Language.CANTONESE
ROOT = Path(__file__).resolve().parents[2]
QUEUES = ROOT / "config" / "queues.yaml"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, args)])


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """The queues with nothing routed without a question."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    path = tmp_path / "config" / "queues.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    edited = ["  route: 1.0" if line.startswith("  route:") else line for line in lines]
    assert edited != lines
    path.write_text("\n".join(edited) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls.csv"
    path.write_text(
        "text,language,expected\n我想攞公积金,yue,urban_housing_fund\n今天天气不错,cmn,off_topic\n",
        encoding="utf-8",
    )
    return path


def test_an_edit_that_changes_nothing(calls: Path) -> None:
    result = run(QUEUES, QUEUES, "--calls", calls)
    assert result.exit_code == 0, result.output
    assert "All 2 calls go where they went before." in result.output
    assert "Right: 100.0% before, 100.0% after" in result.output


def test_who_is_asked_after_the_edit(draft: Path, calls: Path) -> None:
    result = run(QUEUES, draft, "--calls", calls, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (moved,) = found["moved"]
    assert moved["text"] == "我想攞公积金"
    assert moved["before"].startswith("urban_housing_fund (route")
    assert moved["after"].startswith("urban_housing_fund (confirm")
    assert moved["verdict"] == "same"
    assert found["asked"] == [1, 2]


def test_what_a_server_keeps_of_its_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs by day; a recording of a call beside its log, and one of which there is no log."""
    here, folder = installation.write_installation(tmp_path / "home"), tmp_path / "calls"
    catalogue = parse_catalogue(installation.QUEUES)
    log = Server(folder, catalogue, Matcher(catalogue)).call("社保断咗", language=YUE)
    log.with_suffix(".wav").write_text("never read", encoding="utf-8")
    log.with_name("damaged.jsonl").write_text('{"seq":0,"v":9,"type":"opened"}\n', "utf-8")
    for path in (log, folder):
        (case,) = load_cases(path, catalogue, language=None, config=here.config)
        assert (case.text, case.expected) == ("社保断咗", "social_security")
    assert "damaged.jsonl is left out: a log of version 9" in capsys.readouterr().err

    installation.write_wav(folder / "other.wav", installation.speak(YUE, "我想查吓", "公积金"))
    known, heard = load_cases(folder, catalogue, language=None, config=here.config)
    assert (known.text, heard.where) == ("社保断咗", str(folder / "other.wav"))
    assert (heard.text.replace(" ", ""), heard.expected) == ("我想查吓公积金", None)


SPORTS = """
  - id: sports
    name: { cmn: 体育, yue: 体育, en: Sports }
    agents: 2
    hours: 24x7
    phrases:
      cmn: [我想订个羽毛球场, 体育馆怎么预约, 游泳池几点开门, 足球场怎么租, 健身房收费多少]
      yue: [我想订羽毛球场, 体育馆点样预约, 游泳池几点开门呀, 足球场点租, 健身房收几多钱]
"""


def test_labels_of_a_queue_that_the_edit_adds(draft: Path, tmp_path: Path) -> None:
    draft.write_text(draft.read_text(encoding="utf-8") + SPORTS, encoding="utf-8")
    calls = tmp_path / "new.csv"
    calls.write_text("text,language,expected\n我想订个羽毛球场,cmn,sports\n", encoding="utf-8")
    for old, new, accuracy in ((QUEUES, draft, [0, 1]), (draft, QUEUES, [1, 0])):
        result = run(old, new, "--calls", calls, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["accuracy"] == accuracy


def test_what_the_calls_do_not_show_is_named(draft: Path, calls: Path) -> None:
    text = QUEUES.read_text(encoding="utf-8")
    for was, now in (
        ("hours: 24x7", 'hours: { mon: "09:00-10:00" }'),
        ("agents: 80", "agents: 1"),
        ("  - 湾区通\n", ""),
    ):
        assert was in text
        text = text.replace(was, now)
    draft.write_text(text, encoding="utf-8")
    result = run(QUEUES, draft, "--calls", calls)
    assert result.exit_code == 0, result.output
    assert "All 2 calls go where they went before." in result.output
    assert (
        "Also changed, and not measured by these calls: hot_words (湾区通 → none), "
        "hours of 5 queues (24x7 → mon 09:00-10:00), agents of social_security (80 → 1)."
    ) in result.output
    found = json.loads(run(QUEUES, draft, "--calls", calls, "--json").stdout)["also_changed"]
    assert len(found) == 7
    assert found[-1] == {"what": "agents", "of": "social_security", "before": 80, "after": 1}
    same = run(QUEUES, QUEUES, "--calls", calls)
    assert "Also changed" not in same.output


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The hot words of each time that recordings are recognised; 公积金 is heard by them alone."""
    times: list[Sequence[str]] = []

    def load_speech(settings: object, *, hot_words: Sequence[str]) -> Sequence[str]:
        times.append(hot_words)
        return hot_words

    def recorded_cases(
        path: Path, speech: Sequence[str], *, recordings: Sequence[Path], **_: object
    ) -> list[Case]:
        text = "我想攞公积金" if "公积金" in speech else "今天天气不错"
        return [Case(str(name), {YUE: [(text, 1.0)]}, YUE) for name in recordings]

    monkeypatch.setattr("ivr.asr.factory.load_speech", load_speech)
    monkeypatch.setattr("ivr.replay.cases.recorded_cases", recorded_cases)
    return times


def test_recordings_are_heard_with_the_hot_words_of_each_side(
    draft: Path, tmp_path: Path, heard: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "a.wav").touch()
    text = QUEUES.read_text(encoding="utf-8")
    draft.write_text(text.replace("hot_words:\n", "hot_words:\n  - 公积金\n"), encoding="utf-8")
    result = run(QUEUES, draft, "--calls", tmp_path / "calls", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (moved,) = found["moved"]
    assert (moved["text_before"], moved["text"]) == ("今天天气不错", "我想攞公积金")
    assert moved["after"].startswith("urban_housing_fund")
    assert found["also_changed"] == []  # the hot words were measured
    assert [words[0] for words in heard] == ["十五运会", "公积金"]
    assert "今天天气不错 → 我想攞公积金" in run(QUEUES, draft, "--calls", tmp_path / "calls").output


def test_the_same_hot_words_are_heard_once(tmp_path: Path, heard: list[Sequence[str]]) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "labels.csv").write_text("file,kind\na.wav,person\n", encoding="utf-8")
    catalogue = parse_catalogue(installation.QUEUES)
    for path in (tmp_path, tmp_path / "labels.csv"):
        heard.clear()
        first, second = load_cases_of_each(path, [catalogue] * 2, language=None, config=None)
        assert first == second
        assert len(heard) == 1


def test_a_folder_without_calls(tmp_path: Path) -> None:
    catalogue = parse_catalogue(installation.QUEUES)
    with pytest.raises(ConfigError, match="there are no recordings and no logs of calls in it"):
        load_cases(tmp_path, catalogue, language=None, config=None)
    (tmp_path / "log.jsonl").write_text('{"seq":0,"v":9,"type":"opened"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="nothing was asked for in the 1 logs in it"):
        load_cases(tmp_path, catalogue, language=None, config=None)


def test_a_worse_edit_can_fail(tmp_path: Path, calls: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "worse")
    path = tmp_path / "worse" / "queues.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("id: urban_housing_fund", "id: housing"), encoding="utf-8")
    phrases = tmp_path / "worse" / "phrases"
    if (phrases / "urban_housing_fund.txt").exists():
        (phrases / "urban_housing_fund.txt").rename(phrases / "housing.txt")
    result = run(QUEUES, path, "--calls", calls, "--fail-on-worse")
    assert result.exit_code == 1, result.output
    assert "worse" in result.output


def test_what_the_edit_does_to_waiting(draft: Path, calls: Path, tmp_path: Path) -> None:
    """Nothing is routed without a question any more: callers are asked, and hence later.

    The seconds of dialogues are one distribution for the callers of all queues.
    """
    text = TEXT.replace("../queues.yaml", str(QUEUES))
    text = text.replace("social_security", "urban_housing_fund")
    scenario = tmp_path / "scenario.yaml"
    navigation = ROOT / "config" / "scenarios" / "navigation.yaml"
    scenario.write_text(text.replace("navigation.yaml", str(navigation)), encoding="utf-8")
    result = run(QUEUES, draft, "--calls", calls, "--scenario", scenario, "--json")
    assert result.exit_code == 0, result.output
    waits = json.loads(result.stdout)["waits"]
    later, waits_more = (
        waits["all"][measure]["change"]["mean"] for measure in ("mean_to_agent_s", "mean_wait_s")
    )
    # The same calls for the same agents, a little later: in a full queue a part of the question's
    # seconds would be waited anyway, and less than the half of them.
    asked = later - waits_more
    assert asked > 1
    assert abs(waits_more) < asked / 2
    assert waits["all"]["transfer_rate"]["relative"]["mean"] is None  # no transfers in both
    shown = run(QUEUES, draft, "--calls", calls, "--scenario", scenario)
    assert "What the edit does to waiting" in shown.output


def test_calls_without_labels_tell_nothing_of_waiting(draft: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls.txt"
    calls.write_text("我想攞公积金\n", encoding="utf-8")
    given = ("--calls", calls, "--language", "yue", "--scenario", "small")
    result = run(QUEUES, draft, *given)
    assert "no call is labelled with a need" in str(result.exception)
