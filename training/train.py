"""Train the network on the speech factory's output; resumes from its checkpoint.

    python -m training.train --minutes 60

First every frame learns the unit that the alignment gives it (cross-entropy); then whole sequences
are learnt by lattice-free MMI (:mod:`training.mmi`), with cross-entropy beside it. Both languages
share the lower layers: batches alternate between them; with ``--only``, the network is that of one
language. The learning rate follows the share of ``--updates`` (repeatable) or of ``--minutes`` of
training time that has passed. The weights kept for export are an exponential average of those
trained. On a processor of several cores ``--processes`` learn at once, each from batches of its
own, and share their gradients: two of one thread hear half as much again as one of two threads.

    python -m training.train --network convolutional --minutes 85 --warp 0.1 --masked 1.5

trains the third network of the second pass (:mod:`training.convolutional`), with the labels of the
models that it is to stand behind, for both languages at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing as mp
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from ivr.asr.features import mfcc
from ivr.asr.periodicity import with_mfcc
from ivr.intent.sounds import plain
from training import augment, network, places
from training.batch import Batch, into_batches, pad
from training.checkpoint import AnyNetwork, load_convolutional, load_network, save
from training.convolutional import Convolutional
from training.corpus import Corpus
from training.factory import Factory, Utterance
from training.learning import Average, Optimiser
from training.losses import loss_of
from training.mmi import Bigram, best_path, estimate
from training.prepare import load
from training.pronunciation import in_context, unit_inventory, units
from training.restore import restored
from training.restore_convolutional import restored as restored_convolutional

__all__ = ["LANGUAGES", "batches", "bigrams_of", "collate", "labels_of", "main", "tuning_sets"]

LANGUAGES = ("cmn", "yue")
#: What each network hears of samples.
FEATURES = {"streaming": mfcc, "convolutional": with_mfcc}
FRAMES_PER_BATCH = 4800
#: made at once, sorted by length and cut into batches; Mandarin has more to learn from
POOL_UTTERANCES = {"cmn": 200, "yue": 120}
#: of the language that only helps the one through whose layers it learns
POOL_BESIDE = 60
POOLS_TO_HARD = 200  # until lines disturb as much as they ever do
UPDATES_PER_POOL = 25  # about; where the factory goes on after a resume


def collate(items: list[Utterance], index: dict[str, int]) -> Batch:
    """Utterances of one language as a batch."""
    longest = max(len(u.features) for u in items)
    x = np.stack([pad(u.features, longest) for u in items])
    frames = [(len(u.features) + network.STRIDE - 1) // network.STRIDE for u in items]
    said = [_labels(u, index) for u in items]
    target = np.full((len(items), max(frames)), -1)
    for row, u, labels in zip(target, items, said, strict=True):
        row[: len(u.at)] = np.array([*labels, 0])[u.at]  # -1: silence, last
    return Batch(
        items[0].language,
        torch.from_numpy(x),
        torch.tensor(frames),
        torch.tensor([k for labels in said for k in labels], dtype=torch.long),
        torch.tensor([len(labels) for labels in said]),
        torch.from_numpy(target),
    )


def _labels(u: Utterance, index: dict[str, int]) -> list[int]:
    """Its units as the network knows them."""
    return [index[k] for k in in_context(u.units, u.language, index)]


def batches(
    factory: Factory,
    labels: dict[str, list[str]],
    seed: int,
    done_pools: int = 0,
    *,
    pools: Mapping[str, int] = POOL_UTTERANCES,
) -> Iterator[Batch]:
    """Batches without end, in random order, from pools of so many utterances of each language.

    The first pools hold short utterances over good lines only, the next ones longer and harder.
    """
    rng = np.random.default_rng(seed)
    index = {k: {u: i for i, u in enumerate(v)} for k, v in labels.items()}
    for count in itertools.count(done_pools):
        made: list[list[Utterance]] = []
        for language, size in pools.items():
            first = (seed * 1_000_003 + count) * size
            hard = min(1.0, 0.1 + count / POOLS_TO_HARD)
            pool = [
                factory.utterance(language, (first + i) % 2**62, hard=hard) for i in range(size)
            ]
            longest = 250 + 1800 * hard if hard < 1 else 10**6
            good = [
                u
                for u in pool
                if u and len(u.features) < longest and all(k in index[language] for k in u.units)
            ]
            good.sort(key=lambda u: len(u.features))
            made += into_batches(good, FRAMES_PER_BATCH)
        for i in rng.permutation(len(made)):
            yield collate(made[i], index[made[i][0].language])


def pools_of(languages: Iterable[str], through: str | None) -> dict[str, int]:
    """Utterances of a pool of each; fewer where one learns ``through`` the layers of another."""
    return {k: POOL_UTTERANCES[k] if through in (None, k) else POOL_BESIDE for k in languages}


def _produce(
    queue: mp.Queue[Batch],
    factory: Factory,
    labels: dict[str, list[str]],
    seed: int,
    done_pools: int,
    pools: Mapping[str, int],
) -> None:
    torch.set_num_threads(1)
    for batch in batches(factory, labels, seed, done_pools, pools=pools):
        queue.put(batch)


def labels_of(corpus: Corpus, *, least: int | None = None) -> dict[str, list[str]]:
    """The output labels of each language; for ``least`` see :func:`unit_inventory`.

    What espeak-ng happens to say has no part in them, nor have copies in other voices.
    """
    said: dict[str, Counter[str]] = {k: Counter() for k in LANGUAGES}
    for c in corpus.clips:
        if c.kind not in ("espeak", "revoiced"):
            said[c.language].update(c.syllables)
    return {k: unit_inventory(said[k], k, least=least) for k in LANGUAGES}


def _labels_wanted(a: argparse.Namespace, corpus: Corpus) -> dict[str, list[str]]:
    """Those that the arguments ask for: what goes on from exported models keeps theirs."""
    begun = a.start_from[0] if a.start_from else None
    if a.network == "convolutional":
        labels = _labels_of_models(a.models)
    elif begun and begun.is_dir() and not a.in_context:
        labels = _labels_of_models(begun)
    else:
        labels = labels_of(corpus, least=a.in_context)
    return {k: v for k, v in labels.items() if a.only in (None, k)}


def _labels_of_models(models: Path) -> dict[str, list[str]]:
    return {k: (models / k / "units.txt").read_text(encoding="utf-8").split() for k in LANGUAGES}


def _statistics(
    factory: Factory, labels: dict[str, list[str]]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Features (frames, coefficients) of both; natural-log prior of each language's labels."""
    features, priors = [], {}
    for language in labels:
        index = {k: i for i, k in enumerate(labels[language])}
        made = [
            u
            for i in range(400)
            if (u := factory.utterance(language, 10**9 + i)) and set(u.units) <= index.keys()
        ]
        features += [u.features for u in made[:150]]
        count = np.full(len(index), 3.0)
        for u in made:
            np.add.at(count, np.array([*_labels(u, index), 0])[u.at], 1)
        priors[language] = torch.tensor(np.log(count / count.sum()), dtype=torch.float32)
    return torch.from_numpy(np.concatenate(features)), priors


