"""What a training leaves behind, and that read as a network."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from training.convolutional import Convolutional
from training.learning import Average, Optimiser
from training.network import BOTTLENECK, Network

__all__ = ["AnyNetwork", "load_convolutional", "load_network", "save"]

#: What :mod:`training.train` trains.
AnyNetwork = Network | Convolutional


def save(
    path: Path,
    net: AnyNetwork,
    average: Average,
    optimiser: Optimiser,
    step: int,
    spent: float,
    before: tuple[int, float],
) -> None:
    """Write the checkpoint atomically; ``before``: updates and seconds of the training it began from."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "net": net.state_dict(),
            "average": average.net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "labels": net.labels,
            **net.shape,
            "step": step,
            "spent": spent,
            "before": before,
        },
        partial,
    )
    partial.replace(path)


def load_network(*checkpoints: Path) -> tuple[Network, dict[str, float]]:
    """The averaged network of a checkpoint, in evaluation mode, and what it was trained for.

    Several checkpoints of one training, or of trainings that went on from one another, are averaged
    weight by weight (Izmailov et al. 2018, *Averaging weights leads to wider optima*); batch-norm
    statistics too. The network has the languages that all of them have, and the units of the one
    that tells most apart: the others take part as if they had begun with these
    (:meth:`training.network.Network.begin_with`).

    Raises:
        ValueError: there is no such language, or a checkpoint is of another network.
    """
    saved = [torch.load(path, weights_only=False, map_location="cpu") for path in checkpoints]
    for path, content in zip(checkpoints, saved, strict=True):
        if "width" in content:
            raise ValueError(f"{path} is of a convolutional network: training.export_convolutional")
    finest = {
        k: max(saved, key=lambda s: len(s["labels"][k]))
        for k in saved[-1]["labels"]
        if all(k in s["labels"] for s in saved)
    }
    if not finest:
        raise ValueError(f"no language is in all of {', '.join(map(str, checkpoints))}")
    net = _network({k: s["labels"][k] for k, s in finest.items()}, saved[-1])
    net.set_priors({k: s["average"][f"prior_{k}"] for k, s in finest.items()})
    states = [_finer(s, net) for s in saved]
    mean = states[-1]
    for name, value in mean.items():
        if value.dtype.is_floating_point:
            mean[name] = torch.stack([state[name] for state in states]).mean(0)
    net.load_state_dict(mean)
    return net.eval(), max(map(_trained, saved), key=lambda t: (t["updates"], t["minutes"]))


def load_convolutional(checkpoint: Path) -> tuple[Convolutional, dict[str, float]]:
    """The averaged network of a checkpoint, in evaluation mode, and what it was trained for.

    Raises:
        ValueError: it is a checkpoint of another network.
    """
    saved = torch.load(checkpoint, weights_only=False, map_location="cpu")
    if "width" not in saved:
        raise ValueError(f"{checkpoint} was not left by training.train --network convolutional")
    net = Convolutional(saved["labels"], width=saved["width"])
    net.load_state_dict(saved["average"])
    return net.eval(), _trained(saved)


def _network(labels: dict[str, list[str]], saved: dict[str, Any]) -> Network:
    return Network(labels, bottleneck=saved.get("bottleneck", BOTTLENECK))


def _finer(saved: dict[str, Any], net: Network) -> dict[str, torch.Tensor]:
    """A checkpoint's weights, for the languages and units of this network."""
    theirs = _network({k: saved["labels"][k] for k in net.labels}, saved)
    theirs.load_state_dict({name: saved["average"][name] for name in theirs.state_dict()})
    if theirs.labels == net.labels:
        return theirs.state_dict()
    finer = copy.deepcopy(net)
    finer.begin_with(theirs)
    return finer.state_dict()


def _trained(saved: dict[str, Any]) -> dict[str, float]:
    """Updates and minutes of a checkpoint, with those of the trainings that it began from."""
    updates, spent_s = saved.get("before", (0, 0.0))
    minutes = round((spent_s + saved["spent"]) / 60, 1)
    return {"updates": updates + saved["step"], "minutes": minutes}
