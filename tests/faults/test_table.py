"""The table of faults in docs/reliability.md: its commands, and that no test is left out of it."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"
COMMAND = re.compile(r"\| `(KAPOK_SLOW=1 )?pytest tests/faults -k (\w+)` \|$", re.MULTILINE)


def test_each_fault_has_its_command_and_each_test_its_row() -> None:
    here = Path(__file__).parent
    tests = {
        f"{path.name}::{name}": marks
        for path in sorted(here.glob("test_*.py"))
        if path.name != Path(__file__).name
        for marks, name in re.findall(
            r"((?:^@.*\n)*)^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.M
        )
    }
    shown = set()
    for is_slow, word in COMMAND.findall(DOCS.read_text(encoding="utf-8")):
        found = {name for name in tests if word in name}
        assert found, f"-k {word} runs no test"
        assert bool(is_slow) == any("@slow" in tests[name] for name in found), word
        shown |= found
    assert shown == set(tests)
