"""How syllables are really said: southern Mandarin, and the sound changes of Cantonese.

A speaker has some of these habits and not others. Labels stay as the dictionary has them.

Mandarin: retroflex initials become dental, n becomes l, -ng becomes -n (Duanmu 2007, *The Phonology
of Standard Chinese*, ch. 12). Cantonese: n becomes l, ng- is dropped or added, gw and kw lose their
rounding before o, and tones 2 and 5, 3 and 6 merge (Bauer and Benedict 1997, *Modern Cantonese
Phonology*; Mok, Zuo and Wong 2013 for the tones).
"""

from __future__ import annotations

import re

import numpy as np

__all__ = ["HABITS", "Accent"]

#: pattern and replacement, on pinyin or jyutping as it is spelled
HABITS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    language: tuple((re.compile(pattern), to) for pattern, to in rules)
    for language, rules in {
        "cmn": (
            (r"^([zcs])h", r"\1"),
            (r"^n(?!g)", "l"),
            (r"ing(?=\d)", "in"),
            (r"(?<![u])eng(?=\d)", "en"),
        ),
        "yue": (
            (r"^n(?!g)", "l"),
            (r"^ng(?=[a-z])", ""),
            (r"^(?=[aeo])", "ng"),
            (r"^([gk])w(?=o)", r"\1"),
            (r"5$", "2"),
            (r"6$", "3"),
        ),
    }.items()
}
ACCENTED = 0.35  # share of the speakers with any habit
HABIT = 0.5  # chance of each of those


class Accent:
    """The habits of one speaker."""

    def __init__(self, language: str, rng: np.random.Generator) -> None:
        some = rng.random() < ACCENTED
        self.habits = [h for h in HABITS[language] if some and rng.random() < HABIT]

    def spoken(self, syllable: str) -> str:
        """The syllable that is heard where the dictionary has ``syllable``."""
        for pattern, to in self.habits:
            if pattern.search(syllable):
                return pattern.sub(to, syllable, count=1)  # one change a syllable
        return syllable
