"""The catalogue: what config/queues.yaml says, and every slip an operator can make in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ivr.errors import ConfigError
from ivr.language import Language
from ivr.queues.catalogue import FEW_PHRASES, Catalogue, load_catalogue, parse_catalogue

REAL = Path(__file__).parents[2] / "config" / "queues.yaml"

GOOD = """\
default_queue: general
person:
  key: "0"
  phrases: { cmn: [人工], yue: [揾人听] }
emergencies:
  - number: "110"
    name: { cmn: 报警, yue: 报警, en: Police }
    phrases: { cmn: [抢劫啊, 快报警, 打人了], yue: [打劫呀, 快啲报警, 打人呀] }
queues:
  - id: general
    name: { cmn: 综合, yue: 综合, en: General }
    agents: 12
    hours: 24x7
    phrases:
      cmn: [停水, 停电, 停气, 挂号, 入学]
      yue: [冇水, 冇电, 冇煤气, 睇医生, 返学]
  - id: social_security
    name: { cmn: 社会保障, yue: 社会保障, en: Social security }
    agents: 8
    hours:
      mon-fri: "08:30-18:00"
    priority: 3
    phrases:
      cmn:
        - 查社保
        - 领养老金
        - 医保报销
        - 失业金
        - 工伤
      yue:
        - 我想查吓社保
        - 攞养老金
        - 医保报返
        - 失业金
        - 整亲
"""


@pytest.fixture(scope="module")
def real() -> Catalogue:
    return load_catalogue(REAL)


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_catalogue(text, "q.yaml")
    return str(caught.value).splitlines()


def swap(old: str, new: str) -> str:
    assert GOOD.count(old) >= 1
    return GOOD.replace(old, new, 1)


# --- the file of Guangzhou 12345 ------------------------------------------------------------


def test_the_queues_are_those_of_guangzhou(real: Catalogue):
    assert {queue.id: queue.name.cmn for queue in real.queues} == {
        "consumer_rights": "消费维权",
        "social_security": "社会保障",
        "urban_housing_fund": "城管公积金",
        "public_security": "公安",
        "general": "综合",
        "enterprise_services": "企业服务",
    }
    assert real.default_queue == "general"
    assert real.queue("general").hours.always


def test_every_queue_has_phrases_enough_and_nothing_is_warned_of(real: Catalogue):
    assert real.warnings() == ()
    for queue in real.queues:
        for phrases in queue.phrases.values():
            assert len(phrases) >= 40
    for emergency in real.emergencies:
        for phrases in emergency.phrases.values():
            assert len(phrases) >= 12


def test_the_cantonese_is_spoken_cantonese(real: Catalogue):
    """At least half of each queue's phrases have a character or word that Mandarin has not."""
    spoken = set("咗嘅喺唔冇啲嗰佢哋揾攞畀睇嘢咩咁噉吓嚟俾乜边执返仲佬埋晒铺几")
    words = ("点样", "屋企", "细路", "我想", "呃", "点", "查吓", "发型屋", "供", "请人")
    for queue in real.queues:
        phrases = queue.phrases[Language.CANTONESE]
        marked = [p for p in phrases if spoken & set(p) or any(word in p for word in words)]
        assert len(marked) >= len(phrases) / 2, queue.id
    assert "我想查吓社保" in real.queue("social_security").phrases["yue"]
    assert "有人霸咗我车位" in real.queue("urban_housing_fund").phrases["yue"]


def test_the_words_for_a_person(real: Catalogue):
    assert real.person.key == "0"
    assert {"人工", "转人工"} <= set(real.person.phrases["cmn"])
    assert {"人工", "转人工", "揾人听"} <= set(real.person.phrases["yue"])


def test_all_four_emergency_numbers_are_there(real: Catalogue):
    assert [emergency.number for emergency in real.emergencies] == ["110", "119", "120", "122"]
    assert real.emergency("119").name.en == "Fire brigade"
    with pytest.raises(KeyError):
        real.emergency("999")


