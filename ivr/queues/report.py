"""The page of a study: one HTML file with its pictures, for a manager, to be opened anywhere.

Needs matplotlib and Jinja2 (``pip install -e '.[report]'``). The page holds everything it
shows; it loads nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ivr import __version__
from ivr.queues.experiment import ALL, MEASURES, TARGET, Measure
from ivr.queues.experiment_decomposition import FACTOR_WORDS
from ivr.queues.experiment_study import Study, verdict
from ivr.queues.report_pictures import pictures, queue_name
from ivr.queues.report_words import (
    change_of,
    fit_rows,
    input_rows,
    measure_words,
    percent,
    replay_rows,
    summary,
    target_words,
    value_of,
)

__all__ = ["report_html"]

_BY_QUEUE = ("mean_to_agent_s", "mean_wait_s", "service_level", "abandonment", "transfer_rate",
             "utilisation")  # fmt: skip


def report_html(study: Study, *, today: date, notes: tuple[str, ...] = ()) -> str:
    """The page as text.

    Args:
        today: the date that the page carries.
        notes: more sentences for the end, such as where calls were fitted from.
    """
    pages = Environment(
        loader=PackageLoader("ivr.queues", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: Markup(svg) for name, svg in pictures(study).items()}
    return pages.get_template("report.html").render(**_context(study, today, notes), svg=drawn)


def _context(study: Study, today: date, notes: tuple[str, ...]) -> dict[str, Any]:
    file = study.scenario.file
    first, *more = summary(study)
    return {
        "name": file.name,
        "about": file.about,
        "before": file.before.name or "before",
        "after": file.after.name or "after",
        "headline": first,
        "sentences": more,
        "verdict": verdict(study)[0],
        "change": percent(study.comparison.figure(TARGET).relative.mean, signed=True),
        "measure": target_words(study),
        "target": percent(file.study.target_change, signed=True),
        "within_s": f"{file.study.answer_within_s:g}",
        "confidence": percent(file.study.confidence),
        "rows": list(_rows(study)),
        "by_queue": list(_by_queue(study)),
        "queue_columns": [measure_words(study, m) for m in MEASURES if m.name in _BY_QUEUE],
        "steps": list(_steps(study)),
        "sensitivities": list(_sensitivities(study)),
        "replications": study.comparison.replications,
        "days": file.study.days,
        "seed": file.study.seed,
        "interrupted": study.interrupted,
        "notes": notes,
        "today": today.isoformat(),
        "version": __version__,
        "path": study.scenario.path.name,
        "reach": study.reach is not None,
        "inputs": list(input_rows(study)),
        "fitted": list(fit_rows(study.fit)) if study.fit else [],
        "replayed": list(replay_rows(study)) if study.replay else [],
        "records": study.fit.records.name if study.fit else "",
    }


def _colour(measure: Measure, low: float, high: float) -> str:
    """Whether a change is for the better, where it is no chance."""
    if not measure.better or not (low > 0 or high < 0):
        return ""
    less = high < 0
    return "good" if less == (measure.better == "less") else "bad"


def _rows(study: Study) -> Iterator[dict[str, str]]:
    for measure in MEASURES:
        figure = study.comparison.figure(measure.name)
        yield {
            "words": measure_words(study, measure),
            "before": value_of(measure, figure.before.mean),
            "after": value_of(measure, figure.after.mean),
            "change": change_of(measure, figure.change, figure.relative),
            "colour": _colour(measure, figure.change.low, figure.change.high),
        }


def _by_queue(study: Study) -> Iterator[dict[str, Any]]:
    for scope in study.comparison.scopes:
        if scope == ALL:
            continue
        cells = []
        for measure in MEASURES:
            if measure.name in _BY_QUEUE:
                figure = study.comparison.figure(measure.name, scope)
                cells.append(
                    {
                        # the unit once, so that the table fits a page
                        "before": value_of(measure, figure.before.mean).split(" ")[0],
                        "after": value_of(measure, figure.after.mean),
                        "colour": _colour(measure, figure.change.low, figure.change.high),
                    }
                )
        yield {"queue": queue_name(study, scope), "cells": cells}


def _steps(study: Study) -> Iterator[dict[str, str]]:
    if study.decomposition is None:
        return
    seconds = next(m for m in MEASURES if m.name == TARGET)
    for step in study.decomposition.steps:
        shown = [value_of(seconds, i.mean) for i in (step.in_order, step.alone)]
        yield {
            "words": FACTOR_WORDS[step.factor],
            "in_order": shown[0].replace("-", "−") if step.differs else "the same in both",
            "alone": shown[1].replace("-", "−") if step.differs else "",
        }


def _sensitivities(study: Study) -> Iterator[dict[str, str]]:
    for row in study.sensitivities:
        yield {
            "words": row.words,
            "own": row.own,
            "low": row.low,
            "high": row.high,
            "change_low": percent(row.change_low, signed=True),
            "change_high": percent(row.change_high, signed=True),
        }
