"""What the telephone costs the matcher: the same utterances as text and as heard.

    python -m bench.by_ear                 needs espeak-ng; some minutes
    python -m bench.by_ear --times 1       each utterance spoken once
    python -m bench.by_ear --others        in ten other voices, none of them in training either
    python -m bench.by_ear --alone         without a second pass
    python -m bench.by_ear --languages yue

The utterances of ``tests/intent/paraphrases.tsv`` that a queue answers are spoken by the espeak-ng
voices of ``audio_fixtures/make.py``, which are in no training data, over a telephone band and
mu-law, on a quiet line and with white noise at 15 dB, and heard by both recognisers as a call is:
the language is decided, the n-best list matched. Each is spoken several times, every time by a
voice, a pace and a pitch drawn anew: with 210 utterances spoken once, two points are chance.
The weak voices of the fixtures are known; ``--others`` says how voices fare that nobody had
looked at.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from audio_fixtures import effects
from audio_fixtures.make import VARIANTS, speak
from bench.intent import Utterance, read_utterances
from ivr.asr.factory import Speech, load_speech
from ivr.intent.cases import Case, is_right, judge
from ivr.intent.matcher import Matcher
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
RATE_HZ = 8000
LINES = {"quiet": None, "15 dB": 15.0}
#: voices of espeak-ng and their middle pitch
Voices = Mapping[str, int]
#: neither in the fixtures nor in training
OTHERS: Voices = {
    "Alicia": 50, "Denis": 50, "Henrique": 60, "Jacky": 50, "Nguyen": 50,
    "iven": 50, "marcelo": 60, "miguel": 60, "pablo": 60, "shelby": 50,
}  # fmt: skip


def drawn(utterance: Utterance, take: int, voices: Voices) -> tuple[str, np.random.Generator]:
    """The voice of a take, and the generator that draws everything else of it."""
    rng = np.random.default_rng(zlib.crc32(utterance.text.encode()) + take)
    return sorted(voices)[int(rng.integers(len(voices)))], rng


def spoken(utterance: Utterance, take: int, snr_db: float | None, voices: Voices) -> bytes:
    """The utterance over a telephone line, s16le; the same for a take, which draws the voice."""
    voice, rng = drawn(utterance, take, voices)
    x = speak(
        utterance.text,
        utterance.language,
        variant=voice,
        rate_wpm=int(rng.integers(135, 190)),
        pitch=voices[voice] + int(rng.integers(-10, 11)),
    )
    x = np.pad(np.asarray(x), (round(0.4 * RATE_HZ), round(0.8 * RATE_HZ)))
    x = effects.over_noisy_line(x, snr_db, rng)
    pcm = np.clip(x * 32767, -32768, 32767)
    level = np.sign(pcm) * np.log1p(255 * np.abs(pcm) / 32768) / np.log(256)  # G.711's mu-law
    steps = np.round(level * 127) / 127
    back = np.sign(steps) * (np.power(256, np.abs(steps)) - 1) / 255 * 32767
    return np.asarray(back, "<i2").tobytes()


def heard(
    speech: Speech, voices: Voices, snr_db: float | None, said_as: tuple[Utterance, int]
) -> Case:
    """What both recognisers make of an utterance and a take of it."""
    utterance, take = said_as
    call = speech.call(rate_hz=RATE_HZ)
    pcm = spoken(utterance, take, snr_db, voices)
    for i in range(0, len(pcm), 3200):
        call.accept(pcm[i : i + 3200])
    said = call.finish()
    return Case(
        utterance.text,
        said.weighed(),
        said.language,
        said.language_confidence,
        utterance.expected,
    )


def _row(
    cases: Sequence[Case], matches: Sequence[Match], spoken_in: Sequence[Language]
) -> list[str]:
    found: Counter[str] = Counter()
    for case, match in zip(cases, matches, strict=True):
        right = is_right(case.expected or "", match)
        routed = match.decision is Decision.ROUTE
        found.update(right=right, routed=routed, wrong=routed and not right)
    same = sum(c.language is k for c, k in zip(cases, spoken_in, strict=True))
    return [
        f"{found['right'] / len(cases):.1%}",
        f"{found['routed'] / len(cases):.1%}",
        f"{found['wrong'] / max(1, found['routed']):.1%}",
        f"{same / len(cases):.1%}",
        str(len(cases)),
    ]


def _by_voice(
    cases: Sequence[Case],
    matches: Sequence[Match],
    takes: Sequence[tuple[Utterance, int]],
    voices: Voices,
) -> dict[str, str]:
    """Utterances of each voice whose queue is not found, and how many there are."""
    said, wrong = Counter[str](), Counter[str]()
    for case, match, take in zip(cases, matches, takes, strict=True):
        voice, _ = drawn(*take, voices)
        said[voice] += 1
        wrong[voice] += not is_right(case.expected or "", match)
    return {voice: f"{wrong[voice]} of {said[voice]}" for voice in said}


def main() -> None:
    """Print the tables."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--times", type=int, default=3, help="that each utterance is spoken (3)")
    p.add_argument("--others", action="store_true", help="in other voices than the fixtures'")
    p.add_argument("--alone", action="store_true", help="without a second pass")
    p.add_argument("--languages", nargs="+", type=Language, default=list(Language))
    a = p.parse_args()
    voices: Voices = OTHERS if a.others else VARIANTS
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not installed", file=sys.stderr)
        return
    settings = load_settings(ROOT / "config/kapok.yaml")
    if a.alone:
        settings = settings.without_second_pass()
    catalogue = load_catalogue(settings.queues)
    matcher = Matcher(catalogue)
    speech = load_speech(settings, hot_words=catalogue.hot_words)
    shown = Table("language", "line", "queue right", "routed", "wrong of these", "language right",
                  "utterances", title="Paraphrases as text and by ear")  # fmt: skip
    missed: dict[str, dict[str, str]] = {}
    for language in a.languages:
        chosen = [u for u in read_utterances() if u.language is language and u.is_queue]
        as_text = [
            Case(u.text, {language: [(u.text, 1.0)]}, language, expected=u.expected) for u in chosen
        ]
        matches = [judge(matcher, case) for case in as_text]
        shown.add_row(language, "text", *_row(as_text, matches, [language] * len(chosen)))
        for name, snr_db in LINES.items():
            hear = functools.partial(heard, speech, voices, snr_db)
            takes = list(itertools.product(chosen, range(a.times)))
            with ThreadPoolExecutor(settings.recognition.threads) as pool:
                cases = list(pool.map(hear, takes))
            matches = [judge(matcher, case) for case in cases]
            shown.add_row(language, name, *_row(cases, matches, [language] * len(cases)))
            missed[f"{language} {name}"] = _by_voice(cases, matches, takes, voices)
    by_voice = Table("voice", *missed, title="Not found, by voice")
    for voice in sorted(voices):
        by_voice.add_row(voice, *(found.get(voice, "") for found in missed.values()))
    Console(width=110).print(shown, by_voice)


if __name__ == "__main__":
    main()
