"""PyTorch modules written as ONNX, their matrices in few bits."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import nn

__all__ = ["write_in_few_bits"]

Axes = Mapping[str, Mapping[int, str]]


def write_in_few_bits(
    module: nn.Module,
    example: torch.Tensor,
    path: Path,
    *,
    inputs: Axes,
    outputs: Axes,
    bits: int,
    block: int,
    metadata: Mapping[str, str],
    exact: Callable[[onnx.ModelProto], list[str]],
) -> None:
    """Write a module of one input; products with a constant in few bits (MatMulNBits).

    Args:
        module: what is written.
        example: of its input.
        path: the file; its folder is made.
        inputs: name, and its axes of any length by name.
        outputs: the same.
        bits: of a weight, 4 or 8.
        block: weights that share a scale; nought is in the middle.
        metadata: of the file.
        exact: names of the products whose matrices stay as they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.onnx")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter of TorchScript is the older one
            torch.onnx.export(
                module.eval(),
                (example,),
                str(whole),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={k: dict(v) for k, v in {**inputs, **outputs}.items()},
                opset_version=17,
                dynamo=False,
            )
        written = onnx.load(whole)
        quantiser = MatMulNBitsQuantizer(
            written,
            bits=bits,
            block_size=block,
            is_symmetric=True,
            accuracy_level=4,
            nodes_to_exclude=exact(written),
        )
        quantiser.process()
    made: Any = quantiser.model.model
    onnx.helper.set_model_props(made, dict(metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
