"""A model directory of ours as one that sherpa-onnx loads: the same network, the same graph.

    python -m training.sherpa models/cmn --out models/cmn-onnx

The network becomes an ONNX graph with the interface of sherpa-onnx's streaming ``zipformer2_ctc``
(``online-zipformer2-ctc-model.cc``): features of a chunk and states in, log-likelihoods and states
out. Of the states, the first holds the feature frames to the left of the chunk, the fifth the means
that the network remembers, the last counts the frames so far, and the rest, which that interface
asks for, are passed through. sherpa-onnx computes log-mel energies; the cosine transform to Kaldi's
MFCC is the graph's first operation.

A chunk is 10 output frames, 0.3 s; the frames on its left are computed anew each time, which costs
about twice the work of Kaldi's looped computation and keeps the graph simple. As in Kaldi, the first
frame stands for all that would lie before it.

sherpa-onnx decodes with ``HCLG.fst`` too, once its transition ids are labels + 1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ivr.asr.features import COEFFICIENTS, RATE_HZ, dct
from ivr.asr.nnet3 import Component, Nnet3, read_nnet3
from training.onnx_graph import Graph

__all__ = ["CHUNK", "convert", "relabelled", "to_onnx"]

STRIDE = 3
CHUNK = 10 * STRIDE  # frames of 10 ms
_STATES = 6  # that the interface asks for a layer; we call one layer of each width what we need


class _Graph(Graph):
    """With rows chosen by their time."""

    def frames(self, source: str, at: list[int], name: str) -> str:
        """Rows ``at`` of (batch, time, width)."""
        index = self.constant(f"{name}.at", np.array(at, np.int64))
        return self.add("Gather", [source, index], name, axis=1)


def _needed(net: Nnet3, frames: range) -> dict[str, list[int]]:
    """The times at which each node's value is needed for the output at ``frames``."""
    times: dict[str, set[int]] = {net.output: set(frames)}
    for component in reversed(net.components):
        if component.name not in times:  # only recurrence needs it
            continue
        for term in component.terms:
            if term.recurrent:
                continue
            wanted = {t + term.offset for t in times[component.name]}
            times.setdefault(term.node, set()).update(wanted)
    return {name: sorted(t) for name, t in times.items()}


def _apply(graph: _Graph, component: Component, times: dict[str, list[int]]) -> str:
    """The component's value at its times, (batch, times, width)."""
    name, parts = component.name, []
    for i, term in enumerate(component.terms):
        place = {t: k for k, t in enumerate(times[term.node])}
        at = [place[t + term.offset] for t in times[name]]
        part = term.node
        if at != list(range(len(times[term.node]))):
            part = graph.frames(part, at, f"{name}.in{i}")
        if term.scale != 1.0:
            factor = graph.constant(f"{name}.scale{i}", np.float32(term.scale))
            part = graph.add("Mul", [part, factor], f"{name}.scaled{i}")
        parts.append(part)
    joined = parts[0]
    if len(parts) > 1 and component.append:
        joined = graph.add("Concat", parts, f"{name}.joined", axis=2)
    elif len(parts) > 1:
        joined = graph.add("Sum", parts, f"{name}.joined")
    match component.kind:
        case "affine":
            weight, bias = component.arrays
            w = graph.constant(f"{name}.weight", weight.T)
            product = graph.add("MatMul", [joined, w], f"{name}.product")
            return graph.add("Add", [product, graph.constant(f"{name}.bias", bias)], name)
        case "scale" | "bias":
            operand = graph.constant(f"{name}.operand", component.arrays[0])
            return graph.add("Mul" if component.kind == "scale" else "Add", [joined, operand], name)
        case "relu":
            return graph.add("Relu", [joined], name)
        case "log_softmax":
            return graph.add("LogSoftmax", [joined], name, axis=-1)
        case _:
            return graph.add("Identity", [joined], name)


