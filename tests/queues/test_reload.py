"""When an edit is taken up, and when it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ivr.errors import ModelError
from ivr.language import Language
from ivr.queues import reload
from ivr.queues.catalogue import Catalogue, load_catalogue
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


def test_a_phrase_file_of_another_ending_is_told_at_once(watch: CatalogueWatch, path: Path) -> None:
    write(path.parent / "phrases" / "General.TXT", "[cmn]\n图书馆几点关门\n")
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert "General.TXT: is not read; name it general.txt" in str(change.error)


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


def test_what_is_saved_while_an_edit_is_read_is_another_edit(
    watch: CatalogueWatch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = path.read_text("utf-8").replace("医保卡丢了", "医保卡不见了")
    write(path, first)
    watch.poll()

    def load_and_save(file: Path) -> Catalogue:
        monkeypatch.undo()
        read = load_catalogue(file)
        write(path, first.replace("社保断交了", "社保没交"))
        return read

    monkeypatch.setattr(reload, "load_catalogue", load_and_save)
    assert watch.poll() is not None
    watch.poll()
    second = watch.poll()
    assert second is not None
    assert second.catalogue is not None
    assert "社保没交" in second.catalogue.queue("social_security").phrases[Language.MANDARIN]
    assert second.version == watch.version == installed_version(path, second.catalogue)


def test_files_of_a_new_phrase_folder_are_looked_at_before_they_are_read(
    watch: CatalogueWatch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phrases = path.parent / "others" / "general.txt"
    phrases.parent.mkdir()
    write(phrases, "[cmn]\n图书馆几点关门\n")
    write(path, path.read_text("utf-8").replace("phrase_folder: phrases", "phrase_folder: others"))

    def load_and_save(file: Path) -> Catalogue:
        monkeypatch.undo()
        read = load_catalogue(file)
        write(phrases, "[cmn]\n游泳馆几点关门\n")
        return read

    monkeypatch.setattr(reload, "load_catalogue", load_and_save)
    changes = [change for _ in range(5) if (change := watch.poll()) is not None]
    last = changes[-1].catalogue
    assert last is not None
    assert "游泳馆几点关门" in last.queue("general").phrases[Language.MANDARIN]
    assert watch.version == installed_version(path, last)


def test_an_edit_that_came_before_the_first_look_is_taken_up(path: Path) -> None:
    catalogue = load_catalogue(path)
    loaded = installed_version(path, catalogue)
    write(path, path.read_text("utf-8").replace("医保卡丢了", "医保卡不见了"))
    watch = CatalogueWatch(path, catalogue, version=loaded)
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert watch.poll() is None


def test_what_cannot_be_taken_up_is_tried_again_and_told_once(
    watch: CatalogueWatch, path: Path
) -> None:
    before = watch.version
    outcomes: list[Exception | None] = []
    tried: list[str] = []

    def take_up(catalogue: Catalogue, version: str) -> None:
        tried.append(version)
        if (error := outcomes.pop(0)) is not None:
            raise error

    write(path, path.read_text("utf-8").replace("医保卡丢了", "医保卡不见了"))
    watch.poll(take_up)
    outcomes += [ModelError("yue: half a file")] * 3
    told = [watch.poll(take_up) for _ in range(4)]  # fails, at once again, two looks later again
    assert not outcomes
    assert [str(change.error) for change in told if change] == ["yue: half a file"]
    assert watch.version == before
    outcomes += [ModelError("yue: no file"), OSError("no more processes")]
    told = [watch.poll(take_up) for _ in range(4)]
    assert [str(change.error) for change in told if change] == ["yue: no file"]
    with pytest.raises(OSError, match="no more processes"):
        [watch.poll(take_up) for _ in range(8)]
    outcomes += [None]
    (change,) = [change for _ in range(40) if (change := watch.poll(take_up)) is not None]
    assert change.catalogue is not None
    assert change.version == watch.version == tried[-1] != before


def test_an_edit_of_what_could_not_be_taken_up_is_tried_at_once(
    watch: CatalogueWatch, path: Path
) -> None:
    def fails(catalogue: Catalogue, version: str) -> None:
        raise ModelError("yue: half a file")

    write(path, path.read_text("utf-8").replace("医保卡丢了", "医保卡不见了"))
    for _ in range(40):
        watch.poll(fails)
    write(path, path.read_text("utf-8").replace("医保卡不见了", "医保卡没了"))
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None


def test_names_of_files_need_not_be_utf_8(path: Path, prompts: Path) -> None:
    watch = CatalogueWatch(path, load_catalogue(path), prompts=prompts)
    (prompts / os.fsdecode("备份.wav".encode("gbk"))).write_bytes(b"sound")  # out of an archive
    watch.poll()
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert change.version == installed_version(path, change.catalogue, prompts=prompts)
