"""The software bill of materials: what the server is made of, as CycloneDX JSON.

    make sbom        (python scripts/make_sbom.py sbom.json)

The components are those of ``requirements.lock``, with the versions, licences and relations that
are installed here, and the hashes of their files from the lock. The speech models are components
too, with the hashes of their files.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)((?:.*\\\n)(?:\s+--hash=.*\n?)*)", re.M)


def locked(text: str) -> dict[str, list[str]]:
    """Of each package in a lock file, the SHA-256 of its files."""
    found: dict[str, list[str]] = {}
    for name, _, rest in _LOCKED.findall(text):
        found.setdefault(canonical(name), []).extend(re.findall(r"sha256:([0-9a-f]{64})", rest))
    return found


def canonical(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, Any]:
    """The bill of everything that is installed beside this Python."""
    told = subprocess.run(
        [
            *(sys.executable, "-m", "cyclonedx_py", "environment", "--no-validate"),
            "--output-reproducible",
            *("--pyproject", str(ROOT / "pyproject.toml"), "--output-format", "JSON"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    bill: dict[str, Any] = json.loads(told)
    return bill


def of_the_server(bill: dict[str, Any], hashes: dict[str, list[str]]) -> dict[str, Any]:
    """The bill with what is locked alone."""
    kept = [part for part in bill["components"] if canonical(part["name"]) in hashes]
    for part in kept:
        part.pop("externalReferences", None)
        part["hashes"] = [
            {"alg": "SHA-256", "content": content} for content in hashes[canonical(part["name"])]
        ]
    known = {part["bom-ref"] for part in kept} | {bill["metadata"]["component"]["bom-ref"]}
    edges = [
        {**edge, "dependsOn": [ref for ref in edge.get("dependsOn", ()) if ref in known]}
        for edge in bill["dependencies"]
        if edge["ref"] in known
    ]
    return {**bill, "components": kept, "dependencies": edges}


def models(folder: Path) -> list[dict[str, Any]]:
    """The models as components, each with its files: of speech a folder each, and of languages."""
    speech = [model for model in sorted(folder.iterdir()) if (model / "model.json").is_file()]
    parts = {model.name: sorted(model.rglob("*")) for model in speech}
    parts["language"] = sorted(folder.glob("language.*"))
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"model-{name}",
            "name": name,
            "licenses": [{"license": {"id": "CC-BY-SA-4.0"}}],
            "components": [_file(folder, path) for path in paths if path.is_file()],
        }
        for name, paths in parts.items()
    ]


def _file(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "file",
        "bom-ref": f"file-{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": content}],
    }


def check(bill: dict[str, Any]) -> None:
    """Raises ValueError where this is no CycloneDX bill."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(bill["specVersion"])
    error = JsonStrictValidator(version).validate_str(json.dumps(bill))
    if error is not None:
        raise ValueError(str(error))


def made() -> dict[str, Any]:
    """The bill of the server, with what is installed here."""
    hashes = locked((ROOT / "requirements.lock").read_text("utf-8"))
    bill = of_the_server(installed(), hashes)
    bill["components"] += models(ROOT / "models")
    return bill


def main(target: Path) -> None:
    """Write the bill; tell what is locked and not installed here."""
    hashes, bill = locked((ROOT / "requirements.lock").read_text("utf-8")), made()
    check(bill)
    present = {canonical(part["name"]) for part in bill["components"]}
    target.write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {len(bill['components'])} components")
    if missing := sorted(set(hashes) - present):
        print(f"locked for other platforms, not installed here: {', '.join(missing)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "sbom.json"))
