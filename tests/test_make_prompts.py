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


def test_a_draft_has_prompts_of_its_own(config: Path, tmp_path: Path) -> None:
    """In a folder of any name; what ``ivr check`` names is made, and then named no more."""
    draft = Path(shutil.move(config, tmp_path / "draft"))
    (draft / "prompts" / "yue" / "closed.wav").unlink()
    given = ["--queues", str(draft / "queues.yaml")]
    done = CliRunner().invoke(main, given, catch_exceptions=False)
    assert done.output == f"made 1 prompts in {draft / 'prompts'}\n"
    assert (draft / "prompts" / "yue" / "closed.wav").is_file()
    elsewhere = Path(shutil.move(draft / "prompts", tmp_path / "spoken"))
    (elsewhere / "cmn" / "closed.wav").unlink()
    done = CliRunner().invoke(main, [*given, "--prompts", str(elsewhere)], catch_exceptions=False)
    assert done.output == f"made 1 prompts in {elsewhere}\n"


def test_a_mistake_is_one_line(config: Path, tmp_path: Path) -> None:
    """A kapok.yaml in a draft counts paths from there."""
    draft = Path(shutil.move(config, tmp_path / "draft"))
    done = CliRunner().invoke(main, ["--config", str(draft / "kapok.yaml")])
    assert done.exit_code == 1
    missing = draft / "config" / "queues.yaml"
    assert done.output == f"Error: {missing}: there is no such file; check the name\n"


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
