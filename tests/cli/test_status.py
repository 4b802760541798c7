"""``ivr status`` against a real HTTP port."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli.status import command
from ivr.errors import ServerError
from ivr.server.access import Role
from tests.server.test_http_api import make, record


async def run(*args: str) -> Result:
    def invoke() -> Result:
        return CliRunner().invoke(command, args, catch_exceptions=False)

    return await asyncio.to_thread(invoke)


async def test_how_it_is(tmp_path: Path) -> None:
    made = make(tmp_path)
    async with made.serve() as api:
        result = await run(api.url)
        assert (result.exit_code, result.output.splitlines()[0]) == (
            1,
            "takes no calls: models are being loaded",
        )
        made.sources.health.loaded()
        made.sources.registry.begin(record("c1", state="listening"))
        result = await run(api.url + "/")
        assert result.exit_code == 0
        assert "calls: 1 (1 listening)" in result.output
        assert "  general: open, 0 waiting, expected wait 42 s" in result.output
        told = json.loads((await run(api.url, "--json")).output)
        assert (told["ready"], told["calls"][0]["call_id"]) == (True, "c1")


async def test_it_shows_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(tmp_path)
    made.sources.health.loaded()
    async with made.serve() as api:
        header = made.token(Role.VIEW)
        with pytest.raises(ServerError, match="a token is needed"):
            await run(api.url)
        monkeypatch.setenv("KAPOK_TOKEN", header["Authorization"].removeprefix("Bearer "))
        assert (await run(api.url)).exit_code == 0


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://127.0.0.1:1", "no server answers"),
        ("ws://127.0.0.1:2700", "write http://HOST:PORT"),
    ],
)
async def test_nobody_there(url: str, what: str) -> None:
    with pytest.raises(ServerError, match=what):
        await run(url)
