"""All targets, each in a process of its own, as many at once as there are cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from fuzz.targets import TARGETS

_TIMEOUT_S = 3_600


@click.command()
@click.option("--inputs", default=1_100_000, show_default=True, help="Of all targets together.")
@click.option("--only", help="Targets, with commas between.")
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=os.cpu_count() or 1, help="Processes at once.")
@click.option("--engine", type=click.Choice(["atheris", "mutate"]), help="Default: what is there.")
@click.option("--list", "listed", is_flag=True, help="Print the targets.")
def main(
    inputs: int, only: str | None, seed: int, jobs: int, engine: str | None, listed: bool
) -> None:
    """Fuzz every parser. The exit status is 1 where one failed."""
    names = only.split(",") if only else list(TARGETS)
    if listed:
        click.echo("\n".join(names))
        return
    shares = {name: TARGETS[name].share for name in names}
    each = {name: round(inputs * share / sum(shares.values())) for name, share in shares.items()}
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda name: _run(name, each[name], seed, engine), names))
    total, failed = sum(r["inputs"] for r in results), [r for r in results if r["failed"]]
    click.echo(f"{total:,} inputs into {len(names)} parsers, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def _run(name: str, runs: int, seed: int, engine: str | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "fuzz.worker", name, "--runs", str(runs), "--seed", str(seed)]
    command += ["--engine", engine] if engine else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    result = _result(name, done.stdout.splitlines(), done)
    rate = result["inputs"] / max(0.1, result["seconds"])
    click.echo(f"{name:24} {result['inputs']:>9,} inputs {rate:>8,.0f}/s  {result['engine']}")
    if result["failed"]:
        click.echo(f"{name}: FAILED on {result['failed']['input']}\n{result['failed']['error']}")
    return result


def _result(
    name: str, lines: Sequence[str], done: subprocess.CompletedProcess[str]
) -> dict[str, Any]:
    for line in reversed(lines):
        if line.startswith('{"target"'):
            told: dict[str, Any] = json.loads(line)
            return told
    failed = {"input": "nothing: the process ended", "error": done.stderr[-3_000:]}
    return {"target": name, "inputs": 0, "seconds": 0.0, "engine": "?", "failed": failed}


if __name__ == "__main__":
    main()
