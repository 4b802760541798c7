"""One run of a model: a seed in, statistics out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ivr.queues.simulation.kernel import advance, close
from ivr.queues.simulation.model import CentreModel
from ivr.queues.simulation.results import Calls, GroupWork, Intervals, QueueCalls, RunResult
from ivr.queues.simulation.streams import stream_keys
from ivr.queues.simulation.tables import (
    Records,
    State,
    Sums,
    grown,
    new_state,
    new_sums,
    tables_of,
)

__all__ = ["Log", "Seed", "simulate", "simulate_logged"]

Seed = int | np.random.SeedSequence
_STEP_S = 86400.0  # the longest piece in which a run neither reports nor can be interrupted


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Every call and every piece of an agent's work, as numpy records.

    The columns are ``CALL_LOG`` and ``WORK_LOG`` of ``tables.py``; outcomes are
    :class:`~ivr.queues.simulation.kernel.Outcome`. ``complete``: nothing was left out for want of
    room. A caller who accepts a call-back has ``on_line`` 0.
    """

    calls: Records
    work: Records
    complete: bool


def simulate(
    model: CentreModel, seed: Seed, *, progress: Callable[[float], None] | None = None
) -> RunResult:
    """Run ``model`` once.

    The same model and seed give the same result. ``progress`` is called with the share that is
    done, after each day. Memory is that of the statistics and of the calls alive at one time. The
    first run on a machine compiles the kernel (``compiling.py``).
    """
    return _run(model, seed, new_sums(model), progress)[0]


def simulate_logged(
    model: CentreModel, seed: Seed, *, calls: int, work: int | None = None
) -> tuple[RunResult, Log]:
    """As :func:`simulate`, with a log of up to ``calls`` calls and ``work`` pieces of work."""
    sums = new_sums(model, call_log=calls, work_log=2 * calls if work is None else work)
    result, state = _run(model, seed, sums, None)
    logged, worked = (int(state.clock[n][0]) for n in ("calls_logged", "work_logged"))
    complete = logged <= len(sums.call_log) and worked <= len(sums.work_log)
    return result, Log(sums.call_log[:logged], sums.work_log[:worked], complete)


def _run(
    model: CentreModel, seed: Seed, sums: Sums, progress: Callable[[float], None] | None
) -> tuple[RunResult, State]:
    if isinstance(seed, int):
        seed = np.random.SeedSequence(seed)
    tables, keys = tables_of(model), stream_keys(seed)
    state = new_state(model, tables)
    end_s, until_s = model.length_s + model.period_s, 0.0
    while until_s < end_s:
        until_s = min(end_s, until_s + _STEP_S)
        while not advance(tables, state, sums, keys, until_s):
            state = grown(state, len(state.slots))
        if progress:
            progress(until_s / end_s)
    state.clock["now"] = end_s
    close(tables, state, sums)
    return _result(model, sums, state), state


def _result(model: CentreModel, sums: Sums, state: State) -> RunResult:
    length_s = model.length_s - model.warm_up_s
    needs = {need.name: _calls(sums, n) for n, need in enumerate(model.needs)}
    first, *others = needs.values()
    queues = {
        queue.name: QueueCalls(
            length_s=length_s, wait_histogram=sums.queue_wait[q], **_row(sums.queues[q])
        )
        for q, queue in enumerate(model.queues)
    }
    groups = {
        group.name: GroupWork(**{f.name: state.groups[g][f.name].item() for f in fields(GroupWork)})
        for g, group in enumerate(model.groups)
    }
    return RunResult(
        calls=sum(others, first),
        needs=needs,
        queues=queues,
        groups=groups,
        intervals=Intervals(**{n: sums.intervals[n] for n in sums.intervals.dtype.names or ()}),
        length_s=length_s,
        replications=1,
        callers=int(state.clock["callers"][0]),
    )


def _row(row: np.void) -> dict[str, Any]:
    return {name: row[name].item() for name in row.dtype.names or ()}


def _calls(sums: Sums, n: int) -> Calls:
    return Calls(
        wait_histogram=sums.wait[n], to_agent_histogram=sums.to_agent[n], **_row(sums.calls[n])
    )
