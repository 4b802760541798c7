"""Which language is spoken, by the sound alone; writes ``models/language.onnx``.

    python -m training.spoken_language        14 minutes on 2 cores

The recognisers say how well each language fits once they have decoded in both. This network says it
while the caller speaks, so that one of them need not run. It stands on the lower layers of the
models (:mod:`training.network`), which heard both languages and which hear sounds of speech, not
who speaks over what line: the few dozen people who speak Cantonese in the training data would else
be learnt by heart. On these a small recurrent layer, and a mean over what it holds to be telling,
give the log-odds of Cantonese: one more piece of evidence for :mod:`ivr.asr.language_decision`, and
what tells :mod:`ivr.asr.bilingual` which recogniser may rest.

It learns from the speech factory (:mod:`training.factory`): real, spliced and synthetic speech of
both languages over the same simulated lines, a batch of one beside a batch of the other. The lower
layers are those of ``models/yue`` and stay as they are; another training of the models needs no
other network, because what is exported has its own copy of them.

What is exported takes samples, not features: windows, Fourier transform, mel filters and cosine
transform are one more convolution and two products (:func:`export`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing as mp
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from scipy.optimize import minimize_scalar
from torch import nn

from ivr.asr import features
from ivr.asr.models import model_id
from training import augment, line, network, places
from training.batch import into_batches, pad
from training.corpus import RATE_HZ, Corpus, read_development
from training.factory import Factory, Utterance
from training.onnx_graph import Graph
from training.precision import fast_bfloat16
from training.prepare import load
from training.restore import restored
from training.train import LANGUAGES, labels_of

__all__ = ["DEPTH", "HOP", "OVERLAP", "SpokenLanguage", "export", "loss_of", "pairs"]

#: The model that it stands on: Mandarin's lower layers were trained further on Mandarin alone.
BELOW = "yue"
#: Layers of that model, counted from the input.
DEPTH = 5
CONTEXT = network.LAYERS[:DEPTH]
#: Output frames of 30 ms lost to their context.
LOST = sum(left + right for left, right in CONTEXT)
WIDTH, POOLED = 128, 96
#: Output frames of speech before the language is asked for.
SOONEST = 10
FRAMES_PER_BATCH = 2400
POOL = 96
#: Samples from one output to the next, and those before it that are heard again.
HOP = 240
OVERLAP = features.WINDOW + 6 * features.HOP - HOP


class SpokenLanguage(nn.Module):
    """MFCCs to log-odds of Cantonese, natural, by all that was heard up to each frame of 30 ms."""

    def __init__(self, models: network.Network) -> None:
        super().__init__()
        self.below = models
        for p in self.below.parameters():
            p.requires_grad = False
        self.down = nn.Linear(network.WIDTH, WIDTH)
        self.memory = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.evidence = nn.Linear(WIDTH, POOLED)
        self.telling = nn.Linear(WIDTH, 1)
        self.odds = nn.Linear(POOLED, 1)

    def train(self, mode: bool = True) -> SpokenLanguage:
        """What lies below is always in evaluation mode."""
        super().train(mode)
        self.below.eval()
        return self

    def own(self) -> dict[str, torch.Tensor]:
        """The state of what is trained here."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("below.")}

    def layers(self) -> list[network.Layer]:
        """Those of the models."""
        return [m for m in self.below.shared if isinstance(m, network.Layer)][:DEPTH]

    def sounds(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, frames, 40) without context around it to (batch, (frames - 4) / 3 - LOST, width)."""
        below = self.below
        fast = self.training and fast_bfloat16("cpu")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            x = ((x - below.mean) / below.deviation).transpose(1, 2)
            x = below.first_norm(torch.relu(below.first(x)))
            x = below.stride_norm(torch.relu(below.stride(x)))
            for layer in self.layers():
                x = layer(x, 0.0)
        return x.float().transpose(1, 2)

    def forward(self, x: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """(batch, frames, 40) to (batch, (frames - 4) / 3 - LOST)."""
        found = nn.functional.dropout(self.sounds(x), dropout, self.training)
        hidden = self.memory(torch.relu(self.down(found)))[0]
        hidden = nn.functional.dropout(hidden, dropout, self.training)
        telling = torch.sigmoid(self.telling(hidden))
        total = (telling * torch.relu(self.evidence(hidden))).cumsum(1)
        return self.odds(total / (1.0 + telling.cumsum(1))).squeeze(2)


@dataclass(frozen=True, slots=True)
class Side:
    """Utterances of one language."""

    language: str
    features: torch.Tensor  # (batch, frames, 40)
    spoken: torch.Tensor  # (batch, outputs) speech frames heard so far, -1 beyond the end


def side(items: list[Utterance]) -> Side:
    """A batch, padded by the last frame."""
    longest = max(len(u.features) for u in items)
    x = np.stack(
        [np.pad(u.features, ((0, longest - len(u.features)), (0, 0)), "edge") for u in items]
    )
    outputs = (longest - 4) // 3 - LOST
    spoken = np.full((len(items), outputs), -1)
    for row, u in zip(spoken, items, strict=True):
        heard = np.cumsum(u.at >= 0)[LOST + 2 :][:outputs]
        row[: len(heard)] = heard
    return Side(items[0].language, torch.from_numpy(x), torch.from_numpy(spoken))


def pairs(factory: Factory, known: dict[str, set[str]], seed: int) -> Iterator[list[Side]]:
    """Batches without end, each of Mandarin and of as much Cantonese."""
    rng = np.random.default_rng(seed)
    for count in itertools.count():
        cut: dict[str, list[Side]] = {}
        for language in LANGUAGES:
            first = (seed * 1_000_003 + count) * POOL
            made = (factory.utterance(language, (first + i) % 2**62) for i in range(POOL))
            good = [u for u in made if u and len(u.features) > 100]
            good = [u for u in good if set(u.units) <= known[language]]
            good.sort(key=lambda u: len(u.features))
            cut[language] = [side(p) for p in into_batches(good, FRAMES_PER_BATCH)]
        most = min(map(len, cut.values()))
        for i in rng.permutation(most):
            yield [v[int(i * len(v) / most)] for v in cut.values()]


def loss_of(log_odds: torch.Tensor, given: Side) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss (cross-entropy), and the share of frames with the language right.

    Every utterance counts as much as any other. Once some speech was heard, the language is asked
    for after every frame; the second that speech doubles in counts as much as the half before.
    """
    margin = log_odds if given.language == "yue" else -log_odds
    heard = given.spoken >= SOONEST
    weight = heard / given.spoken.clamp(min=1)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
    weight = weight / weight.sum().clamp(min=1e-6)
    return (nn.functional.softplus(-margin) * weight).sum(), ((margin > 0) * weight).sum()


