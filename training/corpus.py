"""The recordings: what is said, by whom, and who is held out.

``index.tsv`` beside the audio gives file, language, kind, speaker, start, end and label. About one
speaker (or story) in twenty is held out for tuning: language-model weight, language decision and
early stopping are set on those and never on the development set.
"""

from __future__ import annotations

import csv
import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from ivr.audio.tempo import at_tempo
from training import pronunciation
from training.align import Spans

__all__ = ["RATE_HZ", "Clip", "Corpus", "held_out", "read_development"]

RATE_HZ = 8000
#: Isolated syllables are spoken slowly; these copies come nearer to the pace of a sentence.
TEMPOS = (1.5, 2.1)
#: Sources that a builder may leave out for their licence; see SOURCES.md beside the audio.
OPTIONAL_SOURCES = ("cmn_sentences_aishell", "yue_syllables_jyutpingorg")


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording."""

    language: str
    kind: str  # word, syllable, sentence, phrase, espeak, resynthesis or revoiced
    source: str
    speaker: str
    label: str
    syllables: tuple[str, ...]
    audio: np.ndarray  # int16, 8 kHz
    spans: Spans | None = None  # where each unit lies

    @property
    def person(self) -> str:
        """Who was recorded: the speaker, also of a copy in another voice (``SPEAKER@VOICE``)."""
        return self.speaker.partition("@")[0]


def held_out(speaker: str) -> bool:
    """Whether a speaker of sentences is kept for tuning (one in twenty, by a hash of the name)."""
    return zlib.crc32(speaker.encode()) % 20 == 0


class Corpus:
    """All recordings, in memory as int16 (about 0.8 GB)."""

    @classmethod
    def cached(cls, folder: Path, cache: Path, *, without: tuple[str, ...] = ()) -> Corpus:
        """The corpus, decoded once and kept in ``cache`` (a file that may be thrown away)."""
        if cache.exists():
            with open(cache, "rb") as f:
                return pickle.load(f)  # type: ignore[no-any-return]
        corpus = cls(folder, without=without)
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial")
        with open(partial, "wb") as f:
            pickle.dump(corpus, f, protocol=5)
        partial.replace(cache)
        return corpus

    def __init__(self, folder: Path, *, without: tuple[str, ...] = ()) -> None:
        self.clips: list[Clip] = []
        self.tuning: list[Clip] = []
        audio: dict[str, np.ndarray] = {}
        with open(folder / "index.tsv", encoding="utf-8") as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        for row in rows:
            source = Path(row["file"]).stem
            if source in without:
                continue
            spoken = _syllables(row)
            if not spoken:
                continue
            if row["file"] not in audio:
                audio[row["file"]] = sf.read(folder / row["file"], dtype="int16")[0]
            sentence = row["kind"] in ("sentence", "phrase")
            into = self.tuning if sentence and held_out(row["speaker"]) else self.clips
            into.append(_clip(row, spoken, audio[row["file"]], 1.0))
            for tempo in TEMPOS if row["kind"] == "syllable" else ():
                key = f"{row['file']}@{tempo}"
                if key not in audio:
                    slow = audio[row["file"]].astype(np.float32)
                    fast = at_tempo(slow, tempo, RATE_HZ)
                    audio[key] = np.clip(np.rint(fast), -32768, 32767).astype(np.int16)
                into.append(_clip(row, spoken, audio[key], tempo))

    def of(self, language: str, *kinds: str) -> list[Clip]:
        """The training recordings of a language and kind."""
        return [c for c in self.clips if c.language == language and c.kind in kinds]

    def leave_out(self, speakers: Sequence[str]) -> None:
        """Forget the training recordings of these speakers, other copies of them too.

        Raises:
            ValueError: a speaker has none.
        """
        for name in speakers:
            kept = [c for c in self.clips if c.person != name]
            if len(kept) == len(self.clips):
                raise ValueError(
                    f"no recording is by {name!r}; see the column speaker of index.tsv"
                )
            self.clips = kept

    def thin_out(self, share: float) -> None:
        """Keep the sentences and phrases of this share of their speakers, for learning curves.

        The speakers are chosen by a hash of the name: those of a smaller share are in every larger
        one. What is put together from words and syllables stays.
        """
        self.clips = [
            c
            for c in self.clips
            if c.kind not in ("sentence", "phrase", "revoiced")
            or zlib.crc32(b"share " + c.person.encode()) < share * 2**32
        ]


def _clip(row: dict[str, str], spoken: tuple[str, ...], audio: np.ndarray, tempo: float) -> Clip:
    start, end = (int(float(row[k]) * RATE_HZ / tempo) for k in ("start_s", "end_s"))
    speaker = row["speaker"] if tempo == 1.0 else f"{row['speaker']}@{tempo}"
    return Clip(
        row["lang"], row["kind"], Path(row["file"]).stem, speaker, row["label"], spoken,
        audio[start:end].copy(),
    )  # fmt: skip


def _syllables(row: dict[str, str]) -> tuple[str, ...]:
    if row["kind"] == "syllable":
        label = row["label"].replace("ü", "v").replace("uu", "v")
        return (label,) if pronunciation.parse(label, row["lang"]) else ()
    return tuple(pronunciation.syllables(row["label"], row["lang"]) or ())


def read_development(folder: Path) -> list[Clip]:
    """The development sentences: people who are in no training data. Never train on them."""
    with open(folder / "index.tsv", encoding="utf-8") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    out = []
    for r in rows:
        spoken = tuple(pronunciation.syllables(r["text"], r["lang"]) or ())
        samples = sf.read(folder / r["file"], dtype="int16")[0]
        out.append(
            Clip(r["lang"], "sentence", r["source"], r["speaker"], r["text"], spoken, samples)
        )
    return out
