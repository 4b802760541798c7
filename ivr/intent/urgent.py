"""What goes before every queue: the wish for a person, and emergencies.

Both are rules over the words of the catalogue rather than scores alone. A person must be reached
by saying so, and 人工智能, 个人工资 and 人工湖 must not reach one; a fire must be heard as one,
and 想查火灾保险 or 消防证怎么办理 must not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ivr.intent.normalise import normalise, strip_carriers
from ivr.intent.sounds import character_syllables, table
from ivr.language import Language

__all__ = ["PersonWish", "asks_about", "goes_on"]

# 人工 is part of another word before these, and after those.
_WORD_GOES_ON = (
    "智能|费|湖|岛|草|降雨|增雨|成本|流产|授精|受精|呼吸|心肺|耳蜗|晶体|关节|养殖|种植|林|合成|智慧|"
    "资|伤|程|业|厂|地|会(?!话)|龄|种|商|具|艺|友|作(?!人)|人|龄|钱|时|读|匠|牛黄|繁殖|翻译|造|挖|河|"
    "鱼|甜|色素|标注|听写|打磨|包装|搬运|装卸"
)
_WORD_BEFORE = "个|工|私|别|他|本|军|商|农|华|外|女|男|老|客|黑|仿|非|无|半|加|做"
# What people put around the wish: 我要转…, 畀个…我倾, …服务, …得唔得.
_AROUND = re.compile(
    r"(?:我|你|您|佢|想|要|需要|帮|畀|给|让|请|麻烦|唔该|转|接|按|揾|找|叫|跟|同|和|到|去|过|直接|快啲?|快点|"
    r"赶紧|即刻|马上|立刻|一个|个|位|真|活|服务|客服|坐席|座席|话务员|接线员|接线生|专员|员|热线|"
    r"电话|通话|说话|讲话|讲嘢|倾|倾偈|谈|聊|听|来|嚟|得唔得|可以|可不可以|可唔可以|吗|吧|啦|喇|呀|啊|嘅|的|"
    r"了|呢|下|吓|一下|唔想|不想|不要|唔要|机器人|机械人|机器|机械|讲|说|号键|键|号|线|能|能不能|行不行|好吗|好唔好|先|就|再)*"
)
# The heart of a wish; counts alone where a phrase of the catalogue has it.
_PERSON_NOUNS = ("人工", "真人", "人听", "客服", "接线员", "接线生", "话务员", "坐席")
_SOUNDS_ALIKE = 0.09  # mean distance of syllables: a homophone, or one of the usual confusions


class PersonWish:
    """Hears the wish for a person, from the catalogue's words in one language."""

    def __init__(self, phrases: Sequence[str], key: str, language: Language) -> None:
        self._language = language
        words = {normalise(p) for p in phrases} - {""}
        self._key = normalise(key)
        words.add(self._key)
        nouns = {n for n in _PERSON_NOUNS if any(n in word for word in words)}
        self._words = sorted(words | nouns, key=lambda w: (-len(w), w))
        self._anywhere = self._pattern([w for w in self._words if len(w) > 2])
        self._codes = [
            table(language).codes(character_syllables(w, language))
            for w in self._words
            if len(w) > 1
        ]

    @staticmethod
    def _pattern(words: Sequence[str]) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, words)) or r"(?!)")

    def heard(self, text: str) -> bool:
        """Whether the caller asks for a person; ``text`` is normalised."""
        if self._is_only_wish(text):
            return True
        return self._contains_request(text) or self._sounds_like_wish(text)

    def _is_only_wish(self, text: str) -> bool:
        """A word of the list with nothing but the usual words around it."""
        for word in self._words:
            at = text.find(word)
            while at >= 0:
                before, after = text[:at], text[at + len(word) :]
                if word == self._key and not _is_key_press(before, after):
                    pass
                elif _AROUND.fullmatch(before) and _AROUND.fullmatch(after):
                    return True
                at = text.find(word, at + 1)
        return False

    def _contains_request(self, text: str) -> bool:
        """A word of three characters or more (转人工, 人工服务) in a longer sentence."""
        return any(
            not _inside_word(text, m.start(), m.end()) for m in self._anywhere.finditer(text)
        )

    def _sounds_like_wish(self, text: str) -> bool:
        """The whole utterance sounds like a word of the list: 转仁工."""
        sounds = table(self._language)
        for candidate in {text, strip_carriers(text)} - {""}:
            if len(candidate) > 8:
                continue
            heard = sounds.codes(character_syllables(candidate, self._language))
            for codes in self._codes:
                if len(codes) == len(heard) and (
                    sounds.distances(heard, codes).diagonal().mean() <= _SOUNDS_ALIKE
                ):
                    return True
        return False


