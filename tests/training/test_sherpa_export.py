"""A network written as Kaldi's nnet3, read back and turned into ONNX, says what PyTorch says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")
pytest.importorskip("onnx", reason="needs the training extra: pip install -e .[training]")

from onnx.reference import ReferenceEvaluator

from ivr.asr.features import COEFFICIENTS, dct
from ivr.asr.nnet3 import read_nnet3
from training import kaldi, network
from training.batch import pad
from training.sherpa import CHUNK, relabelled, to_onnx

LABELS = ["<blk>", "a1", "a2", "b"]


@pytest.fixture(scope="module")
def net() -> network.Network:
    torch.manual_seed(5)
    net = network.Network({"cmn": LABELS})
    net.mean, net.deviation = torch.randn(COEFFICIENTS), torch.rand(COEFFICIENTS) + 0.5
    net.set_priors({"cmn": torch.randn(len(LABELS))})
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
    torch.nn.init.normal_(net.memory["cmn"].spread.weight, std=0.1)
    return net.eval()


@pytest.fixture(scope="module")
def file(net: network.Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nnet3") / "final.mdl"
    kaldi.write_model(net, "cmn", path)
    return path


def test_the_file_reads_back(file: Path) -> None:
    read = read_nnet3(file)
    assert (read.left_context, read.right_context) == (
        network.LEFT_CONTEXT,
        network.RIGHT_CONTEXT,
    )
    assert read.outputs == len(LABELS)
    affine = next(c for c in read.components if c.name == "labels")
    assert affine.arrays[0].shape == (len(LABELS), network.WIDTH)


def test_what_is_no_model_of_ours_is_refused(file: Path, tmp_path: Path) -> None:
    strange = tmp_path / "final.mdl"
    content = file.read_bytes()
    strange.write_bytes(content.replace(b"NoOpComponent", b"SumsComponent"))
    with pytest.raises(ValueError, match="SumsComponent"):
        read_nnet3(strange)


def test_the_whole_at_once_says_what_pytorch_says(net: network.Network, file: Path) -> None:
    features = np.random.default_rng(4).normal(size=(100, COEFFICIENTS)).astype(np.float32)
    x = torch.from_numpy(pad(features, len(features)))[None]
    with torch.no_grad():
        expected = net.likelihoods(net(x, "cmn"), "cmn")[0].T.numpy()
    found = read_nnet3(file).log_likelihoods(features, every=network.STRIDE)
    assert found.shape == expected.shape == (34, len(LABELS))
    assert found == pytest.approx(expected, abs=0.02)  # weights of 16 bits


def test_chunk_by_chunk_it_says_what_pytorch_says_of_the_whole(
    net: network.Network, file: Path
) -> None:
    model = to_onnx(read_nnet3(file))
    run = ReferenceEvaluator(model)
    window = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    chunks = 3
    rng = np.random.default_rng(2)
    means = len(network.DECAYS) * network.REMEMBERED
    mel = rng.normal(size=(window + (chunks - 1) * CHUNK, COEFFICIENTS)).astype(np.float32)

    states = {
        f"states_{i}": np.zeros(shape, kind)
        for i, (shape, kind) in enumerate(
            [
                ((read_nnet3(file).left_context, 1, COEFFICIENTS), np.float32),
                ((1, 1, read_nnet3(file).left_context, 3 * means // 4), np.float32),
                ((read_nnet3(file).left_context, 1, 1), np.float32),
                ((read_nnet3(file).left_context, 1, 1), np.float32),
                ((1, means, 1), np.float32),
                ((1, means, 1), np.float32),
                ((1, 128, 3, 19), np.float32),
                ((1,), np.int64),
            ]
        )
    }
    heard = []
    for n in range(chunks):
        part = mel[None, n * CHUNK : n * CHUNK + window]
        out, *after = run.run(None, {"x": part, **states})
        heard.append(out[0])
        states = {f"states_{i}": value for i, value in enumerate(after)}

    cepstra = mel @ dct()
    before = np.repeat(cepstra[:1], network.LEFT_CONTEXT, axis=0)
    with torch.no_grad():
        whole = torch.from_numpy(np.concatenate([before, cepstra]))[None]
        wanted = net.likelihoods(net(whole, "cmn"), "cmn")[0].T.numpy()
    got = np.concatenate(heard)
    kept = read_nnet3(file).log_likelihoods(cepstra, every=network.STRIDE)
    assert np.abs(got - kept[: len(got)]).max() < 1e-3
    assert np.abs(got - wanted[: len(got)]).max() < 3e-3  # whose weights are not in 8 bits


def test_only_a_const_graph_is_relabelled() -> None:
    vector = b"\xd6\xfd\xb2\x7e" + b"\6\0\0\0vector" + b"\x08\0\0\0standard" + bytes(40)
    with pytest.raises(ValueError, match="const standard graph"):
        relabelled(vector)