def _exported(models: Path, net: network.Network, factory: Factory) -> network.Network:
    made = (factory.utterance(k, 10**9 + i) for i in range(100) for k in net.labels)
    features = [
        (u.language, torch.from_numpy(pad(u.features, len(u.features)))[None]) for u in made if u
    ]
    return restored(models, net.labels, features, mean=net.mean, deviation=net.deviation)


def bigrams_of(corpus: Corpus, factory: Factory, labels: dict[str, list[str]]) -> dict[str, Bigram]:
    """The units that follow one another in what the factory says."""
    out = {}
    for language in labels:
        spoken = [
            units(list(c.syllables), language)
            for c in corpus.of(language, "sentence", "phrase", "espeak")
        ]
        rng = np.random.default_rng(3)
        spoken += [units(factory.spoken_text(language, rng), language) for _ in range(6000)]
        known = set(labels[language])
        out[language] = estimate((in_context(s, language, known) for s in spoken), labels[language])
    return out


def tuning_error(
    net: AnyNetwork, sets: dict[str, list[Utterance]], bigrams: dict[str, Bigram]
) -> dict[str, float]:
    """Unit error of the held-out speakers, decoded with the bigram of units."""
    from rapidfuzz.distance import Levenshtein

    net.eval()
    out = {}
    with torch.no_grad():
        for language, items in sets.items():
            wrong = total = 0
            for u in items:
                x = torch.from_numpy(pad(u.features, len(u.features)))[None]
                x = x.to(net.prior(language).device)
                scores = net.likelihoods(net(x, language), language)[0].T
                path = best_path(scores, bigrams[language])
                heard = [plain(net.labels[language][k]) for k in path]
                wrong += Levenshtein.distance(heard, u.units)
                total += len(u.units)
            out[language] = round(wrong / max(1, total), 4)
    return out


