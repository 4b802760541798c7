"""Everything training needs that takes long to make: recordings, synthetic speech, alignments.

    python -m training.prepare --data ../shared/data

Leaves ``work/prepared.pickle``; a second run finds it and does nothing. Human and synthetic speech
of a language are aligned by models of their own. One process works on each language.
"""

from __future__ import annotations

import math
import multiprocessing as mp
import pickle
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from training import espeak, lm, places
from training.align import Spans, spans_of
from training.corpus import Clip, Corpus
from training.pronunciation import LANGUAGES, parse, syllables
from training.text import domain_phrases, mandarin_words, sentences, split_clauses

__all__ = ["aligned", "load", "main", "spoken_texts", "synthetic"]

SYNTHETIC = 4500  # utterances a language
UTTERANCES_PER_VOICE = 20  # of a drawn one
#: what espeak-ng says: phrases of queues.yaml in carriers, sentences of the corpus, runs of words
TEXT_SHARES = (0.4, 0.4, 0.2)


def load(work: Path) -> Corpus:
    """The prepared corpus, with what :mod:`training.vocoder` has made of it, if it has.

    Raises:
        SystemExit: it has not been made yet.
    """
    path = work / "prepared.pickle"
    if not path.exists():
        raise SystemExit(f"{path} is missing: make it with python -m training.prepare")
    with open(path, "rb") as f:
        corpus: Corpus = pickle.load(f)
    for made in (work / f"{name}.pickle" for name in ("resynthesis", "revoiced", "alone")):
        if made.exists():
            with open(made, "rb") as f:
                corpus.clips += pickle.load(f)
    return corpus


def spoken_texts(language: str, corpus: Corpus, text_folder: Path, queues: Path) -> list[list[str]]:
    """Texts in each of the kinds of :data:`TEXT_SHARES`."""
    domain = [c % p for p in domain_phrases(queues, language) for c in lm.CARRIERS[language]]
    clips = corpus.of(language, "sentence", "phrase")
    general = [c for clip in clips for c in split_clauses(clip.label)]
    general += sentences(text_folder, language)
    if language == "cmn":
        counts = mandarin_words()
        words = [w for w, n in counts.items() for _ in range(1 + int(n**0.4 / 20))]
    else:
        words = [s for s in general if len(s) <= 4]
    return [domain, general, words]


def synthetic(
    language: str,
    texts: Sequence[Sequence[str]],
    count: int,
    rng: np.random.Generator,
    *,
    drawn_share: float = 0.0,
) -> list[Clip]:
    """``count`` utterances of espeak-ng in the voices kept for training.

    ``drawn_share`` of them are in voices of our own, :func:`training.espeak.drawn_voice`.
    """
    voices = math.ceil(count * drawn_share / UTTERANCES_PER_VOICE)
    out: list[Clip] = []
    with tempfile.TemporaryDirectory() as folder:
        drawn = [
            espeak.with_voice(Path(folder, str(i)), espeak.drawn_voice(rng)) for i in range(voices)
        ]
        while len(out) < count:
            kind = rng.choice(len(texts), p=TEXT_SHARES)
            pick = int(rng.integers(1, 6)) if kind == 2 else 1
            text = "".join(texts[kind][rng.integers(len(texts[kind]))] for _ in range(pick))[:26]
            spoken = syllables(text, language)
            if not spoken or not all(parse(s, language) for s in spoken):
                continue
            data = None
            variant = espeak.TRAINING_VARIANTS[rng.integers(len(espeak.TRAINING_VARIANTS))]
            if drawn and rng.random() < drawn_share:
                data, variant = drawn[rng.integers(voices)], espeak.DRAWN
            samples = espeak.speak(
                spoken,
                language,
                variant=variant,
                words_per_minute=int(rng.integers(125, 250)),
                pitch=int(rng.integers(10, 90)),
                data=data,
            )
            if len(samples) < 1500:
                continue
            audio = np.clip(samples, -32767, 32767).astype(np.int16)
            speaker = f"espeak {variant} {data.name if data else ''}".rstrip()
            out.append(Clip(language, "espeak", "espeak", speaker, text, tuple(spoken), audio))
    return out


def aligned(clips: Sequence[Clip], language: str) -> list[Clip]:
    """The clips with their spans; those too short for their text are left out.

    A faster copy of a recording (``speaker@tempo``) follows the original and takes its spans.
    """
    originals = [i for i, c in enumerate(clips) if "@" not in c.speaker]
    found = dict(
        zip(
            originals,
            spans_of(
                language,
                [(clips[i].speaker, clips[i].audio, clips[i].syllables) for i in originals],
            ),
            strict=True,
        )
    )
    out, last = [], None
    for i, clip in enumerate(clips):
        spans: Spans | None
        if i in found:
            spans = last = found[i]
        else:
            spans = None if last is None else last / float(clip.speaker.rsplit("@", 1)[1])
        if spans is not None:
            out.append(replace(clip, spans=spans))
    return out


def _language(
    language: str, corpus: Corpus, text_folder: Path, queues: Path, count: int, drawn_share: float
) -> list[Clip]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    began = time.monotonic()

    def say(what: str, clips: Sequence[Clip]) -> None:
        seconds = sum(len(c.audio) for c in clips) / 8000
        print(
            f"{language}: {len(clips)} {what}, {seconds / 3600:.1f} h, "
            f"after {time.monotonic() - began:.0f} s",
            flush=True,
        )

    rng = np.random.default_rng([7, len(language), ord(language[0])])
    texts = spoken_texts(language, corpus, text_folder, queues)
    made = synthetic(language, texts, count, rng, drawn_share=drawn_share)
    say("synthetic utterances", made)
    made = aligned(made, language)
    say("of them aligned", made)
    human = aligned([c for c in corpus.clips if c.language == language], language)
    say("human recordings aligned", human)
    return human + made


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work")
    p.add_argument("--synthetic", type=int, default=SYNTHETIC, help="utterances a language")
    p.add_argument("--drawn", type=float, default=0.0, help="share of these in drawn voices")
    a = p.parse_args()
    path = a.work / "prepared.pickle"
    if path.exists():
        print(f"{path} is there")
        return
    corpus = Corpus.cached(a.data / "speech", a.work / "corpus.pickle")
    with mp.Pool(len(LANGUAGES)) as pool:
        jobs = [(k, corpus, a.data / "text", a.queues, a.synthetic, a.drawn) for k in LANGUAGES]
        done = pool.starmap(_language, jobs, chunksize=1)
    corpus.clips = [clip for clips in done for clip in clips]
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as f:
        pickle.dump(corpus, f, protocol=5)
    partial.replace(path)


if __name__ == "__main__":
    main()
