"""``requirements.lock`` and the bill of materials."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from scripts import make_sbom

ROOT = Path(__file__).parents[2]
LOCK, BUILD_LOCK = (
    (ROOT / name).read_text("utf-8") for name in ("requirements.lock", "requirements-build.lock")
)
#: name -> version, for this Python and platform
LOCKED = {
    name: version
    for name, version, marker in re.findall(
        r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", LOCK, re.M
    )
    if not marker or Marker(marker.strip()).evaluate()
}


def required() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["redis"], *extras["postgres"], *extras["otel"]]
    return [Requirement(line) for line in listed]


def test_every_dependency_is_locked_in_a_version_that_is_allowed() -> None:
    for requirement in required():
        if requirement.marker and not requirement.marker.evaluate():
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in LOCKED, f"{name} is not locked: run scripts/lock"
        assert requirement.specifier.contains(LOCKED[name]), f"{name}: run scripts/lock"


def test_every_file_is_known_by_its_hash_and_no_host_is_named() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.M)[1:]
    assert len(blocks) >= len(LOCKED)
    for block in [*blocks, *re.split(r"^(?=[a-z0-9])", BUILD_LOCK, flags=re.M)[1:]]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert not re.search(r"://|--index|--find-links|^\s*-[if]\b", LOCK + BUILD_LOCK, re.M)


def test_what_builds_the_package_is_locked() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", BUILD_LOCK, re.M))
    for requirement in map(Requirement, system["requires"]):
        assert requirement.specifier.contains(locked[requirement.name]), "run scripts/lock"


def test_the_bill_of_materials_is_whole_and_valid() -> None:
    pytest.importorskip("cyclonedx_py", reason="pip install -e '.[release]' makes the bill")
    bill = make_sbom.made()
    parts = {make_sbom.canonical(part["name"]): part for part in bill["components"]}
    assert set(LOCKED) <= set(parts)
    assert parts["websockets"]["licenses"]
    assert parts["websockets"]["hashes"]
    assert {part["name"] for part in bill["components"] if "model" in part["type"]} == {
        "cmn",
        "yue",
        "language",
        "second",
    }
    files = [file["name"] for file in parts["language"]["components"]]
    assert files == ["language.json", "language.onnx"]
    refs = {part["bom-ref"] for part in bill["components"]}
    refs.add(bill["metadata"]["component"]["bom-ref"])
    assert all(set(edge.get("dependsOn", ())) <= refs for edge in bill["dependencies"])
    few = [parts[name] for name in ("websockets", "redis", "cmn")]  # all of them take long
    for part in few:
        part["hashes"] = part.get("hashes", [])[:2]
    make_sbom.check({**bill, "components": few, "dependencies": []})
    few[0]["hashes"] = [{"alg": "SHA-256", "content": "none"}]
    with pytest.raises(ValueError, match="none"):
        make_sbom.check({**bill, "components": few, "dependencies": []})