def test_the_phrases_are_in_simplified_characters(real: Catalogue):
    import opencc

    to_simplified = opencc.OpenCC("t2s").convert
    # OpenCC also turns these into characters that nobody in Guangzhou writes.
    usual = str.maketrans("𠮶𩠌䢂私疴", "嗰餸𨋢俬疴")
    for group in (*real.queues, *real.emergencies, real.person):
        for phrases in group.phrases.values():
            for phrase in phrases:
                plain = to_simplified(phrase).translate(usual)
                assert plain == phrase.replace("私", "俬")


# --- a valid catalogue ----------------------------------------------------------------------


def test_values_are_read():
    catalogue = parse_catalogue(GOOD)
    queue = catalogue.queue("social_security")
    assert (queue.agents, queue.priority) == (8, 3)
    assert str(queue.hours) == "mon-fri 08:30-18:00"
    assert queue.phrases[Language.CANTONESE][0] == "我想查吓社保"
    assert queue.name[Language.MANDARIN] == "社会保障"
    assert catalogue.queue("general").priority == 5
    assert catalogue.queue_ids == ("general", "social_security")
    assert 0 < catalogue.thresholds.confirm <= catalogue.thresholds.route <= 1
    with pytest.raises(KeyError):
        catalogue.queue("nowhere")


def test_a_catalogue_cannot_be_changed():
    catalogue = parse_catalogue(GOOD)
    with pytest.raises(ValidationError):
        catalogue.default_queue = "x"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        catalogue.queues[0].agents = 3  # type: ignore[misc]


def test_both_languages_of_a_queue_may_share_a_phrase():
    assert "失业金" in parse_catalogue(GOOD).queue("social_security").phrases["yue"]


def test_an_emergency_number_needs_no_quotation_marks():
    assert parse_catalogue(swap('"110"', "110")).emergencies[0].number == "110"


def test_hours_go_by_the_clock_of_the_centre():
    from datetime import UTC, datetime

    morning = datetime(2025, 1, 6, 1, 0, tzinfo=UTC)  # 09:00 in Guangzhou, 01:00 in London
    queue = "social_security"
    assert parse_catalogue(GOOD).queue(queue).hours.is_open(morning)
    london = parse_catalogue("timezone: Europe/London\n" + GOOD)
    assert not london.queue(queue).hours.is_open(morning)


def test_what_weakens_routing_is_warned_of():
    warnings = parse_catalogue(
        GOOD.replace("hours: 24x7", 'hours: { mon: "08:00-09:00" }')
    ).warnings()
    assert sum(f"at least {FEW_PHRASES}" in warning for warning in warnings) == 4
    assert any("default queue general is not open at all times" in warning for warning in warnings)
    assert any("119, 120, 122" in warning for warning in warnings)


