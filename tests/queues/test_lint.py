"""Warnings about queues that are valid and yet mislead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr.language import Language
from ivr.queues.lint import Lint, lints, read_vocabulary
from tests.server.installation import QUEUES

CMN, YUE = Language.MANDARIN, Language.CANTONESE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "queues.yaml"
    file.write_text(QUEUES, encoding="utf-8")
    return file


def edited(path: Path, old: str, new: str) -> list[Lint]:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return lints(path)


def test_nothing_to_say(path: Path) -> None:
    assert lints(path) == []


def test_the_same_sounds_in_two_queues(path: Path) -> None:
    edited(path, "社保断交了", "攻击经")  # -ng and -n and the tones are taken for one another
    (found,) = edited(path, "工地太吵", "公积金")
    assert "'公积金' (housing_fund) sounds like '攻击经' (social_security" in found.what
    assert str(path) + ":" in str(found)
    assert found.place.line == 23


def test_short_phrases_one_syllable_apart(path: Path) -> None:
    assert edited(path, "路边乱摆摊", "医保卡坏了") == []


def test_long_phrases_one_syllable_apart(path: Path) -> None:
    edited(path, "医保卡丢了", "企业补贴怎么申请")
    (found,) = edited(path, "工地太吵", "创业补贴怎么申请")
    assert "nearly sounds like '企业补贴怎么申请'" in found.what


def test_a_phrase_within_that_of_another_queue(path: Path) -> None:
    (found,) = edited(path, "工地太吵", "工地上医保卡丢了没人管")
    assert "holds '医保卡丢了', which is a phrase of social_security" in found.what


def test_what_the_model_cannot_write(path: Path) -> None:
    words = set("我要查社保养老险怎么交医卡丢了失业金领断公积提取路边乱摆摊工地太吵贷款")
    found = lints(
        path, vocabulary={CMN: words | {"学校报名", "看病挂号", "结婚", "公交车", "不来"}}
    )
    missing = {lint.what.split("'")[1] for lint in found}
    assert missing == {"人", "转", "着", "起", "房", "登", "院"}
    assert not any("学校报名" in lint.what for lint in found)


def test_the_vocabulary_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("<eps> 0\n社保 1\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "words.txt") == {"<eps>", "社保"}
    assert read_vocabulary(tmp_path / "nothing.txt") == frozenset()


def test_hot_words_that_a_model_does_not_learn(path: Path) -> None:
    path.write_text("hot_words: [穗好办]\n" + path.read_text("utf-8"), encoding="utf-8")
    known = ["<blk>", "s", "uei4", "h", "ao3", "b", "an4"]
    assert lints(path) == []
    none, other = lints(path, units={CMN: known[:3], CMN.other: known})
    assert "cmn has no sound for a part of '穗好办'" in none.what
    assert "yue has no sound for a part of '穗好办'" in other.what
    (only,) = lints(path, units={CMN: known})
    assert "the speech model of yue takes no hot words" in only.what
    assert only.place.line == 1


def test_a_hot_word_can_be_written(path: Path) -> None:
    text = path.read_text("utf-8").replace("结婚登记", "穗好办登记")
    path.write_text(text, encoding="utf-8")
    words = {c for c in text if c > "\u3400"} - set("穗")
    (found,) = lints(path, vocabulary={CMN: words})
    assert "no word for '穗'" in found.what
    assert "hot_words" in found.mend
    path.write_text("hot_words: [穗好办]\n" + text, encoding="utf-8")
    assert lints(path, vocabulary={CMN: words}) == []
