"""What it saves, and what it costs, that one language goes on alone where it is sure.

    python -m bench.one_language                       # every fourth fixture
    python -m bench.one_language --every 1 --scores 3.5 4 4.5 5

Each recording is heard as on a call, once by both languages (the peer) and once for each
``recognition.sure_score``: as the first utterance of a call; as a later one, of whose caller the
language is known; and with the other language known, as of a caller who switches. Told are: how
often one language was enough, the processor time beside the peer's, and what came of it: utterances
whose language both told rightly and one wrongly, and those that lead to another queue. Each is done
with the network that hears the language in the sound (``sound``), which says early who may rest,
and without. Choose a score at which nothing is lost, with a margin; run it again when the models
change.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivr.asr.bilingual import Utterance
from ivr.asr.factory import Speech, load_speech
from ivr.audio.codecs import Decoder
from ivr.audio.resample import Resampler
from ivr.intent.languages import read
from ivr.intent.matcher import Matcher
from ivr.language import Language
from ivr.load.script import line_noise
from ivr.queues.catalogue import load_catalogue
from ivr.replay.clips import read_clip
from ivr.replay.labels import load_labels
from ivr.settings import load_settings

FIXTURES = Path(__file__).resolve().parents[1] / "audio_fixtures"
RATE_HZ = 8_000
#: line noise before a recording and after it, seconds
AROUND_S = (1.0, 2.0)
#: how probable the language is that earlier utterances told
KNOWN = 0.97
KNOWLEDGE: dict[str, Callable[[Language], Language | None]] = {
    "first": lambda spoken: None,
    "later": lambda spoken: spoken,
    "language switched": lambda spoken: spoken.other,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording, as a call understood its first utterance."""

    language: Language | None
    queue: str | None
    alone: bool
    computed_s: float


def recordings(every: int) -> list[tuple[Language, bytes]]:
    """Language and sound of the fixtures in which somebody speaks, 8 kHz s16le."""
    found = []
    for path, label in sorted(load_labels(FIXTURES / "labels.csv").by_file.items())[::every]:
        if label.language is None:
            continue
        clip = read_clip(path)
        resampler = Resampler(clip.rate_hz, RATE_HZ)
        pcm = resampler.resample(Decoder(clip.encoding).decode(clip.data)) + resampler.flush()
        before, after = (line_noise(s, rate_hz=RATE_HZ) for s in AROUND_S)
        found.append((label.language, before + pcm + after))
    return found


def hear(speech: Speech, matcher: Matcher, sound: bytes, known: Language | None) -> Heard:
    """One utterance of a call whose language may be known."""
    call = speech.call(rate_hz=RATE_HZ)
    if known is not None:
        call.settle(known, KNOWN)
    utterance: Utterance | None = None
    began_s = time.thread_time()
    for at in range(0, len(sound), RATE_HZ // 5):
        if call.accept(sound[at : at + RATE_HZ // 5]).endpoint:
            utterance = call.finish()
            break
    computed_s = time.thread_time() - began_s
    if utterance is None or not utterance.text:
        return Heard(None, None, alone=False, computed_s=computed_s)
    meant = read(matcher, utterance.weighed(), utterance.language, utterance.language_confidence)
    return Heard(
        meant.language,
        meant.match.queue,
        alone=len(utterance.recognitions) == 1,
        computed_s=computed_s,
    )


def row(spoken: Sequence[Language], both: Sequence[Heard], one: Sequence[Heard]) -> list[str]:
    """What one score comes to."""
    told = [
        language
        for language, b, o in zip(spoken, both, one, strict=True)
        if b.language is language and o.language is not language
    ]
    led = sum(b.queue != o.queue for b, o in zip(both, one, strict=True))
    cost = sum(o.computed_s for o in one) / sum(b.computed_s for b in both)
    alone = sum(o.alone for o in one) / len(one)
    return [f"{alone:.0%}", f"{cost:.2f}", str(len(told)), str(led)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=4, help="take each n-th fixture")
    parser.add_argument("--scores", type=float, nargs="+", default=[4.5])
    options = parser.parse_args()
    settings = load_settings()
    matcher = Matcher(load_catalogue(settings.queues))
    speech = load_speech(settings)
    gc.collect()
    gc.freeze()
    given = recordings(options.every)

    def all_by(
        score: float | None, known: Callable[[Language], Language | None], *, by_sound: bool = True
    ) -> list[Heard]:
        asked = replace(speech, sure_score=score, sound=speech.sound if by_sound else None)
        return [hear(asked, matcher, sound, known(spoken)) for spoken, sound in given]

    hear(speech, matcher, given[0][1], None)  # warm
    shown = Table(
        "utterance",
        "sure_score",
        "sound",
        "one was enough",
        "time (both: 1)",
        "language lost",
        "other queue",
        title=f"{len(given)} recordings",
    )
    for name, known in KNOWLEDGE.items():
        both = all_by(None, known)
        for score in options.scores:
            for by_sound in (False, True):
                one = all_by(score, known, by_sound=by_sound)
                cells = row([spoken for spoken, _ in given], both, one)
                shown.add_row(name, f"{score:g}", "yes" if by_sound else "no", *cells)
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
