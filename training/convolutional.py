"""The third network of the second pass: convolutions over spectrum and periodicity.

It hears what the other two do not: besides the log mel spectrum the autocorrelation of each frame
(:mod:`ivr.asr.periodicity`), in which the pitch stands, and so the tone. Both are looked at by
convolutions over time *and* frequency, to which a higher voice or a shorter vocal tract is the same
picture a little further up. Above lie gated convolutions over time (Dauphin et al. 2017, *Language
modeling with gated convolutional networks*) at 33 Hz, 0.7 s to each side, which know the mean and the
deviation of the whole utterance: the voice, the line and its noise. Both languages share it; each has an
output layer of its own, with the labels of the streaming networks (:mod:`training.network`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ivr.asr.features import COEFFICIENTS, dct
from ivr.asr.periodicity import LAGS
from training import network
from training.learning import Hidden

__all__ = ["DILATIONS", "WIDTH", "Convolutional"]

WIDTH = 256
#: Frames of 30 ms between the three taps of each gated convolution.
DILATIONS = (1, 2, 4, 1, 2, 4, 8, 1)
#: Layers below where mean and deviation of the utterance come in.
_BELOW = 3
_TAPS = 5  # frames of 10 ms that one of 30 ms is made of


class _Picture(nn.Module):
    """(batch, time, bins) to (batch, time, width): two convolutions over both, pooled over bins."""

    def __init__(
        self, bins: int, width: int, channels: tuple[int, int], over: tuple[int, int]
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels[0], (3, over[0]), padding=(1, over[0] // 2))
        self.second = nn.Conv2d(channels[0], channels[1], (3, over[1]), padding=(1, over[1] // 2))
        self.out = Hidden(channels[1] * (bins // 4), width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.max_pool2d(self.first(x[:, None]).relu(), (1, 2))
        y = functional.max_pool2d(self.second(y).relu(), (1, 2))
        found: torch.Tensor = self.out(y.permute(0, 2, 1, 3).flatten(2))
        return found


class _Gated(nn.Module):
    """A gated convolution of three taps, added to what comes in; (batch, width, time) to the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.along = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)

    def forward(self, x: torch.Tensor, inside: torch.Tensor, dropout: float) -> torch.Tensor:
        y = self.norm(x.transpose(1, 2)).transpose(1, 2) * inside
        y = functional.glu(self.along(y), 1)
        found: torch.Tensor = x + functional.dropout(y, dropout, self.training)
        return found


class Convolutional(network.WithPriors):
    """Features of :func:`ivr.asr.periodicity.with_mfcc` to scores of the labels of a language.

    Args:
        labels: of each language.
        width: channels.
    """

    def __init__(self, labels: dict[str, list[str]], *, width: int = WIDTH) -> None:
        super().__init__()
        self.labels, self.width = labels, width
        back = np.linalg.inv(dct().astype(np.float64)).astype(np.float32)
        self.register_buffer("to_mel", torch.from_numpy(back))
        for name, count in (("mel", COEFFICIENTS), ("lags", LAGS)):
            self.register_buffer(f"{name}_mean", torch.zeros(count))
            self.register_buffer(f"{name}_deviation", torch.ones(count))
        self.spectrum = _Picture(COEFFICIENTS, width, (24, 32), (3, 3))
        self.pitch = _Picture(LAGS, width, (16, 24), (7, 5))
        self.norm = nn.LayerNorm(width)
        self.stride = nn.Conv1d(width, width, _TAPS, stride=network.STRIDE, padding=1)
        self.layers = nn.ModuleList(_Gated(width, d) for d in DILATIONS)
        self.utterance = nn.Linear(2 * width, width)
        self.last = nn.LayerNorm(width)
        self.outputs = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, v in labels.items()})
        self.set_priors({k: torch.zeros(len(v)) for k, v in labels.items()})

    @property
    def shape(self) -> dict[str, int]:
        """What it was made with, for a checkpoint."""
        return {"width": self.width}

    def set_statistics(self, features: torch.Tensor) -> None:
        """Means and deviations of features (frames, 112)."""
        mel = features[:, :COEFFICIENTS] @ self.to_mel
        self.mel_mean, self.mel_deviation = mel.mean(0), mel.std(0)
        lags = features[:, COEFFICIENTS:]
        self.lags_mean, self.lags_deviation = lags.mean(0), lags.std(0)

    def trunk(
        self, features: torch.Tensor, frames: torch.Tensor | None = None, dropout: float = 0.0
    ) -> torch.Tensor:
        """(batch, frames of 30 ms, width).

        Args:
            features: (batch, frames of 10 ms, 112), without context.
            frames: (batch,) of 30 ms; where none are given, all are.
            dropout: share.
        """
        spoken = torch.ones_like(features[..., :1])
        if frames is not None:
            spoken = spoken * _inside(network.STRIDE * frames, features.shape[1])[..., None]
        with torch.autocast(features.device.type, enabled=False):  # 8 bits are too few for this
            mel = features[..., :COEFFICIENTS] @ self.to_mel
        mel = (mel - self.mel_mean) / self.mel_deviation
        mel = mel - (mel * spoken).sum(1, keepdim=True) / spoken.sum(1, keepdim=True)
        lags = (features[..., COEFFICIENTS:] - self.lags_mean) / self.lags_deviation
        x = self.norm(self.spectrum(mel) + self.pitch(lags)).relu() * spoken
        x = functional.dropout(x, dropout, self.training).transpose(1, 2)
        x = self.stride(functional.pad(x, (0, _TAPS - network.STRIDE)))
        inside = torch.ones_like(x[:, :1])
        if frames is not None:
            inside = inside * _inside(frames, x.shape[2])[:, None]
        for k, layer in enumerate(self.layers):
            if k == _BELOW:
                x = x + self.utterance(_mean_and_deviation(x, inside)[:, None]).transpose(1, 2)
            x = layer(x, inside, dropout)
        found: torch.Tensor = self.last(x.transpose(1, 2))
        return found

    def scores(
        self,
        features: torch.Tensor,
        language: str,
        dropout: float = 0.0,
        *,
        frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(batch, labels, frames of 30 ms), not normalised; features padded as for the others.

        ``frames``: (batch,) of 30 ms; where none are given, all are.
        """
        beside = network.LEFT_CONTEXT + network.RIGHT_CONTEXT
        count = -(-(features.shape[1] - beside) // network.STRIDE)
        first = network.LEFT_CONTEXT
        x = features[:, first : first + network.STRIDE * count]
        out: torch.Tensor = self.outputs[language](self.trunk(x, frames, dropout))
        return out.transpose(1, 2)

    def forward(self, x: torch.Tensor, language: str, dropout: float = 0.0) -> torch.Tensor:
        """Log-probabilities (batch, labels, frames of 30 ms)."""
        return self.scores(x, language, dropout).log_softmax(1)


def _inside(frames: torch.Tensor, count: int) -> torch.Tensor:
    """(batch, count) whether it is part of the utterance."""
    return torch.arange(count, device=frames.device)[None] < frames[:, None]


def _mean_and_deviation(x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(batch, width, time) to (batch, 2 * width), in 32 bits."""
    x, inside = x.float(), inside.float()
    count = inside.sum(2)
    mean = (x * inside).sum(2) / count
    square = (x.square() * inside).sum(2) / count
    return torch.cat([mean, (square - mean.square()).clamp(min=1e-5).sqrt()], 1)
