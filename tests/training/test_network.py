"""The network, and one that goes on from another."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training.network import DECAYS, WIDTH, Memory, Network

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


def test_one_that_remembers_begins_with_what_one_without_memory_computes(narrow: Network) -> None:
    state = {k: v for k, v in narrow.state_dict().items() if not k.startswith("memory.")}
    net = Network(LABELS, bottleneck=16).eval()
    net.begin_with(state)
    x = torch.randn(2, 150, 40)
    with torch.no_grad():
        assert torch.equal(net(x, "cmn"), narrow(x, "cmn"))


def test_memory_is_of_the_past_and_fades() -> None:
    torch.manual_seed(6)
    memory = Memory()
    torch.nn.init.normal_(memory.spread.weight)
    x = torch.randn(1, WIDTH, 400)
    changed = x.clone()
    changed[:, :, 100] += 1
    with torch.no_grad():
        moved = (memory(changed) - memory(x)).abs().amax(1)[0]
    assert moved[:100].max() == 0
    assert moved[101] > 10 * moved[399] > 0
    assert moved[101:].diff().max() <= 1e-4


def test_means_are_those_of_their_definition() -> None:
    torch.manual_seed(7)
    memory = Memory()
    x = torch.randn(1, WIDTH, 30)
    with torch.no_grad():
        memory.spread.weight.zero_()
        memory.spread.weight[:96, :, 0] = torch.eye(96)
        heard, got = torch.relu(memory.gather(x))[0], (memory(x) - x)[0]
    for channels, decay in zip((range(48), range(48, 96)), DECAYS, strict=True):
        mean = torch.zeros(48)
        for t in range(30):
            mean = decay * mean + (1 - decay) * heard[channels, t]
            assert torch.allclose(got[channels, t], mean, atol=1e-4)


def test_a_language_learns_through_the_layers_of_another() -> None:
    torch.manual_seed(9)
    few = Network({"yue": LABELS["yue"]}, bottleneck=16)
    few(torch.randn(4, 150, 40), "yue")
    net = Network(LABELS, bottleneck=16, through="yue")
    net.begin_with(few.eval().state_dict())
    x = torch.randn(2, 150, 40)
    with torch.no_grad():
        assert torch.equal(few(x, "yue"), net.eval()(x, "yue"))
        before = {k: net.trunk(x, k) for k in LABELS}
        assert torch.equal(before["cmn"], before["yue"])
    net.train()
    net(x, "cmn")[:, 1].sum().backward()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    optimiser.step()
    with torch.no_grad():  # yue's layers have moved, its batch norms have not
        assert not torch.equal(net.eval().trunk(x, "yue"), before["yue"])
    state = net.state_dict()
    for i in range(len(net.layers("yue")) - len(net.shared)):
        mean = f"own.yue.{i}.norm.running_mean"
        assert torch.equal(state[mean], few.state_dict()[mean])
        assert not torch.equal(state[mean], state[mean.replace("yue", "cmn")])


def test_a_narrower_one_cannot_go_on(narrow: Network) -> None:
    with pytest.raises(ValueError, match=r"down\.weight has 16 channels, more than 8"):
        Network(LABELS, bottleneck=8).begin_with(narrow.state_dict())


def test_a_language_that_is_not_there_cannot_go_on(narrow: Network) -> None:
    with pytest.raises(KeyError, match="wuu"):
        Network(LABELS | {"wuu": ["<blk>", "m"]}, bottleneck=16).begin_with(narrow.state_dict())
