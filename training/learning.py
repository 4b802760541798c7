"""How weights move: the optimiser, and the average of what they were."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from training.muon import Muon

__all__ = ["Average", "Hidden", "Optimiser"]


class Hidden(nn.Linear):
    """An affine layer whose input and output are both hidden: a matrix for Muon."""


class Average:
    """Exponential moving average of the weights (Polyak), batch-norm statistics included."""

    def __init__(self, net: nn.Module, decay: float = 0.999) -> None:
        self.net, self.decay, self.updates = copy.deepcopy(net).eval(), decay, 0

    def update(self, net: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            for mine, new in zip(_weights(self.net), _weights(net), strict=True):
                if mine.dtype.is_floating_point:
                    mine.lerp_(new, 1 - decay)
                else:
                    mine.copy_(new)


def _weights(net: nn.Module) -> Iterator[torch.Tensor]:
    """Each once, though several languages may share it."""
    return itertools.chain(net.parameters(), net.buffers())


class Optimiser:
    """Muon for the weights of convolutions and hidden layers, AdamW for all else.

    Muon (:mod:`training.muon`) moves a matrix along all its directions alike, and learns faster while
    the learning rate is high. Its steps are as long as AdamW's would be, times ``SHORTER``.
    """

    SHORTER = 0.5

    def __init__(self, net: nn.Module) -> None:
        learnt = [w for w in net.parameters() if w.requires_grad]
        inner = {id(m.weight) for m in net.modules() if isinstance(m, Hidden)}
        self.kernels = [w for w in learnt if w.ndim == 3 or id(w) in inner]
        # Muon takes matrices: the same weights, seen as (out, in * taps).
        self.matrices = [nn.Parameter(w.data.view(len(w), -1)) for w in self.kernels]
        rest = [w for w in learnt if w.ndim != 3 and id(w) not in inner]
        self.adam = torch.optim.AdamW(rest, weight_decay=1e-3, betas=(0.9, 0.98))
        self.muon = Muon(self.matrices, weight_decay=1e-3)

    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        for optimiser, factor in ((self.adam, 1.0), (self.muon, self.SHORTER)):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.view_as(matrix)
        self.adam.step()
        self.muon.step()

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same network."""
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])
