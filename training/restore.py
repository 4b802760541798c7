"""Exported models back as a network that can be trained further.

The weights of ``am/final.mdl`` are those of an evaluation: batch norms are folded into a scale and a
bias, the output layer is summed up (:class:`training.network.Output`). What the norms measure is
measured anew on utterances of the factory, so that the network that comes back computes what the
models compute, and learns as one that was never exported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ivr.asr.nnet3 import Component, read_nnet3
from training import network
from training.network import Memory, Network

__all__ = ["restored"]


def restored(
    models: Path,
    languages: Collection[str],
    features: Iterable[tuple[str, torch.Tensor]],
    *,
    mean: torch.Tensor,
    deviation: torch.Tensor,
) -> Network:
    """The network of the model directories ``models/LANGUAGE``, in evaluation mode.

    Args:
        models: folder with one directory a language.
        languages: those wanted.
        features: language and (batch, frames with context, 40) of utterances on which batch norms
            are measured.
        mean: (40,) of the features, by which the first layer is conditioned.
        deviation: (40,) likewise.

    Raises:
        ValueError: the models have no lower layers in common.
    """
    read: dict[str, dict[str, Component]] = {}
    labels: dict[str, list[str]] = {}
    for language in languages:
        folder = models / language
        labels[language] = (folder / "units.txt").read_text(encoding="utf-8").split()
        parts = {c.name: c for c in read_nnet3(folder / "am" / "final.mdl").components}
        read[language] = parts
        lowest = (p["first"].arrays[0] for p in (parts, next(iter(read.values()))))
        if not np.array_equal(*lowest):
            raise ValueError(f"{' and '.join(read)} were trained apart: go on with one of them")
    bottleneck = len(next(iter(read.values()))["down0"].arrays[0])
    net = Network(labels, bottleneck=bottleneck).eval()
    net.mean, net.deviation = mean, deviation
    for language, parts in read.items():
        _output(net, language, parts)
        _trunk(net, language, parts)
        if "gather" in parts:  # models of before have no memory
            _memory(net.memory[language], parts)
    _measure_norms(net, features)
    return net


def _affine(parts: dict[str, Component], name: str, taps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, taps * in) of nnet3 to (out, in, taps) of a convolution, and the bias."""
    weight, bias = parts[name].arrays
    shaped = weight.reshape(len(weight), taps, -1).transpose(0, 2, 1)
    return torch.from_numpy(np.ascontiguousarray(shaped)), torch.from_numpy(bias.copy())


def _trunk(net: Network, language: str, parts: dict[str, Component]) -> None:
    weight, bias = _affine(parts, "first", net.first.kernel_size[0])
    net.first.weight.data = weight * net.deviation[None, :, None]
    net.first.bias.data = bias + (weight * net.mean[None, :, None]).sum((1, 2))
    _norm(net.first_norm, parts, "first_norm")
    net.stride.weight.data, net.stride.bias.data = _affine(parts, "stride", network.STRIDE)
    _norm(net.stride_norm, parts, "x0")
    for i, layer in enumerate(net.layers(language)):
        layer.down.weight.data, _ = _affine(parts, f"down{i}", 2)
        layer.up.weight.data, layer.up.bias.data = _affine(parts, f"up{i}", layer.up.kernel_size[0])
        _norm(layer.norm, parts, f"norm{i}")


def _memory(memory: nn.Module, parts: dict[str, Component]) -> None:
    assert isinstance(memory, Memory)
    share = torch.from_numpy(1 - parts["kept"].arrays[0])
    weight, bias = _affine(parts, "gather", 1)
    memory.gather.weight.data, memory.gather.bias.data = weight / share[:, None, None], bias / share
    memory.spread.weight.data, _ = _affine(parts, "spread", 1)


def _norm(norm: nn.BatchNorm1d, parts: dict[str, Component], name: str) -> None:
    scale, bias = parts[f"{name}_scale"].arrays[0], parts[name].arrays[0]
    norm.running_mean = torch.zeros(len(scale))
    norm.running_var = torch.full((len(scale),), 1.0 - norm.eps)
    norm.weight.data, norm.bias.data = torch.from_numpy(scale.copy()), torch.from_numpy(bias.copy())


def _output(net: Network, language: str, parts: dict[str, Component]) -> None:
    weight, bias = parts["labels"].arrays
    net.outputs[language].set(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
    less = torch.from_numpy(parts["likelihood"].arrays[0].copy())
    net.set_priors({language: -less / network.PRIOR_SCALE})


def _measure_norms(net: Network, features: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Give every batch norm the statistics of what it sees, and change nothing that it gives."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d)]
    sums = [torch.zeros(3, m.num_features, dtype=torch.float64) for m in norms]

    def watch(k: int) -> object:
        def hook(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            x = given[0].double().transpose(0, 1).flatten(1)
            sums[k] += torch.stack((torch.full((len(x),), x.shape[1]), x.sum(1), (x * x).sum(1)))

        return norms[k].register_forward_pre_hook(hook)

    hooks = [watch(k) for k in range(len(norms))]
    with torch.no_grad():
        for language, x in features:
            net.trunk(x, language)
    for norm, (count, total, squares), hook in zip(norms, sums, hooks, strict=True):
        hook.remove()
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=1e-4)
        scale = (variance + norm.eps).sqrt()
        norm.running_mean, norm.running_var = mean.float(), variance.float()
        given = norm.weight.data.double()
        norm.weight.data = (given * scale).float()
        norm.bias.data = (norm.bias.data.double() + mean * given).float()