# --- slips ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "id: social_security",
            "id: general",
            "q.yaml:17:9: the id 'general' is here twice, first in line 10; "
            "give one of the two another id, or delete it",
        ),
        (
            "    agents: 8\n",
            "    agents: 8\n    agents: 9\n",
            "q.yaml:20:5: the key 'agents' is here twice, first in line 19; delete one of the two",
        ),
        (
            "default_queue: general",
            "default_queue: genral",
            "q.yaml:1:16: there is no queue 'genral'; did you mean 'general'?",
        ),
        (
            "default_queue: general",
            "default_queue: xyz",
            "q.yaml:1:16: there is no queue 'xyz'; "
            "the ids of the queues are general, social_security",
        ),
        (
            "        - 工伤\n",
            "        - 查 社保？\n",
            "q.yaml:29:11: the phrase '查 社保？' is here twice, first in line 25; "
            "delete one of the two",
        ),
        (
            "        - 工伤\n",
            "        - 停电\n",
            "q.yaml:29:11: the phrase '停电' leads to queue social_security (line 29) "
            "and to queue general (line 15); delete it in one of the two places",
        ),
        (
            "        - 整亲\n",
            "        - 快报警\n",
            "q.yaml:35:11: the phrase '快报警' leads to queue social_security (line 35) "
            "and to emergency 110 (line 8); delete it in one of the two places",
        ),
        (
            "        - 整亲\n",
            "        - 人工\n",
            "q.yaml:35:11: the phrase '人工' leads to queue social_security (line 35) "
            "and to person (line 4); delete it in one of the two places",
        ),
        (
            "        - 工伤\n",
            "        - abc\n",
            "q.yaml:29:11: a phrase without any Chinese character: 'abc'; "
            "write it as callers say it, in Chinese characters",
        ),
        (
            "        - 工伤\n",
            "        - 0\n",
            "q.yaml:29:11: text is needed here, not the number '0'; "
            'put it in quotation marks: "0"',
        ),
        (
            "        - 工伤\n",
            "        - yes\n",
            "q.yaml:29:11: text is needed here, not 'yes' (which YAML reads as true); "
            'put it in quotation marks: "yes"',
        ),
        (
            "        - 工伤\n",
            f"        - {'工' * 61}\n",
            "q.yaml:29:11: a phrase of 61 characters, longer than 60; "
            "shorten it, or make two of it",
        ),
        (
            "        - 工伤\n",
            "",
            "q.yaml:24:7: queue social_security has too few phrases in cmn: 4; write at least 5",
        ),
        (
            "cmn: [抢劫啊, 快报警, 打人了], ",
            "cmn: [快报警, 打人了], ",
            "q.yaml:8:16: emergency 110 has too few phrases in cmn: 2; write at least 3",
        ),
        (
            "      yue: [冇水, 冇电, 冇煤气, 睇医生, 返学]\n",
            "",
            "q.yaml:14:5: the key 'yue' is missing; add 'yue:'",
        ),
        (
            "name: { cmn: 综合, yue: 综合, en: General }",
            "name: { cmn: 综合, yue: 综合 }",
            "q.yaml:11:5: the key 'en' is missing; add 'en: Social security'",
        ),
        (
            "en: General",
            'en: " "',
            "q.yaml:11:35: the name is empty; write the name in quotation marks",
        ),
        (
            "    agents: 8\n",
            "    agents: 0\n",
            "q.yaml:19:13: the number '0' is not allowed: it must be greater than or equal to 1; "
            "for example 'agents: 12'",
        ),
        (
            "    agents: 8\n",
            "    agents: 2.5\n",
            "q.yaml:19:13: a whole number is needed here, not the number '2.5'; "
            "for example 'agents: 12'",
        ),
        (
            "    agents: 8\n",
            "    agents: true\n",
            "q.yaml:19:13: a whole number is needed here, not 'true' (which YAML reads as true); "
            "for example 'agents: 12'",
        ),
        (
            "    agents: 8\n",
            "    agent: 8\n",
            "q.yaml:19:5: unknown key 'agent'; did you mean 'agents'?",
        ),
        (
            "hours: 24x7",
            "hours: all day",
            "q.yaml:13:12: these are no opening hours: 'all day'; "
            'write for example mon-fri: "08:30-18:00", or hours: 24x7',
        ),
        (
            '      mon-fri: "08:30-18:00"',
            '      mon-fry: "08:30-18:00"',
            "q.yaml:21:16: 'mon-fry' is no day (mon tue wed thu fri sat sun); "
            'write for example mon-fri: "08:30-18:00", or hours: 24x7',
        ),
        (
            "id: social_security",
            "id: 社保",
            "q.yaml:17:9: the id '社保' is not lower-case letters, digits and '_'; "
            "write for example 'social_security'",
        ),
        (
            "id: social_security",
            "id: person",
            "q.yaml:17:9: the id 'person' is kept for Kapok itself; choose another id",
        ),
        (
            'key: "0"',
            'key: "zero"',
            'q.yaml:3:8: \'zero\' is no key of a telephone; write one of "0" to "9", "*", "#"',
        ),
        (
            'number: "110"',
            'number: "999"',
            "q.yaml:6:13: '999' is not allowed: it must be '110', '119', '120' or '122'; "
            "for example 'number: \"110\"'",
        ),
        (
            "default_queue: general",
            "default_queue: general\ntimezone: Asia/Canton_City",
            "q.yaml:2:11: unknown time zone 'Asia/Canton_City'; write for example Asia/Shanghai",
        ),
        (
            "default_queue: general",
            "default_queue: general\nthresholds: { route: 0.4, confirm: 0.6 }",
            "q.yaml:2:36: confirm (0.6) is above route (0.4); write a smaller number for confirm",
        ),
        (
            "default_queue: general",
            "default_queue: general\nthresholds: { route: 75 }",
            "q.yaml:2:22: the number '75' is not allowed: it must be less than or equal to 1; "
            "for example 'route: 0.75'",
        ),
        (
            "default_queue: general",
            "default_queue: general\nthresholds: { route: { wrong_at_most: 300% } }",
            "q.yaml:2:22: no aim for a threshold: {'wrong_at_most': '300%'}; "
            "write { wrong_at_most: 3% }, or a number",
        ),
        (
            "default_queue: general",
            "default_queue: general\nhot_words: [15运会]",
            "q.yaml:2:13: '15运会' is no word of 2 to 12 Chinese characters; "
            "write it as it is said, numbers too: 十五运会",
        ),
        (
            "default_queue: general",
            "default_queue: general\nhot_words: [穗好办, 穗好办]",
            "q.yaml:2:12: the word '穗好办' is here twice; delete one of them",
        ),
        (
            "  - id: social_security",
            "\t- id: social_security",
            "q.yaml:17:1: a tab stands in the indentation; replace it by spaces",
        ),
        (
            "    agents: 8\n",
            "    agents：8\n",
            "q.yaml:19:11: a Chinese colon '：' stands after the key; write ':' and a space",
        ),
    ],
)
def test_a_slip_gets_one_line_with_its_place_and_mend(old: str, new: str, expected: str):
    assert faults(swap(old, new)) == [expected]


