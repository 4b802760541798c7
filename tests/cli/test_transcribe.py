from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "asr"))

import numpy as np
from tone_model import CANTONESE_WORDS, MANDARIN_WORDS, say, tone, write_tone_model

from ivr.cli.progress import progress
from ivr.cli.transcribe import command
from ivr.errors import AudioError, ModelError

SETTINGS = """\
languages:
  cmn: { engine: vosk, model: models/cmn }
  yue: { engine: vosk, model: models/yue }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose models hear tones, with recordings of them."""
    home = tmp_path_factory.mktemp("home")
    write_tone_model(home / "models/cmn", MANDARIN_WORDS)
    write_tone_model(home / "models/yue", CANTONESE_WORDS)
    (home / "config").mkdir()
    (home / "config/kapok.yaml").write_text(SETTINGS)
    (home / "audio").mkdir()
    recordings = {
        "cmn.wav": say(MANDARIN_WORDS, "我", "要", "社保"),
        "yue.wav": say(CANTONESE_WORDS, "我", "想", "查吓", "社保"),
        "two.wav": say(CANTONESE_WORDS, "我", "想", after_s=1.5) + say(CANTONESE_WORDS, "查吓"),
        "silent.wav": tone(0, 3.0),
    }
    for name, pcm in recordings.items():
        soundfile.write(home / "audio" / name, np.frombuffer(pcm, "<i2"), 8000)
    (home / "bad.wav").write_text("no audio\n")
    return home


def run(home: Path, *args: str | Path) -> tuple[int, list[dict[str, str | None]], str]:
    config = str(home / "config/kapok.yaml")
    result = CliRunner().invoke(command, [*map(str, args), "--json", "--config", config])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return (
        result.exit_code,
        [json.loads(line) for line in result.stdout.splitlines()],
        result.stderr,
    )


def test_both_languages_with_their_syllables(home: Path) -> None:
    code, (cmn, yue), _ = run(home, home / "audio/cmn.wav", home / "audio/yue.wav")
    assert code == 0
    assert cmn == {
        "file": str(home / "audio/cmn.wav"),
        "language": "cmn",
        "text": "我要社保",
        "phones": "wo3 yao4 she4 bao3",
    }
    assert (yue["language"], yue["text"]) == ("yue", "我想查吓社保")
    syllables = str(yue["phones"]).split(" ")
    assert len(syllables) == 6
    assert (syllables[:3], syllables[-2:]) == (["ngo5", "soeng2", "caa4"], ["se5", "bou2"])


def test_several_utterances_are_joined(home: Path) -> None:
    _, (two,), _ = run(home, home / "audio/two.wav")
    assert (two["language"], two["text"]) == ("yue", "我想查吓")


def test_silence_has_no_language_unless_one_is_given(home: Path) -> None:
    _, (silent,), _ = run(home, home / "audio/silent.wav")
    assert (silent["language"], silent["text"], silent["phones"]) == (None, "", "")
    _, (silent,), _ = run(home, home / "audio/silent.wav", "--language", "cmn")
    assert silent["language"] == "cmn"


def test_a_language_can_be_given(home: Path) -> None:
    _, (heard,), _ = run(home, home / "audio/yue.wav", "--language", "cmn")
    assert (heard["language"], heard["text"]) == ("cmn", "")


def test_a_bad_file_does_not_stop_the_others(home: Path) -> None:
    code, heard, errors = run(home, home / "bad.wav", home / "none.wav", home / "audio/cmn.wav")
    assert code == 1
    assert [item["text"] for item in heard] == ["我要社保"]
    assert "bad.wav: this is text, not audio" in errors
    assert "none.wav: cannot be read" in errors
    assert len(errors.splitlines()) == 2


def test_folders_are_searched(home: Path) -> None:
    _, heard, _ = run(home, home / "audio")
    assert [Path(str(item["file"])).name for item in heard] == [
        "cmn.wav", "silent.wav", "two.wav", "yue.wav",
    ]  # fmt: skip
    with pytest.raises(AudioError, match="no audio files in this folder"):
        run(home, home / "models")


def test_plain_output_is_a_line_a_file(home: Path) -> None:
    config = str(home / "config/kapok.yaml")
    result = CliRunner().invoke(command, [str(home / "audio/cmn.wav"), "--config", config])
    assert result.stdout == f"{home / 'audio/cmn.wav'}\tcmn\t我要社保\n"


def test_a_missing_model_is_one_error(home: Path, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/kapok.yaml").write_text(SETTINGS)
    with pytest.raises(ModelError, match=f"{tmp_path}/models/cmn: there is no such model"):
        run(tmp_path, home / "audio/cmn.wav")


@pytest.mark.parametrize(("terminal", "late", "shown"), [(1, 1, 1), (1, 0, 0), (0, 1, 0)])
def test_bars_are_for_slow_work_on_a_terminal(terminal: int, late: int, shown: int) -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=bool(terminal))
    times = iter([0.0, 2.5 if late else 1.5])
    with progress("transcribing", 2, console=console, clock=lambda: next(times, 2.5)) as advance:
        advance(1)
    assert ("transcribing" in out.getvalue()) == bool(shown)
