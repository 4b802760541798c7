"""``ivr replay``: the whole command, over a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from junitparser import JUnitXml

from ivr.cli.replay import command
from ivr.errors import ConfigError, IvrError
from ivr.language import Language
from ivr.queues.navigation import load_navigation
from tests.server.installation import Installation, speak, write_installation, write_wav

CMN, YUE = Language.MANDARIN, Language.CANTONESE
LABELS = """file,language,kind,queue,text,speech_end_s
a.wav,cmn,speech,social_security,我要查社保,1.05
b.wav,yue,speech,housing_fund,我想查吓公积金,1.05
c.wav,cmn,off_topic,,天上有月亮,0.6
d.wav,,silence,,,
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("replay") / "kapok")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    write_wav(folder / "a.wav", speak(CMN, "我要查", "社保"))
    write_wav(folder / "b.wav", speak(YUE, "我想查吓", "公积金", rate_hz=16_000), rate_hz=16_000)
    write_wav(folder / "c.wav", speak(CMN, "天上有月亮"))
    write_wav(folder / "d.wav", bytes(32_000))
    (folder / "labels.csv").write_text(LABELS, encoding="utf-8")
    return folder


def replay(installation: Installation, *args: object) -> Result:
    given = ["--config", str(installation.config), *map(str, args)]
    return CliRunner().invoke(command, given, catch_exceptions=False)


def test_json_has_one_object_a_line_with_exactly_these_keys(
    installation: Installation, folder: Path
) -> None:
    result = replay(installation, folder, "--json", "--jobs", 3)
    assert result.exit_code == 0, result.output
    rows = {Path(row["file"]).name: row for row in map(json.loads, result.stdout.splitlines())}
    assert list(rows) == sorted(rows) or len(rows) == 4  # in the order in which they are done
    for row in rows.values():
        assert list(row) == [
            *("file", "language", "text", "queue", "confidence", "decision", "latency_ms"),
            "candidates",
        ]
    assert (rows["a.wav"]["language"], rows["a.wav"]["queue"]) == ("cmn", "social_security")
    assert (rows["b.wav"]["language"], rows["b.wav"]["text"]) == ("yue", "我想查吓公积金")
    assert (rows["c.wav"]["decision"], rows["c.wav"]["queue"]) == ("ask_again", None)
    assert (rows["d.wav"]["decision"], rows["d.wav"]["latency_ms"]) == ("ask_again", None)


@pytest.mark.parametrize("how", [[], ["--in-process"]])
def test_expectations_met(
    installation: Installation, folder: Path, tmp_path: Path, how: list[str]
) -> None:
    junit = tmp_path / "junit.xml"
    result = replay(
        installation,
        *(folder, *how, "--expect", folder / "labels.csv"),
        *("--min-accuracy", 1.0, "--junit", junit),
    )
    assert result.exit_code == 0, result.output
    assert "accuracy: 100.0% (4/4)" in result.output
    assert "language: 100.0% (3/3)" in result.output
    assert "我要查社保" in result.output
    assert JUnitXml.fromfile(str(junit)).tests == 4


def test_below_the_accuracy_asked_for(installation: Installation, folder: Path) -> None:
    labels = folder / "labels.csv"
    labels.write_text(LABELS.replace("housing_fund", "general"), encoding="utf-8")
    result = replay(installation, folder, "--expect", labels, "--min-accuracy", 0.9)
    assert result.exit_code == 1
    assert "accuracy 0.750 is below 0.9" in result.output
    assert "not general" in result.output
    assert replay(installation, folder, "--expect", labels, "--min-accuracy", 0.7).exit_code == 0


def test_a_broken_file_is_reported_and_the_others_go_on(
    installation: Installation, folder: Path
) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
    result = replay(installation, folder, "--json")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 4
    assert "broken WAV file" in result.stderr


