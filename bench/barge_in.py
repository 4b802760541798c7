"""Barge-in: how soon a caller's voice stops a prompt, and what else does.

    python -m bench.barge_in

The greeting plays while the test calls speak, and while nobody does: in noise 10 dB under the
speech, with a television in the background, and with the prompt's own echo on the line. Peers in
the same run: WebRTC's voice activity detector (the most used in telephony; left out where the
package ``webrtcvad-wheels`` is not installed) and a fixed threshold of energy, each needing the
same 0.1 s of voice.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from audio_fixtures import effects
from audio_fixtures.effects import RATE_HZ, Samples
from ivr.audio.codecs import Decoder, Encoding, encode
from ivr.call.barge_in import BargeIn
from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import prompt
from ivr.call.voice import VoiceModel
from ivr.language import Language
from ivr.settings import load_settings

FIXTURES = Path(__file__).parents[1] / "audio_fixtures"
SEED = 5
SPEECH_DBFS = -20.0
BLOCK = 160  # samples: what a gateway sends at a time, 20 ms

Detector = Callable[[bytes], bool]
#: makes a detector that knows what prompt plays
Make = Callable[[bytes], Detector]


def kapok(model: VoiceModel) -> Make:
    """Kapok's own."""

    def make(playing: bytes) -> Detector:
        barge_in = BargeIn(model.stream())
        barge_in.play(playing)
        return barge_in.hear

    return make


def webrtc(_: bytes) -> Detector:
    """WebRTC's detector at its strictest: five of eight frames of 20 ms."""
    import webrtcvad

    detector = webrtcvad.Vad(3)
    recent: list[bool] = []

    def hear(block: bytes) -> bool:
        recent.append(detector.is_speech(block, RATE_HZ))
        del recent[:-8]
        return sum(recent) >= 5

    return hear


def energy(_: bytes) -> Detector:
    """A level above -35 dBFS for five of eight frames."""
    recent: list[bool] = []

    def hear(block: bytes) -> bool:
        samples = np.frombuffer(block, "<i2") / 32768
        recent.append(bool(np.mean(samples**2) > 10 ** (-35 / 10)))
        del recent[:-8]
        return sum(recent) >= 5

    return hear


def first_s(detector: Detector, samples: Samples) -> float | None:
    """When the detector first says that somebody speaks, seconds; None for never."""
    pcm = _pcm(samples)
    step = 2 * BLOCK
    for start in range(0, len(pcm) - step + 1, step):
        if detector(pcm[start : start + step]):
            return (start + step) / 2 / RATE_HZ
    return None


def _pcm(samples: Samples) -> bytes:
    """Through the codec of the line and back."""
    linear = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    return Decoder(Encoding.MULAW).decode(encode(linear, Encoding.MULAW))


