"""``ivr call``: a server of its own, and one that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from ivr.cli.call import command
from ivr.errors import ServerError
from ivr.language import Language
from tests.server.installation import Installation, speak, write_installation, write_wav

CMN = Language.MANDARIN


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("call") / "kapok")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "a.wav", speak(CMN, "我要查", "社保"))


def call(installation: Installation, *args: object) -> Result:
    given = ["--config", str(installation.config), "--pace", "fast", *map(str, args)]
    return CliRunner().invoke(command, given, catch_exceptions=False)


def test_a_vosk_call_shows_what_was_said_and_decided(
    installation: Installation, recording: Path
) -> None:
    result = call(installation, recording)
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=3) for line in result.stdout.splitlines()]
    assert ["heard", "我要查 社保"] in [line[2:] for line in lines]
    assert any("社会保障" in line[-1] for line in lines)
    assert "queue social_security" in result.stdout.splitlines()[-1]


def test_a_call_with_prompts_in_json_and_recorded(
    installation: Installation, recording: Path, tmp_path: Path
) -> None:
    heard = tmp_path / "heard.wav"
    result = call(
        *(installation, recording, "--gateway", "genesys", "--json", "--record", heard),
        *("--caller", "+8620123", "--param", "language=cmn"),
    )
    told = json.loads(result.stdout)
    assert told["decision"]["queue"] == "social_security"
    assert told["gateway"] == "genesys"
    assert told["stopped_at_s"] is not None
    assert [event["who"] for event in told["events"]][:2] == ["kapok", "kapok"]
    sound, rate_hz = soundfile.read(heard, dtype="int16")
    assert (rate_hz, sound.shape[1]) == (8000, 2)
    assert sound[:, 0].any()


def test_a_key_reaches_a_person(installation: Installation, recording: Path) -> None:
    result = call(installation, recording, "--dtmf", "0@0.1", "--json")
    assert json.loads(result.stdout)["decision"]["reason"] == "asked"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--dtmf", "x"], "a key is one of"),
        (["--dtmf", "5@soon"], "write KEY@SECONDS"),
        (["--param", "language"], "write NAME=VALUE"),
        (["--gateway", "telex"], "Invalid value"),
        (["--url", "ws://127.0.0.1:9", "--at", "2026-11-24 10:00"], "--at is for a server"),
    ],
)
def test_what_is_wrong_on_the_command_line(
    installation: Installation, recording: Path, options: list[str], what: str
) -> None:
    result = call(installation, recording, *options)
    assert result.exit_code == 2
    assert what in result.output


def test_no_server_there(installation: Installation, recording: Path) -> None:
    with pytest.raises(ServerError, match=r"the call was not taken.*ivr serve"):
        call(installation, recording, "--url", "ws://127.0.0.1:9")
