"""A crowd of connections that open and say nothing, in a process of its own.

    with crowd("ws://127.0.0.1:2700", 10_000) as opened:
        print(opened())  # 10000, once all are open

They are held until the block ends. The process opens no more than its limit of open files allows.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["crowd"]

#: Files that the process has open besides.
_OTHERS = 50


@contextmanager
def crowd(url: str, connections: int) -> Iterator[Callable[[], int]]:
    """Open so many connections to the server at ``url``.

    Yields:
        What waits until they are open, and says how many they are; 0 where they could not be.
    """
    where = urlsplit(url)
    command = [sys.executable, "-m", __name__]
    process = subprocess.Popen(
        [*command, str(where.hostname), str(where.port), str(connections)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout
    try:
        yield lambda: int(said.readline() or 0)
    finally:
        process.kill()
        process.communicate()


def main(host: str, port: int, connections: int) -> None:
    """Open them, print how many they are, and hold them until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(connections, most - _OTHERS)
    held = [socket.create_connection((host, port)) for _ in range(count)]
    print(len(held), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
