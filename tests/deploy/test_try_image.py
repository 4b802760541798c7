"""``make image``: what it looks for, and with KAPOK_SLOW=1 the image itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.try_image import (
    DEPLOY,
    ROOT,
    SKIPPED,
    Engine,
    UnavailableError,
    base_named,
    compose_options,
    fetch,
    pod_options,
    pod_volumes,
    unwanted,
)

slow = pytest.mark.skipif(
    not os.environ.get("KAPOK_SLOW"), reason="takes minutes: make image, or KAPOK_SLOW=1"
)


def tried(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.try_image", *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def engine(folder: Path, script: str) -> Engine:
    """A program in the place of podman."""
    program = folder / "engine"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Engine(str(program))


def test_without_an_engine_it_says_so(tmp_path: Path) -> None:
    done = tried(PATH=str(tmp_path))
    assert done.returncode == SKIPPED
    assert done.stderr.startswith("not tried: no container engine runs here: install podman")


def test_an_engine_whose_service_is_down_is_none(tmp_path: Path) -> None:
    down = engine(tmp_path, "exit 1")
    with pytest.raises(UnavailableError, match="start its service"):
        Engine.find(down.program)
    assert Engine.find(engine(tmp_path, "exit 0").program).program == down.program


def test_a_base_image_that_no_registry_gives_is_named_with_the_way_out(tmp_path: Path) -> None:
    nowhere = engine(tmp_path, "echo no such host >&2; exit 125")
    with pytest.raises(UnavailableError, match=r"python:3.*no such host.*--stand-in"):
        fetch(nowhere, base_named((DEPLOY / "Containerfile").read_text("utf-8")))
    fetch(engine(tmp_path, "exit 0"), "localhost/anything")


def test_what_an_image_must_not_hold_is_found() -> None:
    packages = "/opt/kapok/.venv/lib/python3.12/site-packages"
    wrong = ["/opt/kapok/tests/x.py", "/opt/kapok/.git/config", "/src/pyproject.toml"]
    wrong += ["/opt/kapok/config/tokens.yaml", "/opt/kapok/config/elders.txt"]
    wrong += ["/opt/kapok/config/tls/server.key", "/opt/kapok/var/calls.sqlite"]
    wrong += ["/opt/kapok/models/.part", "/root/.cache/pip/x", "/var/lib/apt/lists/x_InRelease"]
    wrong += [f"{packages}/pip/__init__.py", f"{packages}/numpy/tests/test_x.py"]
    right = ["/opt/kapok/config/queues.yaml", "/opt/kapok/models/cmn/am/final.mdl"]
    right += [f"{packages}/ivr/__init__.py", f"{packages}/certifi/cacert.pem", "/etc/passwd"]
    assert unwanted([*right, *wrong]) == wrong


def test_it_runs_the_server_as_the_compose_file_does() -> None:
    options = compose_options((DEPLOY / "compose.yaml").read_text("utf-8"), Path("/there/config"))
    assert options[:3] == ["--read-only", "--tmpfs", "/tmp"]
    assert options[options.index("--cap-drop") + 1] == "ALL"
    assert options[options.index("--security-opt") + 1] == "no-new-privileges"
    assert "/there/config:/opt/kapok/config" in options
    assert "/opt/kapok/var" in options


def test_it_runs_the_server_as_the_manifest_does(tmp_path: Path) -> None:
    manifest = (DEPLOY / "kubernetes.yaml").read_text("utf-8")
    pod_volumes(manifest, tmp_path)
    options, args = pod_options(manifest, tmp_path)
    assert args == ["--drain", "100"]
    assert options[:5] == ["--user", "10001:10001", "--memory", "2g", "--read-only"]
    mounts = [options[at + 1] for at, word in enumerate(options) if word == "-v"]
    assert f"{tmp_path}/config/kapok.yaml:/opt/kapok/config/kapok.yaml:ro" in mounts
    assert f"{tmp_path}/var:/opt/kapok/var" in mounts
    assert len(mounts) == 5
    assert "workers: 2" in (tmp_path / "config" / "kapok.yaml").read_text("utf-8")
    queues = (tmp_path / "queues" / "queues.yaml").read_text("utf-8")
    assert "phrase_folder: ../config/phrases\n" in queues


@slow
@pytest.mark.timeout(4000)
def test_the_image_builds_and_serves_as_deploy_runs_it() -> None:
    """KAPOK_IMAGE_ARGS, KAPOK_BUILD_ARGS and KAPOK_RUN_ARGS say what this machine needs."""
    done = tried(*os.environ.get("KAPOK_IMAGE_ARGS", "").split())
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
