"""Phrases as the recognisers hear them: what was heard once is not heard again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from ivr.settings import LanguageSettings
from training.hearing import _fingerprint

PARTS = ("am/final.mdl", "graph/HCLG.fst", "conf/model.conf", "second/network.onnx")


def test_a_model_is_another_where_any_part_that_decides_has_changed(tmp_path: Path) -> None:
    for part in PARTS:
        file = tmp_path / part
        file.parent.mkdir()
        file.write_text(part)
    alone = LanguageSettings(model=tmp_path)
    again = LanguageSettings(model=tmp_path, second_pass=tmp_path / "second")
    seen = [_fingerprint([alone]), _fingerprint([again])]
    assert _fingerprint([alone]) == seen[0]
    for part in PARTS:
        (tmp_path / part).write_text(f"{part}, changed")
        seen.append(_fingerprint([again]))
    assert all(a != b for a, b in itertools.combinations(seen, 2))
