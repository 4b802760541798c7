"""The page of the design names every module, so that someone new finds any behaviour."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (`[^|]*`) \| (.+) \|$", re.MULTILINE)


def named() -> list[str]:
    """Paths of the table's first column; a bare name lies in the folder of the one before."""
    found = []
    for cells, _ in _ROW.findall(PAGE):
        folder = ""
        for name in re.findall(r"`([^`]+)`", cells):
            path = name if name.split("/")[0] in TOP else folder + name
            folder = path.rpartition("/")[0] + "/"
            found.append(path)
    return found


TOP = {path.name for path in ROOT.iterdir() if path.is_dir()}
MODULES = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "ivr").rglob("*.py"))
    if path.name != "__init__.py" and path.name != "__main__.py"
]


#: What NAME stands for: a protocol, which has a client.
PROTOCOLS = {path.stem for path in (ROOT / "ivr/gateways").glob("*.py")} & {
    path.stem for path in (ROOT / "ivr/gateways/clients").glob("*.py")
}


def is_named(module: str) -> bool:
    """In a row of its own, by a pattern (``report*.py``, ``NAME.py``), or within a folder's row."""
    path = PurePosixPath(module)
    name = path.stem if path.stem in PROTOCOLS else "NAME"
    return any(
        module.startswith(row) if row.endswith("/") else path.match(row.replace("NAME", name))
        for row in named()
    )


def test_every_module_is_in_the_table() -> None:
    assert len(MODULES) > 100
    assert [module for module in MODULES if not is_named(module)] == []


@pytest.mark.parametrize("folder", ["bench", "fuzz", "scripts", "training", "deploy"])
def test_every_folder_beside_the_package_is_in_the_table(folder: str) -> None:
    assert any(row.startswith(folder) for row in named())


def test_nothing_is_named_that_is_not_there() -> None:
    gone = [row for row in named() if not list(ROOT.glob(row.rstrip("/").replace("NAME", "*")))]
    assert gone == []


def test_a_module_that_is_not_named_is_missed() -> None:
    assert not is_named("ivr/intent/telepathy.py")
    assert not is_named("ivr/telepathy.py")


def test_no_test_loads_another_openfst_beside_vosk() -> None:
    # Every process that runs tests has loaded all their modules by now. Two versions in one process
    # share what each lays out in its own way, and the process dies in some other test.
    assert not {"_pywrapfst", "pywrapfst", "pynini", "kaldilm"} & set(sys.modules)
