"""Pictures of an evaluation: confusion, reliability, coverage against error."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ivr.intent.evaluate import Outcome, confusion, coverage, reliability

__all__ = ["write_pictures"]

mpl.use("agg")


def write_pictures(out: Path, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Write ``confusion.png``, ``reliability.png`` and ``coverage.png``; each as base64 too."""
    made = {
        "confusion": _confusion(outcomes),
        "reliability": _reliability(outcomes),
        "coverage": _coverage(outcomes),
    }
    encoded = {}
    for name, figure in made.items():
        path = out / f"{name}.png"
        figure.savefig(path, dpi=110, bbox_inches="tight")
        encoded[name] = base64.b64encode(path.read_bytes()).decode()
    return encoded


def _axes(title: str, x: str, y: str, size: tuple[float, float] = (6, 5)) -> tuple[Figure, Any]:
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def _confusion(outcomes: Sequence[Outcome]) -> Figure:
    names, rows = confusion(outcomes)
    expected = [name for name in names if name in rows]
    count = np.array([[rows[e][d] for d in names] for e in expected])
    share = count / np.maximum(1, count.sum(axis=1, keepdims=True))
    size = (2.5 + 0.75 * len(names), 2 + 0.5 * len(expected))
    figure, axes = _axes("Who goes where", "decided", "expected", size)
    axes.imshow(share, cmap="Greens", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(expected)), expected)
    for row, column in zip(*np.nonzero(count), strict=True):
        colour = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, count[row, column], ha="center", va="center", color=colour)
    return figure


def _reliability(outcomes: Sequence[Outcome]) -> Figure:
    figure, axes = _axes("Is the confidence a probability?", "confidence", "share right")
    table = reliability(outcomes)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot([b.confidence for b in table], [b.accuracy for b in table], marker="o", color="green")
    for b in table:
        axes.annotate(str(b.count), (b.confidence, b.accuracy), xytext=(4, -10),
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure


def _coverage(outcomes: Sequence[Outcome]) -> Figure:
    figure, axes = _axes("Routed against wrong", "share routed", "wrong among those routed")
    curve = coverage(outcomes)
    axes.step(curve[:, 1], curve[:, 2], where="post", color="green")
    axes.axhline(0.03, color="grey", linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, max(0.1, float(curve[:, 2].max(initial=0)) * 1.1)))
    return figure
