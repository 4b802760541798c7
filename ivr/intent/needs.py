"""What a caller takes back, and what else they ask for.

Rules over words, before anything is weighed: 不是查社保，是公积金 is about 公积金 alone, and
想查社保同埋投诉噪音 is two needs. Transcripts have no punctuation, so none is relied on.

A correction takes back what stands before it: ``不是A是B``, ``唔系A系B``, ``A不对是B``,
``A讲错咗系B``. A question (是不是, 系唔系) is none, nor is 不是 within a complaint (不是正品,
唔系我买嘅), where nothing that is meant instead follows.
"""

from __future__ import annotations

import re

from ivr.intent.normalise import normalise

__all__ = ["corrected", "several"]

_LEAST = 2  # characters of a need
# 不是 … 是 …: not preceded by 是/系 (a question), and followed by a turn to what is meant.
_NOT_BUT = re.compile(
    r"(?<![是系])(?:不是|唔系|并不是|并唔系)(?P<no>(?:(?!是不是|系唔系).)+?)"
    r"(?:而是|而系|我?(?:是|系)(?:想|要)?|我(?:想|要)(?:问|查|办|讲|说)?(?:的|嘅)?(?:是|系)?)"
    r"(?P<yes>(?![不唔]).+)$"
)
_NO_LONGER = re.compile(
    r"^.*(?:说错了|讲错了|讲错咗|说错|讲错|搞错了|搞错咗|不对不对|唔系唔系|不是不是|唔啱唔啱|[哦噢喔]?不对(?=我?(?:应该)?(?:是|要|想))|"
    r"[哦噢喔]?唔啱(?=我?(?:应该)?(?:系|要|想))|更正一下)(?:啊|呀|了|喇|咗|我)*(?:应该)?(?:是|系)?(?:想|要)?(?P<yes>.{2,})$"
)
_NOT_WANTED = re.compile(
    r"(?:不想|唔想|不要|唔要|不用|唔使|不是要|唔系要|不是想|唔系想)(?:问|查|办|投诉|咨询|搞|讲|说)(?:的|嘅)?"
    r"(?P<no>.{2,}?)(?:我?(?:想|要|是想|系想)|而是|而系)(?P<yes>.{2,})$"
)
_ALSO = re.compile(
    r"(?:还有(?:一个|件|个)?(?:事|问题|就是)?|另外(?:还)?|顺便(?:再|还|也)?|除此之外|同时还?|还想|也想|再(?:帮我|问)|"
    r"同埋|仲有(?:件|个)?(?:事|嘢)?(?:就系)?|仲想|另外仲|顺便(?:仲|再)?|亦都想|再帮我)"
)


def corrected(text: str) -> str:
    """The normalised text without what the caller takes back in it; as it is where nothing is.

    >>> corrected("不是查社保，是公积金")
    '公积金'
    """
    plain = normalise(text)
    for _ in range(3):
        for pattern in (_NO_LONGER, _NOT_WANTED, _NOT_BUT):
            m = pattern.search(plain)
            if m is not None and len(m["yes"]) >= _LEAST:
                plain = m["yes"]
                break
        else:
            return plain
    return plain


def several(text: str) -> tuple[str, ...]:
    """The parts of a normalised text that may each be a need; the whole where there is one.

    >>> several("我想查社保同埋投诉楼上噪音")
    ('我想查社保', '投诉楼上噪音')
    """
    parts = [p for p in _ALSO.split(text) if p]
    return tuple(parts) if all(len(p) > _LEAST for p in parts) and len(parts) > 1 else (text,)
