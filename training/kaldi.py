"""The trained network as Kaldi's binary ``final.mdl``: a transition model and an nnet3 network.

The byte formats follow Kaldi's ``base/io-funcs-inl.h``, ``matrix/kaldi-vector.cc``,
``hmm/hmm-topology.cc``, ``hmm/transition-model.cc`` and ``nnet3/nnet-nnet.cc``: a token is text and a
space, a number is its size in bytes and the little-endian value, a vector ``FV`` with its length,
a matrix ``FM`` with rows and columns, or ``CM`` where it is kept in 8 bits an entry
(``matrix/compressed-matrix.cc``): between the quartiles of its column half of the 256 steps are, on
either side a quarter, so that no weight of a column is far from its step.

One phone stands for each output label, with one emitting state. The transition ids of phone p
(from 1; the blank is 1) are ``2p - 1`` for its self-loop and ``2p`` for the way out.
"""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path

import numpy as np
import torch

from ivr.asr.nnet3 import QUARTILE_STEPS
from training import network
from training.network import Network

__all__ = ["write_model"]


class _Writer:
    """Kaldi's binary primitives."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.out.write(b"\0B")

    def token(self, *names: str) -> _Writer:
        for name in names:
            self.out.write(name.encode() + b" ")
        return self

    def int32(self, *values: int) -> _Writer:
        for value in values:
            self.out.write(b"\4" + struct.pack("<i", value))
        return self

    def real(self, value: float) -> _Writer:
        self.out.write(b"\4" + struct.pack("<f", value))
        return self

    def int32s(self, values: list[int]) -> _Writer:
        self.out.write(b"\4" + struct.pack("<i", len(values)))
        self.out.write(np.asarray(values, "<i4").tobytes())
        return self

    def vector(self, v: np.ndarray) -> _Writer:
        self.token("FV").int32(len(v))
        self.out.write(np.ascontiguousarray(v, "<f4").tobytes())
        return self

    def matrix(self, m: np.ndarray) -> _Writer:
        low, span = float(m.min()), max(float(m.max() - m.min()), 1e-9)
        quartiles = _increasing((_quartiles(m) - low) / span * 65535)
        self.token("CM")
        self.out.write(struct.pack("<ffii", low, span, *m.shape))
        self.out.write(quartiles.T.astype("<u2").tobytes())
        at = low + span / 65535 * quartiles
        for column, edges in zip(m.T, at.T, strict=True):
            steps = np.interp(column, edges, QUARTILE_STEPS)
            self.out.write(np.rint(steps).astype(np.uint8).tobytes())
        return self


class _Nnet3:
    """Collects the nodes and components of an nnet3 network."""

    def __init__(self) -> None:
        self.nodes = [f"input-node name=input dim={network.FEATURES}"]
        self.components: list[tuple[str, bytes]] = []

    def _add(self, name: str, body: _Writer, source: str) -> str:
        self.components.append((name, body.out.getvalue()[2:]))
        self.nodes.append(f"component-node name={name} component={name} input={source}")
        return name

    def affine(self, name: str, weight: np.ndarray, bias: np.ndarray, source: str) -> str:
        w = _Writer().token("<FixedAffineComponent>", "<LinearParams>").matrix(weight)
        w.token("<BiasParams>").vector(bias).token("</FixedAffineComponent>")
        return self._add(name, w, source)

    def nonlinear(self, name: str, kind: str, dim: int, source: str) -> str:
        nothing = np.zeros(0)
        w = _Writer().token(f"<{kind}>", "<Dim>").int32(dim).token("<ValueAvg>").vector(nothing)
        w.token("<DerivAvg>").vector(nothing).token("<Count>").real(0)
        w.token("<OderivRms>").vector(nothing).token("<OderivCount>").real(0)
        w.token("<NumDimsSelfRepaired>").real(0).token("<NumDimsProcessed>").real(0)
        return self._add(name, w.token(f"</{kind}>"), source)

    def batch_norm(self, name: str, norm: torch.nn.BatchNorm1d, source: str) -> str:
        variance, mean = _numpy(norm.running_var), _numpy(norm.running_mean)
        scale = _numpy(norm.weight) / np.sqrt(variance + norm.eps)
        w = _Writer().token("<FixedScaleComponent>", "<Scales>").vector(scale)
        scaled = self._add(f"{name}_scale", w.token("</FixedScaleComponent>"), source)
        w = (
            _Writer()
            .token("<FixedBiasComponent>", "<Bias>")
            .vector(_numpy(norm.bias) - mean * scale)
        )
        return self._add(name, w.token("</FixedBiasComponent>"), scaled)

    def total(self, name: str, dim: int, *terms: str) -> str:
        w = _Writer().token("<NoOpComponent>", "<Dim>").int32(dim).token("<BackpropScale>").real(1)
        return self._add(name, w.token("</NoOpComponent>"), f"Sum({','.join(terms)})")

    def memory(self, memory: network.Memory, x: str) -> str:
        """Means over time are recurrent nodes: a share of the last frame's and one of this one's."""
        decays = np.repeat(network.DECAYS, network.REMEMBERED)
        weight, bias = _affine_of(memory.gather)
        share = 1 - decays  # of what is new; it may be taken before the ReLU
        y = self.affine("gather", weight * share[:, None], bias * share, x)
        y = self.nonlinear("gathered", "RectifiedLinearComponent", len(decays), y)
        last = f"IfDefined(Offset(kept,-{network.STRIDE}))"
        y = self.total("mean", len(decays), y, last)
        w = _Writer().token("<FixedScaleComponent>", "<Scales>").vector(decays)
        self._add("kept", w.token("</FixedScaleComponent>"), y)
        y = self.affine("spread", *_affine_of(memory.spread), y)
        return self.total("remembered", network.WIDTH, x, y)


def _quartiles(m: np.ndarray) -> np.ndarray:
    """(4, columns) least, first and third quartile, and greatest of each column."""
    return np.quantile(m, (0.0, 0.25, 0.75, 1.0), axis=0, method="nearest")


def _increasing(edges: np.ndarray) -> np.ndarray:
    """(4, columns) of 16 bits, each greater than the one before, as Kaldi wants them."""
    out = np.clip(np.rint(edges), np.arange(4)[:, None], 65532 + np.arange(4)[:, None])
    for before, here in itertools.pairwise(out):
        np.maximum(here, before + 1, out=here)
    return out


def _numpy(t: torch.Tensor | None) -> np.ndarray:
    assert t is not None
    return t.detach().double().numpy()


def _affine_of(conv: torch.nn.Conv1d) -> tuple[np.ndarray, np.ndarray]:
    """(out, in, taps) to (out, taps * in), the order of nnet3's ``Append``."""
    weight = _numpy(conv.weight).transpose(0, 2, 1).reshape(conv.out_channels, -1)
    return weight, np.zeros(conv.out_channels) if conv.bias is None else _numpy(conv.bias)


