"""The third network of the second pass: trained, written out, and run as on a call."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")
pytest.importorskip("onnx_ir", reason="needs the training extra: pip install -e .[training]")

from test_training import _arguments

from ivr.asr.joint_decoding import CONVOLUTIONAL, FEATURES, LABELS, SCORES
from ivr.asr.periodicity import WITH_MFCC
from ivr.onnx_session import one_thread
from training import export_convolutional, mmi, network, train
from training.batch import pad
from training.checkpoint import load_convolutional, load_network
from training.convolutional import Convolutional
from training.factory import Utterance
from training.learning import Average
from training.restore_convolutional import restored

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"cmn": ["<blk>", "m", "a1", "a4"], "yue": ["<blk>", "m4", "aa1"]}


@pytest.fixture
def net() -> Convolutional:
    torch.manual_seed(1)
    made = Convolutional(UNITS, width=32)
    made.set_statistics(torch.randn(500, WITH_MFCC))
    return made.eval()


def heard(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, WITH_MFCC)).astype(np.float32)


def likelihoods(net: Convolutional, features: np.ndarray, language: str) -> np.ndarray:
    """(frames of 30 ms, labels) of one utterance."""
    x = torch.from_numpy(pad(features, len(features)))[None]
    with torch.no_grad():
        found: np.ndarray = net.likelihoods(net(x, language), language)[0].T.numpy()
    return found


def test_what_follows_an_utterance_in_its_batch_is_not_heard(net: Convolutional) -> None:
    short, long = heard(90), heard(150, 1)
    alone = net(torch.from_numpy(pad(short, 90))[None], "cmn")
    together = torch.from_numpy(np.stack([pad(short, 150), pad(long, 150)]))
    frames = torch.tensor([30, 50])
    beside = net.scores(together, "cmn", frames=frames).log_softmax(1)
    assert beside.shape == (2, len(UNITS["cmn"]), 50)
    # The pictures look two frames of 10 ms ahead.
    assert torch.allclose(beside[0, :, :30], alone[0], atol=0.2)
    together[0, network.LEFT_CONTEXT + 92 :] = 100.0
    louder = net.scores(together, "cmn", frames=frames).log_softmax(1)
    assert torch.allclose(beside[0, :, :30], louder[0, :, :30], atol=1e-4)


def test_a_line_that_colours_the_sound_is_not_heard(net: Convolutional) -> None:
    features = torch.from_numpy(pad(heard(120), 120))[None]
    coloured = features.clone()
    coloured[..., :40] += torch.randn(40)
    assert torch.allclose(net(features, "yue"), net(coloured, "yue"), atol=1e-3)


def _batch(language: str, seed: int) -> train.Batch:
    at = np.repeat(np.arange(len(UNITS[language]) - 1), 6)
    at.resize(30, refcheck=False)
    items = [
        Utterance(language, heard(90, seed + i), UNITS[language][1:], at.copy()) for i in range(2)
    ]
    return train.collate(items, {u: i for i, u in enumerate(UNITS[language])})


def _trained(work: Path, net: Convolutional, updates: int) -> Path:
    """The checkpoint of a training on batches of both languages."""
    a = _arguments(work, "convolutional", updates=updates, processes=1)
    a.rate, a.masked, a.warp = 2e-3, 1.0, 0.1
    bigrams = {k: mmi.estimate([v[1:]] * 3, v) for k, v in UNITS.items()}
    tuning = {k: [Utterance(k, heard(60), v[1:], np.zeros(0, int))] for k, v in UNITS.items()}
    task = train._Task(net.train(), Average(net), bigrams, tuning)
    queue: train.mp.Queue[train.Batch] = train.mp.Queue()
    for k in range(updates):
        queue.put(_batch(("cmn", "yue")[k % 2], k % 4))
    train._learn(a, task, [queue], 0, work / "at")
    return work / "convolutional.pt"


def test_trained_exported_and_run(
    tmp_path: Path,
    net: Convolutional,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.set_num_threads(1)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    checkpoint = _trained(tmp_path, net, 4)
    assert "final held-out unit error {'cmn': " in capsys.readouterr().out
    trained, told = load_convolutional(checkpoint)
    assert told["updates"] == 4
    assert trained.labels == UNITS
    for part in ("pitch.first.weight", "spectrum.out.weight", "layers.7.along.weight"):
        assert not torch.equal(trained.state_dict()[part], before[part])

    for language in UNITS:
        shutil.copytree(ROOT / "models" / language, tmp_path / language)
    monkeypatch.setattr(sys, "argv", ["export", str(checkpoint), "--models", str(tmp_path)])
    export_convolutional.main()
    both = restored(tmp_path, list(UNITS))
    for language, labels in UNITS.items():
        back = restored(tmp_path, [language])
        file = tmp_path / language / CONVOLUTIONAL
        session = one_thread(file.read_bytes())
        assert "4 updates in 0 minutes" in (tmp_path / language / "README.md").read_text("utf-8")
        written = session.get_modelmeta().custom_metadata_map[LABELS]
        assert json.loads(written) == {language: labels}
        for frames in (31, 90, 200):
            features = heard(frames)
            expected = likelihoods(trained, features, language)
            (found,) = session.run([SCORES], {FEATURES: features[np.newaxis]})
            assert found.shape == expected.shape == (-(-frames // 3), len(labels))
            # Eight bits, of what goes between too, are not thirty-two.
            alike = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
            assert alike > 0.97
            again = likelihoods(back, features, language)
            assert np.corrcoef(found.ravel(), again.ravel())[0, 1] > max(alike, 0.97)
            together = likelihoods(both, features, language)
            assert np.corrcoef(expected.ravel(), together.ravel())[0, 1] > max(alike, 0.97)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    other = network.Network(UNITS, bottleneck=8)
    torch.save({"labels": UNITS, "average": other.state_dict(), **other.shape}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"was not left by training\.train --network conv"):
        load_convolutional(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--only yue", "learns both languages at once"),
        ("--in-context 100", "with the labels of --models"),
        ("--start-from a.pt b.pt", "--start-from takes one folder, or one"),
    ],
)
def test_options_of_other_networks_are_refused(
    options: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--network", "convolutional", *options.split()])
    with pytest.raises(SystemExit):
        train.main()
    assert " ".join(message.replace("\\", "").split()) in " ".join(capsys.readouterr().err.split())


def test_a_checkpoint_of_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    other = network.Network(UNITS, bottleneck=8)
    torch.save({"labels": UNITS, "net": other.state_dict(), **other.shape}, tmp_path / "c.pt")
    with pytest.raises(SystemExit, match="is of another network, or of other units"):
        train.saved_of(Convolutional(UNITS, width=32), tmp_path / "c.pt")
    torch.save({"labels": UNITS, "width": 32}, tmp_path / "d.pt")
    with pytest.raises(ValueError, match="is of a convolutional network"):
        load_network(tmp_path / "d.pt")