def test_nothing_to_replay(installation: Installation, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no audio files in"):
        replay(installation, tmp_path)


def test_a_server_that_is_not_there(installation: Installation, folder: Path) -> None:
    result = replay(installation, folder / "a.wav", "--url", "ws://127.0.0.1:9")
    assert result.exit_code == 1
    assert "no server answers" in result.stderr


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--url", "ws://x", "--in-process"], "exclude each other"),
        (["--min-accuracy", "0.9"], "needs --expect"),
        (["--min-accuracy", "90", "--expect", "x"], "0<=x<=1"),
    ],
)
def test_usage(installation: Installation, folder: Path, args: list[str], what: str) -> None:
    result = replay(installation, folder, *args)
    assert result.exit_code == 2
    assert what in result.output


def test_files_without_a_label_do_not_count(installation: Installation, folder: Path) -> None:
    (folder / "labels.csv").write_text("file,kind\nother.wav,noise\n", encoding="utf-8")
    result = replay(
        *(installation, folder, "--expect", folder / "labels.csv", "--min-accuracy", 0.5)
    )
    assert result.exit_code == 1
    assert "no file has a label" in result.output


def test_labels_and_recordings_that_do_not_match_are_told(
    installation: Installation, folder: Path
) -> None:
    labels = folder / "labels.csv"
    labels.write_text(LABELS.replace("a.wav", "aa.wav"), encoding="utf-8")
    given = (installation, folder, "--expect", labels)
    result = replay(*given)
    assert result.exit_code == 0
    assert f"ivr: 1 of 4 recordings has no row in {labels}: {folder / 'a.wav'}\n" in result.stderr
    assert f"ivr: 1 row names a file that was not replayed: {labels}:2 aa.wav\n" in result.stderr
    assert "accuracy: 100.0% (3/3)" in result.stdout
    assert "without a label, not counted: 1 of 4" in result.stdout
    assert replay(*given, "--min-accuracy", 1).exit_code == 1


def test_a_few_files_of_a_folder_go_with_its_whole_table(
    installation: Installation, folder: Path
) -> None:
    few = [folder / name for name in ("a.wav", "d.wav")]
    result = replay(installation, *few, "--expect", folder / "labels.csv", "--min-accuracy", 1)
    assert result.exit_code == 0, result.output
    assert not result.stderr


def test_names_that_do_not_match_are_cut_to_a_few(installation: Installation, folder: Path) -> None:
    labels = folder / "labels.csv"
    labels.write_text("file,kind\n" + "".join(f"{n}.wav,noise\n" for n in range(9)))
    result = replay(installation, folder, "--expect", labels)
    assert result.exit_code == 0
    assert "4 of 4 recordings have no row" in result.stderr
    assert "and 1 more" in result.stderr
    assert "9 rows name files that were not replayed" in result.stderr
    assert "2.wav and 6 more" in result.stderr
    assert "no file has a label; accuracy is not known" in result.stderr


