"""Weights of the decoder on the speakers held out of training: n-gram, word cost, prior.

    python -m training.tune --languages yue --lm-scale 0.8 1.0 1.2 --prior-scale 0.6 0.8

Prints a table, best first; the chosen values stand in ``training/export.py`` (``LM_SCALE``,
``WORD_COST``) and ``training/network.py`` (``PRIOR_SCALE``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training import lm, network, places
from training.checkpoint import load_network
from training.corpus import Corpus
from training.export import LM_SCALE, WORD_COST, export
from training.kaldi import write_model

__all__ = ["main"]


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work")
    p.add_argument("--languages", nargs="+", default=["cmn", "yue"])
    p.add_argument("--checkpoints", type=Path, nargs="+", help="averaged; work/net.pt alone")
    p.add_argument("--lm-scale", type=float, nargs="+")
    p.add_argument("--word-cost", type=float, nargs="+")
    p.add_argument("--prior-scale", type=float, nargs="+", default=[network.PRIOR_SCALE])
    a = p.parse_args()
    net, _ = load_network(*(a.checkpoints or [a.work / "net.pt"]))
    corpus = Corpus.cached(a.data / "speech", a.work / "corpus.pickle")
    for language in a.languages:
        arpa = a.work / f"{language}.tuned.arpa"
        readings = lm.build(language, corpus, a.data / "text", a.queues, arpa)
        rows: list[tuple[float, list[str]]] = []
        scales = a.lm_scale or [LM_SCALE[language]]
        costs = a.word_cost or [WORD_COST[language]]
        with tempfile.TemporaryDirectory() as models:
            for scale, cost in itertools.product(scales, costs):
                at = Path(models) / language
                export(net, language, at, readings, arpa, lm_scale=scale, word_cost=cost)
                for prior in a.prior_scale:
                    network.PRIOR_SCALE = prior
                    write_model(net, language, at / "am" / "final.mdl")
                    found = _measured(at, language, a)
                    keys = ("base_syllable_error", "toned_syllable_error", "character_error")
                    rates = [f"{100 * found[k]:.1f}" for k in keys]
                    speed = f"{found['real_time_factor']:.4f}"
                    cells = [f"{scale:g}", f"{cost:g}", f"{prior:g}", *rates, speed]
                    rows.append((found["toned_syllable_error"], cells))
                    print(language, *cells, flush=True)
        table = Table(
            "LM scale", "word cost", "prior scale", "base %", "toned %", "character %", "RTF"
        )
        for _, cells in sorted(rows):
            table.add_row(*cells)
        Console().print(f"{language}, speakers held out of training", table)


def _measured(folder: Path, language: str, a: argparse.Namespace) -> dict[str, float]:
    """Rates of one model, in a process of its own: Vosk and pywrapfst each bring an OpenFst."""
    command = [sys.executable, "-m", "training.evaluate", "--sets", "tuning", "--json"]
    command += ["--models", str(folder.parent), "--languages", language, "--no-language"]
    command += ["--data", str(a.data), "--work", str(a.work)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
