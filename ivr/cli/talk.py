"""``ivr talk``: speak into the microphone and see what Kapok hears and decides."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from ivr.asr.bilingual import BilingualRecogniser, Heard, Utterance
from ivr.asr.factory import load_speech
from ivr.errors import DeviceError
from ivr.intent.languages import read
from ivr.intent.matcher import Matcher
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import load_settings

__all__ = ["command", "converse", "microphone"]

_BLOCK_S = 0.1
#: Blocks that may wait for the recogniser (10 s); more are dropped, as a deaf listener would.
_WAITING_BLOCKS = 100
_MEND = "plug in a microphone, or transcribe a recording with `ivr transcribe FILE`"


@click.command("talk")
@click.option(
    "--language",
    type=click.Choice([*(code.value for code in Language), "auto"]),
    default="auto",
    show_default=True,
    help="What you will speak; auto decides for every utterance.",
)
@click.option("--device", help="Input device, by number or part of its name; see --devices.")
@click.option("--devices", "list_devices", is_flag=True, help="List the audio devices and end.")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(language: str, device: str | None, list_devices: bool, config: Path | None) -> None:
    """Talk to Kapok through the microphone: what it hears, the queue, how sure. Ctrl-C ends."""
    sounddevice = _sounddevice()
    if list_devices:
        click.echo(str(sounddevice.query_devices()) or f"no audio device; {_MEND}")
        return
    settings = load_settings(config)
    rate_hz = _input_rate_hz(sounddevice, device)
    languages = tuple(Language) if language == "auto" else (Language(language),)
    catalogue = load_catalogue(settings.queues)
    speech = load_speech(settings, languages=languages, hot_words=catalogue.hot_words)
    call, matcher = speech.call(rate_hz=rate_hz), Matcher(catalogue)
    console = Console(highlight=False)
    console.print("Speak; Ctrl-C ends. · 请讲话，按 Ctrl-C 结束。")
    try:
        with microphone(sounddevice, device, rate_hz) as blocks:
            _show(converse(call, matcher, blocks), console)
    except KeyboardInterrupt:
        console.print()


def converse(
    call: BilingualRecogniser, matcher: Matcher, blocks: Iterable[bytes]
) -> Iterator[Heard | tuple[Utterance, Match]]:
    """What is heard after each block, and each finished utterance with its match."""
    for block in blocks:
        heard = call.accept(block)
        yield heard
        if heard.endpoint:
            yield _finish(call, matcher)
    if call.accept(b"").speech:
        yield _finish(call, matcher)


def _finish(call: BilingualRecogniser, matcher: Matcher) -> tuple[Utterance, Match]:
    utterance = call.finish()
    reading = read(matcher, utterance.weighed(), utterance.language, utterance.language_confidence)
    return utterance.spoken_in(reading.language, reading.language_confidence), reading.match


def _show(said: Iterable[Heard | tuple[Utterance, Match]], console: Console) -> None:
    """Partial results on one changing line, then a line for each utterance."""
    with console.status("") as status:
        for item in said:
            if isinstance(item, Heard):
                status.update(f"[dim]{item.language}[/] {escape(item.partial)}")
            else:
                console.print(_line(*item))


def _line(utterance: Utterance, match: Match) -> str:
    target = match.emergency if match.decision is Decision.EMERGENCY else match.queue
    language = f"{utterance.language} {utterance.language_confidence:.2f}"
    return (
        f"[bold]{escape(utterance.text)}[/]  {language}  "
        f"→ {target or '-'} {match.confidence:.2f} [italic]{match.decision.replace('_', ' ')}[/]"
    )


def _sounddevice() -> Any:
    """The sounddevice package; importing it loads PortAudio.

    Raises:
        DeviceError: there is no PortAudio.
    """
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError(
            "PortAudio is not installed, so there is no microphone to listen to: install it "
            "(Debian and Ubuntu: apt-get install libportaudio2; macOS: brew install portaudio)"
        ) from error
    return sounddevice


def _input_rate_hz(sounddevice: Any, device: str | None) -> int:
    """The rate that the microphone itself works at, Hertz; ours is resampled from it."""
    try:
        info = sounddevice.query_devices(_device_id(device), kind="input")
    except (sounddevice.PortAudioError, ValueError) as error:
        which = (
            f"no input device {device!r} (see `ivr talk --devices`)" if device else "no microphone"
        )
        raise DeviceError(f"{which}: {error}; {_MEND}") from error
    return int(info["default_samplerate"])


def _device_id(device: str | None) -> int | str | None:
    return int(device) if device is not None and device.isdecimal() else device


@contextmanager
def microphone(sounddevice: Any, device: str | None, rate_hz: int) -> Iterator[Iterator[bytes]]:
    """Blocks of PCM, s16le, one channel, from an input device, until the block is left.

    Raises:
        DeviceError: the device cannot be opened.
    """
    waiting: queue.Queue[bytes] = queue.Queue(_WAITING_BLOCKS)

    def heard(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        try:
            waiting.put_nowait(bytes(data))
        except queue.Full:
            with suppress(queue.Empty, queue.Full):
                waiting.get_nowait()  # the oldest goes: what is said now counts
                waiting.put_nowait(bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate_hz,
            blocksize=round(rate_hz * _BLOCK_S),
            device=_device_id(device),
            channels=1,
            dtype="int16",
            callback=heard,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DeviceError(f"the microphone cannot be opened: {error}; {_MEND}") from error
    with stream:
        yield iter(waiting.get, None)
