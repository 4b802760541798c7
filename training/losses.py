"""How wrong a network is about a batch."""

from __future__ import annotations

import torch
from torch import nn

from training.batch import Batch
from training.checkpoint import AnyNetwork
from training.mmi import Bigram, mmi_loss
from training.precision import fast_bfloat16

__all__ = ["inconsistency", "loss_of", "of_posteriors"]


def loss_of(
    net: AnyNetwork,
    batch: Batch,
    x: torch.Tensor,
    dropout: float,
    *,
    bigram: Bigram | None = None,
    smoothing: float = 0.05,
    views: int = 1,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy a frame, the MMI loss a frame (0 without ``bigram``), and the inconsistency.

    With two ``views`` the second half of the batch is the first half once more, masked otherwise.
    """
    kind = x.device.type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=fast_bfloat16(kind)):
        out = net.scores(x, batch.language, dropout, frames=batch.frames)
    out = out.float().log_softmax(1)
    inside = batch.target[:, : out.shape[2]] >= 0
    apart = inconsistency(out, inside) if views == 2 else out.new_zeros(())
    scores = net.likelihoods(out, batch.language)
    return *of_posteriors(out, scores, batch, bigram=bigram, smoothing=smoothing), apart


def of_posteriors(
    out: torch.Tensor,
    scores: torch.Tensor,
    batch: Batch,
    *,
    bigram: Bigram | None = None,
    smoothing: float = 0.05,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy a frame, and the MMI loss a frame (0 without ``bigram``).

    Args:
        out: (batch, labels, frames) log-probabilities.
        scores: the same, as the decoder weighs them.
        batch: what was said.
        bigram: of units.
        smoothing: share of the cross-entropy's targets that all labels have alike.
    """
    target = batch.target[:, : out.shape[2]]
    entropy = nn.functional.cross_entropy(out, target, ignore_index=-1, label_smoothing=smoothing)
    if bigram is None:
        return entropy, entropy.new_zeros(())
    frames = batch.frames.clamp(max=out.shape[2])
    mmi = mmi_loss(scores.permute(2, 0, 1), frames, batch.labels, batch.label_lengths, bigram)
    return entropy, mmi / frames.sum()


def inconsistency(out: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """How far apart two views of the same utterances are, a frame: symmetric Kullback-Leibler.

    Each view learns from what the other one says, not the other way round (Yao et al. 2024,
    *CR-CTC: Consistency regularization on CTC for improved speech recognition*).

    Args:
        out: (2 * batch, labels, frames) log-probabilities, one view after the other.
        inside: (2 * batch, frames) whether the frame is part of the utterance.
    """
    said = out.detach().roll(len(out) // 2, 0)
    apart = nn.functional.kl_div(out, said, reduction="none", log_target=True).sum(1)
    return (apart * inside).sum() / inside.sum()
