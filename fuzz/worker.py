"""One target in a process of its own: so many inputs, or one that is shown again.

With atheris the inputs are guided by which code they reach; without it they are changes at random.
Prints one JSON line: target, inputs, seconds, engine, and what failed.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

REPORTS = Path("reports", "fuzz")
_LONGEST = 16_384
_TIMEOUT_S = 20


@click.command()
@click.argument("name")
@click.option("--runs", default=10_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--engine", type=click.Choice(["atheris", "mutate"]))
@click.option("--reproduce", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(name: str, runs: int, seed: int, engine: str | None, reproduce: Path | None) -> None:
    """Run the target NAME."""
    if reproduce is not None:
        from fuzz.targets import TARGETS

        TARGETS[name].run(reproduce.read_bytes())
        print("nothing wrong")
        return
    engine = engine or ("atheris" if _has_atheris() else "mutate")
    (_guided if engine == "atheris" else _mutated)(name, runs, seed)


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


def _mutated(name: str, runs: int, seed: int) -> None:
    from fuzz.mutate import inputs
    from fuzz.targets import TARGETS

    target, begun = TARGETS[name], time.monotonic()
    for number, data in enumerate(inputs(target.seeds(), runs, seed=seed), start=1):
        try:
            target.run(data)
        except Exception:
            _report(name, number, begun, "mutate", failed=_keep(name, data))
            sys.exit(1)
    _report(name, runs, begun, "mutate")


def _guided(name: str, runs: int, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["ivr"], enable_loader_override=False):
        from fuzz.targets import TARGETS

    target, begun, done = TARGETS[name], time.monotonic(), 0

    def once(data: bytes) -> None:
        nonlocal done
        done += 1
        try:
            target.run(data)
        except Exception:
            _report(name, done, begun, "atheris", failed=_keep(name, data))
            _leave(1)
        if done >= runs:
            _report(name, done, begun, "atheris")
            _leave(0)

    with tempfile.TemporaryDirectory(prefix="kapok-fuzz-") as folder:
        for number, data in enumerate(target.seeds()):
            Path(folder, f"seed{number}").write_bytes(data)
        options = {"seed": seed, "max_len": _LONGEST, "timeout": _TIMEOUT_S, "rss_limit_mb": 4096}
        arguments = [f"-{key}={value}" for key, value in options.items()]
        atheris.Setup([sys.argv[0], *arguments, "-verbosity=0", folder], once)
        atheris.Fuzz()


def _leave(status: int) -> NoReturn:
    """End here and now: atheris would print pages."""
    sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(status)


def _keep(name: str, data: bytes) -> dict[str, Any]:
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return {"input": str(path), "error": traceback.format_exc(limit=-6)}


def _report(
    name: str, runs: int, begun: float, engine: str, *, failed: dict[str, Any] | None = None
) -> None:
    seconds = round(time.monotonic() - begun, 1)
    told = {"target": name, "inputs": runs, "seconds": seconds, "engine": engine, "failed": failed}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
