"""Bottlenecks made narrower after the training."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.narrow import narrowed
from training.network import Network

LABELS = {"cmn": ["<blk>", "m", "a1", "a4"], "yue": ["<blk>", "m4", "aa1"]}


@pytest.fixture(scope="module")
def net() -> Network:
    """Bottlenecks of 24 of which 16 carry nearly everything."""
    torch.manual_seed(6)
    net = Network(LABELS, bottleneck=24)
    with torch.no_grad():
        for language in LABELS:
            for layer in net.layers(language):
                layer.up.weight[:, 16:] *= 1e-3
            for _ in range(10):  # batch norms measure something
                net(torch.randn(4, 150, 40), language)
    return net.eval()


def _apart(net: Network, bottleneck: int) -> float:
    heard = [torch.randn(4, 150, 40) for _ in range(8)]
    narrow = narrowed(net, "cmn", heard, bottleneck)
    assert narrow.bottleneck == bottleneck
    assert list(narrow.labels) == ["cmn"]
    x = torch.randn(4, 150, 40)
    with torch.no_grad():
        wanted, got = net.trunk(x, "cmn"), narrow.trunk(x, "cmn")
    return float((wanted - got).norm() / wanted.norm())


def test_what_carries_nothing_goes_without_loss(net: Network) -> None:
    assert _apart(net, 24) < 1e-3
    assert _apart(net, 16) < 1e-2
    assert _apart(net, 8) > 0.05  # and what carries something is missed


def test_wider_than_it_is_it_cannot_be(net: Network) -> None:
    with pytest.raises(ValueError, match="bottlenecks of 24, not 32"):
        narrowed(net, "cmn", [], 32)
