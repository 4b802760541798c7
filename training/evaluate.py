"""Measure exported models: syllable and character error, language decision, speed and size.

    python -m training.evaluate --models models --data ../shared/data            # development set
    python -m training.evaluate --set tuning --language yue                      # held-out speakers

Base-syllable error counts insertions, deletions and substitutions of toneless syllables; the
syllables are those of the transcript's characters, as ``ivr transcribe`` prints them. Audio goes
through mu-law first.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vosk
from rapidfuzz.distance import Levenshtein

from training.corpus import RATE_HZ, Clip, Corpus, read_development
from training.line import mulaw
from training.pronunciation import HAN, simplified, syllables

__all__ = ["Score", "decode", "evaluate", "main"]

CHUNK_BYTES = 3200
TAIL = np.zeros(int(0.3 * RATE_HZ), np.float32)


@dataclass
class Score:
    """Errors and totals, summed over utterances."""

    base: int = 0
    toned: int = 0
    syllables: int = 0
    characters_wrong: int = 0
    characters: int = 0
    utterances: int = 0

    def add(self, clip: Clip, heard: str) -> None:
        """Count one utterance against its label."""
        said = list(clip.syllables)
        read = syllables(heard, clip.language) or []
        self.toned += Levenshtein.distance(said, read)
        self.base += Levenshtein.distance([s[:-1] for s in said], [s[:-1] for s in read])
        self.syllables += len(said)
        reference = "".join(HAN.findall(simplified(clip.label)))
        self.characters_wrong += Levenshtein.distance(reference, simplified(heard))
        self.characters += len(reference)
        self.utterances += 1

    def rates(self) -> dict[str, float]:
        """Error rates, 0 to 1 (and above, where more is inserted than was said)."""
        return {
            "base_syllable_error": round(self.base / max(1, self.syllables), 4),
            "toned_syllable_error": round(self.toned / max(1, self.syllables), 4),
            "character_error": round(self.characters_wrong / max(1, self.characters), 4),
            "utterances": self.utterances,
        }


def decode(model: vosk.Model, samples: np.ndarray) -> str:
    """All that Vosk hears in a recording, without spaces."""
    recogniser = vosk.KaldiRecognizer(model, RATE_HZ)
    x = mulaw(np.concatenate([samples.astype(np.float32), TAIL]))
    pcm = np.clip(x, -32768, 32767).astype("<i2").tobytes()
    texts = []
    for i in range(0, len(pcm), CHUNK_BYTES):
        if recogniser.AcceptWaveform(pcm[i : i + CHUNK_BYTES]):
            texts.append(json.loads(recogniser.Result())["text"])
    texts.append(json.loads(recogniser.FinalResult())["text"])
    return "".join(texts).replace(" ", "").replace("[unk]", "")


def evaluate(folder: Path, clips: list[Clip], *, show: int = 0) -> dict[str, dict[str, float]]:
    """Rates by source and in all, and the real-time factor of decoding one after the other."""
    vosk.SetLogLevel(-1)
    began = time.monotonic()
    model = vosk.Model(str(folder))
    load_s = time.monotonic() - began
    scores: dict[str, Score] = defaultdict(Score)
    began, heard_s = time.process_time(), 0.0
    for i, clip in enumerate(clips):
        if not clip.syllables:
            continue
        heard = decode(model, clip.audio)
        heard_s += len(clip.audio) / RATE_HZ
        if i % max(1, len(clips) // max(1, show)) == 0 and show:
            print(f"  {clip.label}\n  {heard}")
        scores[clip.source].add(clip, heard)
        scores["all"].add(clip, heard)
    out = {k: s.rates() for k, s in sorted(scores.items())}
    out["all"]["real_time_factor"] = round((time.process_time() - began) / max(1e-9, heard_s), 4)
    out["all"]["load_s"] = round(load_s, 2)
    out["all"]["size_mb"] = round(
        sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6, 1
    )
    return out


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--data", type=Path, default=Path("../shared/data"))
    p.add_argument("--work", type=Path, default=Path("work"))
    p.add_argument("--models", type=Path, default=Path("models"))
    p.add_argument("--set", choices=("development", "tuning"), default="development", dest="which")
    p.add_argument("--languages", nargs="+", default=["cmn", "yue"])
    p.add_argument("--show", type=int, default=0, help="print about this many transcripts")
    p.add_argument("--write-card", action="store_true", help="put the figures into model.json")
    a = p.parse_args()
    if a.which == "development":
        clips = read_development(a.data / "dev")
    else:
        clips = Corpus.cached(a.data / "speech", a.work / "corpus.pickle").tuning
    for language in a.languages:
        rates = evaluate(
            a.models / language, [c for c in clips if c.language == language], show=a.show
        )
        print(language, a.which)
        for source, row in rates.items():
            print(f"  {source:40s} " + "  ".join(f"{k} {v}" for k, v in row.items()))
        if a.write_card:
            write_card(a.models / language / "model.json", a.which, rates)


def write_card(path: Path, which: str, rates: dict[str, dict[str, float]]) -> None:
    """Put measured figures into a model's card."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["accuracy"][which] = rates["all"]
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
