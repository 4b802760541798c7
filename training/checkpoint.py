"""What a training leaves behind, read as a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from training.network import BOTTLENECK, Network

__all__ = ["load_network"]


def load_network(*checkpoints: Path) -> tuple[Network, dict[str, float]]:
    """The averaged network of a checkpoint, in evaluation mode, and what it was trained for.

    Several checkpoints of one training, or of trainings that went on from one another, are averaged
    weight by weight (Izmailov et al. 2018, *Averaging weights leads to wider optima*); batch-norm
    statistics too. The network has the languages that all of them have.

    Raises:
        ValueError: there is no such language.
    """
    saved = [torch.load(path, weights_only=False, map_location="cpu") for path in checkpoints]
    labels = {k: v for k, v in saved[-1]["labels"].items() if all(k in s["labels"] for s in saved)}
    if not labels:
        raise ValueError(f"no language is in all of {', '.join(map(str, checkpoints))}")
    net = Network(labels, bottleneck=saved[-1].get("bottleneck", BOTTLENECK))
    state = {name: saved[-1]["average"][name] for name in net.state_dict()}
    for name, value in state.items():
        if value.dtype.is_floating_point:
            state[name] = torch.stack([s["average"][name] for s in saved]).mean(0)
    net.load_state_dict(state)
    updates, spent_s = max(map(_trained, saved))
    return net.eval(), {"updates": updates, "minutes": round(spent_s / 60, 1)}


def _trained(saved: dict[str, Any]) -> tuple[int, float]:
    """Updates and seconds of a checkpoint, with those of the trainings that it began from."""
    updates, spent_s = saved.get("before", (0, 0.0))
    return updates + saved["step"], spent_s + saved["spent"]