def tuning_sets(
    corpus: Corpus,
    labels: dict[str, list[str]],
    features: Callable[[np.ndarray], np.ndarray] = mfcc,
) -> dict[str, list[Utterance]]:
    from training.line import mulaw
    from training.pronunciation import units

    known = {k: set(v) for k, v in labels.items()}
    sets: dict[str, list[Utterance]] = {k: [] for k in labels}
    for c in corpus.tuning:
        if c.language not in labels:
            continue
        spoken = units(list(c.syllables), c.language)
        if set(spoken) <= known[c.language] and len(sets[c.language]) < 60:
            heard = features(mulaw(c.audio.astype(np.float32)))
            sets[c.language].append(Utterance(c.language, heard, spoken, np.zeros(0, int)))
    return sets


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work", "models")
    p.add_argument(
        "--network",
        choices=list(FEATURES),
        default="streaming",
        help="convolutional: of the second pass, with the labels of --models",
    )
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--updates", type=int, help="schedule by updates instead of minutes")
    p.add_argument("--entropy-share", type=float, default=0.4, help="of the time, without MMI")
    p.add_argument("--entropy-weight", type=float, default=0.3, help="beside MMI")
    p.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    p.add_argument("--dropout", type=float, default=0.05)
    p.add_argument("--dropout-yue", type=float, help="where Cantonese, with fewer people, has more")
    p.add_argument(
        "--start-from",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="begin with the weights of a training (a .pt file; the average of several) or of "
        "exported models (a folder), with their units where --in-context is not given",
    )
    p.add_argument(
        "--warp", type=float, default=0.0, help="deviation of the log of vocal tracts' length"
    )
    p.add_argument(
        "--views", type=int, choices=(1, 2), default=1, help="of each utterance, masked apart"
    )
    p.add_argument("--consistency", type=float, default=0.2, help="weight of two views' agreement")
    p.add_argument("--masked", type=float, default=1.0, help="spans of time masked, times this")
    p.add_argument(
        "--in-context",
        type=int,
        metavar="LEAST",
        help="units told apart by what stands beside them in their syllable, where that is heard "
        "so often",
    )
    p.add_argument(
        "--only",
        choices=LANGUAGES,
        help="a network of one language (training.export --languages)",
    )
    p.add_argument(
        "--through",
        choices=LANGUAGES,
        help="the other language learns through the layers of this one, whose people are few",
    )
    p.add_argument(
        "--bottleneck", type=int, default=network.BOTTLENECK, help="channels between two factors"
    )
    p.add_argument(
        "--keep-below", action="store_true", help="the layers that languages share stay as they are"
    )
    p.add_argument(
        "--processes", type=int, default=1, help="that learn at once, a batch each; on processors"
    )
    p.add_argument("--makers", type=int, default=1, help="of the speech factory, for each process")
    p.add_argument("--device", help="cpu, cuda, cuda:1; a GPU where there is one")
    p.add_argument("--name", help="of the checkpoint in the work folder (net, or convolutional)")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="of all processes together")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep-every", type=float, default=15, help="minutes; copies to average")
    p.add_argument("--save-every", type=float, default=240, help="seconds")
    p.add_argument(
        "--without", nargs="*", default=[], metavar="SPEAKER", help="nothing of these is heard"
    )
    p.add_argument(
        "--speakers", type=float, default=1.0, metavar="SHARE", help="of the sentences, to train on"
    )
    a = p.parse_args()
    a.name = a.name or ("net" if a.network == "streaming" else a.network)
    if a.only and a.through:
        p.error("--through trains both languages: leave --only out")
    if a.start_from and len(a.start_from) > 1 and any(map(Path.is_dir, a.start_from)):
        p.error("--start-from takes one folder of exported models, or several .pt files to average")
    if a.network == "convolutional":
        if a.only or a.through or a.keep_below or a.in_context:
            p.error(
                "--network convolutional learns both languages at once, with the labels of --models: "
                "leave --only, --through, --keep-below and --in-context out"
            )
        if a.start_from and len(a.start_from) > 1:
            p.error("--network convolutional: --start-from takes one folder, or one .pt file")
    train(a)


@dataclass(slots=True)
class _Task:
    """What a process learns on, and how far that training had come when it was interrupted."""

    net: AnyNetwork
    average: Average
    bigrams: dict[str, Bigram]
    sets: dict[str, list[Utterance]]
    step: int = 0
    spent: float = 0.0
    #: updates and seconds of the training that this one began with
    before: tuple[int, float] = (0, 0.0)
    optimiser: dict[str, Any] | None = None


