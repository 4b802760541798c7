"""The network of the spoken language: what is exported computes what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from ivr.asr import features
from ivr.asr import spoken_language as heard
from ivr.asr.spoken_language import SpokenLanguageModel
from training import network, spoken_language
from training.factory import Utterance
from training.spoken_language import LOST, SOONEST, Judged, SpokenLanguage, export, loss_of, side

LABELS = {"cmn": ["<blk>", "m", "a1"], "yue": ["<blk>", "m", "aa1", "aa4"]}


@pytest.fixture
def net() -> SpokenLanguage:
    torch.manual_seed(3)
    below = network.Network(LABELS)
    for norm in (m for m in below.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.running_mean = torch.rand(norm.num_features)
        norm.running_var = 0.5 + torch.rand(norm.num_features)
    return SpokenLanguage(below).eval()


@pytest.mark.parametrize("block", [16_000, 3_700, 1_600])
def test_the_exported_network_computes_the_same(
    net: SpokenLanguage, tmp_path: Path, block: int
) -> None:
    rng = np.random.default_rng(1)
    samples = np.round(rng.standard_normal(16_000) * 900 * np.hanning(16_000)).astype("<i2")
    found = features.mfcc(samples.astype(np.float32))
    net.below.mean = torch.from_numpy(found.mean(0))
    net.below.deviation = torch.from_numpy(found.std(0))
    export(net, tmp_path / "language.onnx", temperature=2.0)
    stream = SpokenLanguageModel.load(tmp_path / "language.onnx").stream()
    pcm = samples[20:].tobytes()  # Kaldi's windows are centred: the second begins with sample 20
    for at in range(0, len(pcm), 2 * block):
        stream.hear(pcm[at : at + 2 * block])
    with torch.no_grad():
        wanted = net(torch.from_numpy(found[1:-2])[None])[0, -1].item() / 2.0
    assert stream.log_odds == pytest.approx(wanted, abs=2e-3)  # weights of 16 bits
    assert stream.log_odds != 0.0


def test_both_sides_count_samples_alike(net: SpokenLanguage, tmp_path: Path) -> None:
    assert (spoken_language.HOP, spoken_language.OVERLAP) == (heard.HOP, heard.OVERLAP)
    export(net, tmp_path / "language.onnx")
    assert SpokenLanguageModel.load(tmp_path / "language.onnx").first_hops == LOST + 1


def utterance(language: str, frames: int, *, speech: bool = True) -> Utterance:
    rng = np.random.default_rng(frames)
    x = rng.standard_normal((frames, 40)).astype(np.float32)
    at = np.zeros(frames // 3, int) if speech else np.full(frames // 3, -1)
    return Utterance(language, x, ["m"] if speech else [], at)


def test_only_the_head_learns_and_towards_the_language(net: SpokenLanguage) -> None:
    net.train()
    assert not net.below.training
    given = side([utterance("yue", n) for n in (150, 180)])
    loss, right = loss_of(net(given.features), given)
    assert loss.item() > 0
    assert 0 <= right.item() <= 1
    loss.backward()
    assert all(p.grad is None for p in net.below.parameters())
    before = net.odds.bias.item()
    torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.5).step()
    assert net.odds.bias.item() > before


def test_the_language_is_asked_for_once_some_speech_was_heard(net: SpokenLanguage) -> None:
    given = side([utterance("cmn", 180)])
    outputs = net(given.features).shape[1]
    assert given.spoken.shape == (1, outputs)
    assert given.spoken[0, 0] == LOST + 3  # frames under the first output and its context
    odds = torch.zeros(1, outputs)
    first = next(i for i in range(outputs) if given.spoken[0, i] >= SOONEST)
    odds[0, first:] = -20.0
    assert loss_of(odds, given)[0].item() == pytest.approx(0.0, abs=1e-6)


def test_where_nobody_speaks_there_is_no_language(net: SpokenLanguage) -> None:
    given = side([utterance("cmn", 120, speech=False)])
    assert loss_of(net(given.features), given)[0].item() == 0.0


def test_the_temperature_makes_probabilities_of_log_odds(
    net: SpokenLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Right for nine of ten at log-odds of 10: the log-odds should be those of 0.9.
    items = [Judged(k, "plain", np.array([i % 10 == 0])) for k in ("cmn", "yue") for i in range(50)]
    monkeypatch.setattr(
        spoken_language,
        "told",
        lambda _, item, after_s: 10.0 * (1 if (item.language == "yue") != item.samples[0] else -1),
    )
    assert spoken_language.temperature(net, items) == pytest.approx(10 / np.log(9), rel=0.02)