def _recurrent_mean(
    graph: _Graph, mean: Component, decays: np.ndarray, times: dict[str, list[int]], before: str
) -> tuple[str, str]:
    """Each channel's exponential mean at its times, and as the next chunk needs it.

    ``before``, (batch, channels, 1), is the mean of the frame before the first of these times.
    """
    name, at = mean.name, times[mean.name]
    if at != list(range(at[0], at[-1] + 1, STRIDE)) or mean.terms[0].offset:
        raise ValueError(f"the node {name} is needed at {at}, not at every third frame")
    age = np.arange(len(at))[:, None] - np.arange(len(at))[None, :]
    shares = np.where(age < 0, 0.0, decays[:, None, None] ** np.maximum(age, 0))
    weight = graph.constant(f"{name}.weight", shares.astype(np.float32))  # (channels, to, from)
    source = graph.add("Transpose", [mean.terms[0].node], f"{name}.in", perm=[2, 1, 0])
    new = graph.add("MatMul", [weight, source], f"{name}.new")  # (channels, times, batch)
    left = decays[:, None] ** np.arange(1, len(at) + 1)
    kept = graph.constant(f"{name}.left", left.astype(np.float32))
    old = graph.add("Mul", [before, kept], f"{name}.old")  # (batch, channels, times)
    added = graph.add("Transpose", [new], f"{name}.added", perm=[2, 0, 1])
    total = graph.add("Add", [added, old], f"{name}.total")
    last = graph.constant(f"{name}.last", np.array([CHUNK // STRIDE - 1], np.int64))
    after = graph.add("Gather", [total, last], f"{name}.after", axis=2)
    return graph.add("Transpose", [total], name, perm=[0, 2, 1]), after


def to_onnx(net: Nnet3) -> onnx.ModelProto:
    """The network with the interface of sherpa-onnx's streaming ``zipformer2_ctc``."""
    times = _needed(net, range(0, CHUNK, STRIDE))
    left, window = -times["input"][0], times["input"][-1] + 1  # frames of 10 ms, before and of it
    graph = _Graph()
    x, before, seen = "x", "states_0", "states_7"
    # What lies before the first frame is that frame.
    first = graph.frames(x, [0], "left.first")
    shape = graph.constant("left.shape", np.array([1, left, COEFFICIENTS], np.int64))
    repeated = graph.add("Expand", [first, shape], "repeated")
    cached = graph.add("Transpose", [before], "cached", perm=[1, 0, 2])
    zero = graph.constant("zero", np.array(0, np.int64))
    is_first = graph.add("Equal", [seen, zero], "is_first")  # (batch,)
    axes = graph.constant("is_first.axes", np.array([1, 2], np.int64))
    mask = graph.add("Unsqueeze", [is_first, axes], "mask")
    history = graph.add("Where", [mask, repeated, cached], "history")
    joined = graph.add("Concat", [history, x], "features", axis=1)
    kept = graph.frames(joined, list(range(CHUNK, CHUNK + left)), "kept")
    graph.add("Transpose", [kept], "new_states_0", perm=[1, 0, 2])
    chunk = graph.constant("chunk", np.array(CHUNK, np.int64))
    graph.add("Add", [seen, chunk], "new_states_7")
    cepstra = graph.add("MatMul", [joined, graph.constant("dct", dct())], "cepstra")
    graph.frames(cepstra, [t + left for t in times["input"]], "input")
    by_name = {c.name: c for c in net.components}
    remembered, means = 4, "states_4"  # of a network that remembers nothing
    for component in net.components:
        again = [t.node for t in component.terms if t.recurrent]
        if again:
            decays = by_name[again[0]].arrays[0].astype(float)
            remembered = len(decays)
            _, means = _recurrent_mean(graph, component, decays, times, "states_4")
        elif component.name in times:
            _apply(graph, component, times)
    graph.add("Identity", [net.output], "log_probs")
    states: list[tuple[str, int, list[Any]]] = [
        ("states_0", TensorProto.FLOAT, [left, "N", COEFFICIENTS]),
        ("states_1", TensorProto.FLOAT, [1, "N", left, 3 * remembered // 4]),
        ("states_2", TensorProto.FLOAT, [left, "N", 1]),
        ("states_3", TensorProto.FLOAT, [left, "N", 1]),
        ("states_4", TensorProto.FLOAT, ["N", remembered, 1]),
        ("states_5", TensorProto.FLOAT, ["N", remembered, 1]),
        ("states_6", TensorProto.FLOAT, ["N", 128, 3, 19]),
        ("states_7", TensorProto.INT64, ["N"]),
    ]
    passed = {name: name for name, _, _ in states[1:7]} | {"states_4": means}
    for name, source in passed.items():
        graph.add("Identity", [source], f"new_{name}")
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "kapok",
            [
                value("x", TensorProto.FLOAT, ["N", window, COEFFICIENTS]),
                *(value(n, t, s) for n, t, s in states),
            ],
            [
                value("log_probs", TensorProto.FLOAT, ["N", CHUNK // STRIDE, net.outputs]),
                *(value(f"new_{n}", t, s) for n, t, s in states),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    facts = {
        "model_type": "zipformer2",
        "encoder_dims": remembered,
        "query_head_dims": COEFFICIENTS,
        "value_head_dims": 1,
        "num_heads": 1,
        "num_encoder_layers": 1,
        "cnn_module_kernels": 2,
        "left_context_len": left,
        "T": window,
        "decode_chunk_len": CHUNK,
    }
    helper.set_model_props(model, {key: str(v) for key, v in facts.items()})
    onnx.checker.check_model(model)
    return model


def relabelled(graph: bytes) -> bytes:
    """A const ``HCLG.fst`` over transition ids as the same over labels + 1.

    The layout is OpenFst's ``const-fst.h``: header, states of 20 bytes, arcs of 16 whose first four
    are the input label. The id of phone p (from 1) is ``2p - 1`` or ``2p``: either is p.
    """
    at, fields = 4, []
    for _ in range(2):
        (length,) = struct.unpack_from("<i", graph, at)
        fields.append(graph[at + 4 : at + 4 + length])
        at += 4 + length
    if fields != [b"const", b"standard"]:
        raise ValueError(f"a const standard graph is needed, this is {fields}")
    version, flags, _props, _start, states, arcs = struct.unpack_from("<iiQqqq", graph, at)
    at += struct.calcsize("<iiQqqq")
    if flags & 0x3:
        raise ValueError("the graph holds its own symbols")
    if flags & 0x4 or version == 1:  # aligned to 16 bytes
        at += -at % 16
    at += 20 * states
    if flags & 0x4 or version == 1:
        at += -at % 16
    body = np.frombuffer(graph, "<i4", 4 * arcs, at).reshape(arcs, 4).copy()
    body[:, 0] = (body[:, 0] + 1) // 2
    return graph[:at] + body.tobytes() + graph[at + body.nbytes :]


def convert(source: Path, out: Path) -> None:
    """Write a sherpa-onnx directory from a model directory of ours.

    Raises:
        ValueError: the model is not one that this project wrote.
    """
    net = read_nnet3(source / "am" / "final.mdl")
    units = (source / "units.txt").read_text(encoding="utf-8").split()
    if len(units) != net.outputs:
        raise ValueError(f"{source}: {net.outputs} labels, but {len(units)} lines in units.txt")
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(net), out / "model.onnx")
    (out / "HLG.fst").write_bytes(relabelled((source / "graph" / "HCLG.fst").read_bytes()))
    shutil.copyfile(source / "graph" / "words.txt", out / "words.txt")
    tokens = ["<blk>", *units[1:]]
    (out / "tokens.txt").write_text(
        "".join(f"{unit} {i}\n" for i, unit in enumerate(tokens)), encoding="utf-8"
    )
    card = json.loads((source / "model.json").read_text(encoding="utf-8"))
    card |= {"name": f"{card['name']}-onnx", "accuracy": {}}
    (out / "model.json").write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n")
    settings = {
        "kind": "zipformer2_ctc",
        "rate_hz": RATE_HZ,
        "feature_dim": COEFFICIENTS,
        "high_freq_hz": -200,
        "normalize_samples": False,
        "frame_s": 0.01 * STRIDE,
        "latency_s": round((CHUNK + net.right_context) / 100, 2),
        "graph": "HLG.fst",
        "words": "words.txt",
    }
    (out / "sherpa.json").write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model", type=Path, help="a model directory of ours, for example models/cmn")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    convert(a.model, a.out)
    print(f"{a.out} is ready; name it in config/kapok.yaml with engine: sherpa")


if __name__ == "__main__":
    main()
