"""Maximum mutual information over sequences of units, without lattices.

The loss of a network's scores y (natural log, one score a label and frame) for a label sequence is
log Z - log N. N sums over all ways to say the sequence in the topology of
:func:`training.graph.ctc_topology`, Z over all ways to say any sequence, weighted by a bigram of
units. So wrong sequences are pushed down as a decoder would meet them, which bare CTC does not do
(Povey et al. 2016, *Purely sequence-trained neural networks for ASR based on lattice-free MMI*;
Xiang and Ou 2019, *CRF-based single-stage acoustic modeling with CTC topology*). The bigram is a
dense matrix: with a few hundred units, a frame costs one small matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Bigram", "best_path", "denominator", "estimate", "mmi_loss", "numerator"]

SMOOTHING = 0.15  # share of the unigram in the successors of a final
FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Bigram:
    """Probabilities of units; label 0 is the blank and takes no part."""

    first: torch.Tensor  # (labels - 1,) of the first unit
    following: torch.Tensor  # (labels - 1, labels - 1), rows sum to one

    def to(self, device: torch.device) -> Bigram:
        """The same on another device."""
        return Bigram(self.first.to(device), self.following.to(device))


def estimate(sequences: Iterable[Sequence[str]], labels: Sequence[str]) -> Bigram:
    """The bigram of unit sequences; units that are not labels break a sequence."""
    index = {u: i for i, u in enumerate(labels[1:])}
    n = len(index)
    counts, starts = np.zeros((n, n)), np.zeros(n)
    for sequence in sequences:
        last = None
        for unit in sequence:
            now = index.get(unit)
            if now is not None and last is not None:
                counts[last, now] += 1
            elif now is not None:
                starts[now] += 1
            last = now
    unigram = counts.sum(0) + starts + FLOOR
    unigram /= unigram.sum()
    opens = np.array([not u[-1].isdigit() for u in labels[1:]])  # initials
    # After an initial comes a final that it goes with; after a final anything that may begin.
    begins = (counts[~opens].sum(0) + starts) / max(1.0, counts[~opens].sum() + starts.sum())
    rows = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows[~opens] = (1 - SMOOTHING) * rows[~opens] + SMOOTHING * begins
    rows[opens] = np.where(opens, 0.0, 0.97 * rows[opens] + 0.03 * unigram)
    rows += FLOOR
    rows /= rows.sum(1, keepdims=True)
    first = starts / max(1.0, starts.sum()) + SMOOTHING * begins + FLOOR
    return Bigram(
        torch.tensor(first / first.sum(), dtype=torch.float32),
        torch.tensor(rows, dtype=torch.float32),
    )


def numerator(
    scores: torch.Tensor, frames: torch.Tensor, labels: torch.Tensor, label_lengths: torch.Tensor
) -> torch.Tensor:
    """(batch,) log of the sum over all ways to say each sequence.

    Args:
        scores: (frames, batch, labels), any reals.
        frames: (batch,) frames of each utterance.
        labels: all label sequences, one after the other.
        label_lengths: (batch,) their lengths.
    """
    # ctc_loss wants normalised scores; what normalising takes away is added again.
    constant = torch.logsumexp(scores, 2)
    lost = torch.nn.functional.ctc_loss(
        scores - constant[..., None],
        labels,
        frames,
        label_lengths,
        reduction="none",
        zero_infinity=True,
    )
    inside = torch.arange(len(scores), device=scores.device)[:, None] < frames[None, :]
    return (constant * inside).sum(0) - lost


class _Denominator(torch.autograd.Function):
    """Forward-backward over the bigram; its gradient is the occupancy of each label and frame."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx,
        scores: torch.Tensor,
        frames: torch.Tensor,
        first: torch.Tensor,
        following: torch.Tensor,
    ) -> torch.Tensor:
        total, occupancy = _forward_backward(scores.detach().float(), frames, first, following)
        ctx.save_for_backward(occupancy)
        return total

    @staticmethod
    def backward(ctx, given: torch.Tensor):  # type: ignore[no-untyped-def, override]
        (occupancy,) = ctx.saved_tensors
        return given[None, :, None] * occupancy, None, None, None


