"""``ivr serve`` as a process of its own, over a real socket."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.sync.client import connect

from ivr.cli.serve import command
from ivr.errors import ConfigError, ModelError, ServerError
from ivr.language import Language
from tests.server.installation import Installation, speak, write_installation


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("serve") / "kapok")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        assert ready.select(timeout=60), "the server said nothing"
    return process.stdout.readline()


@pytest.fixture
def server(installation: Installation, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from ivr.cli import main; main()", "serve"),
            *("--config", str(installation.config)),
            *("--port", "0", "--ready-file", str(tmp_path / "ready"), "--drain", "5"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_it_says_where_it_listens_answers_a_call_and_stops_in_order(
    server: subprocess.Popen[str], tmp_path: Path
) -> None:
    line = first_line(server)
    found = re.fullmatch(r"listening on (ws://127\.0\.0\.1:\d+)\n", line)
    assert found, line
    assert (tmp_path / "ready").read_text() == found[1] + "\n"
    with connect(found[1]) as websocket:
        websocket.send(speak(Language.MANDARIN, "我要查", "社保"))
        assert '"queue" : "social_security"' in str(websocket.recv())
        server.send_signal(signal.SIGTERM)  # the call may still finish
        websocket.send('{"eof" : 1}')
        assert '"text" : ""' in str(websocket.recv())
    assert server.wait(timeout=30) == 0
    assert server.stdout is not None
    assert server.stderr is not None
    out, err = server.stdout.read(), server.stderr.read()
    assert "models/cmn" in out
    assert "queues.yaml" in out
    assert not (tmp_path / "ready").exists()
    assert "draining 1 calls" in err
    assert "Traceback" not in err
    assert "我要查" not in err


def test_a_model_with_a_file_missing_is_one_clear_error(tmp_path: Path) -> None:
    broken = write_installation(tmp_path / "kapok")
    (broken.home / "models" / "yue" / "graph" / "HCLG.fst").unlink()
    with pytest.raises(ModelError, match=r"models/yue/graph/HCLG\.fst .*missing; copy the whole"):
        _serve(broken)


def test_a_missing_model_is_one_clear_error(tmp_path: Path) -> None:
    broken = write_installation(tmp_path / "kapok")
    shutil.rmtree(broken.home / "models" / "cmn")
    with pytest.raises(ModelError, match="there is no such model directory"):
        _serve(broken)


def test_bad_queues_are_one_clear_error(tmp_path: Path) -> None:
    broken = write_installation(tmp_path / "kapok")
    queues = broken.home / "config" / "queues.yaml"
    queues.write_text(queues.read_text().replace("id: housing_fund", "id: social_security"))
    with pytest.raises(ConfigError, match=r"queues\.yaml:\d+:\d+: .*social_security"):
        _serve(broken)


def test_an_address_that_cannot_be_listened_on(installation: Installation) -> None:
    with pytest.raises(ServerError, match=r"cannot listen on 192\.0\.2\.1:0 .*--host"):
        _serve(installation, "--host", "192.0.2.1")


def _serve(installation: Installation, *args: str) -> None:
    CliRunner().invoke(
        command,
        ["--config", str(installation.config), *args],
        catch_exceptions=False,
    )
