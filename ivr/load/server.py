"""A server process of its own to load, where none is named: ``ivr serve`` on a free port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ivr.errors import ServerError

__all__ = ["SERVE", "Started", "started"]

#: The command line of a server with this Python.
SERVE = (
    sys.executable,
    "-c",
    "from ivr.cli import main; main()",
    "serve",
    "--port",
    "0",
    "--log-level",
    "error",
)
_END_S = 30.0


@dataclass(frozen=True, slots=True)
class Started:
    """Where it listens, and its process."""

    url: str
    pid: int
    http_url: str | None = None


@contextmanager
def started(
    command: Sequence[str] = SERVE, *, env: Mapping[str, str] | None = None, http: bool = False
) -> Iterator[Started]:
    """Start ``command``, wait for its line ``listening on URL``, and end it afterwards.

    Args:
        http: its next line is ``http: URL``, the address of its HTTP port.

    Raises:
        ServerError: it ends, or says something else first.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise ServerError(f"the server did not start ({line.strip() or 'it said nothing'})")
        url = line.removeprefix("listening on ").strip().split()[0]
        http_url = process.stdout.readline().partition("http: ")[2].strip() if http else None
        yield Started(url, process.pid, http_url)
    finally:
        process.terminate()
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
