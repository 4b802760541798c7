"""Write the third network of the second pass, ``convolutional.onnx`` beside each streaming model.

    python -m training.export_convolutional work/convolutional.pt

It takes features of :func:`ivr.asr.periodicity.with_mfcc` and gives the scores of one language's
labels. A convolution over time is a product with the frames beside one another here, so that its
matrix can be kept in 8 bits, in blocks of 64 with a scale each (ONNX Runtime's MatMulNBits).
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

from ivr.asr.joint_decoding import CONVOLUTIONAL, FEATURES, LABELS, SCORES
from ivr.asr.periodicity import WITH_MFCC
from training import places
from training.card import add_convolutional
from training.checkpoint import load_convolutional
from training.convolutional import Convolutional
from training.onnx_export import write_in_few_bits

__all__ = ["export", "main"]

BLOCK = 64


class _Shifted(nn.Module):
    """A convolution over time as a product: (1, channels, time) to the same."""

    def __init__(self, of: nn.Conv1d) -> None:
        super().__init__()
        self.stride, self.dilation, self.taps = of.stride[0], of.dilation[0], of.kernel_size[0]
        self.padding = int(of.padding[0])
        self.product = nn.Linear(of.in_channels * self.taps, of.out_channels)
        with torch.no_grad():
            self.product.weight.copy_(of.weight.transpose(1, 2).flatten(1))
            assert of.bias is not None
            self.product.bias.copy_(of.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.pad(x.transpose(1, 2), (0, 0, self.padding, self.padding))
        last = y.shape[1] - self.dilation * (self.taps - 1)
        beside = [
            y[:, k * self.dilation : last + k * self.dilation : self.stride]
            for k in range(self.taps)
        ]
        return self.product(torch.cat(beside, 2)).transpose(1, 2)  # type: ignore[no-any-return]


class _OfOneLanguage(nn.Module):
    """Features (1, frames of 10 ms, 112) to scores (frames of 30 ms, labels)."""

    def __init__(self, net: Convolutional, language: str) -> None:
        super().__init__()
        self.net, self.language = copy.deepcopy(net), language
        self.net.stride = _Shifted(net.stride)  # type: ignore[assignment]
        for layer in self.net.layers:
            layer.along = _Shifted(layer.along)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out = self.net.outputs[self.language](self.net.trunk(features)).log_softmax(2)
        return self.net.likelihoods(out.transpose(1, 2), self.language)[0].T


def export(net: Convolutional, language: str, path: Path) -> None:
    """Write the network of a language; its labels stand in the file's metadata."""
    write_in_few_bits(
        _OfOneLanguage(net, language),
        torch.randn(1, 300, WITH_MFCC),
        path,
        inputs={FEATURES: {1: "frames of 10 ms"}},
        outputs={SCORES: {0: "frames of 30 ms"}},
        bits=8,
        block=BLOCK,
        metadata={LABELS: json.dumps({language: net.labels[language]})},
        exact=_of_features,
    )


def _of_features(written: onnx.ModelProto) -> list[str]:
    """The product that makes a mel spectrum of MFCCs: it stays exact."""
    products = (n for n in written.graph.node if n.op_type == "MatMul")
    return [n.name for n in products if any(i.endswith("to_mel") for i in n.input)]


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "models")
    p.add_argument("checkpoint", type=Path, help="of training.train --network convolutional")
    a: argparse.Namespace = p.parse_args()
    net, trained = load_convolutional(a.checkpoint)
    parameters = sum(w.numel() for w in net.parameters())
    for language in net.labels:
        path = a.models / language / CONVOLUTIONAL
        export(net, language, path)
        add_convolutional(path.parent, parameters=parameters, trained=trained)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
