"""The sums of :mod:`training.mmi` against adding up every path one by one."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.mmi import Bigram, best_path, denominator, estimate, mmi_loss, numerator

LABELS = ("<blk>", "b", "a1")


@pytest.fixture
def bigram() -> Bigram:
    following = torch.tensor([[0.1, 0.9], [0.7, 0.3]])
    return Bigram(torch.tensor([0.6, 0.4]), following)


@pytest.fixture
def scores() -> torch.Tensor:
    torch.manual_seed(5)
    return torch.randn(4, 2, len(LABELS))


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(k for i, k in enumerate(path) if k and (i == 0 or path[i - 1] != k))


def paths(scores: torch.Tensor, row: int, frames: int) -> dict[tuple[int, ...], float]:
    """Sum of the path scores of every label sequence."""
    out: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(len(LABELS)), repeat=frames):
        score = sum(float(scores[t, row, k]) for t, k in enumerate(path))
        key = collapsed(path)
        out[key] = out.get(key, 0.0) + math.exp(score)
    return out


def probability(sequence: tuple[int, ...], bigram: Bigram) -> float:
    if not sequence:
        return 1.0
    p = float(bigram.first[sequence[0] - 1])
    for u, v in itertools.pairwise(sequence):
        p *= float(bigram.following[u - 1, v - 1])
    return p


@pytest.mark.parametrize("frames", [(4, 4), (4, 2), (1, 3)])
def test_both_sums(scores: torch.Tensor, bigram: Bigram, frames: tuple[int, int]) -> None:
    said = numerator(scores, torch.tensor(frames), torch.tensor([1, 2]), torch.tensor([1, 1]))
    any_said = denominator(scores, torch.tensor(frames), bigram)
    for row, n in enumerate(frames):
        by_sequence = paths(scores, row, n)
        assert float(said[row]) == pytest.approx(math.log(by_sequence[(row + 1,)]), abs=1e-4)
        total = sum(probability(s, bigram) * p for s, p in by_sequence.items())
        assert float(any_said[row]) == pytest.approx(math.log(total), abs=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_best_path(bigram: Bigram, seed: int) -> None:
    torch.manual_seed(seed)
    y = 2 * torch.randn(5, len(LABELS))
    best, found = -math.inf, ()
    for path in itertools.product(range(len(LABELS)), repeat=len(y)):
        sequence = collapsed(path)
        score = sum(float(y[t, k]) for t, k in enumerate(path))
        score += math.log(probability(sequence, bigram))
        if score > best:
            best, found = score, sequence
    assert best_path(y, bigram) == list(found)


def test_gradient(scores: torch.Tensor, bigram: Bigram) -> None:
    frames, labels, lengths = torch.tensor([4, 3]), torch.tensor([1, 2, 1]), torch.tensor([2, 1])
    leaf = scores.clone().requires_grad_()
    mmi_loss(leaf, frames, labels, lengths, bigram).backward()
    assert leaf.grad is not None
    step = 1e-2
    for at in itertools.product(*map(range, scores.shape)):
        moved = []
        for sign in (1, -1):
            y = scores.clone()
            y[at] += sign * step
            moved.append(float(mmi_loss(y, frames, labels, lengths, bigram)))
        assert float(leaf.grad[at]) == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=3e-3)


def test_a_bigram_of_sequences() -> None:
    found = estimate([["b", "a1", "b", "a1"], ["a1", "b", "a1"]], LABELS)
    assert torch.allclose(found.following.sum(1), torch.ones(2))
    assert float(found.first.sum()) == pytest.approx(1)
    assert float(found.following[0, 1]) > 0.99  # an initial is followed by a final
    assert float(found.following[1, 0]) > 0.5
