"""The queue simulator: a model of a call centre, its kernel and what it measures.

``model.py`` says what is simulated, ``results.py`` what is measured, ``run.py`` runs it once,
``runs.py`` many times on all cores.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ivr.queues.simulation.distributions import (
    NEVER,
    NOTHING,
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Never,
)
from ivr.queues.simulation.model import (
    DAY_S,
    ArrivalRates,
    CallBack,
    CentreModel,
    FrontEnd,
    Group,
    Need,
    Queue,
    Redial,
    Shift,
    Skill,
    Trace,
    Transfer,
)
from ivr.queues.simulation.results import (
    Calls,
    GroupWork,
    Intervals,
    QueueCalls,
    RunResult,
    merge,
)

if TYPE_CHECKING:
    from ivr.queues.simulation.run import Log, Seed, simulate, simulate_logged
    from ivr.queues.simulation.runs import (
        DaskCluster,
        Engine,
        LocalProcesses,
        LocalThreads,
        Replications,
        replicate,
        replicate_all,
    )

__all__ = [
    "DAY_S",
    "NEVER",
    "NOTHING",
    "ArrivalRates",
    "CallBack",
    "Calls",
    "CentreModel",
    "Constant",
    "DaskCluster",
    "Distribution",
    "Empirical",
    "Engine",
    "Exponential",
    "FrontEnd",
    "Group",
    "GroupWork",
    "Intervals",
    "LocalProcesses",
    "LocalThreads",
    "Log",
    "LogNormal",
    "Need",
    "Never",
    "Queue",
    "QueueCalls",
    "Redial",
    "Replications",
    "RunResult",
    "Seed",
    "Shift",
    "Skill",
    "Trace",
    "Transfer",
    "merge",
    "replicate",
    "replicate_all",
    "simulate",
    "simulate_logged",
]

#: What needs the kernel, and with it numba, is imported when it is asked for: a server that only
#: reads scenarios and formulas does without.
_LATE = {
    **dict.fromkeys(("Log", "Seed", "simulate", "simulate_logged"), "run"),
    **dict.fromkeys(
        (
            "DaskCluster",
            "Engine",
            "LocalProcesses",
            "LocalThreads",
            "Replications",
            "replicate",
            "replicate_all",
        ),
        "runs",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
