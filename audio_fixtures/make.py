"""Make the fixtures: ``python -m audio_fixtures.make``; see ``README.md`` beside this file.

A fixture is a pure function of its row in ``phrases.tsv``, its name and ``SEED``: adding rows at
the end of a group leaves the other files as they are.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

from audio_fixtures import effects
from audio_fixtures.effects import RATE_HZ, Samples
from audio_fixtures.say import ESPEAK_VOICES, espeak_text
from ivr.cli.progress import progress

__all__ = [
    "COLUMNS",
    "ESPEAK_VERSION",
    "SEED",
    "VARIANTS",
    "Fixture",
    "Row",
    "catalogue",
    "espeak_version",
    "render",
    "speak",
    "write",
]

HERE = Path(__file__).parent
SEED = 12345
#: The release of espeak-ng that made the committed files; another one may sound a little different.
ESPEAK_VERSION = "1.51"

#: Voices kept for the fixtures alone: training never uses them. The number is the middle of the
#: range of ``espeak-ng -p``: men at 100 to 130 Hz, women at 160 to 230 Hz.
VARIANTS = {
    "f2": 50,
    "m4": 72,
    "Andrea": 40,
    "Mario": 72,
    "steph": 50,
    "Hugo": 70,
    "anika": 38,
    "edward": 72,
    "Michael": 72,
    "Diogo": 70,
}

COLUMNS = (
    "file",
    "language",
    "kind",
    "queue",
    "text",
    "voice",
    "rate_wpm",
    "snr_db",
    "encoding",
    "speech_end_s",
    "noise",
    "emergency",
)

_SNR_DB = (10, 15, 20, 25, 30)
_TAIL_S = 1.5  # longer than any endpointing delay, so that the utterance ends inside the file
_LINE_DBFS = -66.0  # hiss of a quiet line
_BABBLE_VOICES = 6
_BABBLE_TEXT = {
    "cmn": "早上好, 请坐, 这个多少钱, 明天再说吧, 他还没有回来, 好的好的, 你先吃饭",
    "yue": "早晨, 坐低先, 呢个几多钱, 听日先讲啦, 佢仲未返嚟, 好呀好呀, 你食饭先",
}


@dataclass(frozen=True, slots=True)
class Wordless:
    """What is on the line where nobody speaks."""

    kind: str  # silence or noise
    noise: str
    level_dbfs: float  # RMS
    length_s: float
    encoding: str


_WORDLESS = (
    Wordless("silence", "none", -np.inf, 5.0, "pcm_s16le"),
    Wordless("silence", "white", -70.0, 6.0, "pcm_s16le"),
    Wordless("silence", "hum", -58.0, 6.0, "mulaw"),
    Wordless("noise", "white", -38.0, 5.0, "mulaw"),
    Wordless("noise", "pink", -32.0, 6.0, "pcm_s16le"),
    Wordless("noise", "babble", -36.0, 6.0, "pcm_s16le"),
    Wordless("noise", "crackle", -40.0, 5.0, "mulaw"),
    Wordless("noise", "busy_tone", -20.0, 5.0, "mulaw"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a fixture holds, before chance has its say."""

    name: str  # file name without suffix
    language: str  # cmn, yue, or empty where nobody speaks
    kind: str  # speech, off_topic, person, emergency, silence, noise
    queue: str  # queue id; empty unless kind is speech
    emergency: str  # number that takes the call; empty unless kind is emergency
    text: str
    wordless: Wordless | None = None


