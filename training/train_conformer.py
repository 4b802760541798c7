"""Train the network of the second pass, on a GPU: nine minutes on an H200.

    python -m training.pack --in-context 75 --out packs
    python -m training.train_conformer --packs packs --priors cmn.pt yue.pt

As the streaming networks are trained (:mod:`training.train`), first by cross-entropy on the
alignment, then by lattice-free MMI with cross-entropy beside it, but on what :mod:`training.bulk`
makes there, in batches forty times as large. Labels, and what is divided out of the posteriors,
are those of the streaming networks that it is to stand behind.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import nn

from ivr.intent.sounds import plain
from training import bulk, network
from training.batch import Batch, pad
from training.checkpoint import load_network
from training.conformer import Conformer
from training.learning import Average, Optimiser
from training.losses import of_posteriors
from training.mmi import Bigram, best_path

__all__ = ["main", "train"]

#: utterances of a pool
POOLS = {"cmn": 2400, "yue": 1440}
WARM_UP = 300


class _HeldOut:
    """Unit error of the people kept for tuning; paths are found by processes of their own."""

    def __init__(self, common: dict[str, Any], processes: int) -> None:
        self.sets, self.labels = common["tuning"], common["labels"]
        self.bigrams = {k: Bigram(*b) for k, b in common["bigrams"].items()}
        self.pool = mp.get_context("spawn").Pool(processes)

    def hears(
        self, hear: Callable[[torch.Tensor, str], torch.Tensor], language: str
    ) -> AsyncResult[list[list[int]]]:
        """``hear``: padded features (1, frames, 40) and language to scores (labels, frames)."""
        jobs = []
        for features, _ in self.sets[language]:
            x = torch.from_numpy(pad(features.astype(np.float32), len(features)))[None]
            jobs.append((hear(x, language).T.float().cpu().numpy(), self.bigrams[language]))
        return self.pool.starmap_async(_path, jobs, chunksize=2)

    def error(self, paths: AsyncResult[list[list[int]]], language: str) -> float:
        """Of what :meth:`hears` began."""
        wrong = total = 0
        for (_, said), path in zip(self.sets[language], paths.get(), strict=True):
            heard = [plain(self.labels[language][k]) for k in path]
            wrong += Levenshtein.distance(heard, said)
            total += len(said)
        return wrong / max(1, total)


def _path(scores: np.ndarray, bigram: Bigram) -> list[int]:
    torch.set_num_threads(1)
    return best_path(torch.from_numpy(scores), bigram)


def _heard(
    a: argparse.Namespace, made: bulk.Bulk, rng: np.random.Generator
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Batches without end, and the features that are heard of them."""
    for plan in bulk.endless(made, POOLS, rng, a.frames):
        spoken = made.spoken(plan)
        mel = bulk.log_mel(bulk.disturbed(spoken, made, noisy=a.noisy))
        mel = bulk.varied(mel, spoken.frames, a.warp)
        yield spoken.batch, bulk.to_features(mel, spoken.frames, masked=a.masked)


class _Clock:
    """How much of a training has passed, and the learning rate."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.began, self.step = a, time.monotonic(), 0

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.began) / 60

    @property
    def done(self) -> float:
        return self.step / self.a.updates if self.a.updates else self.minutes / self.a.minutes

    @property
    def rate(self) -> float:
        return float(self.a.rate * min(1.0, self.step / WARM_UP) * max(0.01, 1 - self.done))


class _Means:
    """Of the losses since they were last told; they stay on the device until then."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.count: dict[str, int] = {}

    def add(self, **losses: torch.Tensor) -> None:
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0) + loss.detach()
            self.count[name] = self.count.get(name, 0) + 1

    def told(self) -> str:
        said = " ".join(f"{k} {float(v) / self.count[k]:.3f}" for k, v in self.sums.items())
        self.sums, self.count = {}, {}
        return said


