"""One written form for what was said: the text that is matched.

:func:`normalise` applies these steps until nothing changes any more, so it is idempotent:

1. Unicode compatibility forms (NFKC: full-width letters and digits), lower case; recogniser marks
   such as ``<unk>`` and ``[noise]`` go.
2. Traditional to simplified characters (OpenCC ``t2s``). Cantonese characters stay as Kapok writes
   them: 喺 嘅 唔 揾 嚟 畀.
3. Variant spellings: 甚么 to 什么, 著火 to 着火, 噉 to 咁, 依家 to 而家, ``d`` between characters
   to 啲.
4. Arabic numbers to Chinese numerals (cn2an). A number with a measure word is a quantity
   (``3000块``: 三千块), one without is a string of digits (``12345``: 一二三四五), as is whatever
   begins with 0, has seven digits or more, or is a well-known short number such as 110.
5. Spoken fillers (嗯 啊 呃, 那个 and 就是说; 呢 啫 即系 嗱) where they are hesitations. 呢 stays in
   呢个, 呢度, where it means "this"; 额 is no filler, 余额 needs it. An utterance of nothing but
   fillers is kept: 嗯 may be the answer yes.
6. Punctuation and spaces go; one space stays between two Latin words.
7. Repeats of a stutter are said once: 我我我想, 我想我想. Reduplication (看看, 谢谢) and repeated
   digits stay.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import cn2an
import opencc

__all__ = ["normalise", "strip_carriers", "to_simplified"]

_PASSES = 8  # every step shortens or rewrites one way; 3 passes suffice in practice

# -- characters -----------------------------------------------------------------------------------

_VARIANTS = {
    "甚么": "什么",
    "什麽": "什么",
    "甚麽": "什么",
    "搵": "揾",
    "邊": "边",
    "噉": "咁",
    "俾": "畀",
    "㗎": "噶",
    "依家": "而家",
    "裡": "里",
    "帐户": "账户",
    "帐号": "账号",
    "想像": "想象",
    "乜野": "乜嘢",
    "咩嘢": "乜嘢",
    "边处": "边度",
    "唔驶": "唔使",
    "唔洗": "唔使",
    "岩岩": "啱啱",
}
_VARIANT = re.compile("|".join(sorted(map(re.escape, _VARIANTS), key=len, reverse=True)))
# 著 is 着 but in these words.
_ZHE = re.compile(r"(?<![名显专原巨编论译遗拙昭卓土])著(?![名作称者述录])")
_HAN = r"\u3400-\u9fff\U00020000-\U0003ffff"
_LATIN_D = re.compile(rf"(?<=[{_HAN}])d(?=[{_HAN}])")
_MARK = re.compile(r"<[a-z_ ]{1,20}>|\[[a-z_ ]{1,20}\]")


@functools.cache
def _opencc() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


def to_simplified(text: str) -> str:
    """Traditional characters to simplified ones and variant spellings to Kapok's."""
    text = _VARIANT.sub(lambda m: _VARIANTS[m[0]], str(_opencc().convert(text)))
    return _LATIN_D.sub("啲", _ZHE.sub("着", text))


# -- numbers --------------------------------------------------------------------------------------

_DIGITS = "零一二三四五六七八九"
_SHORT_NUMBERS = frozenset(
    ("110", "119", "120", "122", "114", "12315", "12333", "12329", "12345", "12348", "12366")
)
_MEASURE = (
    r"(?:块|元|蚊|文|毫|角|分|万|亿|千|百|个|位|名|人|岁|年|月|日|天|号|点|时|小时|分钟|秒|次|张|份|"
    r"间|家|户|件|条|台|部|辆|架|套|层|楼|栋|平|米|公里|斤|公斤|吨|度|周|期|成|倍|楼|%|℃)"
)
_NUMBER = re.compile(
    rf"(?P<whole>\d[\d,]*)(?:(?P<point>\.)(?P<part>\d+))?(?P<percent>%)?(?=(?P<unit>{_MEASURE})?)"
)
_JOINED = re.compile(r"(?<=\d)[-\s](?=\d{3})")
_CLOCK = re.compile(r"(?<!\d)([01]?\d|2[0-4]):([0-5]\d)(?!\d)")
_YAO = re.compile(rf"(?<=[{_DIGITS}])幺|幺(?=[{_DIGITS}幺])")
_MAX_QUANTITY_DIGITS = 12