@dataclass(frozen=True, slots=True)
class Fixture:
    """A finished fixture."""

    row: Row
    samples: Samples  # 8 kHz
    encoding: str  # pcm_s16le or mulaw
    voice: str = ""
    rate_wpm: int | None = None
    noise: str = ""
    snr_db: int | None = None
    speech_end_s: float | None = None

    def label(self) -> dict[str, str]:
        """The line of ``labels.csv``."""
        row = self.row
        values = {
            "file": f"{row.name}.wav",
            "language": row.language,
            "kind": row.kind,
            "queue": row.queue,
            "text": row.text,
            "voice": self.voice,
            "rate_wpm": "" if self.rate_wpm is None else str(self.rate_wpm),
            "snr_db": "" if self.snr_db is None else str(self.snr_db),
            "encoding": self.encoding,
            "speech_end_s": "" if self.speech_end_s is None else f"{self.speech_end_s:.2f}",
            "noise": self.noise,
            "emergency": row.emergency,
        }
        return {column: values[column] for column in COLUMNS}


def espeak_version() -> str | None:
    """The release of the installed espeak-ng, as ``1.51``; None where it is not installed."""
    try:
        done = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.partition("text-to-speech:")[2].split()[0]


def _named(kind: str, seen: dict[str, int]) -> str:
    seen[kind] = seen.get(kind, 0) + 1
    return f"{kind}_{seen[kind]:03d}"


def catalogue(phrases: Path = HERE / "phrases.tsv") -> list[Row]:
    """Every fixture there is, numbered within its group, in the order of ``labels.csv``."""
    seen: dict[str, int] = {}
    rows: list[Row] = []
    with phrases.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            language, kind, queue = line["language"], line["kind"], line["queue"]
            name = _named(f"{language}_{queue or kind}", seen)
            rows.append(Row(name, language, kind, queue, line["emergency"], line["text"]))
    for recipe in _WORDLESS:
        name = _named(f"none_{recipe.kind}", seen)
        rows.append(Row(name, "", recipe.kind, "", "", "", recipe))
    return rows


def _random(*key: str) -> np.random.Generator:
    digest = hashlib.sha256("/".join((str(SEED), *key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def speak(text: str, language: str, *, variant: str, rate_wpm: int, pitch: int) -> Samples:
    """Clean speech at 8 kHz, silence at both ends cut off.

    Raises RuntimeError where espeak-ng is not installed or fails.
    """
    voice = f"{ESPEAK_VOICES[language]}+{variant}"
    command = ["espeak-ng", "-v", voice, "-s", str(rate_wpm), "-p", str(pitch), "--stdout"]
    try:
        done = subprocess.run(
            [*command, espeak_text(text, language)], capture_output=True, check=True
        )
    except FileNotFoundError as error:
        raise RuntimeError(
            "espeak-ng is not installed; on Debian: apt install espeak-ng"
        ) from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"espeak-ng failed: {error.stderr.decode(errors='replace')}") from error
    samples, rate_hz = soundfile.read(io.BytesIO(done.stdout), dtype="float64")
    return _trimmed(effects.resample(samples, rate_hz))


def _trimmed(samples: Samples) -> Samples:
    start_s, end_s = effects.speech_span(samples)
    return samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)]


def _babble(count: int, random: np.random.Generator) -> Samples:
    """Distant talk in both languages, by voices of the fixtures."""
    voices = []
    for number in range(_BABBLE_VOICES):
        language = ("cmn", "yue")[number % 2]
        variant = str(random.choice(sorted(VARIANTS)))
        rate_wpm, pitch = int(random.integers(140, 191)), int(random.integers(20, 80))
        text = _BABBLE_TEXT[language]
        voices.append(speak(text, language, variant=variant, rate_wpm=rate_wpm, pitch=pitch))
    return effects.babble(count, voices, random)


def _noise(name: str, count: int, random: np.random.Generator) -> Samples:
    match name:
        case "white":
            return effects.white_noise(count, random)
        case "pink":
            return effects.pink_noise(count, random)
        case "babble":
            return _babble(count, random)
        case "crackle":
            return effects.crackle(count, random)
        case "hum":
            return effects.hum(count)
        case "busy_tone":
            return effects.busy_tone(count)
    raise ValueError(f"no such noise: {name}")