#: GOOD, with signs in remarks and phrases that would be slips elsewhere.
ODD = f'# a “remark” with " and – and ：，\n{GOOD}'.replace("- 工伤", "- 工伤：怎么办，呀")
ODD = ODD.replace("- 领养老金", '- 领 "养老金').replace("- 攞养老金", "- 攞–养老金")
_ENTRY, _KEY = re.compile(r" +- "), re.compile(r" *(- )?[a-z_]+:")
#: What it is done to -> the lines that it is done to, the sign, what is written for it.
HAND_SLIPS: dict[str, tuple[re.Pattern[str], str, str]] = {
    "a dash without a space": (_ENTRY, "- ", "-"),
    "a dash and a special space": (_ENTRY, "- ", "-\xa0"),
    "a wide dash": (_ENTRY, "- ", "－ "),
    "a long dash": (_ENTRY, "- ", "–"),
    "no dash": (re.compile(r" {8}- |  - id: s"), "- ", ""),
    "no dash, but its room": (re.compile(r" {8}- |  - id: s"), "- ", "  "),
    "an open quotation mark": (re.compile(r" {8}- [^\"]+$"), "- ", '- "'),
    "wide spaces": (re.compile("  "), "  ", "　"),
    "a Chinese colon": (_KEY, ":", "："),
    "a colon without a space": (re.compile(r" *(- )?[a-z_]+: "), ": ", ":"),
    "no colon": (_KEY, ":", ""),
    "a Chinese comma": (re.compile(r".*, "), ", ", "，"),
    "an opening Chinese bracket": (re.compile(r".*\{"), "{", "｛"),
    "a closing Chinese bracket": (re.compile(r".*\}"), "}", "｝"),
}


