"""The network of the second pass: trained on packs, written out, and run as on a call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")
pytest.importorskip("onnx_ir", reason="needs the training extra: pip install -e .[training]")

from small_packs import LABELS, write_packs

from ivr.asr.features import mfcc
from ivr.asr.joint_decoding import CONFORMER, SAMPLES
from ivr.language import Language
from ivr.onnx_session import one_thread
from training import export_conformer, network, train_conformer
from training.batch import pad
from training.conformer import Conformer


@pytest.fixture
def net() -> Conformer:
    torch.manual_seed(1)
    return Conformer(LABELS, width=128, blocks=2, heads=2).eval()


def test_what_follows_an_utterance_in_its_batch_is_not_heard(net: Conformer) -> None:
    features = torch.randn(1, 90 + network.LEFT_CONTEXT + network.RIGHT_CONTEXT, 40)
    alone = net(features, torch.tensor([30]), "cmn")
    beside = torch.cat([features, torch.randn(1, 60, 40)], 1)
    longer = net(beside.repeat(2, 1, 1), torch.tensor([30, 50]), "cmn")
    assert longer.shape == (2, len(LABELS["cmn"]), 50)
    # A convolution below looks one frame of 30 ms ahead.
    assert torch.allclose(longer[0, :, :25], alone[0, :, :25], atol=0.1)
    assert torch.allclose(alone.exp().sum(1), torch.ones(1, 30), atol=1e-4)


def _priors(folder: Path, labels: dict[str, list[str]]) -> Path:
    net = network.Network(labels)
    path = folder / "priors.pt"
    torch.save(
        {"average": net.state_dict(), "labels": labels, "bottleneck": net.bottleneck}
        | {"step": 1, "spent": 1.0},
        path,
    )
    return path


def _train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    sizes = "--width 128 --blocks 2 --processes 1 --frames 3000 --device cpu"
    monkeypatch.setattr(sys, "argv", ["train_conformer", *arguments, *sizes.split()])
    monkeypatch.setattr(train_conformer, "POOLS", {"cmn": 40, "yue": 40})
    train_conformer.main()


def test_trained_exported_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packs = write_packs(tmp_path / "packs")
    priors = _priors(tmp_path, LABELS)
    name = str(tmp_path / "small")
    _train(
        monkeypatch,
        "--packs",
        str(packs),
        "--priors",
        str(priors),
        "--name",
        name,
        "--updates",
        "4",
    )
    assert "final held-out unit error: cmn" in capsys.readouterr().out
    trained = export_conformer.load(tmp_path / "small.pt")

    arguments = [str(tmp_path / "small.pt"), "--models", str(tmp_path), "--without", "1"]
    monkeypatch.setattr(sys, "argv", ["export_conformer", *arguments])
    export_conformer.main()
    card = json.loads((tmp_path / "second" / "model.json").read_text("utf-8"))
    assert card["parameters"] < sum(w.numel() for w in trained.parameters())
    assert (tmp_path / "second" / CONFORMER).stat().st_size < 4 * card["parameters"]

    session = one_thread((tmp_path / "second" / CONFORMER).read_bytes())
    trained.blocks = trained.blocks[:1]
    samples = (1000 * np.random.default_rng(2).standard_normal(9600)).astype(np.float32)
    features = mfcc(samples)
    x = torch.from_numpy(pad(features, len(features)))[None]
    for language in Language:
        with torch.no_grad():
            out = trained(x, torch.tensor([len(features) // 3]), language.value)
        expected = trained.likelihoods(out, language.value)[0].T.numpy()
        padded = np.pad(samples, (60, 60), mode="symmetric")[np.newaxis]
        (found,) = session.run([language.value], {SAMPLES: padded})
        # Four bits are not sixteen.
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8


def test_priors_of_other_labels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = write_packs(tmp_path / "packs")
    priors = _priors(tmp_path, LABELS | {"yue": ["<blk>", "m"]})
    with pytest.raises(SystemExit, match="no network of yue with the labels of the packs"):
        _train(monkeypatch, "--packs", str(packs), "--priors", str(priors))
