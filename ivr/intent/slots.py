"""What helps the agent, read from the transcript: place, date, amount, numbers, company.

    slots = find("我喺天河区石牌街, 电话一三八零零一三八零零零", today=date.today())
    mask("电话13800138000")  # "电话*********00"

========== ==========================================================================
kind       value
========== ==========================================================================
district   one of the 11 districts of Guangzhou, without 区
street     ``district/street``; the district is left out where two have that street
address    road and number as said
date       ISO 8601: a day ``2026-11-05``, a month ``2026-11`` or a year ``2026``
amount     yuan, as a decimal number; a ``+`` behind it for 几 and 多
phone      digits of a mobile (11) or fixed number (8, or with area code)
identity   a resident identity number, checksum right (GB 11643-1999)
card       13 to 19 digits with a right Luhn checksum (ISO/IEC 7812-1)
number     other numbers of seven digits or more
company    name of a company, shop or office
========== ==========================================================================

Dates without a year, or without a month, are those nearest to today. Whoever logs or prints a
transcript passes it through :func:`mask`; only the agent sees the numbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import yaml

from ivr.intent import numerals
from ivr.intent.normalise import to_simplified
from ivr.intent.sounds import character_syllables
from ivr.language import Language

__all__ = ["SECRET", "Slot", "find", "is_identity", "mask", "mask_partial"]

#: Kinds that only the agent may see in full.
SECRET: Final = frozenset({"phone", "identity", "card", "number"})
_SHOWN = 2  # digits left at the end of a masked number


@dataclass(frozen=True, slots=True)
class Slot:
    """Something the transcript says, and where: ``text[start:end]``."""

    kind: str
    text: str
    value: str
    start: int
    end: int

    @property
    def masked(self) -> str:
        """The value as it may be logged."""
        return _stars(self.value) if self.kind in SECRET else self.value


def find(text: str, *, today: date, language: Language = Language.MANDARIN) -> tuple[Slot, ...]:
    """All slots of a transcript in the order in which they were said; none overlap.

    Args:
        text: simplified or traditional, as heard.
        today: the day of the call, to which 昨天 and 上个月 refer.
        language: by whose sounds a misheard district is known (天和区).
    """
    plain = to_simplified(text)
    if len(plain) != len(text):
        plain = text
    taken: list[Slot] = []
    finders: tuple[Callable[[], Iterator[Slot]], ...] = (
        lambda: _numbers(plain),
        lambda: _addresses(plain),
        lambda: _streets(plain),
        lambda: _districts(plain, language),
        lambda: _amounts(plain),
        lambda: _dates(plain, today),
        lambda: _companies(plain),
    )
    for finder in finders:
        for slot in finder():
            if all(slot.end <= other.start or other.end <= slot.start for other in taken):
                taken.append(
                    Slot(slot.kind, text[slot.start : slot.end], slot.value, slot.start, slot.end)
                )
    return tuple(sorted(taken, key=lambda slot: slot.start))


# -- numbers that identify somebody ---------------------------------------------------------------

_D = numerals.DIGIT
_RUN = re.compile(rf"[{_D}](?:[ \-]?[{_D}]){{6,}}(?:[ \-]?[xX叉])?")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"


#: One digit as it is dictated or written, in any script; 三个零 is three of them.
_SPOKEN = f"(?:[两二三四五六]个[{_D}０-９]|[{_D}０-９壹贰叁肆伍陆柒捌玖])"
#: What a recogniser writes for a digit of the same sound (要 for 幺, 是 for 四, 就 for 九).
_ALIKE = "[要腰邀妖衣医依儿而耳伞散山是似事市思舞吾唔吴留流楼柳期其起漆巴吧把就久酒救狗灵另令拐勾]"
#: What stands between digits where somebody dictates them.
_PAUSE = "[ \\-，、。呃嗯啊哦额]{0,3}(?:然后|跟住|之后|就系|就是)?[ ]?"
_DICTATED = re.compile(
    rf"{_SPOKEN}(?:{_PAUSE}(?:{_SPOKEN}|{_ALIKE}(?=.{{0,4}}{_SPOKEN}))){{6,}}(?:[ \-]?[xX叉])?"
)
_ONE = re.compile(_SPOKEN)
_UNDER_WAY = re.compile(rf"{_SPOKEN}(?:{_PAUSE}{_SPOKEN}){{3,}}$")
_LEAST_DIGITS = 0.7  # of a dictated number; the others sound like digits


def mask(text: str) -> str:
    """The text with every number of seven digits or more hidden but for its last two digits.

    Digits may be written or spoken (一三八, 三个零), with pauses between them, and a few may be
    misheard as words of the same sound. Masking twice is masking once.
    """
    return _DICTATED.sub(lambda m: _stars(m[0]) if _is_dictated(m[0]) else m[0], text)


def mask_partial(text: str) -> str:
    """As :func:`mask`, for words that are still coming: a number under way is hidden as a whole."""
    return _UNDER_WAY.sub(lambda m: re.sub(r"[^ *]", "*", m[0]), mask(text))


def _is_dictated(run: str) -> bool:
    digits = len(_ONE.findall(run))
    alike = len(re.findall(_ALIKE, _ONE.sub("", run)))
    return digits >= 6 and digits / (digits + alike) >= _LEAST_DIGITS


def _stars(number: str) -> str:
    places = [i for i, char in enumerate(number) if char not in " -，、。"]
    hidden = set(places[:-_SHOWN])
    return "".join("*" if i in hidden else char for i, char in enumerate(number))


def _numbers(text: str) -> Iterator[Slot]:
    for m in _RUN.finditer(text):
        number = numerals.digits(m[0]) + ("X" if m[0][-1] in "xX叉" else "")
        yield Slot(_kind(number), m[0], number, m.start(), m.end())


def _kind(number: str) -> str:
    if is_identity(number):
        return "identity"
    if re.fullmatch(r"1[3-9]\d{9}|0[1-9]\d{9,10}|020\d{8}|[2-8]\d{7}", number):
        return "phone"
    if 13 <= len(number) <= 19 and number.isdigit() and _luhn(number):
        return "card"
    return "number"


def is_identity(number: str) -> bool:
    """Whether a resident identity number's checksum is right (GB 11643-1999, ISO 7064 MOD 11-2)."""
    if not re.fullmatch(r"[1-9]\d{16}[\dX]", number):
        return False
    total = sum(w * int(d) for w, d in zip(_WEIGHTS, number, strict=False))
    return _CHECK[total % 11] == number[-1]


