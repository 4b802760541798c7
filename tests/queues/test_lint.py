"""Warnings about queues that are valid and yet mislead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr.errors import ConfigError
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


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "结婚登记",
            "麻烦帮我转人工",
            "never leads to general: it is heard as the wish for a person",
        ),
        ("结婚登记", "请讲慢一点", "never leads to general: it is heard as the wish for another"),
        ("起火了", "火灾保险怎么理赔", "never leads to emergency 119: it asks about papers"),
    ],
)
def test_a_phrase_that_a_rule_takes_first(path: Path, old: str, new: str, why: str) -> None:
    found = edited(path, old, new)
    assert [why in lint.what for lint in found].count(True) == 1
    assert not any("is never reached" in lint.what for lint in found)


def unreached(found: list[Lint]) -> list[str]:
    return [lint.what for lint in found if "is never reached" in lint.what]


def test_a_queue_whose_phrases_all_ask_for_a_person(path: Path) -> None:
    taken = "我要转人工服务, 麻烦转人工, 帮我转人工啊, 快点转人工, 我想转人工"
    found = edited(path, "学校报名, 看病挂号, 结婚登记, 公交车不来, 养老院床位", taken)
    only = "queue general is never reached in cmn: none of its 5 phrases leads to it alone"
    assert unreached(found) == [only]
    (lint,) = [lint for lint in found if lint.what == only]
    assert path.read_text("utf-8").splitlines()[lint.place.line - 1].strip() == "- id: general"


def test_a_queue_whose_phrases_are_those_of_others(path: Path) -> None:
    """The same sounds in other characters: no fault of the file, and nobody gets there."""
    taken = "我要查射保, 养老宝险怎么交, 公鸡金贷款, 公鸡金怎么提取, 工弟太吵"
    found = edited(path, "学校报名, 看病挂号, 结婚登记, 公交车不来, 养老院床位", taken)
    assert len([lint for lint in found if "(general) sounds like" in lint.what]) == 5
    assert "queue general is never reached in cmn" in unreached(found)[0]
    one_of_its_own = edited(path, "工弟太吵", "学校报名")
    assert unreached(one_of_its_own) == []


def test_the_same_words_in_other_characters_are_alike(path: Path) -> None:
    found = edited(path, "结婚登记", "醫保卡丟了")
    assert any("'醫保卡丟了' (general) sounds like '医保卡丢了'" in lint.what for lint in found)


def test_no_queue_is_reached_where_nobody_can_be_so_sure(path: Path) -> None:
    text = path.read_text("utf-8")
    path.write_text("thresholds: {route: 1.0, confirm: 1.0}\n" + text, encoding="utf-8")
    found = lints(path)
    assert len(unreached(found)) == 3 * len(Language)
    assert "lower thresholds.confirm (now 1)" in found[0].mend
    path.write_text("thresholds: {route: 0.8, confirm: 0.3}\n" + text, encoding="utf-8")
    assert lints(path) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("hours: 24x7", "hours: {mon: closed}", "the queue is never open"),
        (
            "[小朋友入学, 睇医生挂号, 点样注册结婚, 巴士成日唔嚟, 老人院有冇位]",
            "[]",
            "too few phrases",
        ),
    ],
)
def test_what_is_more_than_a_warning(path: Path, old: str, new: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        edited(path, old, new)
