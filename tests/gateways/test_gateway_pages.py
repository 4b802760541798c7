"""The commands that docs/gateways/ shows are ones that ``ivr call`` takes."""

from __future__ import annotations

import re
import shlex

import pytest

from ivr.cli.call import command
from ivr.gateways.clients import CLIENTS
from tests.gateways.asterisk import ROOT

PAGES = sorted((ROOT / "docs" / "gateways").glob("*.md"))
COMMANDS = [
    (page.name, line)
    for page in PAGES
    for line in re.findall(r"^(?:\$ )?ivr call (.+)$", page.read_text(encoding="utf-8"), re.M)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_is_one_that_ivr_call_takes(page: str, line: str) -> None:
    given = command.make_context("call", shlex.split(line)).params
    assert str(given["file"]) == "FILE" or (ROOT / given["file"]).is_file()


@pytest.mark.parametrize("name", ["asterisk", "audiosocket", "aeap", "freeswitch", "jambonz"])
def test_each_protocol_is_shown_with_its_client(name: str) -> None:
    assert name in CLIENTS
    assert any(f"--gateway {name} " in line for _, line in COMMANDS)
