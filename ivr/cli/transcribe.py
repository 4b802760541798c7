"""``ivr transcribe``: audio files to text and syllables."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

from ivr.asr.bilingual import Utterance, utterances
from ivr.asr.factory import Speech, load_speech
from ivr.asr.n_best import join_words
from ivr.audio.files import AUDIO_SUFFIXES, read_audio
from ivr.cli.progress import progress
from ivr.errors import AudioError
from ivr.intent.sounds import syllables
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import Settings, load_settings

__all__ = ["Transcript", "command", "transcribe"]


@dataclass(frozen=True, slots=True)
class Transcript:
    """One file, transcribed."""

    file: str
    language: str | None  # cmn or yue; None where nothing was said and no language was given
    text: str  # empty where nothing was said
    phones: str  # toned pinyin or jyutping syllables, separated by spaces


def transcribe(path: Path, speech: Speech, *, language: Language | None = None) -> Transcript:
    """Transcribe a file; several utterances are joined.

    ``language`` is what a silent file is filed under. The language of a file with utterances in
    both is the one with more syllables.

    Raises:
        AudioError: the file cannot be read.
    """
    audio = read_audio(path, rate_hz=speech.rate_hz)
    call = speech.call(rate_hz=audio.rate_hz, alternatives=1 if len(speech.engines) == 1 else None)
    said = list(utterances(call, audio.pcm))
    phones = [syllables(utterance.text, utterance.language) for utterance in said]
    return Transcript(
        file=str(path),
        language=_main_language(said, phones) or language,
        text=join_words(utterance.text for utterance in said),
        phones=" ".join(syllable for part in phones for syllable in part),
    )


def _main_language(said: Iterable[Utterance], phones: Iterable[tuple[str, ...]]) -> Language | None:
    weights: Counter[Language] = Counter()
    for utterance, part in zip(said, phones, strict=True):
        weights[utterance.language] += 1 + len(part)
    return weights.most_common(1)[0][0] if weights else None


@click.command("transcribe")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--language",
    type=click.Choice([*(code.value for code in Language), "auto"]),
    default="auto",
    show_default=True,
    help="What is spoken; auto decides for every utterance.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(files: tuple[Path, ...], language: str, as_json: bool, config: Path | None) -> None:
    """Transcribe audio FILES (or folders of them) with the models of the settings.

    WAV (linear, mu-law, A-law), FLAC, Ogg and MP3 of any rate. A file that cannot be read is
    reported and left out; the exit status is then 1.
    """
    chosen = None if language == "auto" else Language(language)
    paths = list(_expand(files))
    settings = load_settings(config)
    speech = load_speech(
        settings,
        languages=tuple(Language) if chosen is None else (chosen,),
        hot_words=_hot_words(settings),
    )
    failed = 0
    with (
        progress("transcribing", len(paths)) as advance,
        ThreadPoolExecutor(settings.recognition.threads) as executor,
    ):
        one = partial(_one, speech=speech, language=chosen, advance=advance)
        for result in executor.map(one, paths):
            if isinstance(result, Transcript):
                _print(result, as_json=as_json)
            else:
                failed += 1
                click.echo(f"ivr: {result}", err=True)
    sys.exit(1 if failed else 0)


def _hot_words(settings: Settings) -> tuple[str, ...]:
    """Those of the queues file, where there is one: transcribing needs no queues."""
    return load_catalogue(settings.queues).hot_words if settings.queues.is_file() else ()


def _one(
    path: Path, *, speech: Speech, language: Language | None, advance: Callable[[float], None]
) -> Transcript | AudioError:
    try:
        return transcribe(path, speech, language=language)
    except AudioError as error:
        return error
    finally:
        advance(1)


def _expand(files: Iterable[Path]) -> Iterator[Path]:
    """The files, and those inside the folders, by name."""
    for path in files:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        if not inside:
            raise AudioError(
                f"{path}: no audio files in this folder ({', '.join(sorted(AUDIO_SUFFIXES))})"
            )
        yield from inside


def _print(transcript: Transcript, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(transcript), ensure_ascii=False))
    else:
        click.echo(f"{transcript.file}\t{transcript.language or '-'}\t{transcript.text}")
