"""The event loop that commands run on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from ivr import event_loop


async def _kind() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_commands_run_on_uvloop() -> None:
    pytest.importorskip("uvloop")
    assert event_loop.run(_kind()).startswith("uvloop")


def test_without_uvloop_they_run_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(_kind()).startswith("asyncio")
    loop = event_loop.new_event_loop()
    assert type(loop).__module__.startswith("asyncio")
    loop.close()


def test_what_it_raises_comes_through() -> None:
    async def fail() -> None:
        raise LookupError("nobody")

    with pytest.raises(LookupError, match="nobody"):
        event_loop.run(fail())
