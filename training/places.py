"""Where the recipe's commands find things and leave them: the options that they have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["parser"]

_PLACES = {
    "data": (Path("../shared/data"), "the speech and the texts"),
    "queues": (Path("config/queues.yaml"), "whose phrases callers say"),
    "work": (Path("work"), "what is made on the way"),
    "models": (Path("models"), "a directory a language"),
}


def parser(description: str | None, *places: str) -> argparse.ArgumentParser:
    """A command's parser, with an option for each of these places.

    Args:
        description: the module's docstring, printed as it stands.
        places: of ``data``, ``queues``, ``work`` and ``models``.
    """
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in places:
        default, meaning = _PLACES[name]
        p.add_argument(
            f"--{name}", type=Path, default=default, help=f"{meaning} (default: {default})"
        )
    return p
