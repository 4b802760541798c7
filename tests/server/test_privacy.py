"""Calls in which numbers of persons are said and signalled, and then everything is searched."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from ivr.server.access import Role, TokenFile, new_token
from ivr.settings import load_settings
from tests.asr.tone_model import say, write_tone_model
from tests.server.installation import MANDARIN, _hertz, write_installation

#: Said as one word of the tone model.
SPOKEN = "一三八零零一三八零零零"
WORDS = {**MANDARIN, "电话": (_hertz(20), 1.0), SPOKEN: (_hertz(22), 1.0)}
CALLER = "13911112222"
SECRETS = (SPOKEN, "13800138000", "八零零一三八", CALLER, "1111222")


@dataclass
class Running:
    """A server process, and what it wrote."""

    process: subprocess.Popen[str]
    url: str
    http: str
    home: Path

    def log(self) -> str:
        """Stops it, and returns what it printed."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out + err


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        assert ready.select(timeout=60), "the server said nothing"
    return process.stdout.readline()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    installation = write_installation(tmp_path / "kapok")
    shutil.rmtree(installation.home / "models" / "cmn")
    write_tone_model(installation.home / "models" / "cmn", WORDS)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from ivr.cli import main; main()", "serve", "--drain", "1"),
            *("--config", str(installation.config), "--port", "0", "--http-port", "0"),
            *("--log-level", "debug", "--log-format", "json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KAPOK_STORE_URL": ""},
    )
    assert process.stdout is not None
    url = line(process).removeprefix("listening on ").strip()
    http = process.stdout.readline().split()[-1]  # printed at once
    yield Running(process, url, http, installation.home)
    if process.poll() is None:
        process.kill()
    process.communicate()


def token(home: Path, role: Role) -> str:
    text, made = new_token(role.value, role, now=datetime.now(UTC))
    TokenFile(load_settings(home / "config" / "kapok.yaml").server.access.tokens).add(made)
    return text


def get(url: str, shown: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {shown}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_no_number_and_no_token_leaves_the_server_by_a_side_door(server: Running) -> None:
    gateway, viewer = token(server.home, Role.GATEWAY), token(server.home, Role.VIEW)
    replies: list[dict[str, Any]] = []
    with connect(f"{server.url}/?token={gateway}") as websocket:
        websocket.send(json.dumps({"config": {"call_id": "CA-1", "caller": CALLER}}))
        said = say(WORDS, "电话", SPOKEN) + say(WORDS, "我要查", "社保")
        for start in range(0, len(said), 3200):
            websocket.send(said[start : start + 3200])
            replies.append(json.loads(websocket.recv()))
        websocket.send("not JSON: " + CALLER)
        replies.append(json.loads(websocket.recv()))
        shown = get(f"{server.http}/calls", viewer) + get(f"{server.http}/metrics", viewer)
    told = json.dumps(replies, ensure_ascii=False)
    assert "电话*********零零" in told  # it was heard
    assert "kapok_calls" in shown
    log = server.log()
    assert "CA-1" in log
    for secret in (*SECRETS, gateway, viewer, gateway[15:], viewer[15:]):
        assert secret not in shown, secret
        assert secret not in log, secret
