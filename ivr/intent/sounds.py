"""How text sounds: toned pinyin and jyutping, and how alike two syllables sound.

Pinyin is written ``zhong1 guo2`` with ü as ``v`` and the neutral tone as 5, jyutping as
``gwong2 zau1``. A syllable is taken apart into initial, final and tone; pinyin by sound and not
by spelling, after the table of finals of ISO 7098:2015 (``yu`` is the final ``v``, ``zhi`` ends
in the apical vowel ``ii``), jyutping after the Linguistic Society of Hong Kong's scheme.

The distance between two syllables is ``0.45 initial + 0.45 final + 0.1 tone``, each of the three
in [0, 1]. Initials and finals are compared by articulatory features (place and manner; medial,
nucleus and coda), but pairs that southern speakers and recognisers take for one another cost
``CONFUSED`` only: Mandarin z/zh, c/ch, s/sh, n/l, l/r, f/h, -n/-ng; Cantonese n/l, ng/zero,
gw/g, kw/k, -ng/-n, -k/-t, aa/a, and tones 2/5, 3/6, 4/6 (the "lazy sounds" and tone mergers of
Bauer & Benedict, *Modern Cantonese Phonology*, 1997).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import opencc
import ToJyutping
from pypinyin import Style, lazy_pinyin
from pypinyin.seg.mmseg import seg

from ivr.intent.normalise import to_simplified
from ivr.language import Language

__all__ = [
    "CONFUSED",
    "Syllable",
    "SyllableTable",
    "character_syllables",
    "contexts",
    "distance",
    "fold",
    "fold_number",
    "in_context",
    "parse",
    "plain",
    "syllables",
    "table",
    "units",
]

CONFUSED = 0.15  # cost of a pair that is often taken for one another, of 1
_WEIGHTS = (0.45, 0.45, 0.1)  # initial, final, tone


@dataclass(frozen=True, slots=True)
class Syllable:
    """A syllable taken apart: ``zh``, ``ong``, 1. The initial is empty where there is none."""

    initial: str
    final: str
    tone: int


# -- text to syllables ----------------------------------------------------------------------------

_HAN_RUN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
# Characters of Cantonese that a Mandarin reader meets: read as their Mandarin counterparts sound.
_CMN_READING = {"嘅": "ge5", "喺": "xi4", "啲": "di1", "嘢": "ye3", "佢": "qu2", "冇": "mao3"}


@functools.lru_cache(maxsize=65536)
def _word_pinyin(word: str) -> tuple[str, ...]:
    found = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False)
    if len(found) != len(word):
        found = [lazy_pinyin(c, style=Style.TONE3, neutral_tone_with_five=True)[0] for c in word]
    readings = [_CMN_READING.get(c, s) for c, s in zip(word, found, strict=True)]
    return tuple(s if parse(s, Language.MANDARIN) else "" for s in readings)


def _run_pinyin(run: str) -> list[str]:
    return [s for word in seg.cut(run) for s in _word_pinyin(word)]


# What the dictionary misses: the colloquial reading, or the one of several that fits here.
_YUE_READINGS = {
    "返": "faan1",
    "吓": "haa5",
    "订": "deng6",
    "铺头": "pou3 tau2",
    "应届": "jing1 gaai3",
    "办居": "baan6 geoi1",
    "档口": "dong3 hau2",
    "波会": "bo1 wui5",
    "请应": "ceng2 jing1",
    "申请": "san1 cing2",
    "额度": "ngaak6 dou6",
}
_YUE_CORRECTED = re.compile("|".join(sorted(_YUE_READINGS, key=len, reverse=True)))


@functools.cache
def _to_traditional() -> opencc.OpenCC:
    return opencc.OpenCC("s2hk")


def _run_jyutping(run: str) -> list[str]:
    # The dictionary is of traditional characters: 医 alone would read ai3, 几 gei1.
    traditional = str(_to_traditional().convert(run))
    found = [(s or "").split(" ")[0] for _, s in ToJyutping.get_jyutping_list(traditional)]
    if len(found) != len(run):
        return [""] * len(run)
    for m in _YUE_CORRECTED.finditer(run):
        found[m.start() : m.end()] = _YUE_READINGS[m[0]].split()
    return [s if parse(s, Language.CANTONESE) else "" for s in found]


@functools.lru_cache(maxsize=16384)
def character_syllables(text: str, language: Language) -> tuple[str, ...]:
    """One toned syllable for each character of ``text``, in its context.

    Empty for a character without a reading (a letter, a digit, punctuation). The text is taken
    as it is; pass simplified text for pinyin.
    """
    out = [""] * len(text)
    read = _run_pinyin if language is Language.MANDARIN else _run_jyutping
    for m in _HAN_RUN.finditer(text):
        out[m.start() : m.end()] = read(m[0])
    return tuple(out)


def syllables(text: str, language: Language) -> tuple[str, ...]:
    """The toned syllables of a text; what has no reading is left out.

    >>> syllables("中国", Language.MANDARIN)
    ('zhong1', 'guo2')
    >>> syllables("廣州", Language.CANTONESE)
    ('gwong2', 'zau1')
    """
    return tuple(s for s in character_syllables(to_simplified(text), language) if s)


# -- syllables to sounds --------------------------------------------------------------------------

_CMN = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?([aeiouvê]+(?:ng|n|r)?|n|ng|m)([1-5])")
_YUE = re.compile(
    r"(ng(?=[aeiou])|gw|kw|[bpmfdtnlgkhwzcsj](?=[aeiou]|yu)|h(?=m|ng)|)"
    r"((?:aa|yu|oe|eo|[aeiou])(?:ng|[iumnptk])?|ng|m)([1-6])"
)
_Y = {"i": "i", "in": "in", "ing": "ing", "u": "v", "ue": "ve", "uan": "van", "un": "vn"}
_Y |= {"ou": "iou", "o": "io", "e": "ie"}
_W = {"u": "u", "ei": "uei", "en": "uen"}
_FULL = {"iu": "iou", "ui": "uei", "un": "uen", "ue": "ve"}
_APICAL = frozenset(("z", "c", "s", "zh", "ch", "sh", "r"))


def _parse_pinyin(syllable: str) -> Syllable | None:
    m = _CMN.fullmatch(syllable)
    if m is None:
        return None
    initial, final, tone = m[1] or "", m[2], int(m[3])
    if initial == "y":
        initial, final = "", _Y.get(final, "i" + final)
    elif initial == "w":
        initial, final = "", _W.get(final, "u" + final)
    elif initial in ("j", "q", "x") and final[0] == "u":
        final = "v" + final[1:]
    elif initial in _APICAL and final == "i":
        final = "ii"
    else:
        final = _FULL.get(final, final)
    return Syllable(initial, final, tone)


@functools.lru_cache(maxsize=16384)
def parse(syllable: str, language: Language) -> Syllable | None:
    """A toned syllable taken apart; None where it is not one.

    >>> parse("yu3", Language.MANDARIN)
    Syllable(initial='', final='v', tone=3)
    """
    if language is Language.MANDARIN:
        return _parse_pinyin(syllable)
    m = _YUE.fullmatch(syllable)
    return Syllable(m[1], m[2], int(m[3])) if m else None


def units(syllable_list: Sequence[str], language: Language) -> list[str]:
    """What the speech models emit for toned syllables: an initial, if any, and a toned final.

    >>> units(["zhong1", "guo2"], Language.MANDARIN)
    ['zh', 'ong1', 'g', 'uo2']

    Raises:
        ValueError: something is no toned syllable of the language.
    """
    out: list[str] = []
    for syllable in syllable_list:
        s = parse(syllable, language)
        if s is None:
            raise ValueError(f"not a toned {language} syllable: {syllable!r}")
        out += [s.initial] * bool(s.initial) + [f"{s.final}{s.tone}"]
    return out


def contexts(unit_list: Sequence[str], language: Language) -> list[str]:
    """Units with what stands beside them in their syllable.

    An initial sounds different before another vowel, a final after an initial made elsewhere in the
    mouth (``t`` a retroflex, ``g`` a velar, ``0`` none).

    >>> contexts(["zh", "ong1", "g", "uo2", "er4"], Language.MANDARIN)
    ['zh_o', 't_ong1', 'g_u', 'g_uo2', '0_er4']
    """
    places = _CMN_INITIALS if language is Language.MANDARIN else _YUE_INITIALS
    out: list[str] = []
    initial = ""
    for i, unit in enumerate(unit_list):
        if unit[-1].isdigit():
            out.append(f"{places[initial][0]}_{unit}")
            initial = ""
        else:
            out.append(f"{unit}_{_vowel(unit_list[i + 1])}")
            initial = unit
    return out


def in_context(unit_list: Sequence[str], language: Language, known: Container[str]) -> list[str]:
    """Units as a model knows them: with their context (:func:`contexts`) where it tells that apart.

    >>> in_context(["zh", "ong1", "g", "uo2"], Language.MANDARIN, {"t_ong1", "g_u"})
    ['zh', 't_ong1', 'g_u', 'uo2']
    """
    named = contexts(unit_list, language)
    return [n if n in known else unit for n, unit in zip(named, unit_list, strict=True)]


def plain(unit: str) -> str:
    """A unit without its context.

    >>> plain("t_ong1"), plain("g_u"), plain("g")
    ('ong1', 'g', 'g')
    """
    before, _, after = unit.partition("_")
    return after if unit[-1].isdigit() and after else before


def _vowel(final: str) -> str:
    """What a final begins with."""
    return final[:2] if final[:2] in ("aa", "eo", "oe", "yu") else final[0]


# -- distances ------------------------------------------------------------------------------------

# Initials by (place, manner): p labial, d dental, t retroflex, j palatal, g velar, h glottal.
_CMN_INITIALS = {
    "": "0 zero",
    "b": "p stop",
    "p": "p aspirate",
    "m": "p nasal",
    "f": "p fricative",
    "d": "d stop",
    "t": "d aspirate",
    "n": "d nasal",
    "l": "d lateral",
    "g": "g stop",
    "k": "g aspirate",
    "h": "g fricative",
    "j": "j affricate",
    "q": "j aspirated-affricate",
    "x": "j fricative",
    "zh": "t affricate",
    "ch": "t aspirated-affricate",
    "sh": "t fricative",
    "r": "t lateral",
    "z": "d affricate",
    "c": "d aspirated-affricate",
    "s": "d fricative",
}
_YUE_INITIALS = {
    "": "0 zero",
    "b": "p stop",
    "p": "p aspirate",
    "m": "p nasal",
    "f": "p fricative",
    "d": "d stop",
    "t": "d aspirate",
    "n": "d nasal",
    "l": "d lateral",
    "g": "g stop",
    "k": "g aspirate",
    "ng": "g nasal",
    "h": "h fricative",
    "gw": "w stop",
    "kw": "w aspirate",
    "w": "w glide",
    "z": "d affricate",
    "c": "d aspirated-affricate",
    "s": "d fricative",
    "j": "j glide",
}
_CONFUSED_INITIALS = {
    Language.MANDARIN: "z/zh c/ch s/sh n/l l/r f/h",
    Language.CANTONESE: "n/l ng/ gw/g kw/k",
}
_CONFUSED_TONES = {Language.MANDARIN: "2/3", Language.CANTONESE: "2/5 3/6 4/6"}
_ALIKE_MANNERS = (
    "stop/aspirate affricate/aspirated-affricate aspirated-affricate/fricative "
    "aspirate/aspirated-affricate stop/affricate nasal/lateral zero/glide zero/nasal "
    "aspirate/fricative affricate/fricative zero/fricative"
)
_CMN_FINALS = (
    "a o e ê i u v ii er ai ei ao ou an en ang eng ong ia ie iao iou ian in iang ing iong io iai "
    "ua uo uai uei uan uen uang ueng ve van vn n ng m"
)
_YUE_CODAS = ["i", "u", "m", "n", "ng", "p", "t", "k"]
_YUE_NUCLEI = ["aa", "a", "e", "i", "o", "u", "oe", "eo", "yu"]
_YUE_FINALS = [n + c for n in _YUE_NUCLEI for c in ("", *_YUE_CODAS)] + ["m", "ng"]
# Distances of nuclei, both languages; any other pair is 1.
_NUCLEI = {"aa/a": 0.15, "o/u": 0.4, "e/i": 0.5, "oe/eo": 0.1, "v/i": 0.35, "yu/i": 0.4}
_NUCLEI |= {"yu/u": 0.5, "v/u": 0.45, "o/e": 0.5, "a/e": 0.55, "e/ê": 0.3, "ii/i": 0.5, "ii/e": 0.6}
_NUCLEI |= {"oe/o": 0.45, "eo/u": 0.5, "a/o": 0.6, "aa/o": 0.65, "aa/e": 0.65, "eo/oe": 0.1}
_NUCLEI |= {"eo/yu": 0.5, "oe/e": 0.45, "a/i": 0.85, "eo/a": 0.5, "eo/o": 0.5}
_CODAS = {"n/ng": CONFUSED, "k/t": CONFUSED, "p/t": 0.3, "p/k": 0.35, "m/n": 0.3, "m/ng": 0.45}
_CODAS |= {"i/": 0.6, "u/": 0.6, "i/u": 0.8, "n/": 0.6, "ng/": 0.6, "t/": 0.6, "k/": 0.5, "p/": 0.6}
_CODAS |= {"t/n": 0.6, "k/ng": 0.6, "p/m": 0.6}


def _lookup(pairs: dict[str, float], a: str, b: str) -> float:
    if a == b:
        return 0.0
    return min(pairs.get(f"{a}/{b}", 1.0), pairs.get(f"{b}/{a}", 1.0))


@functools.cache
def _pairs(text: str) -> frozenset[frozenset[str]]:
    """Unordered pairs written as ``a/b c/d``."""
    return frozenset(frozenset(pair.split("/")) for pair in text.split())


def _initial_distance(
    a: str, b: str, sounds: dict[str, str], confused: frozenset[frozenset[str]]
) -> float:
    if a == b:
        return 0.0
    if frozenset((a, b)) in confused:
        return CONFUSED
    (place_a, manner_a), (place_b, manner_b) = sounds[a].split(), sounds[b].split()
    manner = 0.0 if manner_a == manner_b else 1.0
    if frozenset((manner_a, manner_b)) in _pairs(_ALIKE_MANNERS):
        manner = 0.55
    return min(1.0, 0.2 + 0.5 * (place_a != place_b) + 0.5 * manner)


@functools.cache
def _mandarin_parts(final: str) -> tuple[str, str, str]:
    """Medial, nucleus and coda of a Mandarin final: ``uang`` is ``u``, ``a``, ``ng``."""
    if final in ("n", "ng", "m"):
        return "", "e", final
    special = {"ong": ("", "u", "ng"), "iong": ("i", "u", "ng"), "in": ("", "i", "n")}
    special |= {"ing": ("", "i", "ng"), "vn": ("", "v", "n"), "er": ("", "e", "r")}
    special |= {"ao": ("", "a", "u"), "iao": ("i", "a", "u"), "ve": ("v", "ê", "")}
    special |= {"ie": ("i", "ê", ""), "ei": ("", "ê", "i"), "uei": ("u", "ê", "i")}
    if final in special:
        return special[final]
    m = re.fullmatch(r"([iuv]?)(ii|[aoeêiuv])(ng|[niu]?)", final)
    if m is None:
        raise ValueError(f"not a Mandarin final: {final!r}")
    return m[1], m[2], m[3]


def _cantonese_parts(final: str) -> tuple[str, str, str]:
    if final in ("m", "ng"):
        return "", "u", final
    nucleus = next(
        n for n in ("aa", "yu", "oe", "eo", "a", "e", "i", "o", "u") if final.startswith(n)
    )
    return "", nucleus, final[len(nucleus) :]


def _final_distance(a: tuple[str, str, str], b: tuple[str, str, str]) -> float:
    if a == b:
        return 0.0
    medial = 0.0 if a[0] == b[0] else 0.35
    nucleus = 0.75 * _lookup(_NUCLEI, a[1], b[1])
    return min(
        1.0, medial + nucleus + (1.0 if nucleus == 0.0 else 0.6) * _lookup(_CODAS, a[2], b[2])
    )


def _tone_matrix(language: Language) -> npt.NDArray[np.float64]:
    confused = _pairs(_CONFUSED_TONES[language])
    cost = [
        [
            0.0 if a == b else CONFUSED if frozenset((str(a), str(b))) in confused else 1.0
            for b in range(7)
        ]
        for a in range(7)
    ]
    if language is Language.MANDARIN:  # a neutral tone is any tone said without stress
        for tone in range(1, 5):
            cost[5][tone] = cost[tone][5] = 0.3
    return np.array(cost)


class SyllableTable:
    """All syllables of a language as numbers, with the distance between any two.

    A code is ``(initial * finals + final) * 7 + tone``; code -1 is no syllable, at distance 1
    from everything, itself too.
    """

    def __init__(self, language: Language) -> None:
        mandarin = language is Language.MANDARIN
        sounds = _CMN_INITIALS if mandarin else _YUE_INITIALS
        confused = _pairs(_CONFUSED_INITIALS[language])
        self.language = language
        self._initials = {s: i for i, s in enumerate(sounds)}
        finals = _CMN_FINALS.split() if mandarin else _YUE_FINALS
        self._finals = {s: i for i, s in enumerate(finals)}
        parts = [(_mandarin_parts if mandarin else _cantonese_parts)(f) for f in self._finals]
        initial = np.array(
            [[_initial_distance(a, b, sounds, confused) for b in sounds] for a in sounds]
        )
        final = np.array([[_final_distance(a, b) for b in parts] for a in parts])
        # All pairs of (initial, final), so that a distance is one look-up: 3 to 8 MB a language.
        ones = np.ones_like
        base = _WEIGHTS[0] * np.kron(initial, ones(final))
        base += _WEIGHTS[1] * np.kron(ones(initial), final)
        self._base_cost = base.astype(np.float32)
        self._tone_cost = (_WEIGHTS[2] * _tone_matrix(language)).astype(np.float32)

    @functools.lru_cache(maxsize=65536)  # noqa: B019 - two tables for the life of the process
    def code(self, syllable: str) -> int:
        """The number of a toned syllable; -1 for what is none."""
        s = parse(syllable, self.language)
        if s is None or s.final not in self._finals:
            return -1
        return (self._initials[s.initial] * len(self._finals) + self._finals[s.final]) * 7 + s.tone

    def codes(self, syllable_list: Sequence[str]) -> npt.NDArray[np.int32]:
        """The numbers of toned syllables, shape ``(n,)``."""
        return np.fromiter(map(self.code, syllable_list), dtype=np.int32, count=len(syllable_list))

    def distances(
        self, a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Distances of all codes of ``a`` to all of ``b``: ``(len(a), len(b))``, in [0, 1]."""
        base_a, tone_a = np.divmod(a, 7)
        base_b, tone_b = np.divmod(b, 7)
        out = self._base_cost[base_a][:, base_b]
        out += self._tone_cost[tone_a][:, tone_b]
        out[a < 0, :] = 1.0
        out[:, b < 0] = 1.0
        return out


