"""Write the network of the second pass as ``models/second/conformer.onnx``.

    python -m training.export_conformer conformer.pt --without 6

It takes samples, like ``models/language.onnx``: windows, Fourier transform, mel filters and cosine
transform are one more convolution and two products (:func:`ivr.asr.features.linear`). Matrices are
kept in 4 bits, in blocks of 128 with a scale each (ONNX Runtime's MatMulNBits). ``--without`` leaves
blocks of the network out: they were left out now and then while it learnt, and one is hardly missed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from ivr.asr import features
from ivr.asr.joint_decoding import CONFORMER, LABELS, SAMPLES
from training import network, places
from training.card import write_second_card
from training.conformer import Conformer, turns
from training.onnx_export import write_in_few_bits

__all__ = ["export", "load", "main"]

BLOCK = 128


class _Whole(nn.Module):
    """Samples to scores of both languages' labels; one utterance."""

    def __init__(self, net: Conformer) -> None:
        super().__init__()
        self.net = net
        first, second = features.linear()
        self.register_buffer("first", torch.from_numpy(np.ascontiguousarray(first.T))[:, None])
        self.register_buffer("second", torch.from_numpy(np.ascontiguousarray(second)))
        self.register_buffer("dct", torch.from_numpy(features.dct().copy()))

    def forward(self, samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(1, samples) to (frames of 30 ms, labels) of each language."""
        spectrum = nn.functional.conv1d(samples[:, None], self.first, stride=features.HOP)
        energy = spectrum.square().transpose(1, 2) @ self.second
        x = energy.clamp(min=float(np.finfo(np.float32).eps)).log() @ self.dct
        x = self.net.below(x)
        positions = turns(x.shape[1], self.net.size, x.device)
        for block in self.net.blocks:
            x = block(x, 1.0, positions, None)
        return tuple(
            (
                self.net.outputs[k](x).log_softmax(2)
                - network.PRIOR_SCALE * self.net.get_buffer(f"prior_{k}")
            )[0]
            for k in self.net.labels
        )


def _of_features(written: onnx.ModelProto) -> list[str]:
    """The products that make features of samples: they stay exact."""
    small = {w.name for w in written.graph.initializer if w.dims and max(w.dims) < 2 * BLOCK + 1}
    return [n.name for n in written.graph.node if n.op_type == "MatMul" and {*n.input} & small]


def load(checkpoint: Path) -> Conformer:
    """The network that a training has left."""
    saved = torch.load(checkpoint, weights_only=False, map_location="cpu")
    net = Conformer(saved["labels"], **saved["size"])
    net.load_state_dict(saved["net"])
    return net.float().eval()


def export(net: Conformer, path: Path) -> None:
    """Write the network; its labels stand in the file's metadata."""
    write_in_few_bits(
        _Whole(net),
        torch.randn(1, 299 * features.HOP + features.WINDOW),
        path,
        inputs={SAMPLES: {1: "samples"}},
        outputs={k: {0: "frames"} for k in net.labels},
        bits=4,
        block=BLOCK,
        metadata={LABELS: json.dumps(net.labels)},
        exact=_of_features,
    )


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "models")
    p.add_argument("checkpoint", type=Path, help="of training.train_conformer")
    p.add_argument("--without", type=int, nargs="*", default=[], metavar="BLOCK", help="from 0")
    a: argparse.Namespace = p.parse_args()
    net = load(a.checkpoint)
    net.blocks = nn.ModuleList(b for k, b in enumerate(net.blocks) if k not in a.without)
    path = a.models / "second" / CONFORMER
    export(net, path)
    parameters = sum(w.numel() for w in net.parameters())
    write_second_card(path.parent, parameters=parameters, block=BLOCK)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
