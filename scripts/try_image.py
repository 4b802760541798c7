"""Build the container image and try it: what is in it, and whether it serves as deploy/ runs it.

    make image                                  (python -m scripts.try_image)
    python -m scripts.try_image --stand-in      with a base image made of Debian's packages
    python -m scripts.try_image --skip-build    the image that is there

It is started twice, with the options of ``deploy/compose.yaml`` and with those of
``deploy/kubernetes.yaml``: each time health and readiness are asked, calls are decided over the
socket, and SIGTERM comes during a call. Podman or docker does it, whichever is there.

What this machine's network needs comes from the environment: ``KAPOK_BUILD_ARGS`` and
``KAPOK_RUN_ARGS`` are put into the engine's ``build`` and ``run``. The exit status is 77 where it
cannot be tried here (no engine, no base image), and 1 where something is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
#: What automake calls a test that could not be made.
SKIPPED = 77
CALLS = ("cmn_social_security_001.wav", "yue_public_security_001.wav")
STAND_IN = "localhost/kapok-base"
_UID = 10001
#: The pod's other volumes, with the rights that fsGroup and defaultMode give them.
_AS_A_NODE = f"""cd /try/pod
mkdir secret var tmp
cp ../config/tokens.yaml secret
chmod 440 secret/*
chmod 2777 var tmp
chown -R 0:{_UID} secret var tmp
"""
#: Longer than an image is built on a slow machine, or a model is read from a slow disk, seconds.
_BUILD_S, _START_S, _STOP_S = 3600.0, 300.0, 60.0
#: In the file system of the image: what must not be there.
_UNWANTED = re.compile(
    r"^/src\b|^/tmp/.|^/root/\.cache|^/var/lib/apt/lists/.|^/var/cache/apt/.|/\.git(/|$)"
    r"|^/opt/kapok/(?!config/|models/|var$|\.venv/)."
    r"|^/opt/kapok/.*/(tests|pip|setuptools)/"
    r"|^/opt/kapok/(config|models|var)/(.*/)?"
    r"(tokens\.yaml|elders\.txt|\.[^/]*|[^/]*\.(token|pem|key|sqlite))$"
)


class UnavailableError(Exception):
    """It cannot be tried on this machine."""


class ImageError(Exception):
    """The image is not as it should be."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Podman or docker, whose command lines are the same as far as this goes."""

    program: str

    @classmethod
    def find(cls, name: str | None) -> Engine:
        """Raises UnavailableError where there is none that runs."""
        names = [name] if name else ["podman", "docker"]
        for program in filter(shutil.which, names):
            engine = cls(program)
            if engine.try_run("version").returncode == 0:
                return engine
        raise UnavailableError(
            f"no container engine runs here: install {' or '.join(names)}, and start its service"
        )

    def try_run(self, *args: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *args], capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def run(self, *args: str, timeout_s: float = 120.0) -> str:
        """Standard output. Raises ImageError where the engine does."""
        done = self.try_run(*args, timeout_s=timeout_s)
        if done.returncode:
            raise ImageError(
                f"{self.program} {shlex.join(args)}: exit status {done.returncode}\n"
                f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
            )
        return done.stdout


def extra(variable: str) -> list[str]:
    """Options of the engine from the environment."""
    return shlex.split(os.environ.get(variable, ""))


# --- building ---------------------------------------------------------------------------------


