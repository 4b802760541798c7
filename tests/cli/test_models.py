from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "asr"))

from download_site import Site, serve, zipped_model
from tone_model import MANDARIN_WORDS, write_tone_model

from ivr.cli.models import command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/kapok.yaml").write_text(
        "languages:\n  cmn: { engine: vosk, model: models/cmn }\n"
        "  yue: { engine: vosk, model: models/yue }\n"
    )
    cmn = write_tone_model(tmp_path / "models/cmn", MANDARIN_WORDS)
    (cmn / "model.json").write_text(
        json.dumps(
            {
                "name": "kapok-cmn",
                "language": "cmn",
                "source": "training/",
                "licence": "CC BY-SA 4.0",
                "units": 167,
                "accuracy": {"dev": {"base_syllable_error": 0.412, "sentences": 179}},
            }
        )
    )
    yue = write_tone_model(tmp_path / "models/yue", MANDARIN_WORDS)
    (yue / "graph/HCLG.fst").unlink()
    write_tone_model(tmp_path / "models/spare", MANDARIN_WORDS)
    return tmp_path


def run(home: Path, *args: str) -> Result:
    config = str(home / "config/kapok.yaml")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(command, [*args, "--config", config])
    assert result.exit_code == 0, result.output
    return result


def test_the_table_has_size_source_licence_and_accuracy(home: Path) -> None:
    result = run(home)
    _heading, cmn, sentences, spare, yue = result.stdout.splitlines()
    assert cmn.startswith("kapok-cmn *  cmn")
    for text in ("0.0 MB", "8000 Hz", "167", "CC BY-SA 4.0", "training/"):
        assert text in cmn
    assert "dev: base syllable error 41.2 %" in cmn
    assert "dev: sentences 179" in sentences
    assert spare.startswith("spare ")
    assert "not measured" in spare
    assert yue.startswith("yue *")
    assert "broken" in yue
    assert "HCLG.fst (or HCLr.fst and Gr.fst): missing" in result.stderr


def test_json_lines(home: Path) -> None:
    models = {
        entry["name"]: entry for entry in map(json.loads, run(home, "--json").stdout.splitlines())
    }
    assert set(models) == {"kapok-cmn", "spare", "yue"}
    cmn = models["kapok-cmn"]
    assert (cmn["language"], cmn["rate_hz"], cmn["in_use"]) == ("cmn", 8000, True)
    assert cmn["accuracy"]["dev"]["base_syllable_error"] == 0.412
    assert cmn["size_bytes"] > 1000
    assert models["spare"]["in_use"] is False
    assert "missing" in models["yue"]["problem"]
    assert models["yue"]["language"] == "yue"


def test_the_catalogue_is_listed() -> None:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(command, ["get"])
    assert result.exit_code == 0
    row = next(r for r in result.stdout.splitlines() if r.startswith("vosk-model-small-cn-0.22"))
    for text in ("vosk ", "cmn", "44 MB", "Apache-2.0", "THCHS"):
        assert text in row


def test_an_unknown_model_is_refused() -> None:
    result = CliRunner().invoke(command, ["get", "vosk-model-small-cn"])
    assert result.exit_code == 1
    assert "there is no model 'vosk-model-small-cn'" in str(result.exception)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serve() as site:
        site.content = zipped_model(tmp_path / "published")
        yield site


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_download_without_a_published_checksum_says_so(
    home: Path, site: Site, tells_length: bool
) -> None:
    site.tells_length = tells_length
    result = run(home, "get", "vosk-model-cn-0.22", "--from", site.url)
    assert result.stderr.startswith("warning: no checksum of vosk-model-cn-0.22 is published")
    found = hashlib.sha256(site.content).hexdigest()
    assert f"models/vosk-model-cn-0.22 is ready (not checked: sha256 {found})." in result.stdout
    assert "cmn: { engine: vosk, model: models/vosk-model-cn-0.22 }" in result.stdout


def test_a_download_with_a_checksum_is_checked(home: Path, site: Site) -> None:
    found = hashlib.sha256(site.content).hexdigest()
    get = ("get", "vosk-model-cn-0.22", "--from", site.url, "--sha256")
    config = str(home / "config/kapok.yaml")
    result = CliRunner().invoke(command, [*get, "0" * 64, "--config", config])
    assert "the checksum is" in str(result.exception)
    result = run(home, *get, found)
    assert result.stderr == ""
    assert f"is ready (checked: sha256 {found})." in result.stdout


def test_what_is_not_published_is_not_invented() -> None:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(command, ["get"])
    rows = result.stdout.splitlines()
    sense_voice = next(row for row in rows if row.startswith("sherpa-onnx-sense-voice"))
    assert sense_voice.count("not published") == 4  # size, checksum, licence, error
    small = next(row for row in rows if row.startswith("vosk-model-small-cn"))
    assert "sha256" in small
    assert "not published" not in small
