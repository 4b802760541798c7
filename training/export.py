"""Write the trained network as model directories that ``vosk.Model`` loads.

python -m training.export --data ../shared/data --models models
python -m training.export --graph-only      # the same networks, words and n-grams of today
python -m training.export --network-only    # new networks, the graphs that are there
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ivr.asr.joint_decoding import CONVOLUTIONAL
from ivr.intent.sounds import plain
from training import lm, places
from training.checkpoint import load_network
from training.corpus import Corpus
from training.kaldi import write_model
from training.network import Network

__all__ = ["MFCC_CONF", "MODEL_CONF", "export", "export_graph", "export_network", "main"]

MFCC_CONF = """\
--sample-frequency=8000
--use-energy=false
--num-mel-bins=40
--num-ceps=40
--low-freq=20
--high-freq=-200
--dither=0
--snip-edges=false
"""

#: Endpoint rules: 1 nothing said, 2 to 4 silence after speech, 5 longest utterance (seconds).
MODEL_CONF = """\
--min-active=200
--max-active=3000
--beam=11
--lattice-beam=4.0
--acoustic-scale=1.0
--frame-subsampling-factor=3
--endpoint.silence-phones=1
--endpoint.rule1.min-trailing-silence=6.0
--endpoint.rule2.min-trailing-silence=0.45
--endpoint.rule3.min-trailing-silence=0.7
--endpoint.rule4.min-trailing-silence=1.2
--endpoint.rule5.min-utterance-length=20.0
"""

#: Weight of the n-gram and cost of a word, set on held-out speakers (:mod:`training.tune`).
LM_SCALE = {"cmn": 1.0, "yue": 1.4}
WORD_COST = {"cmn": 0.0, "yue": 0.0}
LANGUAGE_NAMES = {"cmn": "Mandarin", "yue": "Cantonese"}


#: The network's output labels in their order, one a line.
UNITS = "units.txt"


def export_network(net: Network, language: str, folder: Path) -> None:
    """Acoustic model and configuration; a graph that is there stays as it is."""
    write_model(net, language, folder / "am" / "final.mdl")
    (folder / "conf").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "mfcc.conf").write_text(MFCC_CONF)
    (folder / "conf" / "model.conf").write_text(MODEL_CONF)
    units = "".join(f"{unit}\n" for unit in net.labels[language])
    (folder / UNITS).write_text(units, encoding="utf-8")


def export(
    net: Network,
    language: str,
    folder: Path,
    readings: lm.Lexicon,
    arpa: Path,
    *,
    lm_scale: float,
    word_cost: float,
) -> None:
    """One model directory: acoustic model, configuration, graph."""
    export_network(net, language, folder)
    export_graph(language, folder, readings, arpa, lm_scale=lm_scale, word_cost=word_cost)


def card(net: Network, language: str, trained: dict[str, float]) -> dict[str, object]:
    """``model.json``: what ``ivr models`` shows; accuracy is added by ``training.evaluate``."""
    return {
        "name": f"kapok-small-{language}",
        "language": language,
        "version": f"{datetime.now(UTC):%Y.%m.%d}.{trained['updates']:.0f}",
        "source": "trained by the Kapok project on openly licensed speech; see README.md beside this file",
        "licence": "CC BY-SA 4.0",
        "rate_hz": 8000,
        "units": len(net.labels[language]),
        "units_in_context": sum(unit != plain(unit) for unit in net.labels[language]),
        "parameters": net.size(language),
        "trained": trained,
        "accuracy": {},
    }


def _check_graph(net: Network, language: str, folder: Path) -> None:
    file = folder / UNITS
    if file.exists() and file.read_text(encoding="utf-8").split() != net.labels[language]:
        raise SystemExit(
            f"{file}: the network has other output labels than the graph in {folder / 'graph'}; "
            "export both: leave --network-only out"
        )


def _write_card(net: Network, language: str, folder: Path, trained: dict[str, float]) -> None:
    file = folder / "model.json"
    content = card(net, language, trained)
    if file.exists() and (folder / CONVOLUTIONAL).exists():  # stays as it is, and in the card
        before = json.loads(file.read_text(encoding="utf-8"))
        content |= {k: v for k, v in before.items() if k == "convolutional"}
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def export_graph(
    language: str,
    folder: Path,
    readings: lm.Lexicon,
    arpa: Path,
    *,
    lm_scale: float,
    word_cost: float,
) -> None:
    """The decoding graph of a model directory; a network that is there stays as it is."""
    # Not above: OpenFst must not be loaded beside Vosk, which brings another version of it.
    from training.graph import build_graph

    labels = (folder / UNITS).read_text(encoding="utf-8").split()
    build_graph(language, labels, readings, arpa, folder, lm_scale=lm_scale, word_cost=word_cost)


def _renew_card(folder: Path) -> None:
    """The card of a model with another graph: of today, and not measured."""
    file = folder / "model.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    updates = content["version"].rpartition(".")[2]
    content |= {"version": f"{datetime.now(UTC):%Y.%m.%d}.{updates}", "accuracy": {}}
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work", "models")
    p.add_argument("--languages", nargs="+", default=["cmn", "yue"])
    p.add_argument("--checkpoints", type=Path, nargs="+", help="averaged; work/net.pt alone")
    p.add_argument("--lm-scale", type=float)
    p.add_argument("--word-cost", type=float)
    p.add_argument("--graph-only", action="store_true", help="keep the networks that are there")
    p.add_argument("--network-only", action="store_true", help="keep the graphs that are there")
    a = p.parse_args()
    if not a.graph_only:
        net, trained = load_network(*(a.checkpoints or [a.work / "net.pt"]))
    if a.network_only:
        for language in a.languages:
            _check_graph(net, language, a.models / language)
            export_network(net, language, a.models / language)
            _write_card(net, language, a.models / language, trained)
        return
    corpus = Corpus.cached(a.data / "speech", a.work / "corpus.pickle")
    for language in a.languages:
        folder = a.models / language
        arpa = a.work / f"{language}.arpa"
        readings = lm.build(language, corpus, a.data / "text", a.queues, arpa)
        scale = LM_SCALE[language] if a.lm_scale is None else a.lm_scale
        cost = WORD_COST[language] if a.word_cost is None else a.word_cost
        if a.graph_only:
            export_graph(language, folder, readings, arpa, lm_scale=scale, word_cost=cost)
            _renew_card(folder)
        else:
            export(net, language, folder, readings, arpa, lm_scale=scale, word_cost=cost)
            _write_card(net, language, folder, trained)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
        print(f"{folder}: {len(readings)} words, {size:.1f} MB, {LANGUAGE_NAMES[language]}")


if __name__ == "__main__":
    main()
