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
            "[cmn]\n查社保\n[can]\n查社保\nhello\n",
            "s.txt:3:1: no such language: '[can]'; write [cmn] for Mandarin or [yue] for Cantonese",
        ),
        ("查社保\n查医保\nhello\n[cmn]\n查社保\n", "s.txt:1:1: a phrase before any language"),
        (
            "[cmn]\n查社保\nyue：\n查社保\n",
            "s.txt:3:1: the language 'yue' stands without brackets; write [yue]",
        ),
        (
            "[cmn]\n查社保\n查 社保？\n",
            "s.txt:3:1: the phrase '查 社保？' is here twice, first in line 2",
        ),
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
    assert len(str(refused.value).splitlines()) == 1


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
    ("phrase", "owner", "begins"),
    [("我要报警", "emergency 110", "- 我要报警"), ("转 人工", "person", "- 转人工")],
)
@pytest.mark.parametrize("file", ["general", "off_topic"])
def test_a_phrase_of_an_emergency_or_a_person_is_refused(
    folder: Path, file: str, phrase: str, owner: str, begins: str
) -> None:
    rows = (folder / "queues.yaml").read_text("utf-8").splitlines()
    line = next(at for at, row in enumerate(rows, 1) if row.strip() == begins)
    (folder / f"phrases/{file}.txt").write_text(f"[cmn]\n{phrase}\n", "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_catalogue(folder / "queues.yaml")
    leads = file if file == "off_topic" else f"queue {file}"
    assert str(refused.value) == (
        f"{folder}/phrases/{file}.txt:2:1: the phrase {phrase!r} leads to {leads} and to {owner} "
        f"({folder}/queues.yaml:{line}); delete it in one of the two places"
    )


SPORTS = """
  - id: sports
    name: { cmn: 体育, yue: 体育运动, en: Sports }
    agents: 1
    hours: 24x7
    phrases: { cmn: [], yue: [游水] }
"""


def write_sports(folder: Path, *, cmn: int, yue: int) -> Path:
    queues = folder / "queues.yaml"
    queues.write_text(queues.read_text("utf-8").rstrip() + SPORTS, "utf-8")
    rows = ["[cmn]", *(f"{n}号运动场怎么订" for n in range(cmn))]
    rows += ["[yue]", "游水", *(f"{n}号波场点订" for n in range(yue))]
    (folder / "phrases/sports.txt").write_text("\n".join(rows), "utf-8")
    return queues


def test_phrases_of_the_folder_are_counted(folder: Path) -> None:
    """A phrase that stands in both places counts once."""
    catalogue = load_catalogue(write_sports(folder, cmn=5, yue=4))
    assert [len(phrases) for phrases in catalogue.queue("sports").phrases.values()] == [5, 5]


def test_too_few_phrases_in_both_places_are_told(folder: Path) -> None:
    queues = write_sports(folder, cmn=4, yue=3)
    with pytest.raises(ConfigError) as refused:
        load_catalogue(queues)
    first, second = str(refused.value).splitlines()
    mend = "write at least 5, here or in phrases/sports.txt"
    assert first.endswith(f": queue sports has too few phrases in cmn: 4; {mend}")
    assert second.endswith(f": queue sports has too few phrases in yue: 4; {mend}")


def test_faults_of_the_catalogue_come_before_those_of_the_folder(folder: Path) -> None:
    queues = write_sports(folder, cmn=5, yue=4)
    (folder / "phrases/general.txt").write_text("停水\n", "utf-8")
    text = queues.read_text("utf-8")
    queues.write_text(text.replace("agents: 80", "agents: many"), "utf-8")
    with pytest.raises(ConfigError, match="'many'") as refused:
        load_catalogue(queues)
    assert len(str(refused.value).splitlines()) == 1
    queues.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"general\.txt:1:1: a phrase before any language"):
        load_catalogue(queues)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("General.TXT", "is not read; name it general.txt"),
        ("general.text", "is not read; name it general.txt"),
        ("general", "is not read; name it general.txt"),
        ("off_topic.TXT", "is not read; name it off_topic.txt"),
        ("sport.Text", "is not read; name it after its queue, as "),
        ("General.txt", "there is no queue 'General'; did you mean 'general'?"),
        ("general.txt.txt", "there is no queue 'general.txt'; did you mean 'general'?"),
    ],
)
def test_a_file_that_is_not_read_is_told(folder: Path, name: str, message: str) -> None:
    (folder / "phrases" / name).write_text("[cmn]\n查什么\n", "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_catalogue(folder / "queues.yaml")
    assert str(refused.value).startswith(f"{folder}/phrases/{name}: {message}")


def test_what_editors_leave_and_other_files_trouble_nobody(folder: Path) -> None:
    leave = (".DS_Store", ".general.txt.swp", "general.txt~", "general.txt.bak", "#general.txt#")
    for name in (*leave, "general.swp", "README.md", "Thumbs.db"):
        (folder / "phrases" / name).write_bytes(b"\xff")
    (folder / "phrases/general").mkdir()
    assert len(load_catalogue(folder / "queues.yaml").queues) == 6


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


def test_faults_of_several_files_are_told_at_once(folder: Path) -> None:
    for name, content in (
        ("General.TXT", "[cmn]\n查什么\n"),
        ("social_security.txt", "查什么\n"),
        ("public_security.txt", "[xyz]\n查什么\n"),
    ):
        (folder / "phrases" / name).write_text(content, "utf-8")
    (folder / "phrases" / "urban_housing_fund.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as refused:
        load_catalogue(folder / "queues.yaml")
    told = str(refused.value).splitlines()
    assert [line.split("phrases/")[1].partition(":")[0] for line in told] == [
        "General.TXT", "public_security.txt", "social_security.txt", "urban_housing_fund.txt",
    ]  # fmt: skip


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    mend = "beside nowhere/, or copy that folder too"
    with pytest.raises(ConfigError, match=f"no such folder; .*{mend}"):
        read_phrases(tmp_path / "nowhere", ("general",))


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