_GOES_ON = re.compile(_WORD_GOES_ON)
_BEFORE = re.compile(rf"(?:{_WORD_BEFORE})$")


def _inside_word(text: str, start: int, end: int) -> bool:
    """Whether the 人工 of a match is part of another word: 人工智能, 个人工资."""
    word = text[start:end]
    if word.endswith("人工") and _GOES_ON.match(text, end):
        return True
    return word.startswith("人工") and bool(_BEFORE.search(text[:start]))


def _is_key_press(before: str, after: str) -> bool:
    """0 counts where it is said alone or as a key: 零, 按零, 零号键."""
    return bool(re.fullmatch(r"(?:我|想|要|转|按|撳|揿|就|请)*", before)) and bool(
        re.fullmatch(r"(?:号|键|字|掣|号键|啦|吧|了|喇|就)*", after)
    )


# An emergency is told, not asked about. These make it a matter of papers, money or knowledge.
_PAPERS = re.compile(
    r"保险|车险|险种|理赔|赔偿|补偿|报销|证(?!人)|许可|审批|验收|检查|备案|手续|办理|申请|演习|演练|培训|"
    r"知识|宣传|讲座|教育|课程|条例|规定|标准|政策|法规|咨询|查询|补贴|补助|津贴|待遇|认定|统计|资格|"
    r"器材|设备|设施|合格|年检|处罚|罚款|罚单|执照|费用|收费|几钱|多少钱|招聘|考试|报名|鉴定|"
    r"电影|小说|新闻|故事|游戏|梦"
)
_PAST = re.compile(
    r"上个?(?:月|年|周|星期|礼拜)|去年|旧年|前年|以前|之前|前几日|前几天|琴日|昨天|前日|前天"
)
_NOW = re.compile(
    r"救命|救人|快(?:啲|点|来|嚟|D)|赶紧|紧急|现在|而家|正在|急救|即刻|马上|好大烟|好大火"
)
# What happens again and again, and what the authorities shall do about it: a complaint.
_AGAIN = re.compile(
    r"(?:每|天|夜|晚)(?:天|晚|夜|日|个?周末|个?星期|次)|日日|成日|成晚|次次|时时|经常|总是|老是|一直|常常|"
    r"隔三差五|三天两头|三日两头|不时|三不五时|好多次|很多次|好几次|几次|呢排|最近|长期|一到(?:晚|夜)|"
    r"(?:几|两|三|半|一)(?:个(?:几)?月|年)(?!前)|投诉|反映|加强|整治|巡逻|有冇人管|有没有人管|管一管|管下|"
    r"希望|报(?:过|咗)(?:好多|很多|几)?次?警"
)
# Said so, it is happening or about to, or somebody is hurt or threatened.
_DANGER = re.compile(
    rf"{_NOW.pattern}|刚刚|刚才|啱啱|头先|突然|(?:打|斩|砍|杀|追|跟住|威胁|吓)(?:紧|住|咗)?我|"
    r"杀|斩|砍|捅|刀|枪|血|绑架|强奸|跳楼|跳桥|自杀|轻生|爆炸|救|伤(?!害)|晕|昏|困|压住|埋|"
    r"揾唔到|揾唔返|找不到|不见了|唔见咗|失踪|走失|拐|抢|打劫|我(?:好|很)(?:惊|怕|害怕)"
)
_UNTIL_NOW = re.compile(r"(?:到|至)(?:而家|现在|目前)|而家仲|现在还(?=没|是)")


def asks_about(text: str) -> bool:
    """Whether a text about an emergency asks about papers, money or the past.

    What is happening now (救命, 而家, 快啲) is told, whatever else is said.
    """
    if _NOW.search(text):
        return False
    return bool(_PAPERS.search(text) or _PAST.search(text))


def goes_on(text: str) -> bool:
    """Whether a text about fights, smoke or crashes complains of what happens again and again.

    An emergency is told in the present tense. Where somebody is in danger now (救命, 而家, 揸刀,
    打我), or may be, it is none of these.
    """
    plain = _UNTIL_NOW.sub("", text)
    return bool(_AGAIN.search(plain)) and not _DANGER.search(plain)
