"""Isolated words and syllables of speakers that a training left out.

    python -m training.train --work work/held --without YueTan-F "LamLeiDip-F (3,797) and a lower voice"
    python -m training.heldout --work work/held

The folder wants ``prepared.pickle`` and may have ``revoiced.pickle``; ``resynthesis.pickle`` is made
of all speakers' syllables, those held out too. After a training with ``--only``, name that language
(``--languages yue``). Mandarin: words in a closed grammar of 200 words, share recognised wrong.
Cantonese: syllables in a grammar of all that the speaker says, base-syllable error. Through mu-law,
decoded by Vosk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from training import lm, places
from training.corpus import Clip, Corpus

__all__ = ["closed", "main", "spoken_by"]

SPEAKERS = {"cmn": "YueTan-F", "yue": "LamLeiDip-F (3,797) and a lower voice"}
WORDS = 200


def spoken_by(corpus: Corpus, language: str, count: int) -> list[Clip]:
    """``count`` recordings of the speaker, each of something else; drawn with a fixed seed."""
    first: dict[tuple[str, ...], Clip] = {}
    for clip in corpus.of(language, "word", "syllable"):
        if clip.speaker == SPEAKERS[language] and (language == "yue" or len(clip.syllables) > 1):
            first.setdefault(clip.syllables, clip)
    everything = list(first.values())
    chosen = np.random.default_rng(1).permutation(len(everything))[:count]
    return [everything[i] for i in chosen]


def closed(clips: list[Clip], language: str, folder: Path, checkpoint: Path) -> None:
    """A model directory that knows what the clips say, and nothing else."""
    from training.checkpoint import load_network
    from training.export import export

    net, _ = load_network(checkpoint)
    words: lm.Lexicon = {"-".join(c.syllables): [c.syllables] for c in clips}
    folder.mkdir(parents=True, exist_ok=True)
    arpa = folder / "closed.arpa"
    lm.estimate([[w] for w in words for _ in range(5)], words, arpa, order=2, prune=(0, 0))
    one_word(arpa)
    export(net, language, folder, words, arpa, lm_scale=1.0, word_cost=0.0)


def one_word(arpa: Path) -> None:
    """Let no word follow another: a recording holds one. Rewrites the back-off weights."""
    lines = arpa.read_text(encoding="utf-8").split("\n")
    start, stop = lines.index("\\1-grams:") + 1, lines.index("\\2-grams:")
    for n in range(start, stop):
        parts = lines[n].split("\t")
        if len(parts) == 3 and parts[1] not in ("<s>", "</s>", "<unk>"):
            lines[n] = "\t".join((*parts[:2], "-99"))
    arpa.write_text("\n".join(lines), encoding="utf-8")


def _measure(clips: list[Clip], language: str, folder: Path) -> dict[str, float]:
    import vosk
    from rapidfuzz.distance import Levenshtein

    from training.evaluate import CHUNK_BYTES, TAIL
    from training.line import mulaw

    vosk.SetLogLevel(-1)
    model = vosk.Model(str(folder))
    wrong = base = total = 0
    for clip in clips:
        recogniser = vosk.KaldiRecognizer(model, 8000)
        x = np.concatenate([TAIL, clip.audio.astype(np.float32), TAIL])
        pcm = np.clip(mulaw(x), -32768, 32767).astype("<i2").tobytes()
        texts = []
        for i in range(0, len(pcm), CHUNK_BYTES):
            if recogniser.AcceptWaveform(pcm[i : i + CHUNK_BYTES]):
                texts.append(json.loads(recogniser.Result())["text"])
        texts.append(json.loads(recogniser.FinalResult())["text"])
        heard = [s for t in texts for word in t.split() for s in word.split("-")]
        wrong += heard != list(clip.syllables)
        said = [s[:-1] for s in clip.syllables]
        base += Levenshtein.distance(said, [s[:-1] for s in heard])
        total += len(said)
    return {
        "recordings": len(clips),
        "wrong": round(wrong / len(clips), 4),
        "base_syllable_error": round(base / total, 4),
    }


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data")
    p.add_argument("--corpus", type=Path, default=Path("work/corpus.pickle"))
    p.add_argument("--work", type=Path, default=Path("work/held"))
    p.add_argument("--languages", nargs="+", choices=tuple(SPEAKERS), default=list(SPEAKERS))
    p.add_argument("--only-export", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if not a.only_export:  # Vosk and pywrapfst each bring an OpenFst: a process for each
        subprocess.run(
            [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--only-export"], check=True
        )
    corpus = Corpus.cached(a.data / "speech", a.corpus)
    for language in a.languages:
        clips = spoken_by(corpus, language, WORDS if language == "cmn" else 1000)
        folder = a.work / "closed" / language
        if a.only_export:
            closed(clips, language, folder, a.work / "net.pt")
        else:
            print(language, SPEAKERS[language], json.dumps(_measure(clips, language, folder)))


if __name__ == "__main__":
    main()