def _produce(
    queue: mp.Queue[list[Side]], factory: Factory, known: dict[str, set[str]], seed: int
) -> None:
    torch.set_num_threads(1)
    for made in pairs(factory, known, seed):
        queue.put(made)


class _Graph(Graph):
    """With PyTorch's layers; weights are stored in 16 bits."""

    def array(self, name: str, value: torch.Tensor | np.ndarray) -> str:
        """A constant as it is, from either library."""
        return self.constant(
            name, value.detach().numpy() if isinstance(value, torch.Tensor) else value
        )

    def weight(self, name: str, value: torch.Tensor) -> str:
        """A constant in 16 bits, in 32 once it is loaded."""
        half = self.array(f"{name}.half", value.detach().numpy().astype(np.float16))
        return self.add("Cast", [half], name, to=TensorProto.FLOAT)

    def linear(self, layer: nn.Linear, name: str, source: str) -> str:
        product = self.add(
            "MatMul", [source, self.weight(f"{name}.w", layer.weight.T)], f"{name}.product"
        )
        return self.add("Add", [product, self.array(f"{name}.b", layer.bias)], name)

    def conv(self, layer: nn.Conv1d, name: str, source: str) -> str:
        given = [source, self.weight(f"{name}.w", layer.weight)]
        if layer.bias is not None:
            given.append(self.array(f"{name}.b", layer.bias))
        step, spread = list(layer.stride), list(layer.dilation)
        return self.add("Conv", given, name, strides=step, dilations=spread)

    def norm(self, layer: nn.BatchNorm1d, name: str, source: str) -> str:
        assert layer.running_var is not None
        assert layer.running_mean is not None
        scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
        shift = layer.bias - layer.running_mean * scale
        scaled = self.add("Mul", [source, self.array(f"{name}.scale", scale[:, None])], f"{name}.s")
        return self.add("Add", [scaled, self.array(f"{name}.shift", shift[:, None])], name)


