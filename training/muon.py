"""Muon: an optimiser that moves a matrix along all its directions alike.

PyTorch's own (``torch.optim.Muon``) multiplies in bfloat16, which a processor without instructions
for it does a hundred times slower than in float32: nine tenths of a training went there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from training.precision import fast_bfloat16

__all__ = ["Muon", "orthogonal"]

#: of the quintic iteration; its slope at zero is as steep as can be (Jordan et al. 2024)
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_STEPS = 5


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with the singular vectors of this one, and singular values of 0.5 to 1.5.

    Newton and Schulz's iteration, as https://github.com/KellerJordan/Muon has it, in the type of
    the matrix.
    """
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal; steps as long as AdamW's would be.

    Args:
        matrices: parameters of two dimensions.
        lr: learning rate; the step is 0.2 times the root of the longer side longer (Liu et al. 2025,
            *Muon is scalable for LLM training*).
        weight_decay: of the weights, a step and times the learning rate.
        momentum: share of the gradient before that stays.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                ahead = matrix.grad.lerp(buffer, momentum)
                if fast_bfloat16(matrix.device.type):
                    ahead = ahead.bfloat16()
                matrix.mul_(1 - lr * group["weight_decay"])
                matrix.add_(orthogonal(ahead), alpha=-0.2 * lr * math.sqrt(max(matrix.shape)))