def _speech(count: int) -> Iterator[Samples]:
    """Quiet recordings of the fixtures, from the first sound to the last, at one level."""
    with (FIXTURES / "labels.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["kind"] == "speech" and r["snr_db"] in "30"]
    for row in rows[:: max(1, len(rows) // count)][:count]:
        samples, _ = soundfile.read(FIXTURES / row["file"])
        begin, end = (round(t * RATE_HZ) for t in effects.speech_span(samples))
        yield _at(samples[begin:end], SPEECH_DBFS)


def _at(samples: Samples, dbfs: float) -> Samples:
    return samples / np.sqrt(np.mean(samples**2)) * 10 ** (dbfs / 20)


def noises(count: int, voices: list[Samples], random: np.random.Generator) -> dict[str, Samples]:
    """What may be on a line besides the caller; 10 dB under the level of speech, or as said."""
    under = SPEECH_DBFS - 10
    television = np.resize(np.concatenate(voices), count)
    return {
        "white noise": _at(effects.white_noise(count, random), under),
        "pink noise": _at(effects.pink_noise(count, random), under),
        "crackle": _at(effects.crackle(count, random), under),
        "hum": _at(effects.hum(count), under),
        "busy tone": _at(effects.busy_tone(count), under),
        "12 voices": _at(effects.babble(count, voices[:12], random), under),
        "6 voices": _at(effects.babble(count, voices[6:12], random), under),
        "television, -25 dB": _at(television, SPEECH_DBFS - 25),
    }


def echoes(playing: Samples, random: np.random.Generator) -> dict[str, Samples]:
    """The prompt as it comes back: by the line, and from a room."""
    line = effects.telephone_band(playing)
    room = effects.room(line, random, rt60_s=0.2, direct_to_reverberant_db=10)
    hall = effects.room(line, random, rt60_s=0.3, direct_to_reverberant_db=0)
    quiet = effects.white_noise(len(playing), random) * 10 ** (-60 / 20)
    return {
        "line, -10 dB, after 40 ms": _late(line, 0.04, -10) + quiet,
        "line, -20 dB, after 300 ms": _late(line, 0.3, -20) + quiet,
        "handset, -15 dB, after 200 ms": _late(room, 0.2, -15) + quiet,
        "loudspeaker, -10 dB, after 500 ms": _late(hall, 0.5, -10) + quiet,
    }


def _late(samples: Samples, delay_s: float, db: float) -> Samples:
    delay = round(delay_s * RATE_HZ)
    return np.concatenate([np.zeros(delay), samples])[: len(samples)] * 10 ** (db / 20)


def _delays(make: Make, playing: bytes, calls: list[tuple[float, Samples]]) -> list[float]:
    """From the start of speech to the barge-in, seconds.

    Infinite where there is none, negative where the noise before the speech has cut the prompt.
    """
    out = []
    for begins_s, samples in calls:
        at_s = first_s(make(playing), samples)
        out.append(float("inf") if at_s is None else at_s - begins_s)
    return out


def _shown(delays: list[float]) -> str:
    """Median and 95th percentile of those in time; how many were missed, and too early."""
    right = [delay for delay in delays if 0 < delay < np.inf]
    missed, early = sum(np.isinf(delays)), sum(delay <= 0 for delay in delays)
    found = f"{np.median(right):.2f} {np.quantile(right, 0.95):.2f}" if right else "-"
    return f"{found}  {missed}/{early}"


def _stopped(make: Make, playing: bytes, noise: Samples, pieces: int) -> int:
    """How many of ``pieces`` prompts are cut by this noise."""
    return sum(first_s(make(playing), piece) is not None for piece in np.array_split(noise, pieces))


@click.command()
@click.option("--calls", default=24, show_default=True, help="Recordings of speech.")
@click.option("--prompts", default=8, show_default=True, help="Prompts played into each noise.")
def main(calls: int, prompts: int) -> None:
    """Print the delays and the false alarms."""
    random = np.random.default_rng(SEED)
    audio = PromptAudio(load_settings().prompts)
    ids = ("greeting", "ask_again", "no_input")
    playing = b"".join(audio.pcm(prompt(i, language)) for i in ids for language in Language)
    said = np.frombuffer(playing, "<i2") / 32768
    voices = list(_speech(calls))
    length = 6 * RATE_HZ
    background = noises(prompts * length, voices, random)
    echo = echoes(said, random)
    detectors = {"kapok": kapok(VoiceModel.load()), "webrtc": webrtc, "energy": energy}
    if find_spec("webrtcvad") is None:
        del detectors["webrtc"]

    console = Console(width=110)
    console.print(_delay_table(detectors, playing, voices, background, echo, random))
    console.print(_alarm_table(detectors, playing, background, echo, prompts))
    for name, make in detectors.items():
        console.print(_cost(name, make(playing), np.concatenate(voices)))


def _delay_table(
    detectors: dict[str, Make],
    playing: bytes,
    voices: list[Samples],
    background: dict[str, Samples],
    echo: dict[str, Samples],
    random: np.random.Generator,
) -> Table:
    table = Table(
        "speech", *detectors, title="start of speech to barge-in, s: median, 95 %, missed/too early"
    )
    quiet = effects.white_noise(60 * RATE_HZ, random) * 10 ** (-66 / 20)
    behind = {"quiet": quiet}
    behind |= {f"{k}, 10 dB": v for k, v in background.items() if k in ("pink noise", "6 voices")}
    behind |= {f"echo: {k}": v for k, v in echo.items()}
    for name, noise in behind.items():
        made = [_over(voice, noise, random) for voice in voices]
        row = []
        for make in detectors.values():
            delays = _delays(make, playing, made)
            row.append(_shown(delays))
        table.add_row(name, *row)
    return table


def _over(voice: Samples, noise: Samples, random: np.random.Generator) -> tuple[float, Samples]:
    """The caller begins to speak 1 to 3 s into the prompt."""
    begins = int(random.integers(RATE_HZ, 3 * RATE_HZ))
    total = noise[: begins + len(voice)].copy()
    total[begins:] += voice[: len(total) - begins]
    return begins / RATE_HZ, total


def _alarm_table(
    detectors: dict[str, Make],
    playing: bytes,
    background: dict[str, Samples],
    echo: dict[str, Samples],
    prompts: int,
) -> Table:
    table = Table("nobody speaks", *detectors, title="prompts that are cut")
    for name, noise in background.items():
        row = (f"{_stopped(m, playing, noise, prompts)}/{prompts}" for m in detectors.values())
        table.add_row(name, *row)
    for name, samples in echo.items():
        row = (f"{_stopped(m, playing, samples, 1)}/1" for m in detectors.values())
        table.add_row(f"echo: {name}", *row)
    return table


def _cost(name: str, detector: Detector, samples: Samples) -> str:
    blocks = len(samples) // BLOCK
    began = time.process_time()
    first = 0
    pcm = _pcm(samples)
    for start in range(0, 2 * BLOCK * blocks, 2 * BLOCK):
        first += detector(pcm[start : start + 2 * BLOCK])
    each_us = (time.process_time() - began) / blocks * 1e6
    return f"{name}: {each_us:.0f} µs for 20 ms of audio, {each_us / 20_000:.2%} of a core"


if __name__ == "__main__":
    main()
