"""The model card is written from the measured figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.card import write_readme

ROOT = Path(__file__).parents[2]


def test_figures_stand_in_the_card(tmp_path: Path) -> None:
    card = {
        "name": "kapok-small-yue",
        "language": "yue",
        "parameters": 2_992_949,
        "units": 230,
        "trained": {"updates": 29_000, "minutes": 105.0},
        "accuracy": {
            "development": {
                "base_syllable_error": 0.3125,
                "character_error": 0.4,
                "real_time_factor": 0.0123,
                "utterances": 44,
            }
        },
    }
    (tmp_path / "model.json").write_text(json.dumps(card), encoding="utf-8")
    write_readme(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| development | 44 | 31.2 % |  | 40.0 % |  |  | 0.012 |" in text
    assert "Cantonese" in text
    assert "- tuning" not in text
    assert "emits 230 units (initials and toned finals)." in text
    (tmp_path / "model.json").write_text(json.dumps(card | {"units_in_context": 30}))
    write_readme(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "(initials and toned finals, 30 of them told apart by what stands beside them" in text


@pytest.mark.parametrize("language", ["cmn", "yue"])
def test_shipped_cards_are_up_to_date(language: str, tmp_path: Path) -> None:
    folder = ROOT / "models" / language
    (tmp_path / "model.json").write_bytes((folder / "model.json").read_bytes())
    write_readme(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (folder / "README.md").read_text(
        encoding="utf-8"
    )
