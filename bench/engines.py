"""Three engines on the same network, graph and audio: Kapok's own, Vosk and sherpa-onnx.

    python -m bench.engines

The models of ``models/`` are converted for sherpa-onnx (``training.sherpa``; needs onnx and
sherpa-onnx: ``pip install -e '.[test]'``). Each engine hears the fixtures' speech in blocks of
0.2 s, the first two through the network in blocks of 1.2 s as in the server. They give up to ten
hypotheses with posteriors, sherpa-onnx one: what that costs is in the figures.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from ivr.asr.engine import Engine
from ivr.asr.factory import GATED_FRAMES_PER_CHUNK, EngineFactory
from ivr.audio.files import read_audio
from ivr.intent.normalise import normalise
from ivr.intent.sounds import syllables
from ivr.language import Language

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "audio_fixtures"
RATE_HZ = 8000
BLOCK = 2 * RATE_HZ // 5


@dataclass
class Heard:
    """What one engine made of the fixtures of a language."""

    load_s: float = 0.0
    cpu_s: float = 0.0
    audio_s: float = 0.0
    wrong: int = 0
    said: int = 0
    texts: list[str] = field(default_factory=list)


def fixture_speech(language: Language) -> list[tuple[bytes, str]]:
    """Audio (s16le) and text of the fixtures in which somebody says what is written."""
    with (FIXTURES / "labels.csv").open(encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["kind"] == "speech"]
    return [
        (read_audio(FIXTURES / r["file"], rate_hz=RATE_HZ).pcm, r["text"])
        for r in rows
        if r["language"] == language
    ]


def base_syllables(text: str, language: Language) -> list[str]:
    """Toneless syllables of a text."""
    return [s.rstrip("0123456789") for s in syllables(normalise(text), language)]


def measure(engine: Engine, speech: list[tuple[bytes, str]], language: Language) -> Heard:
    """Every utterance of a language by one engine, one after the other."""
    out = Heard()
    for pcm, text in speech:
        recogniser = engine.recogniser()
        start = time.process_time()
        blocks = (pcm[i : i + BLOCK] for i in range(0, len(pcm), BLOCK))
        parts = [recogniser.finish().text for block in blocks if recogniser.accept(block)]
        heard = "".join([*parts, recogniser.finish().text])
        out.cpu_s += time.process_time() - start
        out.audio_s += len(pcm) / 2 / RATE_HZ
        said = base_syllables(text, language)
        out.wrong += Levenshtein.distance(said, base_syllables(heard, language))
        out.said += len(said)
        out.texts.append(heard)
    return out


def main() -> None:
    """Print the table."""
    try:
        from training.sherpa import convert
    except ImportError:
        print("onnx is not installed: pip install -e '.[test]'", file=sys.stderr)
        return
    columns = ("language", "engine", "base-syllable error", "same text", "RTF", "ratio", "load")
    shown = Table(*columns, title="Engines on audio_fixtures, one core")
    for language in Language:
        speech = fixture_speech(language)
        with tempfile.TemporaryDirectory() as folder:
            convert(ROOT / "models" / language, Path(folder, language))
            results: dict[str, Heard] = {}
            for name, path in (
                ("vosk", ROOT / "models" / language),
                ("kapok", ROOT / "models" / language),
                ("sherpa", Path(folder, language)),
            ):
                begin = time.perf_counter()
                engine = EngineFactory(frames_per_chunk=GATED_FRAMES_PER_CHUNK).load(
                    name, path, language
                )
                load_s = time.perf_counter() - begin
                results[name] = measure(engine, speech, language)
                results[name].load_s = load_s
        peer = results["vosk"]
        for name, heard in results.items():
            same = sum(a == b for a, b in zip(heard.texts, peer.texts, strict=True))
            shown.add_row(
                language,
                name,
                f"{heard.wrong / heard.said:.1%}",
                f"{same} of {len(speech)}",
                f"{heard.cpu_s / heard.audio_s:.4f}",
                f"{(heard.cpu_s / heard.audio_s) / (peer.cpu_s / peer.audio_s):.2f}",
                f"{heard.load_s:.2f} s",
            )
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