def test_labels_name_queues_of_the_server_that_is_started(
    installation: Installation, folder: Path
) -> None:
    labels = folder / "labels.csv"
    labels.write_text(LABELS.replace("housing_fund", "house"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels.csv:3: queue 'house' is not known; use one of"):
        replay(installation, folder, "--expect", labels)
    there = replay(installation, folder, "--expect", labels, "--url", "ws://127.0.0.1:9")
    assert "no server answers" in there.stderr  # whose queues are not known here


@pytest.mark.parametrize("option", ["--junit", "--navigation", "--keep"])
@pytest.mark.parametrize("below", ["", "below/it"])
def test_what_cannot_be_written_is_told_before_the_replay(
    installation: Installation, folder: Path, option: str, below: str
) -> None:
    # A file where a folder is due, and the other way round.
    blocked = (folder / "a.wav" if below or option == "--keep" else folder) / below
    with pytest.raises(IvrError, match=r"cannot be written \((Is|Not) a directory\)") as caught:
        replay(installation, folder, "--expect", folder / "labels.csv", option, blocked)
    assert str(caught.value).startswith(f"{blocked}: ")


def test_a_result_may_go_to_what_is_no_plain_file(installation: Installation, folder: Path) -> None:
    result = replay(installation, folder / "d.wav", "--junit", "/dev/null")
    assert result.exit_code == 0, result.output


def test_navigation_file_has_counts_and_seconds_of_the_speech(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    written = tmp_path / "navigation.yaml"
    result = replay(
        installation, folder, "--expect", folder / "labels.csv", "--navigation", written
    )
    assert result.exit_code == 0, result.output
    found = load_navigation(written)
    assert found.needs["social_security"].routed == {"social_security": 1}
    assert found.calls == 2  # off-topic talk and silence name no need
    assert found.seconds is not None
    assert found.seconds.speech_s == pytest.approx(1.05)
    assert 0 <= found.seconds.decision_s < 3


def test_a_navigation_file_needs_labels(installation: Installation, folder: Path) -> None:
    result = replay(installation, folder, "--navigation", folder / "navigation.yaml")
    assert result.exit_code == 2
    assert "--expect" in result.output


def test_kept_logs_run_again_the_same(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    done = replay(installation, folder / "a.wav", folder / "c.wav", "--keep", kept)
    assert done.exit_code == 0
    again = replay(installation, "--log", kept)
    assert again.exit_code == 0
    assert len(again.output.splitlines()) == 2
    assert "the same: routed social_security" in again.output
    assert replay(installation, "--log", kept, "--rematch").exit_code == 0


def test_a_log_that_comes_out_otherwise_is_shown(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    replay(installation, folder / "a.wav", "--keep", tmp_path / "kept")
    (path,) = (tmp_path / "kept").rglob("*.jsonl")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"queue":"social_security"', '"queue":"general"', 1), "utf-8")
    again = replay(installation, "--log", path)
    assert again.exit_code == 1
    assert "differ" in again.output
    shown = json.loads(replay(installation, "--log", path, "--json").output)
    assert (shown["same"], shown["file"]) == (False, str(path))
    assert shown["differences"]


def test_another_version_of_the_queues_is_told(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    replay(installation, folder / "a.wav", "--keep", tmp_path / "kept")
    (path,) = (tmp_path / "kept").rglob("*.jsonl")
    version = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["version"]
    path.write_text(path.read_text(encoding="utf-8").replace(version, "then"), "utf-8")
    again = replay(installation, "--log", path)
    assert again.exit_code == 0
    assert "the same" in again.output
    assert f"queues or prompts were then, now {version}" in again.output


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("social_security", "gone", "matched to 'gone', which is no queue today"),
        ('"version":"', '"version":1,"was":"', "version: Input should be a valid string"),
    ],
)
def test_what_is_wrong_with_a_log_names_its_file(
    installation: Installation, folder: Path, tmp_path: Path, old: str, new: str, what: str
) -> None:
    replay(installation, folder / "a.wav", "--keep", tmp_path / "kept")
    (path,) = (tmp_path / "kept").rglob("*.jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), "utf-8")
    again = replay(installation, "--log", tmp_path / "kept")
    assert again.exit_code == 1
    assert again.stderr.startswith(f"ivr: {path}: ")
    assert what in again.stderr


@pytest.mark.parametrize(
    "wrong", [["a.wav", "--log", "c.jsonl"], [], ["a.wav", "--rematch"], ["--keep", "x"]]
)
def test_audio_or_logs(installation: Installation, wrong: list[str]) -> None:
    done = CliRunner().invoke(command, ["--config", str(installation.config), *wrong])
    assert done.exit_code == 2


def test_no_navigation_file_of_a_part_of_the_recordings(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF")
    written = tmp_path / "navigation.yaml"
    with pytest.raises(ConfigError, match="1 of 5 recordings could not be replayed"):
        replay(installation, folder, "--expect", folder / "labels.csv", "--navigation", written)
    assert not written.exists()
