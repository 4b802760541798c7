"""What the documentation shows is run: every ``console`` block of README.md and docs/.

A block is one shell session. A line that begins with a dollar sign and a space is a command (a
backslash at its end goes on in the next line); the lines below it are its output, where an
ellipsis (…) stands for anything within a line, and alone in a line for any number of lines. The
fence ``console no-run`` marks what a test cannot do (install packages, hold a microphone, run for
an hour); a test counts those, so that skipping is a decision.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES += [ROOT / "audio_fixtures" / "README.md"]
#: What a reader of the docs finds in the directory where the commands are run.
SHARED = ("audio_fixtures", "config", "docs", "models")
TIMEOUT_S = 110  # pytest's own limit is 120

_FENCE = re.compile(r"^```(\S*)[ \t]*(.*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MARKER = "--8<-- "


@dataclass(frozen=True, slots=True)
class Step:
    """One command with the output that the page shows."""

    command: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One console block of a page."""

    page: str
    line: int
    info: str
    steps: tuple[Step, ...]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def steps_of(lines: list[str]) -> tuple[Step, ...]:
    """Commands and outputs of a console block. Raises ValueError where it starts with output."""
    steps: list[Step] = []
    rest = iter(lines)
    for line in rest:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = f"{command}\n{next(rest)}"
            steps.append(Step(command, ()))
        elif steps:
            steps[-1] = Step(steps[-1].command, (*steps[-1].shown, line))
        elif line.strip():
            raise ValueError(f"output before the first command: {line!r}")
    return tuple(steps)


def blocks_of(text: str, page: str) -> list[Block]:
    """The console blocks of a Markdown page."""
    blocks: list[Block] = []
    inside: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is None and fence:
            inside, lines = (number, fence[1], fence[2].strip()), []
        elif inside is not None and fence and not fence[1]:
            if inside[1] == "console":
                blocks.append(Block(page, inside[0], inside[2], steps_of(lines)))
            inside = None
        else:
            lines.append(line)
    return blocks


def fits(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether the output shown fits what was printed, with the ellipses of the docs."""
    if not shown:
        return True
    patterns = []
    for line in (line.rstrip() for line in shown):
        if line == "…":
            patterns.append(r"(?:.*\n)*?")
        else:
            parts = (re.escape(part) for part in line.split("…"))
            patterns.append(".*".join(parts) + r"[ \t]*\n")
    return re.fullmatch("".join(patterns), "".join(f"{line}\n" for line in printed)) is not None


ALL = [
    block
    for page in PAGES
    for block in blocks_of(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))
]
RUN = [block for block in ALL if block.info != "no-run"]
HAS_MODELS = all((ROOT / "models" / code / "am" / "final.mdl").is_file() for code in ("cmn", "yue"))
_HEARS = re.compile(r"\bivr (serve|replay|transcribe|call)\b")


@pytest.fixture
def reader_home(tmp_path: Path) -> Path:
    """A directory that looks like a checkout and can be written to."""
    for name in SHARED:
        if name == "config":  # a reader edits it, and copies of a link would be the original
            shutil.copytree(ROOT / name, tmp_path / name)
        else:
            (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Wide, so that tables are not folded.
    return {**os.environ, "PATH": tools, "COLUMNS": "200", "KAPOK_HOME": str(home)}


def run(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a session of its own, of which nothing is left behind."""
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            stdout, stderr = shell.communicate(timeout=TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(shell.args, shell.returncode, stdout, stderr)


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.place)
def test_the_commands_of_the_docs_work(block: Block, reader_home: Path) -> None:
    commands = "\n".join(step.command for step in block.steps)
    if _HEARS.search(commands) and not HAS_MODELS:
        pytest.skip("models/cmn and models/yue are not there")
    script = ["set -e"]
    for step in block.steps:
        script += [step.command, f"echo '{_MARKER}'"]
    done = run("\n".join(script), reader_home)
    assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
    outputs = done.stdout.split(f"{_MARKER}\n")
    for step, output in zip(block.steps, outputs, strict=False):
        printed = output.splitlines()
        assert fits(step.shown, printed), (
            f"{block.place}: $ {step.command}\nprinted:\n{output}\nthe page shows:\n"
            + "\n".join(step.shown)
        )


def test_few_commands_are_shown_without_being_run() -> None:
    skipped = [block.place for block in ALL if block.info == "no-run"]
    assert {block.info for block in ALL} <= {"", "no-run"}
    assert len(skipped) <= 9, skipped
    assert len(RUN) >= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_every_command_is_in_the_table_of_the_readme() -> None:
    from ivr.cli import COMMANDS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"^\| `ivr {name}\b", readme, re.M), name


def test_every_target_of_the_makefile_that_the_docs_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"\bmake ([a-z]+)", _code(page.read_text(encoding="utf-8"))))
        assert named <= targets, f"{page.name}: {named - targets}"


def _code(text: str) -> str:
    fenced = re.findall(r"```.*?```", text, re.S)
    inline = re.findall(r"`[^`\n]+`", text)
    indented = re.findall(r"^    .*$", text, re.M)
    return "\n".join((*fenced, *inline, *indented))


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ((), ["anything"], True),
        (("one", "two"), ["one", "two"], True),
        (("one",), ["one", "two"], False),
        (("one", "…"), ["one", "two", "three"], True),
        (("…", "three"), ["one", "two", "three"], True),
        (("…", "four"), ["one", "two", "three"], False),
        (("took … s",), ["took 3.4 s"], True),
        (("took … s",), ["took 3.4 minutes"], False),
    ],
)
def test_ellipses_stand_for_what_varies(
    shown: tuple[str, ...], printed: list[str], expected: bool
) -> None:
    assert fits(shown, printed) is expected


def test_blocks_are_read_with_their_place_and_their_output() -> None:
    page = "a\n```console\n$ one \\\n  two\nout\n$ three\n```\n"
    page += "```console no-run\n$ four\n```\n```yaml\n$ x\n```\n"
    first, second = blocks_of(page, "p.md")
    assert first.place == "p.md:2"
    assert first.steps == (Step("one \\\n  two", ("out",)), Step("three", ()))
    assert (second.info, second.steps) == ("no-run", (Step("four", ()),))


def test_bash_is_here() -> None:
    assert shutil.which("bash"), "the docs are run with bash"
