"""Exported models as a network again."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training import network
from training.kaldi import write_model
from training.restore import restored

LABELS = {"cmn": ["<blk>", "m", "a1", "a4", "o1"], "yue": ["<blk>", "m4", "aa1", "aa3"]}
MEAN, DEVIATION = torch.linspace(-2, 2, 40), torch.linspace(0.5, 3, 40)


@pytest.fixture(scope="module")
def net() -> network.Network:
    """Something trained a little: no norm, weight or prior as it was initialised."""
    torch.manual_seed(2)
    net = network.Network(LABELS, bottleneck=48)
    net.set_priors({k: torch.randn(len(v)) for k, v in LABELS.items()})
    net.train()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias)
    for memory in net.memory.values():
        torch.nn.init.normal_(memory.spread.weight, std=0.1)
    with torch.no_grad():
        for _ in range(5):
            for language in LABELS:
                net(3 * torch.randn(4, 150, 40), language)
    return net.eval()


@pytest.fixture(scope="module")
def models(net: network.Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for language, labels in LABELS.items():
        write_model(net, language, folder / language / "am" / "final.mdl")
        text = "".join(f"{unit}\n" for unit in labels)
        (folder / language / "units.txt").write_text(text, encoding="utf-8")
    return folder


def _wider(net: network.Network, bottleneck: int) -> network.Network:
    """As a training goes on with it."""
    wide = network.Network(LABELS, bottleneck=bottleneck).eval()
    wide.begin_with(net)
    return wide


@pytest.mark.parametrize("bottleneck", [48, 64])
def test_what_comes_back_computes_the_same(
    net: network.Network, models: Path, bottleneck: int
) -> None:
    heard = [(k, 3 * torch.randn(4, 150, 40)) for k in LABELS for _ in range(3)]
    back = _wider(restored(models, LABELS, heard, mean=MEAN, deviation=DEVIATION), bottleneck)
    x = 3 * torch.randn(2, 150, 40)
    for language in LABELS:
        with torch.no_grad():
            wanted, got = (n.likelihoods(n(x, language), language) for n in (net, back))
        assert (wanted - got).abs().max() < 0.02  # weights are kept in 16 bits
    layer = back.layers("cmn")[7]
    seen: list[torch.Tensor] = []
    hook = layer.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        back.trunk(torch.cat([x for k, x in heard if k == "cmn"]), "cmn")
    hook.remove()
    now = seen[0].transpose(0, 1).flatten(1)
    assert torch.allclose(layer.norm.running_mean, now.mean(1), atol=1e-3)
    assert torch.allclose(layer.norm.running_var, now.var(1, correction=0), rtol=0.02, atol=1e-3)


def test_labels_are_those_that_the_models_know(models: Path) -> None:
    back = restored(models, ["yue"], [], mean=MEAN, deviation=DEVIATION)
    assert back.labels == {"yue": LABELS["yue"]}


def test_a_wider_bottleneck_than_the_one_wanted_is_refused(models: Path) -> None:
    back = restored(models, LABELS, [], mean=MEAN, deviation=DEVIATION)
    with pytest.raises(ValueError, match=r"has 48 channels, more than 16"):
        _wider(back, 16)


def test_models_trained_apart_are_no_one_network(
    net: network.Network, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models, tmp_path / "models")
    other = copy.deepcopy(net)
    other.first.weight.data *= 1.1
    write_model(other, "cmn", tmp_path / "models" / "cmn" / "am" / "final.mdl")
    given = {"mean": MEAN, "deviation": DEVIATION}
    with pytest.raises(ValueError, match="cmn and yue were trained apart: go on with one of them"):
        restored(tmp_path / "models", LABELS, [], **given)
    restored(tmp_path / "models", ["cmn"], [], **given)
