"""Exported ``convolutional.onnx`` back as a network that can be trained further.

Its matrices are what 8 bits have kept of them (:mod:`training.export_convolutional`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from ivr.asr.joint_decoding import CONVOLUTIONAL, LABELS
from training import network
from training.convolutional import Convolutional

__all__ = ["restored"]


def restored(models: Path, languages: list[str]) -> Convolutional:
    """The network of ``models/LANGUAGE/convolutional.onnx``, in evaluation mode.

    Raises:
        FileNotFoundError: a language has none.
    """
    files = {k: onnx.load(models / k / CONVOLUTIONAL) for k in languages}
    labels: dict[str, list[str]] = {}
    for file in files.values():
        labels |= json.loads({p.key: p.value for p in file.metadata_props}[LABELS])
    found: dict[str, np.ndarray] = {}
    for language, file in files.items():
        found |= _state(file, language)
    net = Convolutional({k: labels[k] for k in languages}, width=len(found["norm.weight"]))
    state = net.state_dict()
    for name, value in found.items():
        state[name] = torch.from_numpy(value.copy()).view_as(state[name])
    net.load_state_dict(state)
    return net.eval()


def _state(file: onnx.ModelProto, language: str) -> dict[str, np.ndarray]:
    """Its weights by their names in the network."""
    kept = {i.name: numpy_helper.to_array(i) for i in file.graph.initializer}
    out = {
        name.removeprefix("net.").replace(".product", ""): value
        for name, value in kept.items()
        if name.startswith("net.")
    }
    for node in file.graph.node:
        if node.op_type == "MatMulNBits":
            name = node.name.rpartition("/MatMul_Q")[0]
            name = name.strip("/").replace("/", ".").removesuffix(".product")
            if name == language:
                name = f"outputs.{language}"
            weight = _matrix(node, kept)
            taps = 5 if name == "stride" else 3 if name.endswith("along") else 1
            if taps > 1:
                weight = weight.reshape(len(weight), taps, -1).transpose(0, 2, 1)
            out[f"{name}.weight"] = weight
    (less,) = (v for v in kept.values() if v.shape == (1, len(out[f"outputs.{language}.bias"]), 1))
    out[f"prior_{language}"] = less.ravel() / np.float32(network.PRIOR_SCALE)
    return out


def _matrix(node: onnx.NodeProto, kept: dict[str, np.ndarray]) -> np.ndarray:
    """(out, in) of a product."""
    given: dict[str, Any] = {a.name: a.i for a in node.attribute}
    packed, scales = (kept[name] for name in node.input[1:3])
    rows, blocks = given["N"], -(-given["K"] // given["block_size"])
    values = packed.reshape(rows, blocks, -1).astype(np.float32) - 128  # nought is in the middle
    exact = values * scales.reshape(rows, blocks, 1)
    return np.asarray(exact.reshape(rows, -1)[:, : given["K"]], np.float32)
