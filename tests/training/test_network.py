"""The network, and one that goes on from another."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.network import Network

LABELS = {"cmn": ["<blk>", "m", "a1", "a4"], "yue": ["<blk>", "m4", "aa1"]}


@pytest.fixture(scope="module")
def narrow() -> Network:
    torch.manual_seed(4)
    net = Network(LABELS, bottleneck=16)
    net.set_priors({k: torch.randn(len(v)) for k, v in LABELS.items()})
    net(torch.randn(4, 150, 40), "cmn")  # batch norms measure something
    return net.eval()


def test_a_wider_network_of_one_language_begins_with_what_the_narrow_one_computes(
    narrow: Network,
) -> None:
    wide = Network({"cmn": LABELS["cmn"]}, bottleneck=24).eval()
    wide.begin_with(narrow.state_dict())
    x = torch.randn(2, 150, 40)
    with torch.no_grad():
        wanted, got = (n.likelihoods(n(x, "cmn"), "cmn") for n in (narrow, wide))
    assert torch.allclose(wanted, got, atol=1e-5)
    assert wide.size("cmn") > narrow.size("cmn")
    # What is new is wired so that it learns: its way in is open, its way out has a gradient.
    wide.train()(x, "cmn").logsumexp(1).sum().backward()
    wide(x, "cmn")[:, 1].sum().backward()
    layer = wide.layers("cmn")[-1]
    assert layer.down.weight[16:].abs().sum() > 0
    assert layer.up.weight.grad is not None
    assert layer.up.weight.grad[:, 16:].abs().sum() > 0


def test_a_narrower_one_cannot_go_on(narrow: Network) -> None:
    with pytest.raises(ValueError, match=r"down\.weight has 16 channels, more than 8"):
        Network(LABELS, bottleneck=8).begin_with(narrow.state_dict())


def test_a_language_that_is_not_there_cannot_go_on(narrow: Network) -> None:
    with pytest.raises(KeyError, match="wuu"):
        Network(LABELS | {"wuu": ["<blk>", "m"]}, bottleneck=16).begin_with(narrow.state_dict())
