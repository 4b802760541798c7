"""When an edit is taken up, and when it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.queues.reload import CatalogueWatch, installed_version
from tests.server.installation import QUEUES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "phrases").mkdir()
    file = tmp_path / "queues.yaml"
    file.write_text("phrase_folder: phrases\n" + QUEUES, encoding="utf-8")
    return file


@pytest.fixture
def watch(path: Path) -> CatalogueWatch:
    return CatalogueWatch(path, load_catalogue(path))


_ticks = 0


def write(path: Path, text: str) -> None:
    """Write with a time of its own: file systems count in coarse steps."""
    global _ticks
    _ticks += 1
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(_ticks * 10**9, _ticks * 10**9))


def test_nothing_changed(watch: CatalogueWatch) -> None:
    assert watch.poll() is None
    assert watch.poll() is None


def test_an_edit_is_taken_up_once_it_rests(watch: CatalogueWatch, path: Path) -> None:
    before = watch.version
    write(path, path.read_text("utf-8").replace("医保卡丢了", "医保卡不见了"))
    assert watch.poll() is None  # perhaps still being written
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert "医保卡不见了" in change.catalogue.queue("social_security").phrases[Language.MANDARIN]
    assert change.version == watch.version != before
    assert watch.poll() is None


def test_a_bad_edit_is_told_once_with_its_place(watch: CatalogueWatch, path: Path) -> None:
    good = path.read_text("utf-8")
    write(path, good.replace("default_queue: general", "default_queue: generl"))
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is None
    assert "queues.yaml:3:16: there is no queue 'generl'" in str(change.error)
    assert watch.poll() is None
    write(path, good)
    watch.poll()
    mended = watch.poll()
    assert mended is not None
    assert mended.catalogue is not None


def test_a_new_phrase_file_counts(watch: CatalogueWatch, path: Path) -> None:
    write(path.parent / "phrases" / "general.txt", "[cmn]\n图书馆几点关门\n")
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert "图书馆几点关门" in change.catalogue.queue("general").phrases[Language.MANDARIN]


def test_saved_without_a_change(watch: CatalogueWatch, path: Path) -> None:
    write(path, path.read_text("utf-8"))
    watch.poll()
    assert watch.poll() is None


def test_a_file_that_is_away_for_a_moment(watch: CatalogueWatch, path: Path) -> None:
    text = path.read_text("utf-8")
    path.unlink()
    assert watch.poll() is None
    write(path, text.replace("医保卡丢了", "医保卡不见了"))
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None


def test_a_file_that_stays_away_is_told(watch: CatalogueWatch, path: Path) -> None:
    path.unlink()
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.error is not None
    assert "queues.yaml" in str(change.error)


@pytest.fixture
def prompts(path: Path) -> Path:
    folder = path.parent / "prompts"
    (folder / "cmn").mkdir(parents=True)
    (folder / "cmn" / "greeting.wav").write_bytes(b"sound")
    return folder


def test_prompts_are_watched_too(path: Path, prompts: Path) -> None:
    catalogue = load_catalogue(path)
    watch = CatalogueWatch(path, catalogue, prompts=prompts)
    assert watch.version == installed_version(path, catalogue, prompts=prompts)
    (prompts / "cmn" / "greeting.wav").write_bytes(b"another sound")
    assert watch.poll() is None
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert watch.version == installed_version(path, catalogue, prompts=prompts)


def test_a_fault_in_the_texts_of_prompts_is_refused(path: Path, prompts: Path) -> None:
    watch = CatalogueWatch(path, load_catalogue(path), prompts=prompts)
    (prompts / "prompts.yaml").write_text("greetin: {cmn: 您好, yue: 你好}", encoding="utf-8")
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert "unknown key 'greetin'" in str(change.error)


def test_another_file_may_call_for_it(path: Path) -> None:
    elders = path.parent / "elders.txt"
    watch = CatalogueWatch(path, load_catalogue(path), also=(elders,))
    elders.write_text("13800138000\n", encoding="utf-8")
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
