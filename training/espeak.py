"""Synthetic speech by espeak-ng, from romanised text so that the label is exact.

Its own voices are few, and callers' are not: :func:`drawn_voice` draws others.
"""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

__all__ = ["DRAWN", "TRAINING_VARIANTS", "drawn_voice", "speak", "with_voice"]

VOICE = {"cmn": "cmn-latn-pinyin", "yue": "yue-latn-jyutping"}
#: The variants used in training. Those of audio_fixtures/make.py are others, so that the fixtures
#: are voices never heard.
TRAINING_VARIANTS = (
    "", "m1", "m2", "m3", "m5", "m6", "m7", "m8", "f1", "f3", "f4", "f5", "klatt", "klatt2", "klatt3",
    "Alex", "Annie", "Gene", "Lee", "Mike", "linda", "adam", "belinda", "benjamin", "david", "Marco",
    "max", "norbert", "paul", "pedro", "quincy", "rob", "sandro", "steph2", "travis", "victor", "zac",
)  # fmt: skip
#: name of a voice of our own
DRAWN = "drawn"
#: where the treble of a voice is set
_TONE_HZ = (100, 600, 1200, 2000, 3000)


_NASAL = re.compile(r"(m|ng)([1-6])")


def _spelt(syllable: str) -> str:
    """espeak-ng reads a lone ``m4`` without tone; its phonemes in brackets carry it."""
    nasal = _NASAL.fullmatch(syllable)
    return f"[[{'m-' if nasal[1] == 'm' else 'ng'}{nasal[2]}]]" if nasal else syllable


def drawn_voice(rng: np.random.Generator) -> str:
    """A voice variant that nobody has named, as espeak-ng reads it.

    Pitch, vocal tract, strength and width of every formant, voicing, consonants, rhythm, treble,
    breath and the way of synthesis, each in the range that the variants of training span. Format:
    https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md.
    """
    low_hz = float(np.exp(rng.uniform(np.log(65), np.log(220))))
    tract = np.exp(rng.uniform(-0.12, 0.2) if low_hz > 120 else rng.uniform(-0.18, 0.1))
    lines = [
        "language variant",
        f"gender {'female' if low_hz > 130 else 'male'}",
        f"pitch {low_hz:.0f} {low_hz * rng.uniform(1.15, 1.8):.0f}",
        f"voicing {np.exp(rng.uniform(np.log(30), np.log(220))):.0f}",
        f"consonants {rng.integers(45, 160)} {rng.integers(40, 160)}",
        f"flutter {rng.integers(0, 9)}",
        f"roughness {rng.integers(0, 5)}",
    ]
    for k in range(9):  # 0 is what lies below the first formant; 4 and above colour the voice
        of = 100 * np.exp(rng.uniform(-0.06, 0.06)) * (tract if k else 1)
        least = 60 if k < 4 else 10
        lines.append(f"formant {k} {of:.0f} {rng.integers(least, 141)} {rng.integers(70, 171)}")
    if rng.random() < 0.5:  # rhythm: how long and how loud a syllable is, by its stress
        base = rng.uniform(0, 220)
        lines.append("stressLength " + " ".join(f"{base + x:.0f}" for x in rng.uniform(0, 60, 8)))
    if rng.random() < 0.5:
        lines.append("stressAdd " + " ".join(map(str, rng.integers(-30, 161, 8))))
    if rng.random() < 0.3:
        lines.append("stressAmp " + " ".join(map(str, rng.integers(14, 31, 8))))
    if rng.random() < 0.5:
        left = 255 * np.cumprod([1.0, *rng.uniform(0.25, 1.0, len(_TONE_HZ) - 1)])
        tone = (f"{hz} {amplitude:.0f}" for hz, amplitude in zip(_TONE_HZ, left, strict=True))
        lines.append("tone " + " ".join(tone))
    if rng.random() < 0.15:
        lines.append(f"klatt {rng.integers(1, 7)}")
    if rng.random() < 0.15:
        lines.append("breath 0 " + " ".join(map(str, rng.integers(1, 7, 7))))
    if rng.random() < 0.15:
        lines.append(f"echo {rng.integers(50, 150)} {rng.integers(5, 25)}")
    return "\n".join(lines) + "\n"


@functools.cache
def _data() -> Path:
    """Where espeak-ng has its own."""
    said = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True)
    return Path(said.stdout.rpartition("Data at:")[2].strip())


def with_voice(folder: Path, content: str) -> Path:
    """espeak-ng's data with one more variant, :data:`DRAWN`, in a new folder; for :func:`speak`.

    A folder holds no second one: espeak-ng reads all of them before it speaks, and 349 at most.

    Args:
        folder: where to.
        content: of the variant, as of :func:`drawn_voice`.
    """
    theirs = _data()
    mine = folder / "espeak-ng-data"
    (mine / "voices/!v").mkdir(parents=True)
    for file in theirs.iterdir():
        if file.name != "voices":
            (mine / file.name).symlink_to(file)
    (mine / "voices/!v" / DRAWN).write_text(content)
    return folder


def speak(
    syllables: list[str],
    language: str,
    *,
    variant: str,
    words_per_minute: int,
    pitch: int,
    data: Path | None = None,
) -> np.ndarray:
    """Speech at 8 kHz, float32 in the range of int16.

    Args:
        syllables: toned pinyin or jyutping.
        language: ``cmn`` or ``yue``.
        variant: of the voice; empty for none.
        words_per_minute: espeak-ng's measure of pace.
        pitch: 0 to 99, 50 is the voice's own.
        data: folder with a voice of one's own (:func:`with_voice`).

    Raises:
        RuntimeError: espeak-ng fails; what it says.
    """
    text = " ".join(_spelt(s) if language == "yue" else s for s in syllables)
    voice = VOICE[language] + (f"+{variant}" if variant else "")
    path = [f"--path={data}"] if data else []
    given = ["-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "--stdout", text]
    done = subprocess.run(["espeak-ng", *path, *given], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"espeak-ng: {done.stderr.decode(errors='replace').strip()}")
    samples = np.frombuffer(done.stdout[44:][: (len(done.stdout) - 44) // 2 * 2], "<i2")
    return resample_poly(samples.astype(np.float32), 160, 441).astype(np.float32)
