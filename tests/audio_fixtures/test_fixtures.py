"""The committed fixtures are what ``labels.csv`` and the README say, and can be made again."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from audio_fixtures import effects, make

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "audio_fixtures"
QUEUES = (
    "consumer_rights",
    "social_security",
    "urban_housing_fund",
    "public_security",
    "general",
    "enterprise_services",
)
LANGUAGES = ("cmn", "yue")
SAMPLE_OF_EACH = ("cmn_social_security_003", "yue_general_005", "none_noise_003")

with (FOLDER / "labels.csv").open(encoding="utf-8", newline="") as file:
    LABELS = list(csv.DictReader(file))


def bare(text: str) -> str:
    return re.sub(r"[^\w]", "", text)


def test_the_labels_name_exactly_the_files_that_are_there() -> None:
    named = [label["file"] for label in LABELS]
    assert len(set(named)) == len(named)
    assert set(named) == {path.name for path in FOLDER.glob("*.wav")}


def test_the_labels_are_those_of_the_phrases() -> None:
    rows = make.catalogue()
    assert [(f"{r.name}.wav", r.language, r.kind, r.queue, r.text, r.emergency) for r in rows] == [
        tuple(label[c] for c in ("file", "language", "kind", "queue", "text", "emergency"))
        for label in LABELS
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_call_is_there_in_each_language(language: str) -> None:
    mine = [label for label in LABELS if label["language"] == language]
    kinds = Counter(label["kind"] for label in mine)
    queues = Counter(label["queue"] for label in mine if label["kind"] == "speech")
    assert len(mine) >= 66
    assert set(queues) == set(QUEUES)
    assert min(queues.values()) >= 8
    assert kinds["off_topic"] >= 8
    assert kinds["person"] >= 2
    assert {label["emergency"] for label in mine if label["kind"] == "emergency"} == {
        "110",
        "119",
        "120",
        "122",
    }


def test_only_speech_has_a_queue_and_wordless_files_have_no_language() -> None:
    for label in LABELS:
        assert bool(label["queue"]) == (label["kind"] == "speech"), label
        assert bool(label["language"]) == (label["kind"] not in ("silence", "noise")), label
    assert sum(label["kind"] in ("silence", "noise") for label in LABELS) >= 6


def test_voices_speeds_noise_and_codings_vary() -> None:
    spoken = [label for label in LABELS if label["voice"]]
    for language in LANGUAGES:
        voices = {label["voice"].split()[1] for label in spoken if label["language"] == language}
        assert voices == set(make.VARIANTS)
    rates_wpm = [int(label["rate_wpm"]) for label in spoken]
    assert min(rates_wpm) >= 130
    assert max(rates_wpm) <= 200
    assert len(set(rates_wpm)) >= 30
    assert {int(label["snr_db"]) for label in spoken if label["snr_db"]} == {10, 15, 20, 25, 30}
    assert sum(label["encoding"] == "mulaw" for label in LABELS) >= 20
    assert sum(label["encoding"] == "pcm_s16le" for label in LABELS) >= 20


def test_the_voices_are_none_of_those_used_in_training() -> None:
    espeak = pytest.importorskip("training.espeak")
    trained = {variant.lower() for variant in espeak.TRAINING_VARIANTS}
    assert not trained & {variant.lower() for variant in make.VARIANTS}


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label["file"])
def test_each_file_is_telephone_audio_with_room_for_endpointing(label: dict[str, str]) -> None:
    path = FOLDER / label["file"]
    info = soundfile.info(path)
    subtype = "ULAW" if label["encoding"] == "mulaw" else "PCM_16"
    assert (info.samplerate, info.channels, info.format) == (8000, 1, "WAV")
    assert info.subtype == subtype
    if label["speech_end_s"]:
        speech_end_s = float(label["speech_end_s"])
        assert info.duration - speech_end_s == pytest.approx(1.5, abs=0.02)
        samples, _ = soundfile.read(path)
        ends = round(speech_end_s * 8000)
        spoken, after = samples[ends - 4000 : ends], samples[ends + 4000 :]
        assert np.mean(spoken**2) > 2 * np.mean(after**2)


def test_all_of_it_is_small_enough_to_commit() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.wav")) < 12e6


def texts_in(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts_in(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts_in(value)]
    return [str(node)]


def test_no_fixture_says_an_example_phrase_word_for_word() -> None:
    source = yaml.safe_load((ROOT / "config" / "queues.yaml").read_text(encoding="utf-8"))
    examples = {bare(text) for text in texts_in(source)}
    assert len(examples) > 300  # the file was really read: 25 phrases a queue and language
    assert [
        label["text"] for label in LABELS if label["text"] and bare(label["text"]) in examples
    ] == []


def test_no_fixture_says_a_sentence_that_the_matcher_was_fitted_on() -> None:
    path = ROOT / "tests" / "intent" / "paraphrases.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    fitted = {bare(line.split("\t")[-1]) for line in lines if not line.startswith("#")}
    assert len(fitted) > 100
    assert [
        label["text"] for label in LABELS if label["text"] and bare(label["text"]) in fitted
    ] == []


def test_no_two_fixtures_of_a_language_say_the_same() -> None:
    said = [(label["language"], label["text"]) for label in LABELS if label["text"]]
    assert len(set(said)) == len(said)


needs_espeak = pytest.mark.skipif(
    make.espeak_version() != make.ESPEAK_VERSION,
    reason=f"needs espeak-ng {make.ESPEAK_VERSION}, which made the committed files",
)


@needs_espeak
@pytest.mark.parametrize("name", SAMPLE_OF_EACH)
def test_making_a_fixture_again_gives_the_committed_file(name: str, tmp_path: Path) -> None:
    row = next(row for row in make.catalogue() if row.name == name)
    fixture = make.render(row)
    first = make.write(fixture, tmp_path).read_bytes()
    assert make.write(make.render(row), tmp_path).read_bytes() == first
    committed, _ = soundfile.read(FOLDER / f"{name}.wav")
    made, _ = soundfile.read(tmp_path / f"{name}.wav")
    # Another processor may round the last bit of a filter otherwise: 60 dB is far below a
    # different voice, speed or noise, and far above rounding.
    assert len(made) == len(committed)
    assert np.mean((made - committed) ** 2) < 1e-6 * np.mean(committed**2) + 1e-12
    assert next(label for label in LABELS if label["file"] == f"{name}.wav") == fixture.label()


@pytest.mark.parametrize(
    "label",
    [label for label in LABELS if (label["snr_db"], label["noise"]) == ("30", "white")],
    ids=lambda label: label["file"],
)
def test_the_stated_ratio_of_speech_to_noise_is_the_real_one(label: dict[str, str]) -> None:
    # At 30 dB the noise lies under the threshold of active speech, so both can be told apart.
    samples, _ = soundfile.read(FOLDER / label["file"])
    after = samples[round((float(label["speech_end_s"]) + 0.5) * effects.RATE_HZ) :]
    measured_db = effects.active_level_dbfs(samples) - 10 * np.log10(np.mean(after**2))
    assert measured_db == pytest.approx(30, abs=1)


def test_without_espeak_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert make.espeak_version() is None
    with pytest.raises(RuntimeError, match="apt install espeak-ng"):
        make.speak("你好", "cmn", variant="m4", rate_wpm=150, pitch=50)
