"""Pictures of a study as SVG text.

By queue, by hour, why, what would reach the target, and what the answer hangs on. Drawn by
matplotlib without a display; text stays text, so that a browser's fonts show Chinese names too.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ivr.language import Language
from ivr.queues.experiment import TARGET
from ivr.queues.experiment_decomposition import FACTOR_WORDS
from ivr.queues.experiment_study import Study
from ivr.queues.records_fit import fit_service
from ivr.queues.report_words import percent, target_words
from ivr.queues.scenario import HALF_HOUR_S, HALF_HOURS

__all__ = ["pictures", "queue_name"]

_BEFORE, _AFTER, _GOOD, _BAD, _GREY = "#8a94a6", "#1f7a5c", "#1f7a5c", "#b5472f", "#5b6472"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kapok",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c5cad3",
    "axes.labelcolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": "#2b3240",
}


def pictures(study: Study) -> dict[str, str]:
    """Name -> SVG, for the parts that the study has."""
    drawn: dict[str, Callable[[], Figure] | None] = {
        "queues": lambda: _queues(study),
        "day": lambda: _day(study),
        "why": (lambda: _why(study)) if study.decomposition else None,
        "map": (lambda: _map(study)) if study.reach else None,
        "fit": (lambda: _fit(study)) if study.fit else None,
        "assumptions": (lambda: _assumptions(study)) if study.sensitivities else None,
    }
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Chinese is drawn by the browser; that no font here has it does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return {name: _svg(draw()) for name, draw in drawn.items() if draw is not None}


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _new(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def queue_name(study: Study, scope: str) -> str:
    """The English and the Chinese name of a queue."""
    name = study.scenario.catalogue.queue(scope).name
    return f"{name.en} {name[Language.MANDARIN]}"


def _queues(study: Study) -> Figure:
    """Mean time to the right agent, of it in the menu or dialogue, by queue."""
    scopes = study.comparison.scopes[1:]
    figure, axes = _new(8.2, 0.62 * len(scopes) + 1.1)
    places = np.arange(len(scopes))[::-1]
    for shift, arm, colour in ((0.19, "before", _BEFORE), (-0.19, "after", _AFTER)):
        whole = [getattr(study.comparison.figure(TARGET, scope), arm) for scope in scopes]
        front = [
            getattr(study.comparison.figure("mean_front_end_s", scope), arm).mean
            for scope in scopes
        ]
        means = np.array([i.mean for i in whole])
        errors = np.nan_to_num([i.high - i.mean for i in whole])
        axes.barh(places + shift, means, 0.34, color=colour, label=arm, xerr=errors,
                  error_kw={"ecolor": "#2b3240", "elinewidth": 1, "capsize": 2})  # fmt: skip
        axes.barh(places + shift, front, 0.34, color="white", alpha=0.45)
        for place, mean, error in zip(places, means, errors, strict=True):
            axes.text(mean + error + 0.01 * means.max(), place + shift, f"{mean:.0f} s",
                      va="center", fontsize=9, color="#2b3240")  # fmt: skip
    axes.set_yticks(places, [queue_name(study, scope) for scope in scopes])
    axes.set_xlabel("seconds from dialling to the right agent; the pale part is menu or dialogue")
    axes.margins(x=0.12)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def _day(study: Study) -> Figure:
    """Mean wait by half hour, before and after."""
    figure, axes = _new(8.2, 2.8)
    for arm, colour in (("before", _BEFORE), ("after", _AFTER)):
        intervals = getattr(study.comparison, f"{arm}_intervals")
        joined = intervals.joined.sum(axis=1).astype(float)
        days = joined.reshape(-1, HALF_HOURS).sum(axis=0)
        waits = intervals.wait_s.sum(axis=1).reshape(-1, HALF_HOURS).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = waits / days
        hours = (np.arange(HALF_HOURS) + 0.5) * HALF_HOUR_S / 3600
        axes.plot(hours, mean, color=colour, linewidth=2, label=arm)
        axes.fill_between(hours, np.nan_to_num(mean), color=colour, alpha=0.12)
    axes.set_xticks(range(0, 25, 3), [f"{hour:02}:00" for hour in range(0, 25, 3)])
    axes.set(xlim=(0, 24), ylabel="mean wait in queue, s")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def _why(study: Study) -> Figure:
    """A waterfall from before to after."""
    assert study.decomposition is not None
    before = study.comparison.figure(study.target.name).before.mean
    steps = [step for step in study.decomposition.steps if step.differs]
    figure, axes = _new(8.2, 0.5 * (len(steps) + 2) + 0.9)
    names = ["before", *(FACTOR_WORDS[step.factor] for step in steps), "after"]
    places = np.arange(len(names))[::-1]
    axes.barh(places[0], before, 0.55, color=_BEFORE)
    at = before
    for place, step in zip(places[1:], steps, strict=False):
        change = step.in_order.mean
        axes.barh(place, change, 0.55, left=at, color=_GOOD if change < 0 else _BAD)
        right = max(at, at + change)
        axes.text(right + 0.01 * before, place, f"{change:+.1f} s".replace("-", "−"), va="center")
        at += change
    axes.barh(places[-1], at, 0.55, color=_AFTER)
    for place, value in ((places[0], before), (places[-1], at)):
        axes.text(value + 0.01 * before, place, f"{value:.1f} s", va="center")
    axes.set_yticks(places, names)
    axes.set_xlabel(f"{target_words(study)}, s")
    axes.margins(x=0.1)
    return figure


def _map(study: Study) -> Figure:
    """Change of the target's measure; framed where the target is reached."""
    reach = study.reach
    assert reach is not None
    figure, axes = _new(7.4, 0.42 * len(reach.accuracies) + 1.4)
    change = reach.change[::-1]
    most = float(np.abs(change).max()) or 1.0
    colours = mpl.colors.LinearSegmentedColormap.from_list("change", [_GOOD, "#ffffff", _BAD])
    axes.imshow(change, cmap=colours, vmin=-most, vmax=most, aspect="auto")
    for row, column in np.ndindex(change.shape):
        value = float(change[row, column])
        dark = abs(value) > 0.6 * most
        axes.text(column, row, percent(value, signed=True), ha="center", va="center",
                  color="white" if dark else "#2b3240",
                  fontweight="bold" if value <= reach.target else "normal")  # fmt: skip
        if value <= reach.target:
            axes.add_patch(mpl.patches.Rectangle((column - 0.47, row - 0.46), 0.94, 0.92,
                           fill=False, edgecolor="#2b3240", linewidth=1.8))  # fmt: skip
    axes.set_xticks(range(len(reach.containments)), [percent(c) for c in reach.containments])
    axes.set_yticks(range(len(reach.accuracies)), [percent(a) for a in reach.accuracies[::-1]])
    axes.set(xlabel="served by the machine to the end", ylabel="sent to the right queue")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _assumptions(study: Study) -> Figure:
    """A tornado: the answer where each assumption is moved alone."""
    rows = list(study.sensitivities)[:12]
    figure, axes = _new(8.2, 0.42 * len(rows) + 1.1)
    places = np.arange(len(rows))[::-1]
    own = 100 * rows[0].change_own
    for place, row in zip(places, rows, strict=True):
        for value, shown, colour in (
            (100 * row.change_low, row.low, "#c9a227"),
            (100 * row.change_high, row.high, "#3566a8"),
        ):
            axes.barh(place, value - own, 0.55, left=own, color=colour, alpha=0.85)
            if abs(value - own) > 0.4:
                side = "left" if value > own else "right"
                axes.annotate(shown, (value, place), xytext=(4 if value > own else -4, 0),
                              textcoords="offset points", ha=side, va="center",
                              fontsize=8.5, color=_GREY)  # fmt: skip
    axes.axvline(own, color="#2b3240", linewidth=1)
    target = 100 * study.scenario.file.study.target_change
    axes.axvline(target, color=_BAD, linestyle=":", linewidth=1.2)
    axes.set_yticks(places, [f"{row.words} ({row.own})" for row in rows])
    axes.set_xlabel(f"change of the {target_words(study)}, % (dotted: the change asked for)")
    axes.margins(x=0.12)
    return figure


