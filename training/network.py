"""The acoustic model: a factored TDNN, its lower layers shared by the languages, the upper ones not.

Between the two lies a memory of the utterance so far: means over time of what the lower layers
hear, by which the upper ones know the speaker, the line and its noise (:class:`Memory`).

Every layer exists in Kaldi nnet3 (see :mod:`training.kaldi`). Frames come in at 100 Hz; after the
third layer everything runs at 33 Hz. Context is long on the left and short on the right, because
what lies to the right is latency that the caller waits for. A call computes a network for each
language anyway, so layers of a language's own cost nothing there. A network may also be of one
language alone, and go on from a narrower one (:meth:`Network.begin_with`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from ivr.intent.sounds import plain

__all__ = [
    "LAYERS",
    "LEFT_CONTEXT",
    "RIGHT_CONTEXT",
    "Layer",
    "Network",
    "WithPriors",
    "factors",
]

WIDTH = 512
#: How many channels lie between the two factors of a layer, where nothing else is said.
BOTTLENECK = 128
FEATURES = 40
STRIDE = 3
RESIDUAL = 0.66
#: What the memory's means keep of themselves from one frame of 30 ms to the next: 0.7 and 3 s.
DECAYS = (0.957, 0.99)
#: Channels of each mean.
REMEMBERED = 48
#: How much of a label's prior is divided out before decoding; 1 would be Bayes' rule.
PRIOR_SCALE = 0.8
#: (left, right) offsets of each layer, in frames of 30 ms.
LAYERS = ((1, 1), (1, 1), (1, 1), (2, 1), (2, 1), (2, 1), (3, 0), (3, 0), (4, 0))
#: How many layers, counted from the output, each language has for itself.
OWN_LAYERS = 4
LEFT_CONTEXT = 2 + STRIDE * sum(left for left, _ in LAYERS)  # frames of 10 ms
RIGHT_CONTEXT = 2 + (STRIDE - 1) + STRIDE * sum(right for _, right in LAYERS)


class Layer(nn.Module):
    """Down to the bottleneck over two frames, up again over two, ReLU, batch norm, residual."""

    def __init__(self, left: int, right: int, bottleneck: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.down = nn.Conv1d(WIDTH, bottleneck, 2, dilation=left, bias=False)
        self.up = nn.Conv1d(bottleneck, WIDTH, 2 if right else 1, dilation=max(right, 1))
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: torch.Tensor, dropout: float) -> torch.Tensor:
        """(batch, width, time) to (batch, width, time - left - right)."""
        y = self.norm(torch.relu(self.up(self.down(x))))
        if dropout and self.training:  # one mask for all frames of a channel
            chance = torch.rand(y.shape[0], y.shape[1], 1, dtype=y.dtype, device=y.device)
            keep = chance >= dropout
            y = y * keep / (1 - dropout)
        return y + RESIDUAL * x[:, :, self.left : self.left + y.shape[2]]


class Memory(nn.Module):
    """What was heard so far, for the layers above: exponential means of some channels over time.

    A frame's neighbourhood does not tell a voice, a line or a noise; their means do, as i-vectors
    and mean normalisation do elsewhere. A mean begins at 0, so that little is held of an utterance's
    first frames. A memory as it is made adds nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = len(DECAYS) * REMEMBERED
        self.gather = nn.Conv1d(WIDTH, channels, 1)
        self.spread = nn.Conv1d(channels, WIDTH, 1, bias=False)
        nn.init.zeros_(self.spread.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, time) to the same."""
        heard = torch.relu(self.gather(x)).chunk(len(DECAYS), 1)
        means = [
            y @ _mean(x.shape[2], decay).to(x.device)
            for y, decay in zip(heard, DECAYS, strict=True)
        ]
        return x + self.spread(torch.cat(means, 1))


@functools.lru_cache(64)
def _mean(frames: int, decay: float) -> torch.Tensor:
    """(frames, frames): the product with it is the exponential mean up to each frame."""
    age = torch.arange(frames)[None, :] - torch.arange(frames)[:, None]
    return torch.where(age < 0, 0.0, (1 - decay) * decay ** age.clamp(min=0))


@dataclass(frozen=True, slots=True)
class factors:  # noqa: N801 - a namespace of one language's label factors
    """How the output labels of one language share weights: label to final and to tone."""

    final: torch.Tensor
    tone: torch.Tensor


def _factor(labels: list[str]) -> factors:
    finals: dict[str, int] = {}
    tones: dict[str, int] = {}
    f, t = [], []
    for label in labels:
        toned = label[-1].isdigit()
        f.append(finals.setdefault(label[:-1] if toned else f"={label}", len(finals)))
        t.append(tones.setdefault(label[-1] if toned else "", len(tones)))
    return factors(torch.tensor(f), torch.tensor(t))


class Output(nn.Module):
    """Labels of one language.

    The weights of a toned final are the sum of those of the final, of the tone and of its own, so
    that a rare toned final learns from its relations. It is one affine layer once summed.
    """

    def __init__(self, labels: list[str]) -> None:
        super().__init__()
        shared = _factor(labels)
        self.register_buffer("final_of", shared.final)
        self.register_buffer("tone_of", shared.tone)
        n_finals, n_tones = int(shared.final.max()) + 1, int(shared.tone.max()) + 1
        self.final = nn.Parameter(torch.randn(n_finals, WIDTH) * 0.03)
        self.tone = nn.Parameter(torch.randn(n_tones, WIDTH) * 0.03)
        self.own = nn.Parameter(torch.zeros(len(labels), WIDTH))
        self.bias = nn.Parameter(torch.zeros(len(labels)))

    def set(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Compute this from now on; what labels share begins as their mean."""
        with torch.no_grad():
            own = weight.clone()
            for of, shared in ((self.final_of, self.final), (self.tone_of, self.tone)):
                count = torch.bincount(of, minlength=len(shared)).clamp(min=1)
                shared.zero_().index_add_(0, of, own)
                shared /= count[:, None]
                own = own - shared[of]
            self.own.copy_(own)
            self.bias.copy_(bias)

    def weight(self) -> torch.Tensor:
        """(labels, width)."""
        return self.final[self.final_of] + self.tone[self.tone_of] + self.own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv1d(x, self.weight()[:, :, None], self.bias)


