"""Reading an answer to a yes/no question, with a correction in the same breath.

``不是社保，是公积金`` denies and says in one utterance what it is instead; recognisers give no
punctuation, so the parts are found by the words alone. Words of both languages are taken
whichever language was heard: callers mix them. A short answer is easily written with another
character of the same sound (``是`` as ``事``), so whole answers also match by toned syllables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ivr.intent.sounds import syllables
from ivr.language import Language

__all__ = ["Answer", "AnswerKind", "read_answer"]


class AnswerKind(StrEnum):
    """What the caller answered."""

    YES = "yes"
    NO = "no"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what was said after it.

    ``rest`` holds the readings of what follows, the most likely first; empty where nothing
    follows.
    """

    kind: AnswerKind
    rest: tuple[str, ...] = ()


_NEITHER = Answer(AnswerKind.NEITHER)

# Particles after a word (是啊, 系呀) need not be listed.
_YES_WORDS = {
    Language.MANDARIN: "是 是的 对 对的 没错 不错 正确 嗯 好 好的 可以 行 要 需要 没问题 确认 确定",
    Language.CANTONESE: "系 系嘅 系呀 啱 啱呀 啱嘅 冇错 好 好呀 得 可以 要 嗯 冇问题",
}
_NO_WORDS = {
    Language.MANDARIN: "不是 不 不对 不要 错了 不行 不用 不需要 没有 不可以 不好",
    Language.CANTONESE: "唔系 唔系呀 唔啱 唔要 唔使 错咗 唔好 唔得",
}
_YES = {language: tuple(words.split()) for language, words in _YES_WORDS.items()}
_NO = {language: tuple(words.split()) for language, words in _NO_WORDS.items()}
# Denials that are often followed by more; the longest first.
_NO_FIRST = ("不是的", "唔系呀", "唔系啊", "不是", "不对", "错了", "唔系", "唔啱", "错咗")
_QUESTIONS = ("是不是", "系唔系", "对不对", "啱唔啱", "好不好", "好唔好")
_FILLERS = "嗯啊呃哦喔噢唉哎诶"
_PARTICLES = "的啊呀嘅吖喎啦喇吧呢哦啰咯嘛㗎呗哈"
_NOISE = re.compile(r"[\s，。！？、；：,.!?;:“”\"'…]+")
_AS_WRITTEN = str.maketrans("係喺冇沒對錯", "系喺冇没对错")


def read_answer(text: str, language: Language) -> Answer:
    """Read ``text``, in simplified characters, as an answer; punctuation is passed over."""
    said = _NOISE.sub("", text).translate(_AS_WRITTEN)
    core = said.lstrip(_FILLERS) or said[:1]
    if not core or core.startswith(_QUESTIONS):
        return _NEITHER
    whole = _whole(core) or _by_sound(core, language)
    if whole is not None:
        return Answer(whole)
    for word in _NO_FIRST:
        if core.startswith(word):
            return Answer(AnswerKind.NO, _corrections(core[len(word) :]))
    return _NEITHER


def _alternation(words: list[str]) -> re.Pattern[str]:
    ordered = sorted(set(words), key=len, reverse=True)
    return re.compile(f"(?:(?:{'|'.join(ordered)})[{_PARTICLES}{_FILLERS}]*)+")


_YES_ALONE = _alternation([w for words in _YES.values() for w in words])
_NO_ALONE = _alternation([w for words in _NO.values() for w in words])


def _whole(core: str) -> AnswerKind | None:
    if _NO_ALONE.fullmatch(core):
        return AnswerKind.NO
    return AnswerKind.YES if _YES_ALONE.fullmatch(core) else None


def _corrections(rest: str) -> tuple[str, ...]:
    """``社保是公积金`` -> ``公积金`` first, then the whole."""
    rest = rest.strip(_PARTICLES + _FILLERS)
    readings = [part for part in re.split("是|系", rest)[-1:] if len(part) > 1]
    return tuple(dict.fromkeys([*readings, *([rest] if len(rest) > 1 else [])]))


@lru_cache(maxsize=2)
def _sounds(language: Language) -> dict[tuple[str, ...], AnswerKind]:
    yes = {syllables(word, language): AnswerKind.YES for word in _YES[language]}
    return yes | {syllables(word, language): AnswerKind.NO for word in _NO[language]}


def _by_sound(core: str, language: Language) -> AnswerKind | None:
    # Longer strings are requests, and a request may well begin with the sound of a yes.
    return _sounds(language).get(syllables(core, language)) if len(core) <= 3 else None
