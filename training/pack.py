"""What the trainings hear, as a few small files for a machine that has nothing else.

    python -m training.pack --out packs

Leaves folders of at most ``--most-mb`` each, people first: Ogg Opus, and ``clips.npz`` with what is
said and where. ``common.pt`` beside them holds what all have in common. :mod:`training.bulk` reads
both, and needs neither dictionaries nor the recordings.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from ivr.intent.sounds import plain
from training import places
from training.corpus import RATE_HZ, Clip
from training.factory import RESYNTHESIS, REVOICED, SHARES, Factory, Speech, by_people
from training.prepare import load
from training.pronunciation import in_context, units
from training.train import LANGUAGES, bigrams_of, labels_of, tuning_sets

__all__ = ["KINDS", "main", "pack", "shares"]

#: in the order of their worth: a machine with little room takes the first packs only
KINDS = ("sentence", "nobody", "splice", "resynthesis", "espeak", "revoiced")
#: libsndfile's Opus compression: as it comes (21 kbit/s) for people, 15 kbit/s for what is made
PEOPLE, MADE = None, 0.964
STREAM_S = 240.0
#: made or kept of each kind and language
MOST = {"splice": 3000, "resynthesis": 3000, "espeak": 4500, "revoiced": 3000, "nobody": 100}


def shares(language: str) -> dict[str, float]:
    """How often each of :data:`KINDS` is drawn, as in :class:`training.factory.Factory`."""
    sentence, splice, espeak, nobody = SHARES[language]
    return {
        "sentence": sentence * (1 - REVOICED[language]),
        "nobody": nobody,
        "splice": splice * (1 - RESYNTHESIS),
        "resynthesis": splice * RESYNTHESIS,
        "espeak": espeak,
        "revoiced": sentence * REVOICED[language],
    }


@dataclass(frozen=True, slots=True)
class _Item:
    language: str
    kind: str
    weight: float
    speech: Speech


def _items(
    factory: Factory, kind: str, rng: np.random.Generator, made: int | None
) -> Iterator[_Item]:
    kept = {
        "sentence": factory.real,
        "resynthesis": factory.resynthesis,
        "espeak": factory.synthetic,
        "revoiced": factory.revoiced,
    }
    for language in LANGUAGES:
        if kind in ("splice", "nobody"):
            make = factory.spliced if kind == "splice" else factory.nobody
            for _ in range(made or MOST[kind]):
                yield _Item(language, kind, 1.0, make(language, rng))
            continue
        clips: Sequence[Clip] = kept[kind][language]
        weight = np.diff(by_people(clips), prepend=0.0)
        for i in rng.permutation(len(clips))[: MOST.get(kind)]:
            yield _Item(language, kind, float(weight[i]), Speech.of(clips[i]))


def _encoded(job: tuple[np.ndarray, float | None]) -> bytes:
    samples, level = job
    out = io.BytesIO()
    sf.write(out, samples, RATE_HZ, format="OGG", subtype="OPUS", compression_level=level)
    return out.getvalue()


def _streams(items: Iterator[_Item]) -> Iterator[list[_Item]]:
    stream: list[_Item] = []
    length = 0
    for item in items:
        if len(item.speech.samples) < RATE_HZ // 5:
            continue
        stream.append(item)
        length += len(item.speech.samples)
        if length > STREAM_S * RATE_HZ:
            yield stream
            stream, length = [], 0
    if stream:
        yield stream


def _samples(stream: Sequence[_Item]) -> np.ndarray:
    y = np.concatenate([i.speech.samples for i in stream])
    return np.clip(np.rint(y), -32767, 32767).astype(np.int16)


def pack(
    factory: Factory,
    labels: dict[str, list[str]],
    out: Path,
    *,
    most_bytes: int,
    made: int | None = None,
) -> int:
    """Write the packs; how many there are.

    Args:
        factory: holds the recordings.
        labels: of each language; clips with other units are left out.
        out: folder, made where it is missing.
        most_bytes: of a pack's audio.
        made: of splices and empty lines, each language; None: :data:`MOST`.
    """
    index = {k: {u: i for i, u in enumerate(v)} for k, v in labels.items()}
    rng = np.random.default_rng(17)
    number = size = 0
    streams: list[tuple[bytes, list[_Item]]] = []
    with ThreadPoolExecutor(2) as pool:  # libsndfile works outside the interpreter
        for kind in KINDS:
            known = (
                i
                for i in _items(factory, kind, rng, made)
                if all(u in index[i.language] for u in units(i.speech.syllables, i.language))
            )
            level = PEOPLE if kind == "sentence" else MADE
            groups = list(_streams(known))
            encoded = pool.map(_encoded, ((_samples(g), level) for g in groups))
            for stream, data in zip(groups, encoded, strict=True):
                if streams and size + len(data) > most_bytes:
                    _write(out / f"{number:02d}", streams, index)
                    streams, size, number = [], 0, number + 1
                streams.append((data, stream))
                size += len(data)
            print(f"{kind}: {sum(map(len, groups))} clips", flush=True)
    _write(out / f"{number:02d}", streams, index)
    return number + 1


def _write(
    folder: Path, streams: Sequence[tuple[bytes, list[_Item]]], index: dict[str, dict[str, int]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    said: list[int] = []
    spans: list[np.ndarray] = []
    for number, (data, stream) in enumerate(streams):
        (folder / f"{number:03d}.opus").write_bytes(data)
        for item in stream:
            spoken = units(item.speech.syllables, item.language)
            known = index[item.language]
            said += [known[u] for u in in_context(spoken, item.language, known)]
            spans.append(np.rint(np.asarray(item.speech.spans).reshape(-1, 2) * 1000))
            rows.append(
                (
                    number,
                    len(item.speech.samples),
                    LANGUAGES.index(item.language),
                    KINDS.index(item.kind),
                    len(spoken),
                    item.weight,
                )
            )
    stream, samples, language, kind, length, weight = map(np.array, zip(*rows, strict=True))
    np.savez_compressed(
        folder / "clips.npz",
        stream=stream.astype(np.int16),
        samples=samples.astype(np.int32),
        language=language.astype(np.int8),
        kind=kind.astype(np.int8),
        units=length.astype(np.int16),
        weight=weight.astype(np.float32),
        said=np.array(said, np.int16),
        spans_ms=np.concatenate(spans).astype(np.int16),
    )


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work")
    p.add_argument("--out", type=Path, required=True, help="a folder for the packs")
    p.add_argument("--most-mb", type=float, default=55, help="of one pack")
    p.add_argument(
        "--in-context", type=int, metavar="LEAST", help="of Mandarin; see training.train"
    )
    _pack(p.parse_args())


def _pack(a: argparse.Namespace) -> None:
    corpus = load(a.work)
    plain_labels, finer = labels_of(corpus), labels_of(corpus, least=a.in_context)
    labels = {"cmn": finer["cmn"], "yue": plain_labels["yue"]}
    factory = Factory(corpus, a.data / "text", a.queues)
    sets, bigrams = tuning_sets(corpus, labels), bigrams_of(corpus, factory, labels)
    corpus.clips = []
    a.out.mkdir(parents=True, exist_ok=True)
    tuning = {
        k: [(u.features.astype(np.float16), [plain(x) for x in u.units]) for u in v]
        for k, v in sets.items()
    }
    bigram = {k: (b.first, b.following) for k, b in bigrams.items()}
    torch.save(
        {
            "labels": labels,
            "bigrams": bigram,
            "tuning": tuning,
            "shares": {k: list(shares(k).values()) for k in LANGUAGES},
        },
        a.out / "common.pt",
    )
    count = pack(factory, labels, a.out, most_bytes=int(a.most_mb * 1e6))
    print(f"{a.out}: {count} packs", flush=True)


if __name__ == "__main__":
    main()
