"""The files in deploy/, by the tools that will read them where these are installed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from ivr.cli.serve import command as serve
from ivr.server.metrics import Metrics
from ivr.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
#: After draining: the last posts to a webhook, and the last records to the store, seconds.
LAST_S = 10 + 10


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


def options(args: list[str]) -> None:
    """Fails where ``ivr serve`` does not know the arguments."""
    serve.make_context("serve", list(args))


def exported() -> set[str]:
    """Every name that a scrape can show."""
    names = set()
    for family in Metrics().registry.collect():
        names.add(family.name)
        names |= {family.name + suffix for suffix in ("_total", "_bucket", "_sum", "_count")}
        names |= {sample.name for sample in family.samples}
    return names


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression of the dashboard and of the alerts."""
    board = json.loads((DEPLOY / "grafana" / "kapok.json").read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for mark in board["annotations"]["list"]:
        yield mark["name"], mark["expr"]
    (alerts,) = documents("alerts.yml")
    for rule in alerts["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


# --- Prometheus and Grafana -----------------------------------------------------------------


def test_every_metric_that_is_shown_exists_and_none_is_forgotten() -> None:
    names, used = exported(), set()
    for title, expression in expressions():
        found = set(re.findall(r"\b(?:kapok|process)_\w+", expression))
        assert found, title
        assert found <= names, (title, found - names)
        used |= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in found}
    counted = {family.name for family in Metrics().registry.collect()}
    ours = {name for name in counted if name.startswith("kapok_")}
    seen_elsewhere = {"kapok_build", "kapok_calls_started", "kapok_calls_ended"}
    assert ours - used - seen_elsewhere == set()


def test_the_dashboard_is_laid_out_without_overlaps() -> None:
    board = json.loads((DEPLOY / "grafana" / "kapok.json").read_text("utf-8"))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def promtool(*args: str, cwd: Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([program, *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_every_expression(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "kapok.token").write_text("x")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, (_, expr) in enumerate(expressions())
    ]
    wrapped = {"groups": [{"name": "panels", "rules": rules}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(wrapped))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "panels.yml", cwd=tmp_path)


def test_every_alert_names_a_part_of_the_runbook() -> None:
    (alerts,) = documents("alerts.yml")
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    parts = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for rule in alerts["groups"][0]["rules"]:
        page, _, part = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert part in parts, rule["alert"]


# --- containers -----------------------------------------------------------------------------


def test_compose_mounts_what_exists_and_waits_as_long_as_calls_may_last() -> None:
    (compose,) = documents("compose.yaml")
    kapok = compose["services"]["kapok"]
    assert (DEPLOY / kapok["build"]["context"] / kapok["build"]["dockerfile"]).is_file()
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            made = source.endswith(".token")  # by whoever starts it
            if source.startswith("."):
                assert made or (DEPLOY / source).exists(), source
            else:
                assert source in compose["volumes"]
    drain_s = int(re.findall(r'"--drain", "(\d+)"', (DEPLOY / "Containerfile").read_text())[0])
    assert int(kapok["stop_grace_period"].rstrip("s")) > drain_s + LAST_S
    assert kapok["environment"]["KAPOK_STORE_URL"].startswith("redis://redis:")


def test_the_containerfile_copies_what_exists_and_serves_as_a_user_without_rights() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and line[0] not in "# "]
    known = {"ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE"}
    known |= {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in steps} <= known
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest:
            *sources, _ = [part for part in shlex.split(rest) if not part.startswith("--")]
            assert all((ROOT / source).exists() for source in sources), rest
    assert dict(steps)["USER"].split(":")[0] not in ("0", "root")
    entry, arguments = (json.loads(dict(steps)[word]) for word in ("ENTRYPOINT", "CMD"))
    assert entry[:4] == [
        "tini",
        "--",
        "ivr",
        "serve",
    ]  # process 1 would ignore SIGTERM at its start
    options([*entry[4:], *arguments])
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-deps" in rest for rest in installs)
    built = [rest for rest in installs if "--no-binary" in rest or "--no-deps" in rest]
    assert all(
        "--no-build-isolation" in rest for rest in built
    )  # else pip fetches setuptools unlocked


def test_no_image_is_named_by_a_short_name_that_podman_refuses() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (DEPLOY / "Containerfile").read_text(), re.M)
    (compose,) = documents("compose.yaml")
    images = [
        service["image"] for service in compose["services"].values() if "build" not in service
    ]
    for image in [base, *images]:
        registry, *_, name = image.split("/")
        assert "." in registry, image
        assert ":" in name, f"{image}: any version"


def test_nothing_that_starts_the_server_lets_onnx_runtime_tell_its_maker() -> None:
    for name in ("Containerfile", "kapok.service"):
        assert "ORT_DISABLE_TELEMETRY=1" in (DEPLOY / name).read_text("utf-8"), name


def test_what_is_secret_does_not_get_into_the_image_and_what_is_copied_does() -> None:
    """By the last rule that fits, as the builders read it: * stays within a folder."""
    rules = [
        line for line in (ROOT / ".containerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()

    def let_in(path: str) -> bool:
        last, parents = True, [path, *map(str, Path(path).parents)][:-1]
        for rule in rules:
            plain, inner = rule.lstrip("!"), rule.startswith("**/")
            names = [Path(parent).name if inner else parent for parent in parents]
            if any(fnmatch(name, plain.removeprefix("**/")) for name in names):
                last = rule.startswith("!")
        return last

    secret = ["config/tokens.yaml", "config/elders.txt", "config/tls/server.key", ".git/config"]
    secret += [".venv/bin/ivr", "work/net.pt", "var/calls.sqlite", "deploy/prometheus.token"]
    secret += ["tests/x.py", "ivr/__pycache__/x.pyc", "config/.tokens.yaml.12.part"]
    assert [path for path in secret if let_in(path)] == []
    copied = [
        "requirements.lock",
        "requirements-build.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "ivr/asr/pool.py",
    ]
    copied += ["models/cmn/am/final.mdl", "config/queues.yaml", "config/phrases/general.txt"]
    assert [path for path in copied if not let_in(path)] == []


def test_prometheus_finds_every_node() -> None:
    (service,) = (
        part
        for part in documents("kubernetes.yaml")
        if part["kind"] == "Service" and part["spec"].get("clusterIP") == "None"
    )
    assert service["metadata"]["name"] in (DEPLOY / "prometheus.yml").read_text()
    assert service["spec"]["ports"][0]["port"] == 2701


def test_kubernetes() -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="pip install -e '.[deploy]' checks the manifest"
    )
    parts = documents("kubernetes.yaml")
    for part in parts:
        validate.validate(part, validate.latest_version(), strict=True)


def test_the_pods_settings_are_valid_and_their_probes_and_times_fit(tmp_path: Path) -> None:
    parts = {part["kind"]: part for part in documents("kubernetes.yaml")}
    (tmp_path / "config").mkdir()
    settings = tmp_path / "config" / "kapok.yaml"
    settings.write_text(parts["ConfigMap"]["data"]["kapok.yaml"], encoding="utf-8")
    loaded = load_settings(settings)
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"].removeprefix("/opt/kapok/") for mount in container["volumeMounts"]}
    assert loaded.queues.relative_to(tmp_path).parent.as_posix() in mounts
    assert loaded.server.access.tokens.relative_to(tmp_path).parent.as_posix() in mounts
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    options(container["args"])
    drain_s, pause_s = (
        int(container["args"][1]),
        int(container["lifecycle"]["preStop"]["exec"]["command"][1]),
    )
    assert pod["terminationGracePeriodSeconds"] > drain_s + pause_s + LAST_S
    resources = container["resources"]
    assert loaded.recognition.workers == int(resources["requests"]["cpu"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"calls": loaded.server.port, "http": loaded.server.http_port}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


# --- systemd --------------------------------------------------------------------------------


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "kapok.service").read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=(.+)$", text, re.M)
    program, name, *args = shlex.split(line)
    assert (Path(program).name, name) == ("ivr", "serve")
    options(args)
    drain_s = int(args[args.index("--drain") + 1])
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.M)[0]) > drain_s + LAST_S
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    unit = tmp_path / "kapok.service"
    unit.write_text(text.replace(program, sys.executable))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert "kapok.service" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
