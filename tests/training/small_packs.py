"""Packs of a minute of tones, under the labels of a syllable a language."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from training.corpus import RATE_HZ, Clip
from training.factory import Speech
from training.mmi import estimate
from training.pack import pack, shares

LABELS = {"cmn": ["<blk>", "a1", "m"], "yue": ["<blk>", "aa1", "m"]}
SYLLABLES = {"cmn": "ma1", "yue": "maa1"}
LANGUAGES = ("cmn", "yue")


def said(language: str, kind: str, count: int, speaker: str = "p") -> Clip:
    """``count`` syllables of 0.3 s, the initial a low tone, the final a high one."""
    t = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    one = np.where(t < 0.1, np.sin(2 * np.pi * 300 * t), np.sin(2 * np.pi * 1200 * t))
    audio = np.tile(3000 * one, count).astype(np.int16)
    begins = 0.3 * np.arange(count)
    spans = np.stack([begins, begins + 0.1, begins + 0.1, begins + 0.3], 1).reshape(-1, 2)
    spoken = (SYLLABLES[language],) * count
    return Clip(language, kind, "x", speaker, "", spoken, audio, spans.astype(np.float32))


def write_packs(folder: Path) -> Path:
    """Two packs and what they have in common."""

    def of(kind: str, counts: range) -> dict[str, list[Clip]]:
        return {k: [said(k, kind, n, f"p{n % 3}") for n in counts] for k in LANGUAGES}

    def alone(language: str, rng: np.random.Generator) -> Speech:
        return Speech.of(said(language, "syllable", int(rng.integers(1, 4))))

    def nobody(language: str, rng: np.random.Generator) -> Speech:
        samples = rng.normal(0, 50, RATE_HZ).astype(np.float32)
        return Speech(samples, [], np.zeros((0, 2), np.float32))

    factory = SimpleNamespace(
        real=of("sentence", range(2, 8)),
        resynthesis=of("resynthesis", range(2, 4)),
        synthetic=of("espeak", range(3, 6)),
        revoiced=of("revoiced", range(2, 4)),
        spliced=alone,
        nobody=nobody,
    )
    pack(factory, LABELS, folder, most_bytes=80_000, made=20)
    bigrams = {k: estimate([["m", LABELS[k][1]] * 3], LABELS[k]) for k in LANGUAGES}
    features = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float16)
    torch.save(
        {
            "labels": LABELS,
            "bigrams": {k: (b.first, b.following) for k, b in bigrams.items()},
            "tuning": {k: [(features, ["m", LABELS[k][1]])] for k in LANGUAGES},
            "shares": {k: list(shares(k).values()) for k in LANGUAGES},
        },
        folder / "common.pt",
    )
    return folder
