"""Programs that are missing, or fail: one message, and how to mend it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training.programs import ProgramError, run

TEXT = [["我", "要", "查", "社保"], ["我", "要", "查", "公积金"], ["社保", "断", "了"]] * 3
WORDS = {word: [word] for sentence in TEXT for word in sentence}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def failing(folder: Path, name: str) -> None:
    """A program that says why and fails."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho half\necho '{name}: not enough text' >&2\nexit 3\n")
    path.chmod(0o755)


def test_what_a_failing_program_said_is_told(programs: Path) -> None:
    failing(programs, "lmplz")
    told = "lmplz a b: ended with status 3: lmplz: not enough text"
    with pytest.raises(ProgramError, match=told):
        run(["lmplz", "a", "b"])


def test_a_missing_program_ends_a_command_without_a_trace(programs: Path) -> None:
    with pytest.raises(SystemExit, match="kenlm-of-old is not on the path; install kenlm-of-old"):
        run(["kenlm-of-old", "a", "b"])


def test_an_n_gram_without_kenlm(programs: Path) -> None:
    lm = pytest.importorskip("training.lm", reason="needs the extra training")
    arpa = programs / "one.arpa"
    with pytest.raises(ProgramError, match=r"lmplz is not on the path; .*github.com/kpu/kenlm"):
        lm.estimate(TEXT, WORDS, arpa)
    failing(programs, "lmplz")
    with pytest.raises(ProgramError, match="lmplz: not enough text"):
        lm.estimate(TEXT, WORDS, arpa)
    assert not arpa.exists()


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on the path")
def test_an_n_gram_by_kenlm(tmp_path: Path) -> None:
    lm = pytest.importorskip("training.lm", reason="needs the extra training")
    ngram = pytest.importorskip("training.ngram")
    lm.estimate(TEXT, WORDS, tmp_path / "one.arpa", order=2, prune=(0, 0))
    made = ngram.Ngram.read(tmp_path / "one.arpa")
    assert made.order == 2
    assert made(("我",), "要") > made(("我",), "断")
