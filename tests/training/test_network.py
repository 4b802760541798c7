"""The network, and one that goes on from another."""

from __future__ import annotations

import copy

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
    wide.begin_with(narrow)
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
    before = copy.deepcopy(narrow)
    before.memory = torch.nn.ModuleDict()
    net = Network(LABELS, bottleneck=16).eval()
    net.begin_with(before)
    x = torch.randn(2, 150, 40)
    with torch.no_grad():
        assert torch.equal(net(x, "cmn"), narrow(x, "cmn"))


def test_labels_in_context_begin_with_their_share_of_the_plain_ones(narrow: Network) -> None:
    plain = LABELS["cmn"]
    finals = [u for u in plain if u[-1].isdigit()]
    labels = ["<blk>", *sorted([*plain[1:], *(f"t_{u}" for u in finals)])]
    net = Network({"cmn": labels}, bottleneck=16).eval()
    net.set_priors({"cmn": torch.randn(len(labels)).log_softmax(0)})
    prior = net.prior("cmn").exp()
    net.begin_with(narrow)
    x = torch.randn(2, 150, 40)
    with torch.no_grad():
        got, wanted = net(x, "cmn").exp(), narrow(x, "cmn").exp()
    assert torch.equal(net.prior("cmn").exp(), prior)
    for k, unit in enumerate(plain):
        variants = [i for i, u in enumerate(labels) if u in (unit, f"t_{unit}")]
        assert torch.allclose(got[:, variants].sum(1), wanted[:, k], atol=1e-5)
        shares = got[:, variants] / got[:, variants].sum(1, keepdim=True)
        of_prior = prior[variants] / prior[variants].sum()
        assert torch.allclose(shares, of_prior[None, :, None].expand_as(shares), atol=1e-4)


def test_labels_that_another_network_cannot_give_are_refused(narrow: Network) -> None:
    more = Network({"cmn": [*LABELS["cmn"], "zh", "uang3"]}, bottleneck=16)
    with pytest.raises(ValueError, match="cmn: begins with a network that lacks uang3 zh"):
        more.begin_with(narrow)
    finer = Network({"cmn": [*LABELS["cmn"], "t_a1"]}, bottleneck=16)
    plain = Network({"cmn": LABELS["cmn"]}, bottleneck=16)
    with pytest.raises(ValueError, match=r"units in context, has \d plain ones: give --in-context"):
        plain.begin_with(finer)


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
    net.begin_with(few.eval())
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
        Network(LABELS, bottleneck=8).begin_with(narrow)


def test_a_language_that_is_not_there_cannot_go_on(narrow: Network) -> None:
    with pytest.raises(KeyError, match="wuu"):
        Network(LABELS | {"wuu": ["<blk>", "m"]}, bottleneck=16).begin_with(narrow)