def base_named(containerfile: str) -> str:
    """The image that a Containerfile begins with where nothing else is said."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", containerfile, re.M)
    return str(base)


def fetch(engine: Engine, base: str) -> None:
    """Have the base image. Raises UnavailableError where no registry gives it."""
    if engine.try_run("image", "inspect", base).returncode == 0:
        return
    done = engine.try_run("pull", base, timeout_s=600.0)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UnavailableError(
            f"the base image {base} is not here and cannot be fetched ({last[:200]}); name another "
            "by --base, or make one by --stand-in"
        )


def stand_in(engine: Engine, suite: str) -> str:
    """A base image of Debian's own Python. Raises UnavailableError where none can be made."""
    name = f"{STAND_IN}:{suite}"
    if engine.try_run("image", "inspect", name).returncode == 0:
        return name
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise UnavailableError(
            "--stand-in needs root and debootstrap (apt-get install debootstrap)"
        )
    with tempfile.TemporaryDirectory() as folder:
        packages = "python3,python3-venv,ca-certificates"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", suite, folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UnavailableError(f"debootstrap {suite}: {done.stdout[-300:]}{done.stderr[-300:]}")
        for python in ("python", "python3"):
            Path(folder, "usr/local/bin", python).symlink_to("/usr/bin/python3")
        caches = ("cache/apt", "lib/apt/lists")
        archive = subprocess.Popen(
            ["tar", "-C", folder, "-c", *map("--exclude=./var/{}/*".format, caches), "."],
            stdout=subprocess.PIPE,
        )
        done = subprocess.run(
            [engine.program, "import", "-", name],
            stdin=archive.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        archive.wait()
        if done.returncode:
            raise UnavailableError(f"{engine.program} import: {done.stderr[-300:]}")
    return name


def build(engine: Engine, image: str, base: str) -> None:
    """Build deploy/Containerfile. Raises ImageError where it does not build."""
    # Podman's own format has no HEALTHCHECK.
    form = ["--format", "docker"] if "podman" in engine.program else []
    args = ["--build-arg", f"BASE={base}", "-f", str(DEPLOY / "Containerfile"), "-t", image]
    engine.run("build", *form, *extra("KAPOK_BUILD_ARGS"), *args, str(ROOT), timeout_s=_BUILD_S)


# --- what is in it ------------------------------------------------------------------------------


def unwanted(paths: Iterable[str]) -> list[str]:
    """Of the files of an image, those that have no business there."""
    return [path for path in paths if _UNWANTED.search(path)]


def check_content(engine: Engine, image: str) -> None:
    """Raises ImageError where the image holds, or lets its user write, what it should not."""
    look = [*extra("KAPOK_RUN_ARGS"), "--entrypoint", "find", image]
    every = engine.run("run", "--rm", "--user", "0", *look, "/", "-xdev", "-not", "-type", "d")
    found = unwanted(every.splitlines())
    if found:
        raise ImageError(f"{image} holds {len(found)} files that it should not: {found[:10]}")
    writable = engine.run("run", "--rm", *look, "/opt/kapok", "-writable").splitlines()
    more = [path for path in writable if not re.match(r"/opt/kapok/(config|var)(/|$)", path)]
    if more:
        raise ImageError(f"{image}: its user can write {more[:10]}")
    config = json.loads(engine.run("image", "inspect", image))[0]["Config"]
    names = [line.partition("=")[0] for line in config["Env"]]
    told = [name for name in names if re.search(r"PIP_|PROXY|TOKEN|SECRET|PASSWORD", name, re.I)]
    if told or config["User"] != f"{_UID}:{_UID}":
        raise ImageError(f"{image}: user {config['User']}, environment {told}")


# --- how deploy/ runs it --------------------------------------------------------------------------


def as_root(engine: Engine, image: str, folder: Path, script: str) -> None:
    """Run a shell script as the image's root with ``folder`` as /try: rights as nodes give them."""
    mount = ["-v", f"{folder}:/try", "--user", "0", "--entrypoint", "sh"]
    engine.run("run", "--rm", *extra("KAPOK_RUN_ARGS"), *mount, image, "-ec", script)


@contextlib.contextmanager
def installation(engine: Engine, image: str) -> Iterator[Path]:
    """A folder with a copy of config/ that belongs to the container's user."""
    with tempfile.TemporaryDirectory(prefix="kapok-try-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(ROOT / "config", folder / "config")
        (folder / "config" / "tokens.yaml").unlink(missing_ok=True)  # those of this checkout
        as_root(engine, image, folder, f"chown -R {_UID}:{_UID} /try/config")
        try:
            yield folder
        finally:
            as_root(engine, image, folder, "rm -rf /try/*")


def compose_options(text: str, config: Path) -> list[str]:
    """How ``deploy/compose.yaml`` runs the server, as the engine's options; its store is a file."""
    service = yaml.safe_load(text)["services"]["kapok"]
    options = ["--read-only"] if service["read_only"] else []
    for path in service["tmpfs"]:
        options += ["--tmpfs", path]
    for name in service["cap_drop"]:
        options += ["--cap-drop", name]
    for name in service["security_opt"]:
        options += ["--security-opt", name.replace(":true", "")]
    for volume in service["volumes"]:
        source, target = volume.split(":")
        options += ["-v", f"{config}:{target}" if source == "../config" else target]
    return options


def pod_volumes(text: str, folder: Path) -> None:
    """The files of the manifest's volumes, but the secret, below ``folder``."""
    settings = next(part for part in yaml.safe_load_all(text) if part["kind"] == "ConfigMap")
    queues = (ROOT / "config" / "queues.yaml").read_text("utf-8")
    queues = re.sub(r"^(\s*phrase_folder:).*", r"\1 ../config/phrases", queues, flags=re.M)
    for name, files in (("config", settings["data"]), ("queues", {"queues.yaml": queues})):
        (folder / name).mkdir(parents=True)
        for file, content in files.items():
            (folder / name / file).write_text(content, encoding="utf-8")


def pod_options(text: str, folder: Path) -> tuple[list[str], list[str]]:
    """How ``deploy/kubernetes.yaml`` runs the server: the engine's options, and arguments.

    Its volumes are the folders below ``folder``.
    """
    parts = yaml.safe_load_all(text)
    pod = next(part for part in parts if part["kind"] == "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user, limits = pod["securityContext"], container["resources"]["limits"]
    options = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}"]
    options += ["--memory", limits["memory"].removesuffix("i").lower()]
    if container["securityContext"]["readOnlyRootFilesystem"]:
        options.append("--read-only")
    for name in container["securityContext"]["capabilities"]["drop"]:
        options += ["--cap-drop", name]
    options += ["--security-opt", "no-new-privileges"]
    empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    for mount in container["volumeMounts"]:
        source, target = folder / mount["name"] / mount.get("subPath", ""), mount["mountPath"]
        options += ["-v", f"{source}:{target}" + ("" if mount["name"] in empty else ":ro")]
    return options, container["args"]


# --- a server that runs ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A container that serves, and how it is reached."""

    engine: Engine
    name: str
    calls: str
    http: str
    started_s: float

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        """Status and body; status 0 where nobody answers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            request = urllib.request.Request(f"http://{self.http}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=5.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def replay(self, token: str, *names: str, pace: str = "fast") -> subprocess.Popen[str]:
        """Calls from outside; the exit status is 0 where every decision is right."""
        recordings = ROOT / "audio_fixtures"
        return subprocess.Popen(
            [sys.executable, "-c", "from ivr.cli import main; main()", "replay"]
            + [str(recordings / name) for name in names]
            + ["--url", f"ws://{self.calls}/?token={token}", "--pace", pace]
            + ["--jobs", "2", "--expect", str(recordings / "labels.csv"), "--min-accuracy", "1"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def status(self) -> list[str]:
        """The container's state and exit status."""
        form = "{{.State.Status}} {{.State.ExitCode}}"
        return self.engine.run("inspect", "--format", form, self.name).split()

    def over(self) -> bool:
        return self.status()[0] in ("exited", "dead", "stopped")

    def log(self) -> str:
        done = self.engine.try_run("logs", self.name)
        return done.stdout + done.stderr


def until(true: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> float:
    """Wait, and tell for how long. Raises ImageError where it does not come true."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise ImageError(otherwise())
        time.sleep(0.1)
    return time.monotonic() - began


@contextlib.contextmanager
def serving(
    engine: Engine, image: str, options: Sequence[str], args: Sequence[str] = ()
) -> Iterator[Server]:
    """A server in a container, ready; it is removed in the end."""
    name = f"kapok-try-{os.getpid()}"
    ports = ["-p", "127.0.0.1::2700", "-p", "127.0.0.1::2701"]
    began = time.monotonic()
    try:
        more = extra("KAPOK_RUN_ARGS")
        engine.run("run", "-d", "--name", name, *ports, *more, *options, image, *args)
        calls, http = (_published(engine, name, port) for port in (2700, 2701))
        server = Server(engine, name, calls, http, began)
        until(
            lambda: server.get("/readyz")[0] == 200 or server.over(),
            _START_S,
            lambda: f"it is not ready after {_START_S:.0f} s:\n{server.log()[-3000:]}",
        )
        if server.over():
            raise ImageError(f"it ends instead of serving:\n{server.log()[-3000:]}")
        yield server
    finally:
        engine.try_run("rm", "-f", "-v", name)


def _published(engine: Engine, name: str, port: int) -> str:
    """Where a port of the container is reached; its own number in the host's network."""
    told = engine.try_run("port", name, str(port)).stdout.split()
    return told[0] if told else f"127.0.0.1:{port}"


def check_serving(server: Server, tokens: dict[str, str]) -> dict[str, float]:
    """Health, calls, refusals, rights. Raises ImageError; tells what was measured."""
    ready_s = time.monotonic() - server.started_s
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/calls", 401)):
        if server.get(path)[0] != status:
            raise ImageError(f"{path}: {server.get(path)}, and not {status}")
    _finish(server, server.replay(tokens["gateway"], *CALLS))
    inside = [server.name, "python", "-c"]
    rights = "import os; print(os.getuid(), os.access('/', 2), os.access('/opt/kapok/var', 2))"
    told = server.engine.run("exec", *inside, rights).strip()
    if told != f"{_UID} False True":
        raise ImageError(f"user, may write /, may write var: {told}")
    pages = server.get("/metrics", tokens["view"])[1]
    (workers,) = re.findall(r"^kapok_recognition_workers (\S+)$", pages, re.M)
    peak = (
        "import glob, re\n"
        "found = 0\n"
        "for path in glob.glob('/proc/[0-9]*/status'):\n"
        "    found += sum(map(int, re.findall(r'VmHWM:\\s+(\\d+)', open(path).read())))\n"
        "print(found)"
    )
    peak_mb = int(server.engine.run("exec", *inside, peak)) / 1024
    return {"ready_s": ready_s, "workers": float(workers), "peak_mb": peak_mb}


def check_stopping(server: Server, tokens: dict[str, str]) -> float:
    """SIGTERM during a call: it is decided, new ones are not taken, the exit status is 0.

    Tells the seconds between SIGTERM and the end. Raises ImageError.
    """
    call = server.replay(tokens["gateway"], CALLS[0], pace="real")
    view = tokens["view"]
    until(
        lambda: json.loads(server.get("/calls", view)[1] or "{}").get("count", 0) == 1,
        _START_S,
        lambda: "a call is not shown under /calls",
    )
    began = time.monotonic()
    server.engine.run("kill", "--signal", "TERM", server.name)
    until(lambda: server.get("/readyz")[0] == 503, 5.0, lambda: "/readyz is not 503 while draining")
    _finish(server, call)
    until(
        server.over,
        _STOP_S,
        lambda: f"it runs {_STOP_S:.0f} s after its last call:\n{server.log()[-3000:]}",
    )
    stopped_s = time.monotonic() - began
    if server.status() != ["exited", "0"]:
        raise ImageError(f"after SIGTERM: {server.status()}\n{server.log()[-3000:]}")
    for line in server.log().splitlines():
        if line.startswith("{") and json.loads(line)["level"] == "ERROR":
            raise ImageError(f"in the log: {line}")
    return stopped_s


def _finish(server: Server, replay: subprocess.Popen[str]) -> None:
    told, _ = replay.communicate(timeout=_START_S)
    if replay.returncode:
        raise ImageError(f"calls were not decided right:\n{told}\n{server.log()[-3000:]}")


def check_early_stop(engine: Engine, image: str) -> float:
    """SIGTERM while the models load ends it too; tells after how many seconds.

    Raises ImageError.
    """
    name = f"kapok-try-early-{os.getpid()}"
    try:
        engine.run("run", "-d", "--name", name, *extra("KAPOK_RUN_ARGS"), image)
        began = time.monotonic()
        engine.run("stop", "-t", f"{_STOP_S:.0f}", name)
        taken_s = time.monotonic() - began
    finally:
        engine.try_run("rm", "-f", "-v", name)
    if taken_s >= _STOP_S:
        raise ImageError("SIGTERM while it starts does not end it")
    return taken_s


# --- all of it ----------------------------------------------------------------------------------


def try_image(engine: Engine, image: str) -> None:
    """Every check in turn, and what was measured. Raises ImageError."""
    size = json.loads(engine.run("image", "inspect", image))[0]["Size"]
    check_content(engine, image)
    click.echo(f"{image}: {size / 1e6:.0f} MB, nothing in it that should not be")
    with installation(engine, image) as folder:
        compose = (DEPLOY / "compose.yaml").read_text("utf-8")
        options = compose_options(compose, folder / "config")
        make = ["run", "--rm", *extra("KAPOK_RUN_ARGS"), *options, "--entrypoint", "ivr", image]
        tokens = {
            role: engine.run(*make, "token", "new", "--role", role, "--name", "try").strip()
            for role in ("gateway", "view")
        }
        _try(engine, image, "compose.yaml", options, [], tokens)
        manifest = (DEPLOY / "kubernetes.yaml").read_text("utf-8")
        pod_volumes(manifest, folder / "pod")
        as_root(engine, image, folder, _AS_A_NODE)
        options, args = pod_options(manifest, folder / "pod")
        _try(engine, image, "kubernetes.yaml", options, args, tokens)
    click.echo(f"SIGTERM while it starts: ends after {check_early_stop(engine, image):.1f} s")


def _try(
    engine: Engine,
    image: str,
    name: str,
    options: Sequence[str],
    args: Sequence[str],
    tokens: dict[str, str],
) -> None:
    with serving(engine, image, options, args) as server:
        told = check_serving(server, tokens)
        stopped_s = check_stopping(server, tokens)
    click.echo(
        f"as {name} runs it: ready after {told['ready_s']:.1f} s, "
        f"{len(CALLS)} calls decided right, "
        f"{told['peak_mb']:.0f} MB at most with {told['workers']:.0f} workers; "
        f"SIGTERM in a call: it is decided, status 0 after {stopped_s:.1f} s"
    )


@click.command()
@click.option("--engine", "name", help="podman or docker.  [default: the first that runs]")
@click.option("--base", help="The base image.  [default: the Containerfile's]")
@click.option("--stand-in", "made", is_flag=True, help="Make the base image by debootstrap.")
@click.option("--suite", default="bookworm", show_default=True, help="Debian's, for --stand-in.")
@click.option("--image", default="localhost/kapok", show_default=True, help="What it is called.")
@click.option("--skip-build", is_flag=True, help="Try the image that is there.")
def main(
    name: str | None, base: str | None, made: bool, suite: str, image: str, skip_build: bool
) -> None:
    """Build the container image from deploy/Containerfile and try it."""
    try:
        engine = Engine.find(name)
        if not skip_build:
            base = stand_in(engine, suite) if made else base
            base = base or base_named((DEPLOY / "Containerfile").read_text("utf-8"))
            fetch(engine, base)
            began = time.monotonic()
            build(engine, image, base)
            click.echo(f"{engine.program} built {image} in {time.monotonic() - began:.0f} s")
        try_image(engine, image)
    except UnavailableError as error:
        click.echo(f"not tried: {error}", err=True)
        sys.exit(SKIPPED)
    except (ImageError, subprocess.SubprocessError) as error:
        click.echo(f"wrong: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
