from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tone_model, whatever the import mode

from tone_model import CANTONESE_WORDS, MANDARIN_WORDS, write_tone_model

from ivr.asr.vosk_engine import VoskEngine
from ivr.language import Language


@pytest.fixture(scope="session")
def mandarin(tmp_path_factory: pytest.TempPathFactory) -> VoskEngine:
    path = write_tone_model(tmp_path_factory.mktemp("models") / "cmn", MANDARIN_WORDS)
    return VoskEngine.load(path, Language.MANDARIN)


@pytest.fixture(scope="session")
def cantonese(tmp_path_factory: pytest.TempPathFactory) -> VoskEngine:
    path = write_tone_model(tmp_path_factory.mktemp("models") / "yue", CANTONESE_WORDS)
    return VoskEngine.load(path, Language.CANTONESE)
