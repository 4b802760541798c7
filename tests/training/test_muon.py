"""The optimiser for matrices, beside PyTorch's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training import muon


@pytest.mark.parametrize("shape", [(4, 30), (30, 4), (12, 12)])
def test_a_matrix_is_made_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    matrix = torch.randn(shape)
    made = muon.orthogonal(matrix)
    assert made.shape == shape
    assert made.dtype == matrix.dtype
    values = torch.linalg.svdvals(made)
    assert 0.5 < values.min() <= values.max() < 1.5
    # The directions are those of the matrix.
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ made @ v.T
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-3)
    assert (turned.diagonal() > 0.5).all()


@pytest.mark.parametrize("fast", [False, True])
def test_it_goes_where_pytorchs_own_does(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "fast_bfloat16", lambda kind: fast)
    torch.manual_seed(2)
    start, target = torch.randn(6, 20), torch.randn(6, 20)
    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimisers = (
        muon.Muon([mine], lr=0.15, weight_decay=1e-3),
        torch.optim.Muon([theirs], lr=0.15, weight_decay=1e-3, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(20):
        for weight, optimiser in zip((mine, theirs), optimisers, strict=True):
            weight.grad = 2 * (weight.detach() - target)
            optimiser.step()
    moved = (theirs - start).norm()
    assert (mine - target).norm() < 0.8 * (start - target).norm()
    assert (mine - theirs).norm() < 0.02 * moved  # theirs is in bfloat16


def test_what_has_no_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(3, 4))
    muon.Muon([weight]).step()
    assert (weight == 1).all()


def test_a_saved_optimiser_goes_on_with_its_momentum() -> None:
    torch.manual_seed(3)
    whole, half = (torch.nn.Parameter(torch.ones(3, 5)) for _ in range(2))
    pushes = [torch.randn(3, 5) for _ in range(6)]
    first, second = muon.Muon([whole]), muon.Muon([half])
    for k, push in enumerate(pushes):
        if k == 3:
            saved = second.state_dict()
            second = muon.Muon([half])
            second.load_state_dict(saved)
        for weight, optimiser in ((whole, first), (half, second)):
            weight.grad = push.clone()
            optimiser.step()
    assert torch.equal(whole, half)