def _told_apart(labels: Iterable[str]) -> bool:
    """Whether some units are known by what stands beside them."""
    return any(unit != plain(unit) for unit in labels)


class WithPriors(nn.Module):
    """A network whose posteriors of labels are weighed by how frequent these are."""

    def set_priors(self, priors: dict[str, torch.Tensor]) -> None:
        """Keep the natural-log prior of each language's labels; see :meth:`likelihoods`."""
        for language, prior in priors.items():
            self.register_buffer(f"prior_{language}", prior)

    def prior(self, language: str) -> torch.Tensor:
        """(labels,) natural log."""
        return self.get_buffer(f"prior_{language}")

    def likelihoods(self, posteriors: torch.Tensor, language: str) -> torch.Tensor:
        """Log-posteriors (batch, labels, frames) over the priors, as the decoder weighs them."""
        return posteriors - PRIOR_SCALE * self.prior(language)[None, :, None]


class Network(WithPriors):
    """Features to log-probabilities of the labels of a language."""

    def __init__(
        self,
        labels: dict[str, list[str]],
        *,
        bottleneck: int = BOTTLENECK,
        through: str | None = None,
    ) -> None:
        super().__init__()
        self.labels, self.bottleneck, self.through = labels, bottleneck, through
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))
        self.first = nn.Conv1d(FEATURES, WIDTH // 2, 5)
        self.first_norm = nn.BatchNorm1d(WIDTH // 2)
        self.stride = nn.Conv1d(WIDTH // 2, WIDTH, STRIDE, stride=STRIDE)
        self.stride_norm = nn.BatchNorm1d(WIDTH)
        shared = len(LAYERS) - OWN_LAYERS
        layers = [[Layer(*at, bottleneck) for at in LAYERS[shared:]] for _ in labels]
        self.shared = nn.ModuleList(Layer(*at, bottleneck) for at in LAYERS[:shared])
        self.own = nn.ModuleDict(zip(labels, map(nn.ModuleList, layers), strict=True))
        self.memory = nn.ModuleDict({k: Memory() for k in labels})
        self.outputs = nn.ModuleDict({k: Output(v) for k, v in labels.items()})
        self.set_priors({k: torch.zeros(len(v)) for k, v in labels.items()})
        if through:
            self._lead_through(through)

    def _lead_through(self, language: str) -> None:
        """Every language has the upper layers of this one, with batch norms of its own."""
        for other in self.labels.keys() - {language}:
            self.memory[other] = self.memory[language]
            for its, mine in zip(self.layers(language), self.layers(other), strict=True):
                mine.down, mine.up = its.down, its.up

    def begin_with(self, other: Network) -> None:
        """Take over the weights of a network of these languages, or more.

        Where its bottlenecks are narrower, what is new of a layer counts for nothing at first: the
        network computes what the other one did. A language that learns through another's layers may
        be new: its output layer stays as it is. Labels in context (:func:`ivr.intent.sounds.in_context`)
        begin as the plain ones, each with its share of them by the priors set before.

        Raises:
            ValueError: its bottlenecks are wider; it lacks a label; it tells labels apart that are
                one here.
            KeyError: it lacks a language.
        """
        mine, state = self.state_dict(), other.state_dict()
        finer = [k for k in self.labels if other.labels.get(k, self.labels[k]) != self.labels[k]]
        apart = tuple(part for k in finer for part in (f"outputs.{k}.", f"prior_{k}"))
        for name, here in mine.items():
            if name.startswith(apart):
                continue
            there = self._theirs(name, state)
            if there is None:
                continue
            if name.endswith("down.weight"):
                if len(there) > len(here):
                    raise ValueError(f"{name} has {len(there)} channels, more than {len(here)}")
                here[: len(there)] = there
            elif name.endswith("up.weight"):
                here.zero_()
                here[:, : there.shape[1]] = there
            else:
                here.copy_(there)
        for language in finer:
            self._refine(language, other)

    def _refine(self, language: str, other: Network) -> None:
        """Labels in context from another network's plain ones."""
        theirs = {u: i for i, u in enumerate(other.labels[language])}
        mine = self.labels[language]
        if lost := sorted({plain(u) for u in mine} - theirs.keys()):
            raise ValueError(f"{language}: begins with a network that lacks {' '.join(lost)}")
        if _told_apart(theirs) and not _told_apart(mine):
            raise ValueError(
                f"{language}: begins with a network of {len(theirs)} units in context, has "
                f"{len(mine)} plain ones: give --in-context as that training did"
            )
        of = torch.tensor([theirs[u if u in theirs else plain(u)] for u in mine])
        prior = self.prior(language).exp()
        share = prior / torch.zeros(len(theirs)).index_add_(0, of, prior)[of]
        output = other.outputs[language]
        self.outputs[language].set(output.weight()[of], output.bias[of] + share.log())

    def _theirs(self, name: str, state: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """What another network has for a weight of this one; None where it begins bare."""
        part, *rest = name.split(".")
        if name in state:
            return state[name]
        if part == "memory":
            return None
        if self.through and part == "own":
            return state[".".join((part, self.through, *rest[1:]))]
        if self.through and part.startswith(("outputs", "prior_")):
            return None
        raise KeyError(name)

    def keep_below(self) -> None:
        """What the languages share learns no more: neither weights nor statistics of batch norms."""
        for part in (self.first, self.first_norm, self.stride, self.stride_norm, self.shared):
            part.requires_grad_(False).eval()

    @property
    def shape(self) -> dict[str, int]:
        """What it was made with, for a checkpoint."""
        return {"bottleneck": self.bottleneck}

    def set_statistics(self, features: torch.Tensor) -> None:
        """Mean and deviation of features (frames, 40)."""
        self.mean, self.deviation = features.mean(0), features.std(0)

    def layers(self, language: str) -> list[Layer]:
        """All layers of a language, from the input up."""
        return [m for m in (*self.shared, *self.own[language]) if isinstance(m, Layer)]

    def size(self, language: str) -> int:
        """Trained parameters of a language's network."""
        parts = (self.first, self.first_norm, self.stride, self.stride_norm)
        own = (*parts, *self.layers(language), self.memory[language], self.outputs[language])
        return sum(p.numel() for m in own for p in m.parameters())

    def trunk(self, x: torch.Tensor, language: str, dropout: float = 0.0) -> torch.Tensor:
        """(batch, frames, 40) with context on both sides to (batch, width, frames / 3)."""
        x = ((x - self.mean) / self.deviation).transpose(1, 2)
        x = self.first_norm(torch.relu(self.first(x)))
        x = self.stride_norm(torch.relu(self.stride(x)))
        for i, layer in enumerate(self.layers(language)):
            if i == len(self.shared):
                x = self.memory[language](x)
            x = layer(x, dropout)
        return x

    def scores(
        self,
        x: torch.Tensor,
        language: str,
        dropout: float = 0.0,
        *,
        frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(batch, labels, frames / 3), not normalised; where an utterance ends is of no account."""
        found: torch.Tensor = self.outputs[language](self.trunk(x, language, dropout))
        return found

    def forward(self, x: torch.Tensor, language: str, dropout: float = 0.0) -> torch.Tensor:
        """Log-probabilities (batch, labels, frames / 3)."""
        return self.scores(x, language, dropout).log_softmax(1)
