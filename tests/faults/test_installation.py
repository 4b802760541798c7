"""The machine and its files: a full disk, a file half written, a clock that jumps."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from websockets.asyncio.client import connect

from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from tests.faults.conftest import (
    BLOCK,
    HOUSING_FUND,
    SOCIAL_SECURITY,
    a_call_is_served,
    ask,
    say,
    settings_of,
)
from tests.server.installation import Installation

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


@contextmanager
def serving_on_a_full_disk(installation: Installation) -> Iterator[str]:
    """``ivr serve`` that may write 4 kB to a file and no more; yields its address."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from ivr.cli import main; main()", "serve"),
            *("--config", str(installation.config), "--port", "0", "--drain", "1"),
            *("--log-level", "error"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait(timeout=30)


async def test_a_full_disk_costs_records_not_calls(installation: Installation) -> None:
    with installation.config.open("a", encoding="utf-8") as config:
        config.write("call_log: { folder: var/calls, recording: true }\n")
    with serving_on_a_full_disk(installation) as url:
        assert url.startswith("ws://")
        for _ in range(3):
            async with connect(url) as line:
                finals = await say(line, SOCIAL_SECURITY)
            assert [final["queue"] for final in finals] == ["social_security"]
    sizes = [path.stat().st_size for path in installation.home.rglob("var/**/*") if path.is_file()]
    assert max(sizes) == 4096  # it was full


async def test_queues_half_written_are_not_taken_up(
    services: Services, installation: Installation
) -> None:
    queues = installation.home / "config" / "queues.yaml"
    whole = queues.read_text(encoding="utf-8")
    settings = settings_of(installation, reload_s=3600.0)
    async with KapokServer(services, settings) as server, connect(server.url) as line:
        await ask(line, HOUSING_FUND[:BLOCK])
        queues.write_text(whole[: len(whole) // 2], encoding="utf-8")
        await server.reload()
        await server.reload()
        (final,) = await say(line, HOUSING_FUND[BLOCK:])
        assert final["queue"] == "housing_fund"
        await a_call_is_served(server)
        queues.write_text(whole.replace("housing_fund", "funds"), encoding="utf-8")
        for _ in range(3):
            await server.reload()
        async with connect(server.url) as late:
            (final,) = await say(late, HOUSING_FUND)
        assert final["queue"] == "funds"


async def test_a_clock_that_jumps_disturbs_no_call(
    services: Services, installation: Installation
) -> None:
    now = [NOON]
    settings = settings_of(installation)
    async with KapokServer(services, settings, now=lambda: now[0]) as server:
        async with connect(server.url) as line:
            await ask(line, HOUSING_FUND[:BLOCK])
            for jump in (timedelta(days=400), timedelta(days=-800), timedelta(hours=5)):
                now[0] += jump
                assert "error" not in await ask(line, bytes(BLOCK))
            (final,) = await say(line, HOUSING_FUND)
            assert final["queue"] == "housing_fund"
        await asyncio.gather(*(a_call_is_served(server) for _ in range(3)))
