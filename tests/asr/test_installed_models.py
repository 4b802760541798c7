"""The models in ``models/`` on the fixtures: that they load, hear and tell the languages apart.

Bounds are wide: how good the models are is measured by ``ivr replay --expect``, not here.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rapidfuzz.distance import Levenshtein

from ivr.asr.bilingual import Utterance, utterances
from ivr.asr.factory import Speech, load_speech
from ivr.asr.models import read_card
from ivr.audio.files import read_audio
from ivr.intent.sounds import syllables
from ivr.language import Language
from ivr.settings import load_settings

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "audio_fixtures"


def labels() -> list[dict[str, str]]:
    with (FIXTURES / "labels.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


SPOKEN = [row for row in labels() if row["kind"] == "speech"]
#: Every eleventh: five or six of each language, spread over the queues.
SAMPLE = SPOKEN[::11]


@pytest.fixture(scope="module")
def speech() -> Speech:
    return load_speech(load_settings(ROOT / "config/kapok.yaml"))


@pytest.fixture(scope="module")
def heard(speech: Speech) -> dict[str, list[Utterance]]:
    def hear(name: str) -> list[Utterance]:
        pcm = read_audio(FIXTURES / name, rate_hz=speech.rate_hz).pcm
        return list(utterances(speech.call(rate_hz=speech.rate_hz), pcm))

    return {row["file"]: hear(row["file"]) for row in SAMPLE}


def test_the_sample_has_both_languages() -> None:
    counts = [sum(row["language"] == language for row in SAMPLE) for language in Language]
    assert min(counts) >= 4


@pytest.mark.parametrize("language", list(Language))
def test_models_have_cards_with_licence_and_accuracy(language: Language) -> None:
    card = read_card(ROOT / "models" / language)
    assert card.language is language
    assert card.licence == "CC BY-SA 4.0"
    assert card.source
    assert card.accuracy


def test_the_language_is_told(heard: dict[str, list[Utterance]]) -> None:
    right = [
        bool(heard[row["file"]]) and heard[row["file"]][0].language == row["language"]
        for row in SAMPLE
    ]
    # A floor: 97 % of all fixtures are right, and these are 12 of them.
    assert sum(right) >= 0.8 * len(right)


@pytest.mark.parametrize("language", list(Language))
def test_most_syllables_are_heard(heard: dict[str, list[Utterance]], language: Language) -> None:
    errors = length = 0
    for row in SAMPLE:
        if row["language"] == language:
            said = _base(row["text"], language)
            text = "".join(
                utterance.recognitions[language].text for utterance in heard[row["file"]]
            )
            errors += Levenshtein.distance(said, _base(text, language))
            length += len(said)
    # A floor: 0.23 of all fixtures' syllables are wrong in Mandarin, 0.18 in Cantonese.
    assert errors / length < 0.4


def _base(text: str, language: Language) -> list[str]:
    return [syllable.rstrip("123456") for syllable in syllables(text, language)]


def test_words_lie_within_the_speech(heard: dict[str, list[Utterance]]) -> None:
    late = []
    for row in SAMPLE:
        for utterance in heard[row["file"]]:
            best = utterance.recognition.best
            assert best is not None
            assert 0 <= best.words[0].start_s <= best.words[-1].end_s <= utterance.duration_s
            end_s = utterance.start_s + best.words[-1].end_s
            if end_s >= float(row["speech_end_s"]) + 0.8:
                late.append(row["file"])
    # A word may be heard in the noise after a call's last one, but not often.
    assert len(late) <= 0.1 * len(SAMPLE), late


def test_one_configuration_line_changes_the_model(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config/kapok.yaml"
    text = (ROOT / "config/kapok.yaml").read_text(encoding="utf-8")
    line = "  yue: { engine: kapok, model: models/yue, second_pass: models/second }"
    assert line in text
    file.write_text(
        text.replace(line, f"  yue: {{ engine: vosk, model: {ROOT}/models/cmn }}").replace(
            " models/", f" {ROOT}/models/"
        ),
        encoding="utf-8",
    )
    speech = load_speech(load_settings(file))
    assert speech.engines[Language.CANTONESE].language is Language.CANTONESE
    assert speech.call().accept(bytes(1600)).partial == ""
