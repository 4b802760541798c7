"""Progress bars of what is as large as only the other side knows."""

from __future__ import annotations

import io

from rich.console import Console

from ivr.cli.progress import progress


def test_a_total_that_is_known_only_later() -> None:
    out = io.StringIO()
    times = iter([0.0])
    with progress(
        "fetching",
        None,
        is_bytes=True,
        console=Console(file=out, force_terminal=True, width=100),
        clock=lambda: next(times, 3.0),
    ) as advance:
        advance(0)
        advance.say_total(4_000_000)
        advance(1_000_000)
    assert "fetching" in out.getvalue()
    assert "1.0/4.0 MB" in out.getvalue()
