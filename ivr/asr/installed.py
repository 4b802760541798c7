"""What is installed in ``models/``: each model with its size, source and measured accuracy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr.asr.joint_decoding import is_joint
from ivr.asr.models import ModelCard, check_vosk_directory, read_card
from ivr.asr.sherpa_models import TOKENS, check_sense_voice, check_sherpa_directory
from ivr.errors import ModelError
from ivr.language import Language

__all__ = ["InstalledModel", "installed_models"]


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One directory of ``models/``."""

    name: str
    path: Path
    size_bytes: int
    language: Language | None = None
    rate_hz: int | None = None
    card: ModelCard = field(default_factory=ModelCard)
    problem: str | None = None  # why it cannot be used

    def as_json(self) -> Mapping[str, Any]:
        """Plain values, for ``ivr models --json``."""
        return {
            "name": self.name,
            "path": str(self.path),
            "language": self.language.value if self.language else None,
            "rate_hz": self.rate_hz,
            "size_bytes": self.size_bytes,
            "problem": self.problem,
            **{
                key: getattr(self.card, key)
                for key in (
                    "version",
                    "source",
                    "licence",
                    "trained",
                    "parameters",
                    "units",
                    "words",
                )
            },
            "accuracy": self.card.accuracy,
        }


def installed_models(
    root: Path, *, also: Mapping[Language, Path] | None = None
) -> tuple[InstalledModel, ...]:
    """Every model directory under ``root``, by name, and those that the settings name.

    ``also`` maps a language to the model that the settings give it: it may lie outside ``root``,
    and it tells the language of a model without a card.

    Raises:
        ModelError: ``root`` cannot be listed. A broken model does not raise: it is listed with
            its ``problem``.
    """
    wanted = {path.resolve(): language for language, path in (also or {}).items()}
    found = {path.resolve(): path for path in (also or {}).values()}
    found |= {path.resolve(): path for path in _candidates(root)}
    return tuple(
        _describe(found[key], wanted.get(key)) for key in sorted(found, key=lambda p: p.name)
    )


def _candidates(root: Path) -> Iterable[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelError(f"{root}: cannot be listed ({error.strerror})") from error


def _describe(path: Path, language: Language | None) -> InstalledModel:
    card, rate_hz, problem = ModelCard(), None, None
    try:
        card = read_card(path)
        rate_hz = _rate_hz(path)
    except ModelError as error:
        problem = str(error)
    return InstalledModel(
        name=card.name or path.name,
        path=path,
        size_bytes=_size_bytes(path),
        language=card.language or language,
        rate_hz=rate_hz,
        card=card,
        problem=problem,
    )


def _rate_hz(path: Path) -> int | None:
    """The rate of a model that is whole; None for one that is only a second pass."""
    if is_joint(path):
        return None
    if not (path / TOKENS).exists():
        return check_vosk_directory(path).rate_hz
    if "sense-voice" in path.name:
        check_sense_voice(path)
        return None
    return check_sherpa_directory(path).settings.rate_hz


def _size_bytes(path: Path) -> int:
    return sum(
        (Path(folder) / name).stat().st_size
        for folder, _, names in os.walk(path)
        for name in names
        if (Path(folder) / name).is_file()
    )