def export(net: SpokenLanguage, path: Path, *, temperature: float = 1.0) -> None:
    """The network as ONNX, from samples to log-odds, with its state as inputs and outputs.

    Inputs: ``samples`` (1, n), range of int16, of which the first :data:`OVERLAP` were the last of
    the call before and the rest a multiple of :data:`HOP`; the first time, when no sample was heard
    before, at least :data:`LOST` + 1 times that (metadata ``first_hops``). The state: ``memory`` (1,
    1, width), ``total`` (1, 1, pooled) and ``weight`` (1, 1, 1), zeros at first; of each layer below
    ``context0`` ... (1, width, frames), without a frame at first. Outputs: ``log_odds`` (1, 1),
    divided by ``temperature``, and the state after it, ``memory_out`` and so on.
    """
    g, below = _Graph(), net.below
    basis, filters = features.linear()
    g.add("Unsqueeze", ["samples", g.array("axis1", np.array([1]))], "wave")
    # In 32 bits: the spectrum is squared.
    basis_name = g.array("basis", basis.T[:, None])
    g.add("Conv", ["wave", basis_name], "spectrum", strides=[features.HOP])
    g.add("Mul", ["spectrum", "spectrum"], "squares")
    g.add("Transpose", ["squares"], "by_time", perm=[0, 2, 1])
    g.add("MatMul", ["by_time", g.array("filters", filters)], "energies")
    g.add("Max", ["energies", g.array("floor", np.array(np.finfo(np.float32).eps))], "audible")
    g.add("Log", ["audible"], "mel")
    deviation = below.deviation.numpy()
    g.add("MatMul", ["mel", g.array("turn", features.dct() / deviation)], "turned")
    g.add("Add", ["turned", g.array("centre", -below.mean.numpy() / deviation)], "normal")
    x = g.add("Transpose", ["normal"], "features", perm=[0, 2, 1])
    for name, conv, norm in (
        ("first", below.first, below.first_norm),
        ("stride", below.stride, below.stride_norm),
    ):
        x = g.norm(norm, f"{name}.n", g.add("Relu", [g.conv(conv, name, x)], f"{name}.r"))
    states = [("memory", (1, 1, WIDTH)), ("total", (1, 1, POOLED)), ("weight", (1, 1, 1))]
    residual = g.array("residual", np.array(network.RESIDUAL, np.float32))
    end = g.array("end", np.array([2**31 - 1]))
    time_axis = g.array("time_axis", np.array([2]))
    for k, layer in enumerate(net.layers()):
        lost, context = layer.left + layer.right, f"context{k}"
        states.append((context, (1, network.WIDTH, lost)))
        x = g.add("Concat", [context, x], f"x{k}", axis=2)
        kept = g.array(f"keep{k}", np.array([-lost]))
        g.add("Slice", [x, kept, end, time_axis], f"{context}_out")
        y = g.conv(layer.up, f"up{k}", g.conv(layer.down, f"down{k}", x))
        y = g.norm(layer.norm, f"norm{k}", g.add("Relu", [y], f"relu{k}"))
        begin, stop = g.array(f"left{k}", np.array([layer.left])), end
        if layer.right:
            stop = g.array(f"right{k}", np.array([-layer.right]))
        now = g.add("Slice", [x, begin, stop, time_axis], f"now{k}")
        x = g.add("Add", [y, g.add("Mul", [now, residual], f"part{k}")], f"layer{k}")
    g.add("Transpose", [x], "sounds", perm=[2, 0, 1])  # (time, batch, width)
    g.add("Relu", [g.linear(net.down, "down", "sounds")], "narrow")

    def gates(t: torch.Tensor) -> torch.Tensor:  # PyTorch: reset, update, new; ONNX: update first
        reset, update, new = t.reshape(3, WIDTH, *t.shape[1:])
        return torch.cat([update, reset, new])[None]

    memory = net.memory
    biases = torch.cat([gates(memory.bias_ih_l0), gates(memory.bias_hh_l0)], 1)
    weights = [
        g.weight("gru.w", gates(memory.weight_ih_l0)),
        g.weight("gru.r", gates(memory.weight_hh_l0)),
        g.array("gru.b", biases),
    ]
    g.nodes.append(
        helper.make_node(
            "GRU",
            ["narrow", *weights, "", "memory"],
            ["each", "memory_out"],
            hidden_size=WIDTH,
            linear_before_reset=1,
        )
    )
    g.add("Squeeze", ["each", g.array("directions", np.array([1]))], "hidden")
    g.add("Sigmoid", [g.linear(net.telling, "telling", "hidden")], "share")
    g.add("Relu", [g.linear(net.evidence, "evidence", "hidden")], "found")
    g.add("Mul", ["share", "found"], "weighed")
    over_time = g.array("over_time", np.array([0]))
    for new, old in (("weighed", "total"), ("share", "weight")):
        g.add("ReduceSum", [new, over_time], f"{new}.sum", keepdims=1)
        g.add("Add", [f"{new}.sum", old], f"{old}_out")
    g.add("Add", ["weight_out", g.array("one", np.array(1, np.float32))], "over")
    g.add("Div", ["total_out", "over"], "mean")
    g.linear(net.odds, "odds", "mean")
    g.add("Div", ["odds", g.array("temperature", np.array(temperature, np.float32))], "cool")
    g.add("Squeeze", ["cool", g.array("last", np.array([2]))], "log_odds")

    def value(name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def inward(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return value(name, (*shape[:2], "frames") if name.startswith("context") else shape)

    graph = helper.make_graph(
        g.nodes,
        "spoken_language",
        [value("samples", (1, "n")), *(inward(*s) for s in states)],
        [value("log_odds", (1, 1)), *(value(f"{name}_out", shape) for name, shape in states)],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"first_hops": str(LOST + 1), "licence": "CC BY-SA 4.0"})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@dataclass(frozen=True, slots=True)
class Judged:
    """A recording of known language, as samples."""

    language: str
    kind: str
    samples: np.ndarray


def told(net: SpokenLanguage, item: Judged, after_s: float) -> float:
    """Log-odds of Cantonese ``after_s`` of a recording."""
    x = features.mfcc(item.samples[: int(after_s * RATE_HZ)])
    if len(x) < 3 * (LOST + 4):
        return 0.0
    with torch.no_grad():
        return float(net(torch.from_numpy(x)[None])[0, -1])


def accuracy(net: SpokenLanguage, items: list[Judged], after_s: float) -> dict[str, float]:
    """Share told right ``after_s`` of each recording, by kind and language."""
    net.eval()
    right: dict[str, list[bool]] = {}
    for item in items:
        hit = (told(net, item, after_s) > 0) == (item.language == "yue")
        right.setdefault(f"{item.kind} {item.language}", []).append(hit)
    return {k: round(float(np.mean(v)), 3) for k, v in sorted(right.items())}


def temperature(net: SpokenLanguage, items: list[Judged]) -> float:
    """What the log-odds must be divided by to be probabilities on these (Guo et al. 2017).

    Each language counts as much as the other.
    """
    net.eval()
    found = [(i.language == "yue", told(net, i, s)) for i in items for s in (1.5, 3.0, 8.0)]
    yue = np.array([k for k, _ in found])
    margin = np.array([o if k else -o for k, o in found])
    share = np.where(yue, 1 / yue.sum(), 1 / (~yue).sum())

    def loss(t: float) -> float:
        return float(share @ np.logaddexp(0, -margin / np.exp(t)))

    return float(np.exp(minimize_scalar(loss, bounds=(-1, 3), method="bounded").x))


def _tuning(corpus: Corpus) -> list[Judged]:
    """Held-out speakers, as they are and over lines."""
    rng = np.random.default_rng(5)
    out = []
    for clip in corpus.tuning:
        x = clip.audio.astype(np.float32)
        out.append(Judged(clip.language, "plain", line.mulaw(x)))
        sent, _ = line.transmit(line.speed(x, rng.uniform(0.9, 1.12)), rng)
        out.append(Judged(clip.language, "line", sent))
    return out


def _models(models: Path, factory: Factory) -> network.Network:
    made = [u for i in range(60) for k in LANGUAGES if (u := factory.utterance(k, 10**9 + i))]
    x = np.concatenate([u.features for u in made])
    padded = [(BELOW, torch.from_numpy(pad(u.features, len(u.features)))[None]) for u in made]
    mean, deviation = torch.from_numpy(x.mean(0)), torch.from_numpy(x.std(0))
    return restored(models, [BELOW], padded, mean=mean, deviation=deviation)


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work", "models")
    p.add_argument("--updates", type=int, default=4500)
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    p.add_argument("--dropout", type=float, default=0.3)
    p.add_argument("--warp", type=float, default=0.08, help="see training.train")
    p.add_argument("--makers", type=int, default=1, help="processes of the speech factory")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--no-development", action="store_true", help="do not report on it")
    train(p.parse_args())


def train(a: argparse.Namespace) -> None:
    """Train, and write the network as ONNX at the end.

    Goes on from ``work/spoken_language.pt``, if that was trained on the same models.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    corpus = load(a.work)
    known = {k: set(v) for k, v in labels_of(corpus).items()}
    # Both languages as often in a vocoder's voice, or the vocoder would tell the language.
    factory = Factory(corpus, a.data / "text", a.queues, revoiced=dict.fromkeys(LANGUAGES, 0.3))
    tuning = _tuning(corpus)
    corpus.clips = []
    net, step = SpokenLanguage(_models(a.models, factory)), 0
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, a.rate, weight_decay=1e-2)
    checkpoint, stands_on = a.work / "spoken_language.pt", model_id(a.models / BELOW)
    saved = torch.load(checkpoint, weights_only=False) if checkpoint.exists() else {}
    if saved.get("stands_on") == stands_on:
        net.load_state_dict(saved["net"], strict=False)
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
        print(f"resumed at update {step}", flush=True)
    queue: mp.Queue[list[Side]] = mp.Queue(12)
    for i in range(a.makers if step < a.updates else 0):
        seed = a.seed * 1000 + i + 7 * step
        mp.Process(target=_produce, args=(queue, factory, known, seed), daemon=True).start()
    rng, mean, began = np.random.default_rng(a.seed + step), np.zeros(4), time.monotonic()
    while step < a.updates:
        step += 1
        for group in optimiser.param_groups:
            group["lr"] = a.rate * min(1.0, step / 100) * max(0.01, 1 - step / a.updates)
        net.train()
        losses, figures = torch.zeros(()), []
        for given in queue.get():
            x = augment.channel(augment.warp(given.features, rng, a.warp), rng)
            x = augment.mask_bands(augment.mask_time(x, rng), rng)
            language, right = loss_of(net(x, a.dropout), given)
            losses = losses + language
            figures += [language.item(), right.item()]
        optimiser.zero_grad()
        losses.backward()
        nn.utils.clip_grad_norm_(trained, 2.0)
        optimiser.step()
        mean = 0.98 * mean + 0.02 * np.array(figures) if step > 1 else np.array(figures)
        if step % 100 == 0:
            said = " ".join(f"{x:.3f}" for x in mean)
            print(f"update {step}: {said}, {time.monotonic() - began:.0f} s", flush=True)
        if step % 500 == 0 or step == a.updates:
            state = {"net": net.own(), "optimiser": optimiser.state_dict()}
            saved = {**state, "step": step, "stands_on": stands_on}
            torch.save(saved, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
            for after_s in (1.0, 1.5, 4.0):
                print(
                    f"  after {after_s} s: {json.dumps(accuracy(net, tuning, after_s))}", flush=True
                )
    scale = temperature(net, tuning)
    export(net.eval(), a.models / "language.onnx", temperature=scale)
    print(f"temperature {scale:.2f}")
    if not a.no_development:
        people = [
            Judged(c.language, "development", line.mulaw(c.audio.astype(np.float32)))
            for c in read_development(a.data / "dev")
        ]
        for after_s in (1.0, 1.5, 4.0, 60.0):
            print(f"after {after_s} s: {json.dumps(accuracy(net, people, after_s))}", flush=True)


if __name__ == "__main__":
    main()