def train(a: argparse.Namespace) -> None:
    """Run or resume the training that the arguments describe; leaves ``work/net.pt``."""
    torch.set_flush_denormal(True)  # several times faster on a CPU
    torch.manual_seed(a.seed)
    if a.processes > 1:
        torch.set_num_threads(1)  # a process with threads cannot be forked
    corpus = load(a.work)
    labels = _labels_wanted(a, corpus)
    corpus.leave_out(a.without)
    corpus.thin_out(a.speakers)
    factory = Factory(corpus, a.data / "text", a.queues, features=FEATURES[a.network])
    task = _begun(a, corpus, labels, factory)
    corpus.clips = []  # the factory holds what it needs
    queues: list[mp.Queue[Batch]] = [mp.Queue(12) for _ in range(a.processes)]
    learnt = POOLS_TO_HARD if a.start_from else 0
    pools = pools_of(labels, a.through)
    for i, queue in enumerate(q for q in queues for _ in range(a.makers)):
        seed, done = a.seed * 1000 + i, task.step // UPDATES_PER_POOL + learnt
        given = (queue, factory, labels, seed, done, pools)
        mp.Process(target=_produce, args=given, daemon=True).start()
    with tempfile.TemporaryDirectory() as meeting:  # where the processes find one another
        at = Path(meeting) / "at"
        for rank in range(1, a.processes):
            mp.Process(target=_learn, args=(a, task, queues, rank, at), daemon=True).start()
        _learn(a, task, queues, 0, at)


def _begun(
    a: argparse.Namespace, corpus: Corpus, labels: dict[str, list[str]], factory: Factory
) -> _Task:
    net: AnyNetwork
    if a.network == "convolutional":
        net = Convolutional(labels)
    else:
        net = network.Network(labels, bottleneck=a.bottleneck, through=a.through)
    features, priors = _statistics(factory, labels)
    net.set_statistics(features)
    net.set_priors(priors)
    sets = tuning_sets(corpus, labels, factory.features)
    bigrams = bigrams_of(corpus, factory, labels)
    task = _Task(net, Average(net), bigrams, sets)
    checkpoint = a.work / f"{a.name}.pt"
    if checkpoint.exists():
        saved = saved_of(net, checkpoint)
        net.load_state_dict(saved["net"])
        task.average.net.load_state_dict(saved["average"])
        task.average.updates = task.step = saved["step"]
        task.spent, task.optimiser = saved["spent"], saved["optimiser"]
        task.before = saved.get("before", task.before)
        print(f"resumed at update {task.step}, {task.spent / 60:.1f} minutes", flush=True)
    elif a.start_from:
        trained = _begin(a, net, labels, factory)
        task.before = (int(trained["updates"]), 60 * trained["minutes"])
        task.average.net.load_state_dict(net.state_dict())
        print("begins with", *a.start_from, flush=True)
    return task


def saved_of(net: AnyNetwork, checkpoint: Path) -> dict[str, Any]:
    """The checkpoint of a training of this network that was interrupted.

    Raises:
        SystemExit: it is of another network, or of other units.
    """
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=False, map_location="cpu")
    if saved["labels"] != net.labels or not net.shape.items() <= saved.items():
        raise SystemExit(
            f"{checkpoint} is of another network, or of other units: give another --name, or take "
            "it away"
        )
    return saved


def _begin(
    a: argparse.Namespace, net: AnyNetwork, labels: dict[str, list[str]], factory: Factory
) -> dict[str, float]:
    """Take over the weights of a training, or of models; what that was trained for."""
    first = a.start_from[0]
    trained: dict[str, float]
    card: dict[str, Any] = {}
    if first.is_dir():
        card = json.loads((first / next(iter(labels)) / "model.json").read_text(encoding="utf-8"))
    if isinstance(net, Convolutional):
        if card:
            learnt = restored_convolutional(first, list(labels))
            trained = card.get("convolutional", {"updates": 0, "minutes": 0.0})
        else:
            learnt, trained = load_convolutional(first)
        if learnt.labels != net.labels:
            raise SystemExit(f"{first}: its units are others than those of {a.models}")
        net.load_state_dict(learnt.state_dict())
        return trained
    if card:
        begun, trained = _exported(first, net, factory), card["trained"]
    else:
        begun, trained = load_network(*a.start_from)
    net.begin_with(begun)
    return trained


