"""The first simulation on a machine compiles the kernel; whoever waits for it is told so."""

from __future__ import annotations

import threading

import click

from ivr.queues.simulation.runs import compile_kernel

__all__ = ["NOTICE", "ready_kernel"]

NOTICE = "Compiling the simulator: once on this machine, about a quarter of a minute …"
_SILENT_S = 3.0  # reading the compiled kernel takes about one


def ready_kernel() -> None:
    """Compile the kernel or read it from the cache; a notice on standard error if that lasts."""
    notice = threading.Timer(_SILENT_S, click.echo, (NOTICE,), {"err": True})
    notice.daemon = True
    notice.start()
    try:
        compile_kernel()
    finally:
        notice.cancel()
