"""Phrase files: what is read, what is refused and where, and how they join the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.queues.phrases import parse_phrases, read_phrases
from ivr.replay.labels import load_labels

ROOT = Path(__file__).parents[2]
CMN, YUE = Language.MANDARIN, Language.CANTONESE

GOOD = """\
# 社保
[cmn]
我想查社保
社保余额怎么查

社保卡丢了怎么补
［yue］
我想查吓社保
"""


def test_languages_and_families() -> None:
    file = parse_phrases("\ufeff" + GOOD, "s.txt")
    assert file.of(CMN) == ("我想查社保", "社保余额怎么查", "社保卡丢了怎么补")
    assert file.families(CMN) == (("我想查社保", "社保余额怎么查"), ("社保卡丢了怎么补",))
    assert file.of(YUE) == ("我想查吓社保",)
    assert file.lines[3].place == (8, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("我想查社保\n", "s.txt:1:1: a phrase before any language; write [cmn] or [yue]"),
        ("[cmn]\n  hello\n", "s.txt:2:3: a phrase without any Chinese character: 'hello'"),
        ("[cnm]\n", "s.txt:1:1: no such language: '[cnm]'"),
        (
            "[cmn]\n查社保\n\n查社保\n",
            "s.txt:4:1: the phrase '查社保' is here twice, first in line 2",
        ),
        (f"[yue]\n{'查' * 61}\n", "s.txt:2:1: a phrase of 61 characters, longer than 60"),
    ],
)
def test_faults_name_line_and_mend(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_phrases(text, "s.txt")
    assert message in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_phrases("[cmn]\nhello\n[xyz]\n", "s.txt")
    assert len(str(refused.value).splitlines()) == 2


@given(st.text(alphabet="[]cmnyue #\n\t查社保０a\ufeff", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    rows = text.removeprefix("\ufeff").splitlines()
    try:
        file = parse_phrases(text, "s.txt")
    except ConfigError as error:
        refused = str(error)
        file = None
    if file is None:
        assert refused.startswith("s.txt:")
    else:
        assert all(rows[line.place.line - 1].strip() == line.text for line in file.lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = (ROOT / "config/queues.yaml").read_text(encoding="utf-8")
    (tmp_path / "queues.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "phrases").mkdir()
    return tmp_path


def test_phrases_join_their_queue(folder: Path) -> None:
    (folder / "phrases/social_security.txt").write_text(GOOD, encoding="utf-8")
    (folder / "phrases/off_topic.txt").write_text("[yue]\n今日天气几好\n", encoding="utf-8")
    catalogue = load_catalogue(folder / "queues.yaml")
    assert "社保余额怎么查" in catalogue.queue("social_security").phrases[CMN]
    assert catalogue.off_topic[YUE] == ("今日天气几好",)


def test_a_phrase_of_two_queues_is_refused(folder: Path) -> None:
    (folder / "phrases/general.txt").write_text("[cmn]\n孩子不听话\n社保余额怎么查\n", "utf-8")
    (folder / "phrases/social_security.txt").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"social_security\.txt:4:1: .*general \(.*:3\)"):
        load_catalogue(folder / "queues.yaml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("social_securty.txt", b"", "social_security"),
        ("general.txt", b"\xff\xfe", "UTF-8"),
    ],
)
def test_files_that_cannot_be_used(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / "phrases" / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_catalogue(folder / "queues.yaml")


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        list(read_phrases(tmp_path / "nowhere", ("general",)))


def test_the_shipped_files() -> None:
    catalogue = load_catalogue(ROOT / "config/queues.yaml")
    for queue in catalogue.queues:
        for language in Language:
            assert len(queue.phrases[language]) >= 110
    spoken = {
        label.text for label in load_labels(ROOT / "audio_fixtures/labels.csv").by_file.values()
    }
    for queue in catalogue.queues:
        for phrases in queue.phrases.values():
            assert not spoken & set(phrases)