def _fit(study: Study) -> Figure:
    """What was recorded against the laws: talk with an agent, and patience."""
    fit = study.fit
    assert fit is not None
    figure = Figure(figsize=(8.2, 2.8))
    talk, patience = figure.subplots(1, 2)
    records = fit.records
    seconds = np.sort(records.service_s[~records.abandoned])
    share = np.arange(1, len(seconds) + 1) / len(seconds)
    every = slice(None, None, max(1, len(seconds) // 800))
    talk.step(seconds[every], share[every], color=_BEFORE, where="post", label="recorded")
    law = fit_service(seconds)
    at_s = np.geomspace(max(1.0, seconds[0]), seconds[-1], 300)
    fitted = norm.cdf((np.log(at_s) - law.log_mean) / law.log_sd) if law.log_sd else at_s * 0
    talk.plot(at_s, fitted, color=_AFTER, label="lognormal")
    talk.set_xscale("log")
    talk.set(xlabel="talk with an agent, s (all queues)", ylabel="share that is shorter")
    km = fit.patience
    every = slice(None, None, max(1, len(km.at_s) // 800))
    patience.step(km.at_s[every], km.survival[every], color=_BEFORE, where="post",
                  label="Kaplan-Meier")  # fmt: skip
    at_s = np.linspace(0, km.at_s[-1], 200)
    patience.plot(at_s, np.exp(-at_s / km.mean_s), color=_AFTER, label="exponential")
    patience.set(xlabel="seconds in queue", ylabel="share still patient", ylim=(0, 1.02))
    for axes in (talk, patience):
        axes.legend(frameon=False)
    figure.tight_layout()
    return figure
