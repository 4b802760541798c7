"""Numbers as they are spoken and as they are written: 三千五, 1.2万, 一三八零零."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import cn2an

__all__ = ["DIGIT", "NUMERAL", "digits", "value"]

#: One spoken or written digit; 幺 is 1 and 洞 is 0 where numbers are dictated.
DIGIT: Final = "0-9零〇一二两三四五六七八九幺洞"
#: A number: digits, and the units that they are counted in.
NUMERAL: Final = rf"[{DIGIT}十百千万亿廿卅,]+(?:\.[0-9]+)?[十百千万亿]*"
_DIGITS = str.maketrans("零〇一二两三四五六七八九幺洞", "00122345678910")
_ROUND = re.compile(r"([百千万])([一二三四五六七八九])$")
_NEXT = {"百": "十", "千": "百", "万": "千"}
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([十百千万亿]*)")
_SCALE = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "亿": 100_000_000}


def digits(text: str) -> str:
    """Dictated digits as ``0-9``; whatever is no digit is left out."""
    return re.sub(r"[^0-9]", "", text.translate(_DIGITS))


def value(text: str) -> Decimal | None:
    """The number that a numeral names, None where it names none.

    三千五 is 3500, as it is spoken; 三千零五 is 3005.
    """
    plain = text.replace(",", "")
    written = _WRITTEN.fullmatch(plain)
    if written:
        scale = 1
        for unit in written[2]:
            scale *= _SCALE[unit]
        return Decimal(written[1]) * scale
    plain = (
        plain.replace("两", "二").replace("廿", "二十").replace("卅", "三十").replace("〇", "零")
    )
    plain = _ROUND.sub(lambda m: m[1] + m[2] + _NEXT[m[1]], plain)
    try:
        return Decimal(str(cn2an.cn2an(plain, "smart")))
    except (ValueError, InvalidOperation, KeyError, IndexError):
        return None
