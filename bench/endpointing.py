"""Does the voice gate close on a caller who still speaks, and how long after the last word does it?

    python -m bench.endpointing                          the fixtures
    python -m bench.endpointing --data ../shared/data    and the people held out of training

Half a second without a voice ends an utterance. Noise is where the gate doubts that a voice goes
on, so every recording is heard as it is and with white noise 15 dB below its speech. People pause,
and some of their pauses are as long: the difference is what noise cuts off.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from audio_fixtures import effects
from ivr.asr.bilingual import EndpointRules
from ivr.asr.voice_gate import VoiceGate
from ivr.audio.files import read_audio
from ivr.call.voice import CHUNK_SAMPLES, RATE_HZ, VoiceModel
from ivr.replay.labels import load_labels

ROOT = Path(__file__).resolve().parent.parent
LINES = {"as it is": None, "15 dB": 15.0}
SILENCE_S = EndpointRules().end_silence_s
TAIL_S = 1.5  # of line noise after a recording, so that the end can be found
LAST_S = 0.6  # of a recording of people: what lies there is its end, no pause


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples (-1 to 1, 8 kHz), and where the speech ends, seconds; None where nobody has said."""

    group: str
    samples: np.ndarray
    speech_end_s: float | None


def fixtures() -> list[Recording]:
    """Those in which somebody speaks."""
    folder = ROOT / "audio_fixtures"
    labels = load_labels(folder / "labels.csv")
    out = []
    for file in sorted(folder.glob("*.wav")):
        label = labels[file]
        if label is not None and label.speech_end_s is not None:
            pcm = read_audio(file, rate_hz=RATE_HZ).pcm
            samples = np.frombuffer(pcm, "<i2") / 32768
            out.append(Recording(f"fixtures, {file.name[:3]}", samples, label.speech_end_s))
    return out


def people(data: Path, work: Path) -> list[Recording]:
    """The speakers held out of training."""
    from training.corpus import Corpus  # needs the extra "training"

    corpus = Corpus.cached(data / "speech", work / "corpus.pickle")
    return [Recording(f"people, {c.language}", c.audio / 32768, None) for c in corpus.tuning]


def closings(model: VoiceModel, samples: np.ndarray) -> list[float]:
    """Where the silence that ends an utterance has come, seconds."""
    pcm = effects.to_pcm16(samples).tobytes()
    gate, closed, out = VoiceGate(model.stream()), False, list[float]()
    for at in range(0, len(pcm), 2 * CHUNK_SAMPLES):
        gate.hear(pcm[at : at + 2 * CHUNK_SAMPLES])
        before, closed = closed, gate.open and gate.silence_s >= SILENCE_S
        if closed and not before:
            out.append(at / 2 / RATE_HZ)
    return out


def measure(
    model: VoiceModel, recordings: Iterable[Recording], *, snr_db: float | None
) -> list[str]:
    """Recordings, closings in speech, ends found, seconds to the end at the median and the 95th."""
    rng = np.random.default_rng(1)
    count, within, delays = 0, 0, list[float]()
    for r in recordings:
        tail = rng.standard_normal(round(TAIL_S * RATE_HZ)) * 1e-3
        sound = np.concatenate([r.samples, tail])
        found = closings(model, effects.over_noisy_line(sound, snr_db, rng) if snr_db else sound)
        until_s = len(r.samples) / RATE_HZ - LAST_S if r.speech_end_s is None else r.speech_end_s
        count += 1
        within += sum(at < until_s for at in found)
        if r.speech_end_s is not None:
            delays += [at - until_s for at in found if at >= until_s][:1]
    ends = [f"{np.quantile(delays, q):.2f}" for q in (0.5, 0.95)] if delays else ["", ""]
    return [str(count), str(within), str(len(delays)) if delays else "", *ends]


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--data", type=Path, help="folder of the speech that models are trained on")
    p.add_argument("--work", type=Path, default=ROOT / "work")
    a = p.parse_args()
    recordings = fixtures() + (people(a.data, a.work) if a.data else [])
    model = VoiceModel.load()
    columns = (
        "recordings",
        "line",
        "how many",
        "closed in speech",
        "ends found",
        "median s",
        "95 %",
    )
    shown = Table(*columns, title="The voice gate and the end of an utterance")
    for group in dict.fromkeys(r.group for r in recordings):
        chosen = [r for r in recordings if r.group == group]
        for line, snr_db in LINES.items():
            shown.add_row(group, line, *measure(model, chosen, snr_db=snr_db))
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
