"""Recordings as cases for the matcher."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr.asr.factory import Speech, load_speech
from ivr.errors import AudioError, ConfigError
from ivr.language import Language
from ivr.replay.cases import recorded_cases
from tests.server.installation import Installation, speak, write_wav


@pytest.fixture(scope="module")
def speech(installation: Installation) -> Speech:
    return load_speech(installation.settings())


def test_a_broken_recording_is_named_and_the_others_are_heard(
    speech: Speech, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_wav(tmp_path / "a.wav", speak(Language.MANDARIN, "我要查", "社保"))
    (tmp_path / "b.wav").touch()
    done, left_out = [], []
    cases = recorded_cases(tmp_path, speech, advance=done.append, left_out=left_out.append)
    assert [case.text for case in cases] == ["我要查社保"]
    assert [str(error).partition(":")[0] for error in left_out] == [str(tmp_path / "b.wav")]
    assert done == [1, 1]
    assert not caplog.messages
    assert recorded_cases(tmp_path, speech) == cases
    assert "b.wav: the file is empty" in caplog.text
    assert "left out" in caplog.text


def test_without_one_that_can_be_read_there_is_an_error(speech: Speech, tmp_path: Path) -> None:
    (tmp_path / "b.wav").touch()
    with pytest.raises(AudioError, match="the file is empty"):
        recorded_cases(tmp_path, speech)


def test_labels_name_queues_that_there_are(speech: Speech, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", bytes(8000))
    (tmp_path / "labels.csv").write_text("file,kind,queue\na.wav,speech,socal_security\n")
    (case,) = recorded_cases(tmp_path, speech)
    assert case.expected == "socal_security"
    with pytest.raises(ConfigError, match="queue 'socal_security' is not known"):
        recorded_cases(tmp_path, speech, queues=["social_security"])


def test_an_emergency_has_its_number(speech: Speech, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", bytes(8000))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,kind,emergency\na.wav,emergency,119\n")
    assert recorded_cases(tmp_path, speech)[0].expected == "emergency:119"
    labels.write_text("file,kind\na.wav,emergency\n")
    with pytest.raises(ConfigError, match="emergency without a number"):
        recorded_cases(tmp_path, speech)
