"""Text to toned syllables, and syllables to the units that the network emits.

Units are an initial (where there is one) and a toned final. Pinyin is taken apart by sound and not
by spelling (``yu`` is the final ``v``, ``jun`` ends in ``vn``, ``zhi`` in the apical ``ii``), after
the table of finals in the *Scheme for the Chinese Phonetic Alphabet* (ISO 7098:2015); jyutping
after the Linguistic Society of Hong Kong's scheme.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence

import opencc

from ivr.intent import sounds
from ivr.intent.sounds import character_syllables
from ivr.intent.sounds import parse as taken_apart
from ivr.language import Language

__all__ = ["LANGUAGES", "in_context", "parse", "simplified", "syllables", "unit_inventory", "units"]

LANGUAGES = ("cmn", "yue")
HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
_MARKUP = re.compile(r"\[[^\]]*\]|（[^）]*）")
_FOREIGN = re.compile(r"[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]")
#: OpenCC simplifies these Cantonese characters to forms outside the fonts and habits of Guangzhou.
_RARE_FORMS = str.maketrans("𠮶𩠌㖊䢂𪮶搵", "嗰餸噚𨋢攋揾")


@functools.cache
def _to_simplified() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


def simplified(text: str) -> str:
    """Traditional characters to simplified ones, Cantonese characters left as they are."""
    return str(_to_simplified().convert(text)).translate(_RARE_FORMS)


def syllables(text: str, language: str) -> list[str] | None:
    """Toned syllables of a sentence; None where it holds letters or digits that cannot be read."""
    text = _MARKUP.sub("", text)
    if _FOREIGN.search(text):
        return None
    out: list[str] = []
    for run in HAN.findall(text):
        found = character_syllables(
            simplified(run) if language == "cmn" else run, Language(language)
        )
        if not all(found):
            return None
        out += found
    return out


@functools.cache
def parse(syllable: str, language: str) -> tuple[str, str, str] | None:
    """``(initial, final, tone)`` of a toned syllable, initial empty for none; None if malformed."""
    found = taken_apart(syllable, Language(language))
    return None if found is None else (found.initial, found.final, str(found.tone))


def units(syllable_list: list[str], language: str) -> list[str]:
    """The units of a list of toned syllables, ``["zh", "ong1", "g", "uo2"]``."""
    return sounds.units(syllable_list, Language(language))


def in_context(unit_list: Sequence[str], language: str, known: Container[str]) -> list[str]:
    """Units by what stands beside them, as far as ``known`` tells them apart."""
    return sounds.in_context(unit_list, Language(language), known)


def unit_inventory(
    said: Mapping[str, int], language: str, *, least: int | None = None
) -> list[str]:
    """The output labels of a language, blank first, for the syllables that can occur.

    Args:
        said: how often each syllable occurs.
        language: ``cmn`` or ``yue``.
        least: a unit is told apart by what stands beside it (:func:`ivr.intent.sounds.contexts`)
            where that occurs so often; the commonest context, and rare ones, keep the plain name.
            None: nowhere.
    """
    count: dict[str, Counter[str]] = defaultdict(Counter)
    for syllable, n in said.items():
        plain = units([syllable], language)
        for unit, named in zip(plain, sounds.contexts(plain, Language(language)), strict=True):
            count[unit][named] += n
    out = set(count)
    if least is not None:
        for contexts in count.values():
            out |= {named for named, n in contexts.most_common()[1:] if n >= least}
    return ["<blk>", *sorted(out)]