def _append(source: str, *offsets: int) -> str:
    parts = [f"Offset({source},{o})" if o else source for o in offsets]
    return parts[0] if len(parts) == 1 else f"Append({','.join(parts)})"


def _nnet3(net: Network, language: str) -> _Nnet3:
    g = _Nnet3()
    weight, bias = _affine_of(net.first)
    taps = net.first.kernel_size[0]
    scale, mean = np.tile(1 / _numpy(net.deviation), taps), np.tile(_numpy(net.mean), taps)
    x = g.affine(
        "first", weight * scale, bias - (weight * scale) @ mean, _append("input", *range(-2, 3))
    )
    x = g.nonlinear("first_relu", "RectifiedLinearComponent", net.first.out_channels, x)
    x = g.batch_norm("first_norm", net.first_norm, x)
    x = g.affine("stride", *_affine_of(net.stride), _append(x, *range(network.STRIDE)))
    x = g.nonlinear("stride_relu", "RectifiedLinearComponent", network.WIDTH, x)
    x = g.batch_norm("x0", net.stride_norm, x)
    for i, layer in enumerate(net.layers(language)):
        step = network.STRIDE
        if i == len(net.shared):
            memory = net.memory[language]
            assert isinstance(memory, network.Memory)
            x = g.memory(memory, x)
        y = g.affine(f"down{i}", *_affine_of(layer.down), _append(x, -step * layer.left, 0))
        right = (0, step * layer.right) if layer.right else (0,)
        y = g.affine(f"up{i}", *_affine_of(layer.up), _append(y, *right))
        y = g.nonlinear(f"relu{i}", "RectifiedLinearComponent", network.WIDTH, y)
        y = g.batch_norm(f"norm{i}", layer.norm, y)
        x = g.total(f"x{i + 1}", network.WIDTH, y, f"Scale({network.RESIDUAL},{x})")
    output = net.outputs[language]
    assert isinstance(output, network.Output)
    x = g.affine("labels", _numpy(output.weight()), _numpy(output.bias), x)
    x = g.nonlinear("logsoftmax", "LogSoftmaxComponent", len(net.labels[language]), x)
    less = -network.PRIOR_SCALE * _numpy(net.prior(language))
    w = _Writer().token("<FixedBiasComponent>", "<Bias>").vector(less)
    x = g._add("likelihood", w.token("</FixedBiasComponent>"), x)
    g.nodes.append(f"output-node name=output input={x} objective=linear")
    return g


def _transition_model(w: _Writer, phones: int) -> None:
    """One topology for all phones: one emitting state, then the end (``HmmTopology::Write``)."""
    w.token("<TransitionModel>", "<Topology>")
    w.int32s(list(range(1, phones + 1))).int32s([-1] + [0] * phones)
    w.int32(1).int32(2)  # one entry of two states
    w.int32(0).int32(2).int32(0).real(0.5).int32(1).real(0.5)  # pdf class, then (to, probability)
    w.int32(-1).int32(0)
    w.token("</Topology>", "<Triples>").int32(phones)
    for p in range(phones):
        w.int32(p + 1, 0, p)
    w.token("</Triples>", "<LogProbs>")
    w.vector(np.array([0.0] + [np.log(0.5)] * (2 * phones)))
    w.token("</LogProbs>", "</TransitionModel>")


def write_model(net: Network, language: str, path: Path) -> None:
    """Write ``am/final.mdl`` for one language.

    Args:
        net: the trained network, in evaluation mode.
        language: whose output layer to write.
        path: the file.
    """
    graph = _nnet3(net, language)
    w = _Writer()
    _transition_model(w, len(net.labels[language]))
    w.token("<Nnet3>")
    w.out.write(("\n" + "\n".join(graph.nodes) + "\n\n").encode())
    w.token("<NumComponents>").int32(len(graph.components))
    for name, body in graph.components:
        w.token("<ComponentName>", name)
        w.out.write(body)
    w.token("</Nnet3>", "<LeftContext>").int32(network.LEFT_CONTEXT)
    w.token("<RightContext>").int32(network.RIGHT_CONTEXT).token("<Priors>").vector(np.zeros(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(w.out.getvalue())