def _wordless(row: Row, recipe: Wordless) -> Fixture:
    count = int(recipe.length_s * RATE_HZ)
    if recipe.noise == "none":
        return Fixture(row, np.zeros(count), recipe.encoding, noise="none")
    samples = _noise(recipe.noise, count, _random(row.name, "noise"))
    if recipe.noise not in ("hum", "busy_tone"):  # both are of the line itself, not of a room
        samples = effects.telephone_band(samples)
    samples = effects.set_level(samples, recipe.level_dbfs)
    return Fixture(row, samples, recipe.encoding, noise=recipe.noise)


def _spoken(row: Row) -> Fixture:
    random = _random(row.name)
    variant = str(random.choice(sorted(VARIANTS)))
    rate_wpm = int(random.integers(130, 201))
    pitch = VARIANTS[variant] + int(random.integers(-12, 13))
    lead_s = float(random.uniform(0.3, 0.5))
    level_dbfs = float(random.uniform(-30, -18))
    in_room = random.random() < 0.3
    encoding = "mulaw" if random.random() < 0.5 else "pcm_s16le"
    noise, snr_db = "", None
    if random.random() < 0.45:
        noise = str(random.choice(["white", "pink", "babble"]))
        snr_db = int(random.choice(_SNR_DB))

    voice = speak(row.text, row.language, variant=variant, rate_wpm=rate_wpm, pitch=pitch)
    lead, tail = int(lead_s * RATE_HZ), int(_TAIL_S * RATE_HZ)
    samples = np.concatenate((np.zeros(lead), voice, np.zeros(tail)))
    if in_room:
        samples = effects.room(samples, random, rt60_s=float(random.uniform(0.12, 0.3)))
    samples = effects.set_active_level(effects.telephone_band(samples), level_dbfs)
    hiss = effects.set_level(effects.white_noise(len(samples), random), _LINE_DBFS)
    if snr_db is not None:
        background = effects.telephone_band(_noise(noise, len(samples), random))
        samples = effects.add_noise(samples, background, snr_db)
    return Fixture(
        row=row,
        samples=samples + effects.telephone_band(hiss),
        encoding=encoding,
        voice=f"espeak-ng {variant} pitch {pitch}",
        rate_wpm=rate_wpm,
        noise=noise,
        snr_db=snr_db,
        speech_end_s=(lead + len(voice)) / RATE_HZ,
    )


def render(row: Row) -> Fixture:
    """Make one fixture. Raises RuntimeError where espeak-ng is missing or fails."""
    return _spoken(row) if row.wordless is None else _wordless(row, row.wordless)


def write(fixture: Fixture, folder: Path) -> Path:
    """Write one WAV, 8 kHz, one channel, signed 16-bit or mu-law."""
    path = folder / f"{fixture.row.name}.wav"
    subtype = "ULAW" if fixture.encoding == "mulaw" else "PCM_16"
    samples = effects.to_pcm16(fixture.samples)
    soundfile.write(path, samples, RATE_HZ, subtype=subtype, format="WAV")
    return path


def _write_labels(fixtures: Iterable[Fixture], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(fixture.label() for fixture in fixtures)


@click.command(help=__doc__.partition("\n")[0])
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=HERE)
@click.option(
    "--phrases",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=HERE / "phrases.tsv",
    help="Table of phrases to speak.",
)
def main(out: Path, phrases: Path) -> None:
    rows: Sequence[Row] = catalogue(phrases)
    version = espeak_version()
    if version != ESPEAK_VERSION:
        click.echo(f"espeak-ng {version} here, {ESPEAK_VERSION} made the committed files", err=True)
    out.mkdir(parents=True, exist_ok=True)
    fixtures = []
    with progress("Making fixtures", len(rows)) as advance:
        for row in rows:
            try:
                fixtures.append(render(row))
            except (RuntimeError, ValueError) as error:
                raise click.ClickException(f"{row.name}: {error}") from error
            write(fixtures[-1], out)
            advance(1)
    _write_labels(fixtures, out / "labels.csv")
    click.echo(f"{len(fixtures)} files and labels.csv in {out}")


if __name__ == "__main__":
    main()
