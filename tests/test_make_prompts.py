"""``python -m scripts.make_prompts``: what it speaks, and what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from ivr.call.prompt_audio import said_in
from scripts.make_prompts import main

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def make(config: Path) -> str:
    done = CliRunner().invoke(
        main, ["--config", str(config / "kapok.yaml")], catch_exceptions=False
    )
    assert done.exit_code == 0
    return done.output


def test_nothing_is_to_be_made_of_what_is_committed(config: Path) -> None:
    assert make(config).startswith("made 0 prompts")


def test_what_is_missing_or_says_an_older_text_is_spoken(config: Path) -> None:
    (config / "prompts" / "yue" / "closed.wav").unlink()
    texts = config / "prompts" / "prompts.yaml"
    texts.write_text(
        texts.read_text("utf-8").replace("cmn: 您好，请讲出", "cmn: 早上好，请讲出"), "utf-8"
    )
    assert make(config).startswith("made 2 prompts")
    assert said_in(config / "prompts" / "cmn" / "greeting.wav") == "早上好，请讲出您要办理的事情。"
    made = soundfile.info(config / "prompts" / "yue" / "closed.wav")
    assert (made.samplerate, made.channels, made.subtype) == (8000, 1, "ULAW")
    assert made.duration > 2


def test_ones_own_recording_is_left_alone(config: Path) -> None:
    path = config / "prompts" / "cmn" / "greeting.wav"
    soundfile.write(path, [0.1, 0.2] * 4000, 8000)
    before = path.read_bytes()
    texts = config / "prompts" / "prompts.yaml"
    texts.write_text(
        texts.read_text("utf-8").replace("cmn: 您好，请讲出", "cmn: 早上好，请讲出"), "utf-8"
    )
    assert make(config).startswith("made 0 prompts")
    assert path.read_bytes() == before