@pytest.mark.parametrize("slip", HAND_SLIPS)
def test_a_slip_of_the_hand_is_one_fault_of_its_own_line(slip: str):
    """In each line in turn: a line that is right is never blamed."""
    where, sign, written = HAND_SLIPS[slip]
    parse_catalogue(ODD)
    lines = ODD.split("\n")
    slipped = [at for at, line in enumerate(lines) if where.match(line)]
    assert len(slipped) >= 3
    for at in slipped:
        line = lines[at].replace(sign, written, 1)
        found = faults("\n".join([*lines[:at], line, *lines[at + 1 :]]))
        assert len(found) == 1, (line, found)
        assert found[0].startswith(f"q.yaml:{at + 1}:"), (line, found)


def test_what_is_left_empty_is_shown_filled_in():
    assert faults(re.sub(r"cmn:\n( +- .*\n)+", "cmn:\n", GOOD)) == [
        "q.yaml:24:11: a list is needed here, not nothing; "
        "write below it, two spaces further in, '- 我想查一下社保'"
    ]
    assert faults(re.sub(r"phrases:\n +cmn: \[停.*\n.*\n", "phrases:\n", GOOD)) == [
        "q.yaml:14:13: a group of keys is needed here, not nothing; "
        "write below it, two spaces further in, 'cmn:' and below that '- 我想查一下社保'"
    ]


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        ("cmn: 综合, yue: 综 合, en: General", "cmn (综合), yue (综 合), en (General)"),
        ("cmn: 社保, yue: 综合, en: Social security", "yue (综合)"),
        ("cmn: 社保, yue: 社保, en: Social security", None),
    ],
)
def test_queues_of_the_same_name_are_warned_of(names: str, alike: str | None):
    given = swap("{ cmn: 社会保障, yue: 社会保障, en: Social security }", f"{{ {names} }}")
    warned = [w for w in parse_catalogue(given).warnings() if "same name" in w]
    if alike is None:
        assert warned == []
    else:
        assert warned == [
            f"queues general and social_security have the same name in {alike}; "
            "give each a name of its own, or nobody who is asked by it can tell them apart"
        ]


def test_all_slips_are_told_at_once():
    text = swap("agents: 12", "agents: lots")
    text = text.replace("        - 工伤\n", "        - 查社保\n        - 12\n")
    text = text.replace("default_queue: general", "default_queue: none_such")
    lines = faults(text)
    assert [int(line.split(":")[1]) for line in lines] == [1, 12, 29, 30]


def test_an_empty_and_a_foreign_file_are_told():
    assert faults("") == ["q.yaml:1:1: the file is empty; fill it in, or restore it from a copy"]
    assert faults("- a\n- b")[0].startswith(
        "q.yaml:1:1: a group of keys is needed here, not a list"
    )
    assert any("'queues' is missing" in line for line in faults("languages: {}"))


def test_a_file_in_gbk_is_told(tmp_path: Path):
    path = tmp_path / "queues.yaml"
    path.write_bytes(GOOD.encode("gbk", errors="ignore"))
    with pytest.raises(ConfigError, match="GBK"):
        load_catalogue(path)


# --- properties -----------------------------------------------------------------------------


def told(text: str) -> list[str]:
    """The lines of the error that ``text`` raises, none where it is a catalogue."""
    try:
        parse_catalogue(text, "q.yaml")
    except ConfigError as error:
        return str(error).split("\n")
    return []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_catalogue_is_read_or_refused_by_one_error(data: st.DataObject):
    """Cut a piece out of a good file and put something else in its place."""
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 40)))
    middle = data.draw(
        st.text(alphabet=st.sampled_from(list("a0:- \n\t\"'[]{}#&*!|>木：")), max_size=8)
    )
    lines = told(GOOD[:start] + middle + GOOD[end:])
    assert all(line.startswith("q.yaml:") for line in lines)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, entry in entries:
        found += _paths(entry, (*path, key))
    return found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_value_in_any_place_is_taken_or_refused(data: st.DataObject):
    tree = yaml.safe_load(GOOD)
    path = data.draw(st.sampled_from(_paths(tree)))
    junk = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.lists(st.text(max_size=3), max_size=2),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(junk)
    lines = told(yaml.safe_dump(tree, allow_unicode=True))
    assert all(line.startswith("q.yaml:") for line in lines)
