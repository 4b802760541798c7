"""Quiet callers: what the gain of :mod:`ivr.audio.level` does to a call, beside none.

    python -m bench.quiet

The speech of the fixtures, scaled so that its loudest sample lies so many dB below full scale,
through mu-law and both recognisers, as on a call: as it is, and with the gain.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from bench.engines import RATE_HZ, base_syllables, fixture_speech
from ivr.asr.bilingual import utterances
from ivr.asr.factory import Speech, load_speech
from ivr.audio.codecs import Decoder, Encoding, encode
from ivr.audio.level import LevelControl
from ivr.language import Language
from ivr.settings import load_settings

LEVELS_DB = (-6, -20, -30, -40)
#: silence before the speech and after it, seconds
AROUND_S = (0.5, 1.0)
EVERY = 3  # of the fixtures


def at_level(pcm: bytes, level_db: float) -> bytes:
    """``pcm`` with its peak at ``level_db`` of full scale, as it comes out of a mu-law line."""
    x = np.frombuffer(pcm, "<i2").astype(np.float32)
    x = x / max(1.0, float(np.abs(x).max())) * 32767 * 10 ** (level_db / 20)
    before, after = (np.zeros(int(s * RATE_HZ)) for s in AROUND_S)
    line = np.concatenate([before, x, after]).astype("<i2").tobytes()
    return Decoder(Encoding.MULAW).decode(encode(line, Encoding.MULAW))


def error(speech: Speech, calls: list[tuple[bytes, str]], language: Language) -> float:
    """Base-syllable error of calls; what is taken for the other language counts as not heard."""
    wrong = said = 0
    for pcm, text in calls:
        found = utterances(speech.call(rate_hz=RATE_HZ), pcm)
        heard = "".join(u.text for u in found if u.language is language)
        spoken = base_syllables(text, language)
        wrong += Levenshtein.distance(spoken, base_syllables(heard, language))
        said += len(spoken)
    return wrong / said


def main() -> None:
    """Print the table."""
    shown = Table("language", "peak", "without", "with the gain", title="Base-syllable error")
    speech = load_speech(load_settings())
    for language in Language:
        for level_db in LEVELS_DB:
            calls = [(at_level(p, level_db), t) for p, t in fixture_speech(language)[::EVERY]]
            with patch.object(LevelControl, "apply", lambda _, pcm: pcm):
                without = error(speech, calls, language)
            with_gain = error(speech, calls, language)
            shown.add_row(language, f"{level_db} dB", f"{without:.1%}", f"{with_gain:.1%}")
    Console(width=90).print(shown)


if __name__ == "__main__":
    main()