def _learn(
    a: argparse.Namespace, task: _Task, queues: list[mp.Queue[Batch]], rank: int, meeting: Path
) -> None:
    """One process's part of the training: all make the same updates, the first keeps the books."""
    torch.set_num_threads(max(1, a.threads // a.processes))
    torch.manual_seed(a.seed + rank)
    device = torch.device(a.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    alone = a.processes == 1
    if not alone:
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=a.processes
        )
    net, average, step = task.net.to(device), task.average, task.step
    average.net.to(device)  # the makers were forked before the GPU is touched
    bigrams = {k: b.to(device) for k, b in task.bigrams.items()}
    if a.keep_below and isinstance(net, network.Network):
        net.keep_below()
    optimiser = Optimiser(net)
    if task.optimiser:
        optimiser.load_state_dict(task.optimiser)
    checkpoint = a.work / f"{a.name}.pt"
    rng, told = np.random.default_rng([a.seed + step, rank]), Progress(a.processes)
    spent = task.spent
    begin, last_save = time.monotonic() - spent, time.monotonic()
    kept = spent // (60 * a.keep_every)
    while True:
        spent = time.monotonic() - begin
        done = step / a.updates if a.updates else spent / (60 * a.minutes)
        if not alone:
            done = _first_says(done)
        if done >= 1:
            break
        step += 1
        rate = a.rate * min(1.0, step / 200) * max(0.01, 1 - done)
        waited = time.monotonic()
        batch = queues[rank].get()
        told.waited_s += time.monotonic() - waited
        bigram = bigrams[batch.language] if done > a.entropy_share else None
        batch = batch.repeated(a.views)
        x = augment.disturbed(batch.features, rng, warp_by=a.warp, masked=a.masked)
        dropout = a.dropout
        if batch.language == "yue" and a.dropout_yue is not None:
            dropout = a.dropout_yue
        batch, x = batch.to(device), x.to(device)
        entropy, mmi, apart = loss_of(net, batch, x, dropout, bigram=bigram, views=a.views)
        loss = entropy if bigram is None else mmi + a.entropy_weight * entropy
        loss = loss + a.consistency * apart
        net.zero_grad()
        loss.backward()
        if not alone:
            _share_gradients(net)
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step(rate)
        if rank:
            continue
        average.update(net)
        told.add(batch, entropy.item(), mmi.item(), apart.item())
        if step % 100 == 0:
            print(f"update {step} {100 * done:.0f} % {told.line()}", flush=True)
        if time.monotonic() - last_save > a.save_every:
            save(checkpoint, net, average, optimiser, step, time.monotonic() - begin, task.before)
            if spent // (60 * a.keep_every) > kept:
                kept = spent // (60 * a.keep_every)
                shutil.copy(checkpoint, a.work / f"{a.name}.{spent / 60:.0f}.pt")
            last_save = time.monotonic()
            errors = tuning_error(average.net, task.sets, bigrams)
            print(f"  {spent / 60:.1f} min, held-out unit error {errors}", flush=True)
    if not rank:
        save(checkpoint, net, average, optimiser, step, spent, task.before)
        errors = tuning_error(average.net, task.sets, bigrams)
        print("final held-out unit error", errors, flush=True)
    if not alone:
        distributed.destroy_process_group()


def _first_says(value: float) -> float:
    """What the first process has, in all of them."""
    said = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(said, 0)
    return said.item()


def _share_gradients(net: nn.Module) -> None:
    """Mean of each gradient over the processes that have one (their batch's language uses it)."""
    learnt = [p for p in net.parameters() if p.requires_grad]
    has = torch.tensor([float(p.grad is not None) for p in learnt])
    flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
    together = torch.cat([has, *(g.flatten() for g in flat)])
    distributed.all_reduce(together)
    has, rest = together[: len(learnt)], together[len(learnt) :]
    for p, given, count in zip(learnt, rest.split([p.numel() for p in learnt]), has, strict=True):
        p.grad = given.view_as(p) / count if count else None


class Progress:
    """Running means of one process's losses, and how much speech all of them heard.

    Args:
        processes: that learn, from about as much each.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self.mean: dict[str, float] = {}
        self.heard_s = self.waited_s = 0.0
        self.began = time.monotonic()

    def add(self, batch: Batch, entropy: float, mmi: float, apart: float) -> None:
        self.heard_s += self.processes * float(batch.frames.sum()) * 0.03
        for name, now in (("ce", entropy), ("mmi", mmi), ("apart", apart)):
            key = f"{batch.language} {name}"
            self.mean[key] = 0.98 * self.mean.get(key, now) + 0.02 * now

    def line(self) -> str:
        losses = " ".join(f"{k} {v:.3f}" for k, v in sorted(self.mean.items()) if v)
        minutes = (time.monotonic() - self.began) / 60
        waited = self.waited_s / 60
        return (
            f"{losses} heard {self.heard_s / 3600:.1f} h in {minutes:.1f} min, waited {waited:.1f}"
        )


if __name__ == "__main__":
    main()
