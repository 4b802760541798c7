"""What the recognisers make of the phrases: errors to fit the matcher's weights on.

    python -m training.hearing             writes ivr/intent/heard.jsonl.gz

Phrases of ``config/phrases/`` are spoken by the espeak-ng voices of the training, their formants
and pace moved so that no voice is one that the network knows, over a telephone line at 3 to 18 dB,
and recognised by the shipped models as a call is. What was heard, the n-best list, is what
``ivr train`` fits the weights on beside the phrases as written, and where ``ivr/intent/noise.py``
has its errors from. The voices of ``audio_fixtures/make.py`` and ``bench/by_ear.py`` are others.

The same seed, phrases and models give the same file. Recognised utterances are kept in
``work/hearing/`` by model, so that a run that was broken off goes on where it ended. 3,000 phrases
take some five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ivr.asr.factory import Speech, load_speech
from ivr.intent.hearing import HEARD, Hearing, write
from ivr.intent.train import Labelled, labelled
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue
from ivr.settings import LanguageSettings, load_settings
from training import line
from training.corpus import RATE_HZ
from training.espeak import TRAINING_VARIANTS, speak
from training.pronunciation import syllables

__all__ = ["chosen", "hear", "main", "spoken"]

SEED = 20261125
PHRASES = 1500  # of a language
#: Signal to noise, dB.
SNR_DB = (3.0, 18.0)
#: Formants and pace are moved by up to this, natural logarithm.
MOVED = 0.28
MOST_KEPT = 5  # hypotheses
LEAST_KEPT = 0.03  # of their weight
SILENCE_S = (0.4, 0.8)  # before and after
CODECS = ("ULAW", "ALAW", "GSM610")
CODEC_SHARES = (0.5, 0.4, 0.1)


def chosen(phrases: Sequence[Labelled], count: int) -> list[Labelled]:
    """``count`` phrases of each language, the same every time however many others there are."""
    out = []
    for language in Language:
        mine = {p.text: p for p in phrases if p.language is language}
        out += sorted(mine.values(), key=lambda p: _seed(p))[:count]
    return sorted(out, key=_seed)


def _seed(phrase: Labelled) -> int:
    return zlib.crc32(f"{SEED} {phrase.language} {phrase.text}".encode())


def spoken(phrase: Labelled) -> bytes | None:
    """The phrase over a telephone line, s16le at 8 kHz; None for what cannot be spoken."""
    said = syllables(phrase.text, phrase.language)
    if not said:
        return None
    rng = np.random.default_rng(_seed(phrase))
    x = speak(
        said,
        phrase.language,
        variant=str(rng.choice(TRAINING_VARIANTS)),
        words_per_minute=int(rng.integers(140, 230)),
        pitch=int(rng.integers(10, 90)),
    )
    if len(x) < RATE_HZ // 10:
        return None
    x = line.speed(x, float(np.exp(rng.uniform(-MOVED, MOVED))))
    if rng.random() < 0.5:
        x = line.tilt(x, rng)
    if rng.random() < 0.3:
        x = line.room(x, rng)
    level = float(np.sqrt((x**2).mean()))
    before, after = (round(s * RATE_HZ) for s in SILENCE_S)
    x = line.band(np.pad(x, (before, after)), rng)
    noise = line.band(line.to_noise(len(x), rng, None), rng)
    x = x + noise / (noise.std() + 1e-6) * level * 10 ** (-rng.uniform(*SNR_DB) / 20)
    x = x / np.abs(x).max() * 10 ** rng.uniform(3.5, 4.4)
    x = line.coded(x, str(rng.choice(CODECS, p=CODEC_SHARES)))
    return np.clip(x, -32768, 32767).astype("<i2").tobytes()


def hear(speech: Speech, phrase: Labelled) -> Hearing | None:
    """The phrase as the recogniser of its language hears it; None for what cannot be spoken."""
    pcm = spoken(phrase)
    if pcm is None:
        return None
    call = speech.call(rate_hz=RATE_HZ)
    call.keep(phrase.language)
    block = 2 * RATE_HZ // 5
    for at in range(0, len(pcm), block):
        call.accept(pcm[at : at + block])
    said = call.finish().weighed()[phrase.language]
    kept = [(t, round(w, 3)) for t, w in said[:MOST_KEPT] if w >= LEAST_KEPT]
    return Hearing(phrase.text, phrase.language, tuple(kept))


def _fingerprint(languages: Iterable[LanguageSettings]) -> str:
    """Of the networks, graphs and beams: a graph made anew has the version of the old one."""
    total = 0
    for entry in languages:
        parts = [entry.model / f for f in ("am/final.mdl", "graph/HCLG.fst", "conf/model.conf")]
        if entry.second_pass is not None:
            parts += sorted([*entry.second_pass.glob("*.onnx"), *entry.model.glob("*.onnx")])
        for part in parts:
            total = zlib.crc32(part.read_bytes(), total)
    return f"{total:08x}"


def _known(file: Path) -> dict[tuple[str, str], Hearing]:
    if not file.exists():
        return {}
    rows = [json.loads(row) for row in file.read_text(encoding="utf-8").split("\n") if row]
    found = [Hearing.of(row) for row in rows]
    return {(h.language, h.text): h for h in found}


def _heard(speech: Speech, phrases: Iterable[Labelled], file: Path, threads: int) -> list[Hearing]:
    """All hearings, those in ``file`` as they are, the others added to it."""
    known = _known(file)
    todo = [p for p in phrases if (p.language, p.text) not in known]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out, ThreadPoolExecutor(threads) as pool:
        for n, found in enumerate(pool.map(lambda p: hear(speech, p), todo)):
            if found is not None:
                known[found.language, found.text] = found
                out.write(json.dumps(found.row(), ensure_ascii=False) + "\n")
            if n % 500 == 0:
                print(f"{n} of {len(todo)}", flush=True)
    return [known[key] for p in phrases if (key := (p.language, p.text)) in known]


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--config", type=Path, default=Path("config/kapok.yaml"))
    p.add_argument("--models", type=Path, help="a folder with cmn and yue, instead of the config's")
    p.add_argument("--work", type=Path, default=Path("work"))
    p.add_argument("--out", type=Path, default=HEARD)
    p.add_argument("--phrases", type=int, default=PHRASES, help="of each language")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    settings = load_settings(a.config)
    if a.models is not None:
        moved = {
            language: entry.model_copy(update={"model": a.models / language.value})
            for language, entry in settings.languages.items()
        }
        settings = settings.model_copy(update={"languages": moved})
    catalogue = load_catalogue(settings.queues)
    speech = load_speech(settings, hot_words=catalogue.hot_words)
    models = _fingerprint(entry for _, entry in settings.languages.items())
    file = a.work / "hearing" / f"{models}.jsonl"
    found = _heard(speech, chosen(labelled(catalogue), a.phrases), file, a.threads)
    write(found, a.out)
    print(f"{a.out}: {len(found)} phrases, {a.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