def _forward_backward(
    scores: torch.Tensor, frames: torch.Tensor, first: torch.Tensor, following: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    t, b, labels = scores.shape
    units = labels - 1
    top = scores.max(2).values
    emitted = (scores - top[..., None]).exp()
    live = torch.arange(t, device=scores.device)[:, None] < frames[None, :]
    # States: in unit u, and in silence after unit u; the last of the latter is before any unit.
    inside, after = scores.new_zeros(t, b, units), scores.new_zeros(t, b, units + 1)
    to_unit = torch.cat([following, first[None]])  # from silence after u, or before any unit
    own = following.diagonal()
    a_in, a_after = scores.new_zeros(b, units), scores.new_zeros(b, units + 1)
    a_after[:, -1] = 1.0
    log_scale = scores.new_zeros(b)
    spent = a_in.new_zeros(b, units + 1)
    for k in range(t):
        spent[:, :units] = a_in
        e_blank, e_unit = emitted[k, :, :1], emitted[k, :, 1:]
        reached = (spent + a_after) @ to_unit + a_in * (1 - own)  # again only after silence
        new_in, new_after = reached * e_unit, (spent + a_after) * e_blank
        scale = new_in.sum(1) + new_after.sum(1)
        a_in = torch.where(live[k, :, None], new_in / scale[:, None], a_in)
        a_after = torch.where(live[k, :, None], new_after / scale[:, None], a_after)
        log_scale = torch.where(live[k], log_scale + scale.log() + top[k], log_scale)
        inside[k], after[k] = a_in, a_after
    b_in, b_after = scores.new_ones(b, units), scores.new_ones(b, units + 1)
    back = to_unit.T.contiguous()
    occupancy = scores.new_zeros(t, b, labels)
    for k in range(t - 1, -1, -1):
        occupied_in, occupied_after = inside[k] * b_in, (after[k] * b_after).sum(1)
        total = occupied_in.sum(1) + occupied_after
        keep = live[k] / total
        occupancy[k, :, 0] = occupied_after * keep
        occupancy[k, :, 1:] = occupied_in * keep[:, None]
        onward, quiet = emitted[k, :, 1:] * b_in, emitted[k, :, :1] * b_after
        reach = onward @ back + quiet  # from silence after u
        new_in = reach[:, :units] + onward * (1 - own)
        scale = reach.sum(1, keepdim=True)
        b_in = torch.where(live[k, :, None], new_in / scale, b_in)
        b_after = torch.where(live[k, :, None], reach / scale, b_after)
    return log_scale, occupancy


def denominator(scores: torch.Tensor, frames: torch.Tensor, bigram: Bigram) -> torch.Tensor:
    """(batch,) log of the sum over all ways to say any sequence; see :func:`numerator`."""
    out: torch.Tensor = _Denominator.apply(scores, frames, bigram.first, bigram.following)
    return out


def mmi_loss(
    scores: torch.Tensor,
    frames: torch.Tensor,
    labels: torch.Tensor,
    label_lengths: torch.Tensor,
    bigram: Bigram,
) -> torch.Tensor:
    """Sum over the batch of log Z - log N but for a constant; see the module."""
    said = numerator(scores, frames, labels, label_lengths)
    return (denominator(scores, frames, bigram) - said).sum()


def best_path(scores: torch.Tensor, bigram: Bigram) -> list[int]:
    """Labels of the likeliest way to say any sequence of units (Viterbi).

    Args:
        scores: (frames, labels) of one utterance.
    """
    y = scores.detach().cpu().numpy().astype(np.float64)
    t, units = len(y), y.shape[1] - 1
    each = np.arange(units)
    following = bigram.following.cpu().log().numpy()
    to_unit = np.vstack([following, bigram.first.cpu().log().numpy()])
    to_unit[each, each] = -np.inf  # the same unit again only after silence
    again = following[each, each]
    inside, after = np.full(units, -np.inf), np.full(units + 1, -np.inf)
    after[-1] = 0.0  # before any unit
    came_from = np.zeros((t, units), int)  # unit before, or -1: was in it already
    was_inside = np.zeros((t, units + 1), bool)
    for k in range(t):
        spent = np.append(inside, -np.inf)
        ended = np.maximum(spent, after)
        was_inside[k] = spent > after
        reached = ended[:, None] + to_unit
        reached[each, each] = after[:units] + again
        source = reached.argmax(0)
        value = reached[source, each]
        came_from[k] = np.where(inside >= value, -1, source)
        inside, after = np.maximum(inside, value) + y[k, 1:], ended + y[k, 0]
    in_unit = bool(inside.max() > after.max())
    unit = int(inside.argmax() if in_unit else after.argmax())
    out: list[int] = []
    for k in range(t - 1, -1, -1):
        if not in_unit:
            in_unit = bool(was_inside[k, unit])
        elif (source_unit := int(came_from[k, unit])) >= 0:
            out.append(unit + 1)
            in_unit = source_unit != unit and bool(was_inside[k, source_unit])
            unit = source_unit
    return out[::-1]