def _luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


# -- places ---------------------------------------------------------------------------------------

# What stands before a name and is no part of it.
_EDGE = re.compile(
    "我哋|我们|你哋|你们|佢哋|他们|叫做|名叫|嗰间|呢间|那家|这家|一家|一间|嗰度|街道|投诉|举报|请问|附近|旁边|隔离|广州市|"
    "有(?!限)|[我你佢他她喺在系是住去到从同跟和向叫间个的嘅被畀告买咗了过区镇说讲帮找揾对于给查请想要]"
)
_ROAD = re.compile(
    r"[\u4e00-\u9fff]{1,7}?(?:大道|马路|大街|路|街|巷|里|新村|村|花园)[东西南北中]?"
    rf"(?:{numerals.NUMERAL})号(?:大院|院)?(?:(?:{numerals.NUMERAL})(?:楼|栋|座|房|室|单元))*"
)


def _names_only(text: str) -> str:
    """The text with what is no part of a name blanked out, each character in its place."""
    return _EDGE.sub(lambda m: " " * len(m[0]), text)


@functools.cache
def _places() -> dict[str, dict[str, list[str]]]:
    text = (Path(__file__).parent / "streets.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(text)
    return found


@functools.cache
def _street_pattern() -> tuple[re.Pattern[str], dict[str, list[str]]]:
    owner: dict[str, list[str]] = {}
    bare: set[str] = set()
    for district, names in _places().items():
        for name in (*names["streets"], *names.get("towns", [])):
            owner.setdefault(name, []).append(district)
        bare |= set(names["bare"])
    every = sorted(owner, key=len, reverse=True)
    alone = sorted(bare, key=len, reverse=True)
    return re.compile(
        rf"(?P<with>{'|'.join(every)})(?:街道办?|镇(?!静)|街(?!头))|(?P<bare>{'|'.join(alone)})"
    ), owner


def _addresses(text: str) -> Iterator[Slot]:
    for m in _ROAD.finditer(_names_only(text)):
        yield Slot("address", m[0], m[0], m.start(), m.end())


def _streets(text: str) -> Iterator[Slot]:
    pattern, owner = _street_pattern()
    for m in pattern.finditer(text):
        name = m["with"] or m["bare"]
        districts = owner[name]
        where = f"{districts[0]}/{name}" if len(districts) == 1 else name
        yield Slot("street", m[0], where, m.start(), m.end())


_DISTRICT_ALONE = {
    "白云": "(?!山|机场|大道|湖|路)",
    "黄埔": "(?!军校|大道|港|古港|路)",
    "海珠": "(?!广场|桥|湖|路)",
    "天河": "(?!城|体育|路|北|东|直街)",
    "荔湾": "(?!湖|路)",
    "越秀": "(?!山|公园|路)",
    "花都": "(?!大道)",
    "南沙": "(?!港|大桥)",
    "番禺": "(?!广场|大道)",
    "从化": "(?!温泉)",
    "增城": "(?!广场)",
}
_DISTRICT = re.compile(
    "|".join(
        f"(?P<d{n}>{name}(?:区|{tail}))" for n, (name, tail) in enumerate(_DISTRICT_ALONE.items())
    )
)
_ANY_DISTRICT = re.compile(r"[\u4e00-\u9fff]{2}(?=区)")


@functools.cache
def _district_sounds(language: Language) -> dict[tuple[str, ...], str]:
    return {_toneless(name, language): name for name in _DISTRICT_ALONE}


def _toneless(text: str, language: Language) -> tuple[str, ...]:
    return tuple(s.rstrip("0123456") for s in character_syllables(text, language))


def _districts(text: str, language: Language) -> Iterator[Slot]:
    names = list(_DISTRICT_ALONE)
    for m in _DISTRICT.finditer(text):
        assert m.lastgroup is not None
        yield Slot("district", m[0], names[int(m.lastgroup[1:])], m.start(), m.end())
    sounds = _district_sounds(language)
    for start in range(len(text) - 2):
        heard = _ANY_DISTRICT.match(text, start)
        name = sounds.get(_toneless(heard[0], language)) if heard else None
        if heard and name is not None and name != heard[0]:
            yield Slot("district", heard[0] + "区", name, start, start + 3)


# -- amounts --------------------------------------------------------------------------------------

_AMOUNT = re.compile(
    rf"(?P<about>几|成)?(?P<number>{numerals.NUMERAL})(?P<more>几|多|零)?(?P<big>万|千|百)?(?P<some>几|多)?"
    rf"个?(?:块|元|蚊|圆)(?!石|头)(?P<dime>[一二两三四五六七八九半1-9])?(?:钱|毫子?|角)?"
)


def _amounts(text: str) -> Iterator[Slot]:
    for m in _AMOUNT.finditer(text):
        number = numerals.value(m["number"] + (m["big"] or ""))
        if number is None or (m["about"] == "几"):
            continue
        if m["dime"]:
            tenth = Decimal(5) if m["dime"] == "半" else numerals.value(m["dime"])
            number += (tenth or Decimal(0)) / 10
        more = "+" if m["more"] in ("几", "多") or m["some"] else ""
        yield Slot("amount", m[0], f"{number.normalize():f}{more}", m.start(), m.end())


# -- companies ------------------------------------------------------------------------------------

_COMPANY = re.compile(
    r"(?P<name>[\u4e00-\u9fff]{2,14}?)(?P<what>有限责任公司|股份有限公司|有限公司|集团|公司|超市|商场|百货|酒店|酒楼|"
    "餐厅|饭店|医院|诊所|幼儿园|银行|健身房|工厂|网店|专卖店|门店|店|厂)"
)
_NO_NAME = frozenset(
    {"什么", "乜嘢", "这间", "那间", "某个", "所有", "自己", "好多", "很多", "第一"}
)


def _companies(text: str) -> Iterator[Slot]:
    for m in _COMPANY.finditer(_names_only(text)):
        if m["name"] not in _NO_NAME:
            yield Slot("company", m[0], m[0], m.start(), m.end())


# -- dates ----------------------------------------------------------------------------------------

_DAY_WORDS: Final = {
    -3: "大前天 大前日",
    -2: "前天 前日 前晚",
    -1: "昨天 昨日 昨晚 琴日 寻日 噚日 琴晚 寻晚 噚晚",
    0: "今天 今日 今朝 今早 今晚",
    1: "明天 听日 明日 听朝 听晚",
    2: "后天 后日",
}
_DAYS = {word: count for count, words in _DAY_WORDS.items() for word in words.split()}
_WEEKDAY = {c: n for n, c in enumerate("一二三四五六")} | {"日": 6, "天": 6}
_N = r"(?:[0-9]{1,2}|[一二三四五六七八九十廿卅]{1,3})"
_DATE = re.compile(
    rf"(?P<day>{'|'.join(sorted(_DAYS, key=len, reverse=True))})"
    r"|(?P<week>上上|上|下|这|今|呢|本)个?(?:星期|礼拜|周)(?P<weekday>[一二三四五六日天])"
    rf"|(?:(?P<year>(?:19|20)[0-9]{{2}}|[一二][零〇九][零〇一二三四五六七八九]{{2}}|今|去|旧|前|明|出)年)?"
    rf"(?P<month>{_N})月(?:份|(?P<mday>{_N})[号日]?)?"
    rf"|(?P<rel>上上|上|下|这|今|呢|本)个?月(?P<rday>{_N})?(?P<ends>[号日])?"
    r"|(?P<only>(?:19|20)[0-9]{2}|[一二][零〇九][零〇一二三四五六七八九]{2}|今|去|旧|前|明|出)年"
    rf"|(?P<alone>{_N})号(?!线|楼|院|铺|房|机|仓|码)"
)
_WEEKS = {"上上": -2, "上": -1, "下": 1, "这": 0, "今": 0, "呢": 0, "本": 0}
_YEARS = {"今": 0, "去": -1, "旧": -1, "前": -2, "明": 1, "出": 1}


def _dates(text: str, today: date) -> Iterator[Slot]:
    for m in _DATE.finditer(text):
        said = _date_of(m, today)
        if said is not None:
            yield Slot("date", m[0], said, m.start(), m.end())


def _date_of(m: re.Match[str], today: date) -> str | None:
    if m["day"]:
        return (today + timedelta(days=_DAYS[m["day"]])).isoformat()
    if m["week"]:
        monday = today - timedelta(days=today.weekday()) + timedelta(weeks=_WEEKS[m["week"]])
        return (monday + timedelta(days=_WEEKDAY[m["weekday"]])).isoformat()
    if m["rel"]:
        day = _whole(m["rday"]) if m["ends"] else None
        return _iso(*_month_after(today.year, today.month, _WEEKS[m["rel"]]), day)
    if m["month"]:
        month, day = _whole(m["month"]), _whole(m["mday"])
        if m["year"]:
            return _iso(_year(m["year"], today), month, day)
        return _nearest_year(today, month, day)
    if m["only"]:
        return str(_year(m["only"], today))
    return _nearest_month(today, _whole(m["alone"]))


def _year(said: str, today: date) -> int:
    return today.year + _YEARS[said] if said in _YEARS else int(numerals.digits(said))


def _whole(said: str | None) -> int | None:
    number = numerals.value(said) if said else None
    return int(number) if number is not None else None


def _month_after(year: int, month: int, count: int) -> tuple[int, int]:
    index = year * 12 + month - 1 + count
    return index // 12, index % 12 + 1


def _iso(year: int, month: int | None, day: int | None) -> str | None:
    if month is None or not 1 <= month <= 12:
        return None
    if day is None:
        return f"{year:04d}-{month:02d}"
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _nearest_year(today: date, month: int | None, day: int | None) -> str | None:
    found = [said for year in (-1, 0, 1) if (said := _iso(today.year + year, month, day or 15))]
    if not found:
        return None
    near = min(found, key=lambda said: abs(date.fromisoformat(said) - today))
    return near if day else near[:7]


def _nearest_month(today: date, day: int | None) -> str | None:
    found = [
        said
        for count in (-1, 0, 1)
        if day and (said := _iso(*_month_after(today.year, today.month, count), day))
    ]
    return min(found, key=lambda said: abs(date.fromisoformat(said) - today), default=None)
