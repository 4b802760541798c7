"""CPU and memory of a server: its process and the workers that it started, through psutil.

Memory is proportional (PSS) where the kernel tells it: pages that workers share, the models
above all, are counted once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

__all__ = ["ServerMeter", "find_server"]

_MB = 1024.0 * 1024.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def find_server(url: str) -> int | None:
    """The process on this machine that listens at ``url``; None where it cannot be seen."""
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK:
        return None
    with suppress(psutil.Error, PermissionError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            _, port = connection.laddr or (None, None)
            if listens and port == parts.port and connection.pid:
                return int(connection.pid)
    return None


class ServerMeter:
    """Measures one server. ``pid`` None measures nothing, and everything is None."""

    def __init__(self, pid: int | None) -> None:
        self._root = None if pid is None else psutil.Process(pid)
        self.peak_mb: float | None = None

    def _processes(self) -> Iterator[psutil.Process]:
        if self._root is None:
            return
        yield self._root
        with suppress(psutil.Error):
            yield from self._root.children(recursive=True)

    def cpu_s(self) -> float | None:
        """CPU time used so far, seconds, user and system."""
        if self._root is None:
            return None
        total = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> float | None:
        """Memory in use, MiB."""
        if self._root is None:
            return None
        total = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                total += _memory(process) / _MB
        return total

    async def watch(self, *, every_s: float = 1.0) -> None:
        """Keep :attr:`peak_mb`, until cancelled."""
        while True:
            # Reading smaps takes milliseconds: not on the loop that paces the calls.
            now_mb = await asyncio.to_thread(self.memory_mb)
            if now_mb is not None:
                self.peak_mb = max(self.peak_mb or 0.0, now_mb)
            await asyncio.sleep(every_s)


def _memory(process: psutil.Process) -> float:
    with suppress(psutil.AccessDenied, AttributeError):
        return float(process.memory_full_info().pss)
    return float(process.memory_info().rss)