def _digit_by_digit(number: str) -> str:
    return "".join(_DIGITS[int(d)] for d in number)


def _is_quantity(whole: str, unit: str) -> bool:
    if whole in _SHORT_NUMBERS or len(whole) > _MAX_QUANTITY_DIGITS:
        return False
    if whole.startswith("0") and len(whole) > 1:
        return False
    if unit == "年" and len(whole) == 4:
        return False
    return bool(unit) or len(whole) <= 2


def _read_number(m: re.Match[str]) -> str:
    whole = m["whole"].replace(",", "")
    if not whole.isascii():  # \d matches digits of other scripts too
        whole = "".join(str(unicodedata.digit(d)) for d in whole)
    quantity = bool(m["percent"]) or _is_quantity(whole, m["unit"] or "")
    if quantity and len(whole) <= _MAX_QUANTITY_DIGITS:
        spoken = str(cn2an.an2cn(str(int(whole)), "low"))
    else:
        spoken = _digit_by_digit(whole)
    if m["point"]:
        part = "".join(str(unicodedata.digit(d)) for d in m["part"])
        spoken += "点" + _digit_by_digit(part)
    return ("百分之" + spoken) if m["percent"] else spoken


def _read_clock(m: re.Match[str]) -> str:
    minutes = "" if m[2] == "00" else str(int(m[2])) + "分"
    return f"{int(m[1])}点{minutes}"


def _numbers(text: str) -> str:
    text = _CLOCK.sub(_read_clock, _JOINED.sub("", text))
    return _YAO.sub("一", _NUMBER.sub(_read_number, text)).replace("〇", "零")


# -- fillers --------------------------------------------------------------------------------------

_HESITATION = re.compile(r"[嗯呃啊噢喔哦唉哎诶欸呀嗱啫咧]+|唔唔+|额额+|嘿嘿+|哼哼+")
_DISCOURSE = re.compile(r"就是说|即系话|即系呢|即系|怎么说呢|点讲呢|你知道吧|你知啦")
_CLAUSE_EDGE = r"(?:^|(?<=[,，.。!！?？、;；\s]))"
_DEMONSTRATIVE = re.compile(
    rf"(?:那个|这个|嗰个|呢个){{2,}}|{_CLAUSE_EDGE}(?:那个|嗰个)(?=[{_HAN}])|"
    r"(?:那个|这个|嗰个)(?=[,，、.。…])"
)
_NE = re.compile(
    r"呢(?=[,，.。!！?？、;；\s]|$|[我你佢])"  # clause-final 呢; 呢个, 呢度, 呢啲 mean "this"
)


def _fillers(text: str) -> str:
    for pattern in (_HESITATION, _DISCOURSE, _DEMONSTRATIVE, _NE):
        shorter = pattern.sub("", text)
        if _letters(shorter):
            text = shorter
    return text


# -- punctuation and stutters ---------------------------------------------------------------------

_NO_LETTER = re.compile(r"[\W_]+")
_OUTER_SPACE = re.compile(r"(?<![a-z0-9]) | (?![a-z0-9])")
_ALL_DIGITS = re.compile(rf"[{_DIGITS}十百千万亿点]*")
_TRIPLE = re.compile(rf"([{_HAN}])\1{{2,}}")
_PRONOUN = re.compile(r"([我你您佢想要就系是喺在有])\1")
_PHRASE = re.compile(rf"([{_HAN}]{{2,6}}?)\1+")


def _letters(text: str) -> str:
    return _OUTER_SPACE.sub("", _NO_LETTER.sub(" ", text)).strip()


def _once(m: re.Match[str]) -> str:
    return m[0] if _ALL_DIGITS.fullmatch(m[1]) else m[1]


def _stutters(text: str) -> str:
    for pattern in (_TRIPLE, _PRONOUN, _PHRASE):
        text = pattern.sub(_once, text)
    return text


def _pass(text: str) -> str:
    text = _MARK.sub(" ", unicodedata.normalize("NFKC", text).lower())
    return _stutters(_letters(_fillers(_numbers(to_simplified(text)))))


