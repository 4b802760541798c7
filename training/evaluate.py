"""Measure exported models: syllable and character error, language decision, speed and size.

    python -m training.evaluate                              # development set and fixtures
    python -m training.evaluate --sets tuning --languages yue      # held-out speakers
    python -m training.evaluate --engine vosk                # the same by Vosk, or sherpa-onnx:
    python -m training.evaluate --engine sherpa --models work/onnx
    python -m training.evaluate --second-pass models/second    # each utterance heard again

Base-syllable error counts insertions, deletions and substitutions of toneless syllables; the
syllables are those of the transcript's characters, as ``ivr transcribe`` prints them. Audio goes
through mu-law first. The language is decided on whole utterances, and on their first 1.5 s of
speech, as on a call of which nothing is known yet. The real-time factor is that of one recogniser
whose network runs in the server's blocks of 1.2 s. The sets:

* ``development``: sentences of people who are in no training data;
* ``tuning``: sentences of the speakers held out of training, on which weights are set;
* ``noise``: the same over a telephone band, with white noise 15 dB below the speech;
* ``fixtures``: the synthetic calls of ``audio_fixtures/``, lines and noise as they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from audio_fixtures import effects
from ivr.asr.engine import Engine
from ivr.asr.factory import (
    GATED_FRAMES_PER_CHUNK,
    LANGUAGE_NETWORK,
    LANGUAGE_WEIGHTS,
    EngineFactory,
)
from ivr.asr.kapok_engine import KapokModel
from ivr.asr.language_decision import LanguageDecider
from ivr.asr.second_pass import TwoPassEngine, load_second_pass
from ivr.asr.spoken_language import SpokenLanguageModel
from ivr.audio.files import read_audio
from ivr.language import Language
from training import places
from training.card import write_readme
from training.corpus import RATE_HZ, Clip, Corpus, read_development
from training.language import listen
from training.line import mulaw
from training.pronunciation import HAN, simplified, syllables

__all__ = ["Score", "decode", "evaluate", "language_accuracy", "main", "onset"]

SETS = ("development", "fixtures", "tuning", "noise")
NOISE_DB = 15.0
DECISION_S = 1.5  # of speech, after which the language should be known
COLUMNS = {
    "base_syllable_error": "base %",
    "toned_syllable_error": "toned %",
    "character_error": "character %",
    "language_accuracy": "language %",
    "early_language_accuracy": "in 1.5 s %",
    "real_time_factor": "RTF",
    "load_s": "load s",
    "size_mb": "MB",
    "utterances": "utterances",
}

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


def decode(engine: Engine, samples: np.ndarray) -> str:
    """All that the engine hears in a recording, without spaces."""
    recogniser = engine.recogniser()
    x = mulaw(np.concatenate([samples.astype(np.float32), TAIL]))
    pcm = np.clip(x, -32768, 32767).astype("<i2").tobytes()
    for i in range(0, len(pcm), CHUNK_BYTES):
        recogniser.accept(
            pcm[i : i + CHUNK_BYTES]
        )  # an utterance a recording: endpoints are advice
    return recogniser.finish().text.replace(" ", "")


def evaluate(
    folder: Path,
    clips: list[Clip],
    language: Language,
    *,
    engine: str = "kapok",
    second_pass: Path | None = None,
    show: int = 0,
) -> dict[str, dict[str, float]]:
    """Rates by source and in all, and the real-time factor of decoding one after the other."""
    KapokModel.forget()
    began = time.monotonic()
    model: Engine = _as_on_calls().load(engine, folder, language)
    if second_pass is not None:
        model = TwoPassEngine(model, load_second_pass(second_pass, language, first=folder))
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


def _as_on_calls() -> EngineFactory:
    """Engines as the server has them: the network in blocks of 1.2 s."""
    return EngineFactory(frames_per_chunk=GATED_FRAMES_PER_CHUNK)


def onset(samples: np.ndarray) -> int:
    """First sample of speech: where 20 ms are less than 25 dB below the loudest 20 ms."""
    frame = RATE_HZ // 50
    blocks = samples[: len(samples) // frame * frame].astype(np.float64).reshape(-1, frame)
    power = (blocks**2).mean(1)
    return int(np.argmax(power > power.max(initial=0.0) * 10**-2.5)) * frame if len(power) else 0


def language_accuracy(
    models: Path, clips: list[Clip], *, engine: str = "kapok", speech_s: float | None = None
) -> dict[str, float]:
    """Share of the utterances of each language whose language is decided right.

    Args:
        models: folder with ``cmn``, ``yue``, ``language.json`` and ``language.onnx``.
        clips: recordings of both languages.
        engine: its name in the settings.
        speech_s: decide on so much speech; None for all of it.
    """
    factory = _as_on_calls()
    engines = {k: factory.load(engine, models / k, k) for k in Language}
    decider = LanguageDecider.load(models / LANGUAGE_WEIGHTS)
    network = SpokenLanguageModel.load(models / LANGUAGE_NETWORK)
    right: dict[str, list[bool]] = {}
    for clip in clips:
        x = clip.audio.astype(np.float32)
        if speech_s is not None:
            x = x[: onset(x) + int(speech_s * RATE_HZ)]
        heard = listen(engines, network, mulaw(x))
        decision = decider.decide(heard.recognitions, sound=heard.sound)
        right.setdefault(clip.language, []).append(decision.language == clip.language)
    return {k: round(float(np.mean(v)), 4) for k, v in right.items()}


def read_fixtures(folder: Path) -> list[Clip]:
    """The synthetic calls of the fixtures in which somebody says what is written."""
    out = []
    with open(folder / "labels.csv", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            if row["kind"] == "speech":
                pcm = read_audio(folder / row["file"], rate_hz=RATE_HZ).pcm
                spoken = tuple(syllables(row["text"], row["language"]) or ())
                samples = np.frombuffer(pcm, "<i2")
                out.append(
                    Clip(
                        row["language"],
                        "sentence",
                        "fixtures",
                        row["voice"],
                        row["text"],
                        spoken,
                        samples,
                    )
                )
    return out


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "work", "models")
    p.add_argument("--fixtures", type=Path, default=Path("audio_fixtures"))
    p.add_argument("--engine", choices=EngineFactory().names, default="kapok")
    p.add_argument("--second-pass", type=Path, metavar="DIR", help="what hears utterances again")
    p.add_argument("--sets", choices=SETS, nargs="+", default=["development", "fixtures"])
    p.add_argument("--languages", nargs="+", default=["cmn", "yue"])
    p.add_argument("--show", type=int, default=0, help="print about this many transcripts")
    p.add_argument("--no-language", action="store_true", help="leave the language decision out")
    p.add_argument("--write-card", action="store_true", help="put the figures into model.json")
    p.add_argument("--json", action="store_true", help="one JSON object a set and language")
    a = p.parse_args()
    if a.write_card and a.second_pass:
        p.error("the cards tell what the models do alone: leave --second-pass out")
    table = Table(
        "set", "language", "source", *COLUMNS.values(), title=f"Models in {a.models}, {a.engine}"
    )
    for name in a.sets:
        clips = _clips(name, a)
        if not clips:
            print(f"{name}: no data here, left out")
            continue
        right = {} if a.no_language else language_accuracy(a.models, clips, engine=a.engine)
        soon = (
            {}
            if a.no_language
            else language_accuracy(a.models, clips, engine=a.engine, speech_s=DECISION_S)
        )
        for language in a.languages:
            chosen = [c for c in clips if c.language == language]
            rates = evaluate(
                a.models / language,
                chosen,
                Language(language),
                engine=a.engine,
                second_pass=a.second_pass,
                show=a.show,
            )
            if right:
                rates["all"]["language_accuracy"] = right[language]
                rates["all"]["early_language_accuracy"] = soon[language]
            if a.json:
                print(json.dumps({"set": name, "language": language, **rates["all"]}), flush=True)
            for source, row in rates.items():
                if source == "all" or len(rates) > 2:  # a single source is all there is
                    cells = [_cell(column, row.get(column)) for column in COLUMNS]
                    table.add_row(name, language, source, *cells)
            if a.write_card:
                write_card(a.models / language / "model.json", name, rates)
                write_readme(a.models / language)
    if not a.json:
        Console(width=150).print(table)


def _clips(name: str, a: argparse.Namespace) -> list[Clip]:
    if name == "fixtures":
        return read_fixtures(a.fixtures)
    if not a.data.exists():
        return []
    if name == "development":
        return read_development(a.data / "dev")
    clips = Corpus.cached(a.data / "speech", a.work / "corpus.pickle").tuning
    if name == "tuning":
        return clips
    rng = np.random.default_rng(1)
    return [replace(c, audio=_in_noise(c.audio, rng)) for c in clips]


def _in_noise(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return effects.to_pcm16(effects.over_noisy_line(audio / 32768, NOISE_DB, rng))


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" if COLUMNS[column].endswith("%") else f"{value:g}"


def write_card(path: Path, which: str, rates: dict[str, dict[str, float]]) -> None:
    """Put measured figures into a model's card."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["accuracy"][which] = rates["all"]
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
