"""The network of the second pass: large, for both languages, over whole utterances.

A Conformer (Gulati et al. 2020, *Conformer: convolution-augmented transformer for speech
recognition*) with rotary positions (Su et al. 2021, *RoFormer*) over frames of 30 ms, the labels of
which are those of the streaming networks (:mod:`training.network`). Both languages share it; each
has an output layer of its own. It looks ahead to the end of the utterance.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from training import network
from training.learning import Hidden

__all__ = ["Conformer", "turns"]


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.into = Hidden(width, 3 * width)
        self.out = Hidden(width, width)

    def forward(
        self, x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        b, t, width = x.shape
        q, k, v = (
            y.view(b, t, self.heads, -1).transpose(1, 2)
            for y in self.into(self.norm(x)).chunk(3, 2)
        )
        given = functional.scaled_dot_product_attention(
            _turned(q, turns),
            _turned(k, turns),
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(given.transpose(1, 2).reshape(b, t, width))


def _turned(x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cos, sin = turns
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


def turns(frames: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    speed = 1000 ** (-torch.arange(0, size, 2, device=device) / size)
    angle = torch.arange(frames, device=device)[:, None] * speed[None, :]
    return angle.cos(), angle.sin()


class _Convolution(nn.Module):
    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into = Hidden(width, 2 * width)
        self.along = nn.Conv1d(width, width, taps, padding=taps // 2, groups=width)
        self.after = nn.LayerNorm(width)
        self.out = Hidden(width, width)

    def forward(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        y = functional.glu(self.into(self.norm(x)), 2) * inside
        y = self.along(y.transpose(1, 2)).transpose(1, 2)
        return self.out(functional.silu(self.after(y)))


def _forward_block(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        Hidden(width, 4 * width),
        nn.SiLU(),
        nn.Dropout(dropout),
        Hidden(4 * width, width),
    )


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, taps: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.before = _forward_block(width, dropout)
        self.attention = _Attention(width, heads, dropout)
        self.convolution = _Convolution(width, taps)
        self.beyond = _forward_block(width, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        x: torch.Tensor,
        inside: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
    ) -> torch.Tensor:
        x = x + 0.5 * self.dropout(self.before(x))
        x = x + self.dropout(self.attention(x, turns, mask))
        x = x + self.dropout(self.convolution(x, inside))
        x = x + 0.5 * self.dropout(self.beyond(x))
        y: torch.Tensor = self.norm(x)
        return y


class Conformer(network.WithPriors):
    """Features to log-probabilities of the labels of a language.

    Args:
        labels: of each language.
        width: channels.
        blocks: how many.
        heads: of the attention.
        taps: frames of 30 ms that a convolution sees.
        dropout: share.
        skipped: share of the blocks that an update leaves out (stochastic depth), at the top; none
            at the bottom.
    """

    def __init__(
        self,
        labels: dict[str, list[str]],
        *,
        width: int = 512,
        blocks: int = 8,
        heads: int = 8,
        taps: int = 15,
        dropout: float = 0.1,
        skipped: float = 0.1,
    ) -> None:
        super().__init__()
        self.labels, self.skipped, self.size = labels, skipped, width // heads
        self.register_buffer("mean", torch.zeros(network.FEATURES))
        self.register_buffer("deviation", torch.ones(network.FEATURES))
        self.first = nn.Conv1d(network.FEATURES, width, 5, padding=2)
        self.stride = nn.Conv1d(width, width, network.STRIDE, stride=network.STRIDE)
        self.blocks = nn.ModuleList(_Block(width, heads, taps, dropout) for _ in range(blocks))
        self.outputs = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, v in labels.items()})
        self.set_priors({k: torch.zeros(len(v)) for k, v in labels.items()})

    def below(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, frames of 10 ms, 40) to (batch, a third as many, width); without context."""
        x = ((x - self.mean) / self.deviation).transpose(1, 2)
        x = functional.silu(self.first(x)).transpose(1, 2)
        b, t, width = x.shape
        x = x.reshape(b, t // network.STRIDE, network.STRIDE * width)
        # A convolution whose stride is its length, as a product.
        kernel = self.stride.weight.transpose(1, 2).reshape(len(self.stride.weight), -1)
        return functional.silu(functional.linear(x, kernel, self.stride.bias))

    def trunk(self, features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames of 30 ms, width); as many as the longest utterance has.

        Args:
            features: (batch, frames of 10 ms + context, 40), padded as for the small networks.
            frames: (batch,) of 30 ms.
        """
        first, beside = network.LEFT_CONTEXT, network.LEFT_CONTEXT + network.RIGHT_CONTEXT
        count = -(-(features.shape[1] - beside) // network.STRIDE)
        x = features[:, first : first + network.STRIDE * count]
        x = self.below(x)
        inside = torch.arange(count, device=x.device)[None, :] < frames[:, None]
        mask = inside[:, None, None, :]
        positions = turns(count, self.size, x.device)
        for k, block in enumerate(self.blocks):
            if self.training and float(torch.rand(())) < self.skipped * k / len(self.blocks):
                continue
            x = block(x, inside[..., None], positions, mask)
        return x

    def forward(self, features: torch.Tensor, frames: torch.Tensor, language: str) -> torch.Tensor:
        """Log-probabilities (batch, labels, frames of 30 ms)."""
        out: torch.Tensor = self.outputs[language](self.trunk(features, frames))
        return out.float().log_softmax(2).transpose(1, 2)
