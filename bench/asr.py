"""What recognition costs: processor seconds a second of audio, on one core.

    python -m bench.asr [FILES…] [--config config/kapok.yaml] [--block-ms 20] [--repeat 3]

Measured in one run, in turn, on the same audio and the same thread:

* ``bilingual``: a call as the server runs it, both languages, n-best, the language decided, what
  was not clear heard again;
* ``first pass``: the same without a second pass;
* ``cmn``, ``yue``: the same with one language;
* ``vosk cmn``, ``vosk yue``: the plain loop of Vosk's own examples (AcceptWaveform and Result, no
  partial results, no n-best) over the same model: what the layers of Kapok are compared with.

A real-time factor of 0.05 means that one core keeps up with 20 calls that speak all the time.
The table gives the median of the repeats; compare ratios, not machines.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import vosk

from ivr.asr.bilingual import utterances
from ivr.asr.factory import Speech, load_speech
from ivr.audio.files import read_audio
from ivr.language import Language
from ivr.settings import load_settings

FIXTURES = Path(__file__).parent.parent / "audio_fixtures"


def _call(speech: Speech, block_s: float) -> Callable[[Sequence[bytes]], None]:
    def run(recordings: Sequence[bytes]) -> None:
        for pcm in recordings:
            for _ in utterances(speech.call(rate_hz=speech.rate_hz), pcm, block_s=block_s):
                pass

    return run


def _plain_vosk(path: Path, rate_hz: int, block_s: float) -> Callable[[Sequence[bytes]], None]:
    model, block = vosk.Model(str(path)), 2 * round(rate_hz * block_s)

    def run(recordings: Sequence[bytes]) -> None:
        for pcm in recordings:
            recognizer = vosk.KaldiRecognizer(model, float(rate_hz))
            for start in range(0, len(pcm), block):
                if recognizer.AcceptWaveform(pcm[start : start + block]):
                    recognizer.Result()
            recognizer.FinalResult()

    return run


def _measure(
    runs: dict[str, Callable[[Sequence[bytes]], None]], recordings: Sequence[bytes], repeat: int
) -> dict[str, float]:
    """Name -> processor seconds, the median of ``repeat`` interleaved runs."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat + 1):
        for name, run in runs.items():
            started = time.thread_time()
            run(recordings)
            spent[name].append(time.thread_time() - started)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}  # first: warm-up


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="audio (default: 24 fixtures)")
    parser.add_argument("--config", type=Path, help="the kapok.yaml to use")
    parser.add_argument("--block-ms", type=float, default=20.0, help="audio a message")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    settings = load_settings(options.config)
    both = load_speech(settings)
    files = options.files or sorted(FIXTURES.glob("*.wav"))[::6][:24]
    recordings = [read_audio(path, rate_hz=both.rate_hz).pcm for path in files]
    audio_s = sum(map(len, recordings)) / 2 / both.rate_hz
    block_s = options.block_ms / 1000

    first = load_speech(settings.without_second_pass())
    runs = {"bilingual": _call(both, block_s), "first pass": _call(first, block_s)}
    for language in Language:
        alone = Speech(engines={language: first.engines[language]}, decider=first.decider)
        runs[language.value] = _call(alone, block_s)
    for language, chosen in settings.languages.items():
        runs[f"vosk {language}"] = _plain_vosk(chosen.model, both.rate_hz, block_s)
    spent = _measure(runs, recordings, options.repeat)

    print(
        f"{len(recordings)} recordings, {audio_s:.1f} s of audio, blocks of {options.block_ms:g} ms"
    )
    print(f"{'run':<12}{'RTF':>8}{'calls a core':>14}{'of plain vosk':>15}")
    plain = sum(spent[f"vosk {language}"] for language in Language)
    for name, seconds in spent.items():
        peer = spent.get(f"vosk {name.removeprefix('vosk ')}", plain)
        rtf = seconds / audio_s
        print(f"{name:<12}{rtf:>8.4f}{1 / rtf:>14.0f}{seconds / peer:>14.2f}x")


if __name__ == "__main__":
    main()