def _amp(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _fresh(a: argparse.Namespace, labels: dict[str, list[str]]) -> Conformer:
    """A bare network, with what the streaming ones know of features and priors.

    Raises:
        SystemExit: none of them has the labels of a language.
    """
    streaming = [load_network(path)[0] for path in a.priors]
    small = {k: n for n in streaming for k in labels if n.labels.get(k) == labels[k]}
    net = Conformer(labels, width=a.width, blocks=a.blocks, heads=a.width // 64)
    for language in labels:
        if language not in small:
            raise SystemExit(
                f"--priors: no network of {language} with the labels of the packs; make the packs "
                "with the --in-context that it was trained with"
            )
        net.set_priors({language: small[language].prior(language)})
        net.mean, net.deviation = small[language].mean, small[language].deviation
    return net


def train(a: argparse.Namespace) -> None:
    """Run the training that the arguments describe; leaves ``NAME.pt``, its weights in 16 bits."""
    torch.manual_seed(a.seed)
    device = torch.device(a.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    common = torch.load(a.packs / "common.pt", weights_only=False)
    labels: dict[str, list[str]] = common["labels"]
    net = _fresh(a, labels)
    held_out = _HeldOut(common, a.processes)
    began = time.monotonic()
    made = bulk.Bulk(sorted(a.packs.glob("*/clips.npz")), common, device)
    hours = len(made.audio) / bulk.RATE_HZ / 3600
    read_s = time.monotonic() - began
    print(f"{len(made.samples)} clips, {hours:.1f} h, read in {read_s:.0f} s", flush=True)
    net.to(device).train()
    bigrams = {k: Bigram(*b).to(device) for k, b in common["bigrams"].items()}
    optimiser, average, clock, means = Optimiser(net), Average(net), _Clock(a), _Means()
    heard_s, told = 0.0, 0.0
    errors: Callable[[], str] | None = None
    heard = _heard(a, made, np.random.default_rng(a.seed))
    while clock.done < 1:
        clock.step += 1
        batch, x = next(heard)
        loss, losses = _loss(a, net, batch, x, bigrams if clock.done > a.entropy_share else {})
        net.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step(clock.rate)
        average.update(net)
        means.add(**losses)
        heard_s += batch.target.numel() * bulk.FRAME_S
        if clock.step % 100 == 0:
            print(
                f"update {clock.step} {100 * clock.done:.0f} % {clock.minutes:.1f} min heard "
                f"{heard_s / 3600:.0f} h {means.told()}",
                flush=True,
            )
        if clock.minutes - told > a.tell_every:
            told = clock.minutes
            if errors is not None:
                print(f"  held-out unit error {a.tell_every:g} min ago: {errors()}", flush=True)
            errors = _errors(held_out, average.net, device)
            _save(a, average.net)
    _save(a, average.net)
    print(f"final held-out unit error: {_errors(held_out, average.net, device)()}", flush=True)


def _loss(
    a: argparse.Namespace,
    net: Conformer,
    batch: Batch,
    x: torch.Tensor,
    bigrams: dict[str, Bigram],
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What is to go down, and its parts by name; cross-entropy alone without ``bigrams``."""
    language = batch.language
    with _amp(x.device):
        out = net(x, batch.frames, language)
    bigram = bigrams.get(language)
    entropy, mmi = of_posteriors(out, net.likelihoods(out, language), batch, bigram=bigram)
    loss = entropy if bigram is None else mmi + a.entropy_weight * entropy
    return loss, {f"{language} ce": entropy, f"{language} mmi": mmi}


def _errors(held_out: _HeldOut, net: Any, device: torch.device) -> Callable[[], str]:
    """Begins to look for what the held-out people said; call what it gives to know how well."""

    def hear(x: torch.Tensor, language: str) -> torch.Tensor:
        frames = -(-(x.shape[1] - network.LEFT_CONTEXT - network.RIGHT_CONTEXT) // network.STRIDE)
        with torch.no_grad(), _amp(device):
            out = net(x.to(device), torch.tensor([frames], device=device), language)
        scores: torch.Tensor = net.likelihoods(out.float(), language)[0]
        return scores

    begun = {k: held_out.hears(hear, k) for k in held_out.labels}
    return lambda: " ".join(f"{k} {100 * held_out.error(p, k):.2f} %" for k, p in begun.items())


def _save(a: argparse.Namespace, net: Any) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    size = {"width": a.width, "blocks": a.blocks, "heads": a.width // 64}
    path = Path(f"{a.name}.pt")
    partial = path.with_suffix(".partial")
    torch.save({"net": state, "labels": net.labels, "size": size}, partial)
    partial.replace(path)


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--packs", type=Path, required=True, help="folder of training.pack")
    p.add_argument("--priors", type=Path, nargs="+", required=True, help="the streaming networks")
    p.add_argument("--minutes", type=float, default=9)
    p.add_argument("--updates", type=int, help="schedule by updates instead of minutes")
    p.add_argument("--frames", type=int, default=192_000, help="of 10 ms in a batch")
    p.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    p.add_argument("--entropy-share", type=float, default=0.35, help="of the time, without MMI")
    p.add_argument("--entropy-weight", type=float, default=0.3, help="beside MMI")
    p.add_argument("--warp", type=float, default=0.1, help="see training.train")
    p.add_argument("--masked", type=float, default=2.0, help="see training.train")
    p.add_argument("--noisy", type=float, default=0.5, help="share of the lines with noise")
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--blocks", type=int, default=8)
    p.add_argument("--processes", type=int, default=8, help="that find the held-out people's words")
    p.add_argument("--tell-every", type=float, default=2, help="minutes")
    p.add_argument("--device", help="cpu, cuda; a GPU where there is one")
    p.add_argument("--name", default="conformer")
    p.add_argument("--seed", type=int, default=1)
    train(p.parse_args())


if __name__ == "__main__":
    main()