@functools.cache
def table(language: Language) -> SyllableTable:
    """The table of a language; built once (about 10 ms)."""
    return SyllableTable(language)


def distance(a: str, b: str, language: Language) -> float:
    """How unlike two toned syllables sound: 0 the same, 1 nothing in common or no syllable."""
    codes = table(language).codes((a, b))
    return float(table(language).distances(codes[:1], codes[1:])[0, 0])


# -- folding --------------------------------------------------------------------------------------

_FOLD_INITIAL = {
    Language.MANDARIN: {"zh": "z", "ch": "c", "sh": "s", "n": "l", "r": "l", "h": "f"},
    Language.CANTONESE: {"n": "l", "ng": "", "gw": "g", "kw": "k"},
}


@functools.lru_cache(maxsize=16384)
def fold(syllable: str, language: Language) -> str:
    """The class of syllables that are taken for one another, without tone; empty for none.

    >>> fold("zhang3", Language.MANDARIN) == fold("zan4", Language.MANDARIN)
    True
    """
    s = parse(syllable, language)
    return "" if s is None else _folded(s.initial, s.final, language)


def _folded(initial: str, final: str, language: Language) -> str:
    final = final[:-1] if final.endswith("ng") and len(final) > 2 else final
    if language is Language.CANTONESE:
        final = final.replace("aa", "a").replace("oe", "eo")
        final = final[:-1] + "t" if final.endswith("k") else final
    elif final == "ueng":
        final = "uen"
    return _FOLD_INITIAL[language].get(initial, initial) + "-" + final


@functools.cache
def _fold_numbers(language: Language) -> dict[str, int]:
    mandarin = language is Language.MANDARIN
    initials = _CMN_INITIALS if mandarin else _YUE_INITIALS
    finals = _CMN_FINALS.split() if mandarin else _YUE_FINALS
    classes = sorted({_folded(i, f, language) for i in initials for f in finals})
    return {name: number for number, name in enumerate(classes, 1)}


def fold_number(syllable: str, language: Language) -> int:
    """The number of the class that :func:`fold` names, from 1; 0 for none."""
    return _fold_numbers(language).get(fold(syllable, language), 0)
