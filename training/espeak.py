"""Synthetic speech by espeak-ng, from romanised text so that the label is exact."""

from __future__ import annotations

import re
import subprocess

import numpy as np
from scipy.signal import resample_poly

__all__ = ["TRAINING_VARIANTS", "speak"]

VOICE = {"cmn": "cmn-latn-pinyin", "yue": "yue-latn-jyutping"}
#: The variants used in training. Those of audio_fixtures/make.py are others, so that the fixtures
#: are voices never heard.
TRAINING_VARIANTS = (
    "", "m1", "m2", "m3", "m5", "m6", "m7", "m8", "f1", "f3", "f4", "f5", "klatt", "klatt2", "klatt3",
    "Alex", "Annie", "Gene", "Lee", "Mike", "linda", "adam", "belinda", "benjamin", "david", "Marco",
    "max", "norbert", "paul", "pedro", "quincy", "rob", "sandro", "steph2", "travis", "victor", "zac",
)  # fmt: skip


_NASAL = re.compile(r"(m|ng)([1-6])")


def _spelt(syllable: str) -> str:
    """espeak-ng reads a lone ``m4`` without tone; its phonemes in brackets carry it."""
    nasal = _NASAL.fullmatch(syllable)
    return f"[[{'m-' if nasal[1] == 'm' else 'ng'}{nasal[2]}]]" if nasal else syllable


def speak(
    syllables: list[str], language: str, *, variant: str, words_per_minute: int, pitch: int
) -> np.ndarray:
    """Speech at 8 kHz, float32 in the range of int16; empty where espeak-ng fails."""
    text = " ".join(_spelt(s) if language == "yue" else s for s in syllables)
    voice = VOICE[language] + (f"+{variant}" if variant else "")
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "--stdout", text],
        capture_output=True,
        check=False,
    )
    samples = np.frombuffer(done.stdout[44:][: (len(done.stdout) - 44) // 2 * 2], "<i2")
    return resample_poly(samples.astype(np.float32), 160, 441).astype(np.float32)