@functools.cache
def _suspect() -> re.Pattern[str]:
    """What any step may change: characters that are no plain Han or that OpenCC rewrites, and the
    first of every word that a step looks for."""
    han = "".join(map(chr, range(0x4E00, 0xA000)))
    converted = str(_opencc().convert("\n".join(han))).split("\n")
    changed = "".join(c for c, d in zip(han, converted, strict=True) if c != d)
    words = (*_VARIANTS, "就是说", "即系", "怎么说呢", "点讲呢", "你知道吧", "你知啦")
    words += ("唔唔", "额额", "嘿嘿", "哼哼", "那个", "嗰个", "这个", "呢个")
    single = changed + "著幺〇呢嗯呃啊噢喔哦唉哎诶欸呀嗱啫咧"
    return re.compile("|".join([r"[^\u4e00-\u9fff]", f"[{single}]", *words]))


def _is_plain(text: str) -> bool:
    """Whether no step would change the text, which has no spaces."""
    return bool(text) and not (
        _suspect().search(text)
        or _TRIPLE.search(text)
        or _PRONOUN.search(text)
        or _PHRASE.search(text)
    )


@functools.lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The text as it is matched; see the module's description. Idempotent, never raises.

    >>> normalise("嗯，我我我想問下3000塊嘅社保")
    '我想问下三千块嘅社保'
    """
    plain = text.replace(" ", "")
    if _is_plain(plain):  # what a recogniser writes mostly is, and it saves nine tenths of the time
        return plain
    for _ in range(_PASSES):
        shorter = _pass(text)
        if shorter == text:
            break
        text = shorter
    return text


# -- carrier phrases ------------------------------------------------------------------------------

_OPENING = (
    "你好|您好|喂|早晨|请问|唔该|麻烦|劳烦|不好意思|唔好意思|打扰|对不起|"
    "(?:你|您)(?:帮|同|畀)我|帮(?:下|吓)?我|我(?:呢)?(?:边|度)?(?:就)?(?:是|系)?(?:想|要|需要|想要|打算)|"
    "想(?:要)?|要|可以|可唔可以|可不可以|能不能|能否|我|"
    "(?:咨询|了解|问|请教|打听|知道|反映|反应|讲|说|睇|睇睇|查问)(?:一下|下|吓|一吓|声|一声)?|"
    "有(?:个|件)?(?:问题|事|嘢)(?:想|要)?|关于|有关|一下|下|吓"
)
_CLOSING = (
    "办理|(?<=[么样何])办|怎么办理?|怎样办理?|如何办理?|点办理?|点样办理?|点算好?|怎么(?:弄|搞|做|处理)|点(?:样)?(?:搞|做|整|处理)|"
    "应该|(?:要|可以)?(?:去)?(?:哪里|哪儿|边度)办理?|的?(?:问题|事情|事宜|情况|业务|嘢|事)|嘅(?:问题|事|嘢)|"
    "可以(?:吗|嘛|呀)?|得唔得|行不行|好吗|好唔好|谢谢(?:你|您)?|多谢(?:你|晒)?|唔该(?:你|晒)?|"
    "[的嘅了呢吗嘛吧啦喇咯噶咩呀啊]|请问|帮我|是什么|系乜嘢|咨询|有什么"
)
# Question words and the like prove nothing wherever they stand.
_INTERIOR = re.compile(
    "怎么样?|怎样|如何|点样|点解|为什么|去?(?:在|喺)?(?:哪里|哪儿|边度|边处)|什么时候|几时|(?:有)?(?:什么|咩|乜嘢)|"
    "有没有|有冇|多少|几多|可不可以|可唔可以|能不能|能否|应该|需不需要|使唔使|要不要|(?:哪|边)(?:个|间|家)|"
    "(?<![几一二三四五六七八九十两收网站地缺优特定选饭])点(?=[办搞整交换补申买投登转计攞查开续退做改供揾用约上报])"
)
_LEADING = re.compile(rf"^(?:{_OPENING})")
_TRAILING = re.compile(rf"(?:{_CLOSING})$")


@functools.lru_cache(maxsize=4096)
def strip_carriers(text: str) -> str:
    """Normalised text without the generic words around its subject (我想问一下, 请问, 点样办理).

    Empty where the text is nothing but such words: it then carries no evidence.
    """
    text = _INTERIOR.sub("", text)
    while text:
        shorter = _TRAILING.sub("", _LEADING.sub("", text))
        if shorter == text:
            return text
        text = shorter
    return text
