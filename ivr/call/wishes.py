"""What a caller wishes of the call itself: another language, or to be spoken to more slowly.

Read from the words of both languages, whichever was heard: who asks for Cantonese may ask in
Mandarin. Words that merely name a language (广东话考试) are no wish. Of a short wish the recogniser
often has another character of the same sound, or has it second in its list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ivr.language import Language

__all__ = ["Wish", "read_wish"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was wished for; ``alone``: nothing else was said."""

    language: Language | None = None
    slower: bool = False
    alone: bool = True


_NOISE = re.compile(r"[\s，。！？、；：,.!?;:“”\"'…]+")
# Recognisers write other characters of the same sound: 广东化, 将普通话, 说满一点.
_MANDARIN = "(?:普通[话化华]|国语|北京话)"
_CANTONESE = "(?:广东[话化华]|广州[话化华]|粤语|白话)"
_SPEAK = "(?:讲|将|江|奖|说|用|转|转做|转成|换|换成|改|改讲|改说|要|听|切换|切换到)"
_ASKS = "(?:请|唔该|麻烦|可唔可以|可不可以|能不能|能否|我想|我要|我|你|你可以|可以)"
_AFTER = "(?:啦|啊|呀|吧|吗|吖|喇|啰|嘅|的|得唔得|好唔好|好吗|行吗|可以吗|唔该|服务|先)"
_LANGUAGES = {
    language: re.compile(rf"(?:{_ASKS}*{_SPEAK}{{1,2}}{name}|^{name}){_AFTER}*")
    for language, name in ((Language.MANDARIN, _MANDARIN), (Language.CANTONESE, _CANTONESE))
}
#: The name of a language, and next to nothing before it: 清江普通话 is 请讲普通话, misheard.
_BRIEF = {
    language: re.compile(f".{{0,3}}{name}{_AFTER}*")
    for language, name in ((Language.MANDARIN, _MANDARIN), (Language.CANTONESE, _CANTONESE))
}
#: Not a wish: 我唔识讲普通话 asks for the other language.
_CANNOT = re.compile(
    rf"(?:唔识|唔系几识|唔会|不会|不懂|听不懂|听唔明|听唔懂|唔想|不想)(?:听|讲|说)?(?P<cmn>{_MANDARIN})?(?P<yue>{_CANTONESE})?"
)
_SLOWER = re.compile(
    "(?:我)?(?:年纪[大打到]|年纪老|年纪好大|岁数大|上了年纪|耳朵不好|耳朵背|耳仔唔好|听觉唔好)(?:了|咗|喇|啦)?"
    "|我(?:系|是)?(?:个)?老人家"
    "|(?:请|唔该|麻烦)?(?:你)?(?:讲|说)(?:得|话)?(?:慢)(?:一?点|啲|些)(?:儿)?"
    "|(?:讲|说|港|江|将)(?:得|话)?[曼漫满蛮]一点|(?:港|港澳|都|个)慢啲"
    "|慢(?:一?点|啲|些)(?:儿)?(?:讲|说|嚟|来)|(?:讲|说)(?:得|嘅|的)?太快"
)


def read_wish(text: str) -> Wish | None:
    """The wish in ``text``, simplified characters; None where there is none."""
    said = _NOISE.sub("", text)
    language, rest = _language(said)
    rest, slower = _SLOWER.subn("", rest)
    if language is None and not slower:
        return None
    left = re.sub(f"{_ASKS}|{_AFTER}|[嗯啊呃哦]|你|我", "", rest)
    return Wish(language=language, slower=bool(slower), alone=len(left) < 3)


def _language(said: str) -> tuple[Language | None, str]:
    """The language wished for, and what else was said."""
    cannot = _CANNOT.search(said)
    if cannot and (cannot["cmn"] or cannot["yue"]):
        language = Language.CANTONESE if cannot["cmn"] else Language.MANDARIN
        return language, said[: cannot.start()] + said[cannot.end() :]
    for language, pattern in _LANGUAGES.items():
        found = pattern.search(said) or _BRIEF[language].fullmatch(said)
        if found and _ends(said, found):
            return language, said[: found.start()] + said[found.end() :]
    return None, said


def _ends(said: str, found: re.Match[str]) -> bool:
    """Whether the name of the language is the end of its phrase: 讲广东话嘅节目 is no wish."""
    after = said[found.end() :]
    return not re.match("考试|水平|测试|证|等级|课|班|频道|节目|新闻|老师|培训|的人", after)
