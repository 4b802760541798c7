"""Make the prompts that are missing, or say another text than they should, with espeak-ng.

    python -m scripts.make_prompts             # config/prompts of this installation
    python -m scripts.make_prompts --all       # those made before as well, in a new voice, say
    python -m scripts.make_prompts --queues draft/queues.yaml  # draft/prompts, for these queues

Recordings of one's own are never touched: only files that carry the text they say, as this script
writes it, are made again. The files are mu-law WAV, 8 kHz, as telephony plays them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click
import numpy as np
import soundfile
from scipy.signal import resample_poly

from audio_fixtures.say import ESPEAK_VOICES, espeak_text
from ivr.call.events import Piece
from ivr.call.prompt_audio import PromptAudio, said_in
from ivr.call.prompts import load_prompts
from ivr.errors import ConfigError, IvrError
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

RATE_HZ = 8000
_ESPEAK_RATE_HZ = 22_050
_LEVEL = 10 ** (-20 / 20)  # RMS of the speech, the nominal level on a line
_EDGE_S = 0.08


def render(text: str, language: Language, *, voice: str, words_per_minute: int) -> np.ndarray:
    """``text`` spoken, float32 in -1 to 1 at 8 kHz, with short silence at both ends.

    Raises ConfigError where espeak-ng is not installed, or refuses.
    """
    if shutil.which("espeak-ng") is None:
        raise ConfigError("espeak-ng is not installed; install it (apt-get install espeak-ng)")
    voices = f"{ESPEAK_VOICES[language]}+{voice}"
    done = subprocess.run(
        ["espeak-ng", "-v", voices, "-s", str(words_per_minute), "-z", "--stdout"],
        input=espeak_text(text, language).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"espeak-ng cannot say {text!r}: {done.stderr.decode()[:200]}")
    raw = np.frombuffer(done.stdout[44 : 44 + (len(done.stdout) - 44) // 2 * 2], "<i2")
    spoken = resample_poly(raw.astype(np.float32) / 32768, RATE_HZ // 50, _ESPEAK_RATE_HZ // 50)
    loud = np.flatnonzero(np.abs(spoken) > 0.005)
    spoken = spoken[loud[0] : loud[-1] + 1]
    spoken = spoken * (_LEVEL / np.sqrt(np.mean(spoken**2)))
    edge = np.zeros(round(_EDGE_S * RATE_HZ), dtype=np.float32)
    return np.concatenate([edge, np.clip(spoken, -0.98, 0.98).astype(np.float32), edge])


def write(path: Path, samples: np.ndarray, text: str) -> None:
    """A mu-law WAV file that carries its text; whoever reads meanwhile never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with soundfile.SoundFile(
        part, "w", samplerate=RATE_HZ, channels=1, format="WAV", subtype="ULAW"
    ) as file:
        file.comment = text
        file.write(samples)
    os.replace(part, path)


def _wanted(
    audio: PromptAudio, folder: Path, language: Language, piece: Piece, every: bool
) -> bool:
    path = folder / language / f"{piece.name}.wav"
    ours = not path.exists() or said_in(path) is not None
    return ours and (every or any(audio.faults(language, [piece])))


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
@click.option("--queues", type=click.Path(path_type=Path), help="The queues.yaml to use.")
@click.option("--prompts", type=click.Path(path_type=Path),
              help="Their folder; that beside --queues, or that of the settings.")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Make those again that are right, too.")
@click.option("--voice", default="f2", show_default=True, help="A voice variant of espeak-ng.")
@click.option("--words-per-minute", default=165, show_default=True, help="Speed.")
def main(
    config: Path | None,
    queues: Path | None,
    prompts: Path | None,
    every: bool,
    voice: str,
    words_per_minute: int,
) -> None:
    """Make the prompts that are missing or out of date."""
    try:
        queues, folder = _places(config, queues, prompts)
        made = make(queues, folder, every=every, voice=voice, words_per_minute=words_per_minute)
    except (IvrError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"made {made} prompts in {folder}")


def _places(config: Path | None, queues: Path | None, prompts: Path | None) -> tuple[Path, Path]:
    """The queues.yaml and the folder of its prompts."""
    if queues is not None:
        return queues, prompts or queues.parent / "prompts"
    settings = load_settings(config)
    return settings.queues, prompts or settings.prompts


def make(queues: Path, folder: Path, *, every: bool, voice: str, words_per_minute: int) -> int:
    """Make the prompts for a queues.yaml that are missing in a folder, or out of date.

    Returns:
        How many were made.

    Raises:
        ConfigError: the queues or the texts are not valid, or espeak-ng refuses.
        OSError: the folder cannot be written.
    """
    catalogue, texts = load_catalogue(queues), load_prompts(folder)
    folder.mkdir(parents=True, exist_ok=True)
    audio = PromptAudio(folder)
    made = 0
    for language in Language:
        names = {queue.id: queue.name[language] for queue in catalogue.queues}
        for piece in texts.pieces(language, names):
            if _wanted(audio, folder, language, piece, every):
                samples = render(
                    piece.text, language, voice=voice, words_per_minute=words_per_minute
                )
                write(folder / language / f"{piece.name}.wav", samples, piece.text)
                made += 1
    return made


if __name__ == "__main__":
    main()
