"""What a network learns from at once: padded utterances of one language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from training import network

if TYPE_CHECKING:
    from training.factory import Utterance

__all__ = ["Batch", "into_batches", "pad"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded features and labels of one language."""

    language: str
    features: torch.Tensor  # (batch, frames + context, coefficients)
    frames: torch.Tensor  # of the output, 30 ms
    labels: torch.Tensor  # flat
    label_lengths: torch.Tensor
    target: torch.Tensor  # (batch, frames) label of each output frame, -1 beyond the end

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self._each(lambda x: x.to(device))

    def repeated(self, times: int) -> Batch:
        """All utterances once more, after the others, ``times`` times in all."""
        return self._each(lambda x: x.repeat(times, *[1] * (x.ndim - 1)))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        tensors = (getattr(self, f.name) for f in fields(self) if f.name != "language")
        return Batch(self.language, *map(change, tensors))


def pad(features: np.ndarray, frames: int) -> np.ndarray:
    """Features with the first and last frame repeated, as Kaldi does at the edges."""
    left, right = network.LEFT_CONTEXT, network.RIGHT_CONTEXT + frames - len(features)
    return np.pad(features, ((left, right), (0, 0)), mode="edge")


def into_batches(items: list[Utterance], most_frames: int) -> list[list[Utterance]]:
    """Utterances sorted by length, cut where padding to the longest would pass ``most_frames``."""
    out: list[list[Utterance]] = [[]]
    for item in items:
        if out[-1] and (len(out[-1]) + 1) * len(item.features) > most_frames:
            out.append([])
        out[-1].append(item)
    return [b for b in out if b]
