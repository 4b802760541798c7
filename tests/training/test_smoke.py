"""The whole recipe in small: a tiny network trained, exported, and decoded by Vosk."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

if None in map(importlib.util.find_spec, ("pywrapfst", "kaldilm")):  # found, not loaded: see GRAPH
    pytest.skip("needs the training extra: pip install -e .[training]", allow_module_level=True)
if shutil.which("espeak-ng") is None:
    pytest.skip("needs espeak-ng", allow_module_level=True)

from ivr.asr.features import mfcc
from training import espeak, factory, losses, mmi, network, train
from training.export import export_network
from training.pronunciation import in_context, syllables, unit_inventory, units

WORDS = ("社保", "公积金", "报警")

ARPA = """\\data\\
ngram 1=5

\\1-grams:
-99\t<s>
-0.6\t</s>
-0.6\t社保
-0.6\t公积金
-0.6\t报警

\\end\\
"""


def _speech(word: str, *, variant: str, rate: int, pitch: int) -> np.ndarray:
    said = syllables(word, "cmn") or []
    x = espeak.speak(said, "cmn", variant=variant, words_per_minute=rate, pitch=pitch)
    quiet = np.zeros(1600, np.float32)
    rng = np.random.default_rng(rate)
    x = np.concatenate([quiet, x, quiet, quiet])
    return x + 5 * rng.standard_normal(len(x)).astype(np.float32)


def _utterance(word: str, variant: str, rate: int, pitch: int) -> factory.Utterance:
    """Its units spread evenly over the middle: near enough to learn three words."""
    features = mfcc(_speech(word, variant=variant, rate=rate, pitch=pitch))
    said = units(syllables(word, "cmn") or [], "cmn")
    borders = np.linspace(0.2, len(features) * 0.01 - 0.4, len(said) + 1)
    spans = np.stack([borders[:-1], borders[1:]], 1)
    at = factory.frame_units(spans, -(-len(features) // network.STRIDE))
    return factory.Utterance("cmn", features, said, at)


@pytest.fixture(scope="module")
def net() -> network.Network:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    said = Counter(s for w in WORDS for s in syllables(w, "cmn") or [])
    inventory = [*unit_inventory(said, "cmn"), "j_in1"]  # after a palatal
    labels = {"cmn": inventory, "yue": ["<blk>", "m4"]}
    net = network.Network(labels)
    items = [
        _utterance(w, v, r, p)
        for w in WORDS
        for v, r, p in (("m1", 150, 40), ("f1", 170, 50), ("", 160, 60), ("m3", 180, 30))
    ]
    x = np.concatenate([u.features for u in items])
    net.mean, net.deviation = torch.from_numpy(x.mean(0)), torch.from_numpy(x.std(0))
    index = {k: i for i, k in enumerate(labels["cmn"])}
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    batch = train.collate(items, index)
    spoken = [in_context(u.units, "cmn", index) for u in items]
    assert "j_in1" in spoken[4]
    bigram = mmi.estimate(spoken, labels["cmn"])
    for step in range(60):
        entropy, sequence, _ = losses.loss_of(
            net, batch, batch.features, dropout=0.0, bigram=bigram if step >= 30 else None
        )
        loss = 0.3 * entropy + sequence if step >= 30 else entropy
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.momentum = None  # exact statistics of the last weights
        norm.reset_running_stats()
    with torch.no_grad():
        net(batch.features, "cmn")
    return net.eval()


@pytest.fixture(scope="module")
def model(net: network.Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    arpa = folder / "words.arpa"
    arpa.write_text(ARPA, encoding="utf-8")
    export_network(net, "cmn", folder)
    readings = {w: [syllables(w, "cmn")] for w in WORDS}
    given = [sys.executable, "-c", GRAPH, json.dumps(readings), str(arpa), str(folder)]
    subprocess.run(given, timeout=60, check=True)
    return folder


#: Vosk, pywrapfst and kaldilm bring versions of OpenFst, which in one process share what each lays
#: out in its own way: memory is overwritten, and the process dies somewhere, some time later. So no
#: test loads one beside Vosk.
GRAPH = """
import json, sys
from pathlib import Path
from training.export import export_graph
readings = {word: [tuple(r) for r in found] for word, found in json.loads(sys.argv[1]).items()}
arpa, folder = map(Path, sys.argv[2:])
export_graph("cmn", folder, readings, arpa, lm_scale=1.0, word_cost=0.0)
"""
DECODE = """
import json, sys, vosk, soundfile
vosk.SetLogLevel(-2)
model = vosk.Model(sys.argv[1])
for name in sys.argv[2:]:
    recogniser = vosk.KaldiRecognizer(model, 8000)
    recogniser.AcceptWaveform(soundfile.read(name, dtype="int16")[0].tobytes())
    print(json.loads(recogniser.FinalResult())["text"])
"""


def test_vosk_decodes_what_pytorch_learnt(model: Path, tmp_path: Path) -> None:
    files = []
    for number, word in enumerate(WORDS):
        files.append(tmp_path / f"{number}.wav")
        samples = _speech(word, variant="m1", rate=150, pitch=40).astype(np.int16)
        sf.write(files[-1], samples, 8000)
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(model), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == list(WORDS)


def test_factored_output_is_one_affine_layer(net: network.Network) -> None:
    output = net.outputs["cmn"]
    x = torch.randn(2, network.WIDTH, 5)
    by_hand = torch.einsum("lw,bwt->blt", output.weight(), x) + output.bias[None, :, None]
    assert torch.allclose(output(x), by_hand, atol=1e-4)
