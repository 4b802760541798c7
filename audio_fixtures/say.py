"""Fixture text to what espeak-ng reads: toned pinyin, or jyutping with syllabic nasals spelt out.

espeak-ng's own readers of Chinese characters are not used: its Cantonese one knows traditional
characters alone (it reads 吓 as *haak3*), its Mandarin one falls back to English.
"""

from __future__ import annotations

import re

from pypinyin import Style, lazy_pinyin

from ivr.intent.sounds import character_syllables
from ivr.language import Language

__all__ = ["ESPEAK_VOICES", "espeak_text", "syllables"]

#: espeak-ng's voices that read romanised text, by language.
ESPEAK_VOICES = {"cmn": "cmn-latn-pinyin", "yue": "yue-latn-jyutping"}

#: Readings that the dictionaries miss: the colloquial one, or one of several that fits here.
READINGS = {
    "cmn": {
        "睡不着": "shui4 bu4 zhao2",
        "掺": "chan1",
        "时候": "shi2 hou5",
        "干净": "gan1 jing4",
        "调高": "tiao2 gao1",
        "吵得": "chao3 de5",
        "叫得": "jiao4 de5",
        "只小鸟": "zhi1 xiao3 niao3",
    },
}

_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
_NASAL = re.compile(r"(m|ng)([1-6])")
_DIGITS = "零一二三四五六七八九十"


def _mandarin(run: str) -> list[str]:
    found = lazy_pinyin(run, style=Style.TONE3, neutral_tone_with_five=True)
    return [syllable.replace("ü", "v") for syllable in found]


def _cantonese(run: str) -> list[str]:
    return list(character_syllables(run, Language.CANTONESE))


def _tone_of_yi(run: str, at: int, falls: bool) -> str:
    around = run[at - 1 : at] in tuple(_DIGITS[1:]) or run[at + 1] in _DIGITS
    if around:
        return "yi1"
    return "yi2" if falls else "yi4"


def _yi_and_bu(run: str, found: list[str]) -> None:
    """Tone sandhi of 一 (but not among digits) and 不 before the syllable that follows."""
    for at in range(len(run) - 1):
        falls = found[at + 1].endswith("4") or run[at + 1] == "个"
        if run[at] == "不" and falls:
            found[at] = "bu2"
        elif run[at] == "一":
            found[at] = _tone_of_yi(run, at, falls)


def _corrected(run: str, found: list[str], language: str) -> list[str]:
    for text, reading in READINGS.get(language, {}).items():
        for match in re.finditer(text, run):
            found[match.start() : match.end()] = reading.split()
    return found


def syllables(run: str, language: str) -> list[str]:
    """Toned syllables of a run of characters, one each; language ``cmn`` or ``yue``.

    Raises ValueError where a character has no reading.
    """
    found = _mandarin(run) if language == "cmn" else _cantonese(run)
    if len(found) != len(run) or not all(re.fullmatch(r"[a-z]+[1-6]", s) for s in found):
        raise ValueError(f"no reading for every character of {run!r} ({language}): {found}")
    _corrected(run, found, language)
    if language == "cmn":
        _yi_and_bu(run, found)
    return found


def _spelt(syllable: str, language: str) -> str:
    # espeak-ng's jyutping voice reads a lone "m4" or "ng5" as a short consonant without tone;
    # its phonemes m- (syllabic) and ng, given in brackets, carry the tone.
    nasal = _NASAL.fullmatch(syllable) if language == "yue" else None
    if nasal is None:
        return syllable
    return f"[[{'m-' if nasal[1] == 'm' else 'ng'}{nasal[2]}]]"


def espeak_text(text: str, language: str) -> str:
    """The line to give to the voice :data:`ESPEAK_VOICES` of the language; commas are pauses."""
    runs = [syllables(run, language) for run in _HAN.findall(text)]
    return ", ".join(" ".join(_spelt(s, language) for s in run) for run in runs)
