"""What hot words do: how many new names are heard, and how often one is heard that was not said.

    python -m bench.hot_words            at several costs of a word; needs espeak-ng

Sixteen names that are in no lexicon are spoken in four sentences each, by the voices of
``audio_fixtures/make.py``, which are in no training data, with white noise at 20 dB. In the row of
``-`` the model does without them. False alarms are counted on the speech of the fixtures; a fixture
that does say one of the names is none.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from audio_fixtures.make import speak
from bench.engines import fixture_speech
from ivr.asr.hot_words import COST, add_hot_words
from ivr.asr.vosk_engine import VoskEngine
from ivr.language import Language

ROOT = Path(__file__).resolve().parent.parent
SEED = 20260501
NAMES = tuple(
    "十五运会 粤省事 穗好办 广佛同城 琶醍 湾区通 穗康码 适老化改造 "  # noqa: SIM905
    "车陂涌 海心桥 灵山岛尖 猎德涌 生育津贴 双减政策 南沙湿地 粤康码".split()
)
SENTENCES = {
    Language.MANDARIN: ("我想问一下{}的事情", "{}怎么办理", "请问{}在哪里", "我要投诉{}"),
    Language.CANTONESE: ("我想问吓{}嘅事", "{}点样办理", "请问{}喺边度", "我要投诉{}"),
}
VOICES = ("f2", "m4", "iven", "john")
COSTS = (2.0, 5.0, COST, 9.0)
BLOCK = 1600


def _spoken(language: Language) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(SEED)
    out = []
    for name in NAMES:
        for voice, sentence in zip(VOICES, SENTENCES[language], strict=True):
            x = speak(
                sentence.format(name),
                language,
                variant=voice,
                rate_wpm=int(rng.integers(140, 190)),
                pitch=int(rng.integers(35, 65)),
            )
            x = np.asarray(x) / np.abs(x).max() * 9000
            noise = x.std() / 10
            x = np.pad(x, (2400, 4800))
            out.append((name, (x + rng.normal(size=len(x)) * noise).astype("<i2").tobytes()))
    return out


def _hear(engine: VoskEngine, pcm: bytes) -> str:
    recogniser = engine.recogniser()
    for i in range(0, len(pcm), BLOCK):
        recogniser.accept(pcm[i : i + BLOCK])
    return recogniser.finish().text


def main() -> None:
    """Print the table."""
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not installed", file=sys.stderr)
        return
    shown = Table("language", "cost", "names heard", "false alarms", "ready after")
    for language in Language:
        model = ROOT / "models" / language
        spoken, fixtures = _spoken(language), fixture_speech(language)
        for cost in (None, *COSTS):
            begin = time.perf_counter()
            if cost is None:
                engine = VoskEngine.load(model, language)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    add_hot_words(model, NAMES, language, Path(folder, "m"), cost=cost)
                    engine = VoskEngine.load(Path(folder, "m"), language)
            ready_s = time.perf_counter() - begin
            heard = sum(name in _hear(engine, pcm) for name, pcm in spoken)
            false = 0
            for pcm, text in fixtures:
                found = _hear(engine, pcm)
                false += any(name in found and name not in text for name in NAMES)
            shown.add_row(
                language,
                "-" if cost is None else f"{cost:g}",
                f"{heard} of {len(spoken)}",
                f"{false} of {len(fixtures)}",
                f"{ready_s:.2f} s",
            )
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
