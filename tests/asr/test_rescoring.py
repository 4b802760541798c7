"""The second pass that weighs hypotheses anew: its arithmetic, and the network that ships."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.asr.engine import Hypothesis, Recognition, Word
from ivr.asr.rescoring import NETWORK, Rescorer, is_rescorer, log_likelihoods
from ivr.asr.second_pass import TwoPassEngine, load_second_pass
from ivr.asr.vosk_engine import VoskEngine
from ivr.audio.files import read_audio
from ivr.errors import ModelError
from ivr.language import Language
from ivr.replay.labels import load_labels

ROOT = Path(__file__).resolve().parents[2]
SECOND = ROOT / "models" / "second"
FIXTURES = ROOT / "audio_fixtures"


def _said(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(k for k, _ in itertools.groupby(path) if k)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 5),
    sequences=st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=3), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_all_ways_to_say_a_sequence_are_summed(
    frames: int, sequences: list[list[int]], seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, 3, (frames, 3))
    expected = []
    for sequence in sequences:
        total = sum(
            np.exp(scores[range(frames), path].sum())
            for path in itertools.product(range(3), repeat=frames)
            if _said(path) == tuple(sequence)
        )
        expected.append(np.log(total) if total else -np.inf)
    assert log_likelihoods(scores, sequences) == pytest.approx(expected)


def test_a_thousand_frames_neither_overflow_nor_vanish() -> None:
    scores = np.full((1000, 3), -50.0)
    scores[:, 1] = 400.0
    (found,) = log_likelihoods(scores, [[1]])
    assert found == pytest.approx(400_000, abs=1)


@pytest.fixture(scope="module")
def second() -> Rescorer:
    return Rescorer.load(SECOND, Language.MANDARIN)


def _heard(*texts: tuple[str, float]) -> Recognition:
    hypotheses = tuple(
        Hypothesis(t, tuple(Word(c, 0.3 * i, 0.3 * i + 0.3, p) for i, c in enumerate(t)), -10.0, p)
        for t, p in texts
    )
    return Recognition(hypotheses, duration_s=2.0, score=-10.0)


def _calls(language: Language, count: int) -> list[tuple[bytes, str]]:
    rows = sorted(load_labels(FIXTURES / "labels.csv").by_file.items())
    said = {p: "".join(filter(str.isalnum, r.text)) for p, r in rows if r.language is language}
    spoken = [(p, text) for p, text in said.items() if re.fullmatch("[\u4e00-\u9fff]+", text)]
    return [
        (read_audio(p, rate_hz=8000).pcm, t) for p, t in spoken[:: len(spoken) // count][:count]
    ]


@pytest.mark.parametrize("language", list(Language))
def test_what_was_said_is_likelier_than_what_others_said(language: Language) -> None:
    second = Rescorer.load(SECOND, language)
    calls = _calls(language, 8)
    texts = [text for _, text in calls]
    firsts = []
    for pcm, text in calls:
        heard = _heard(*((t, 1 / len(texts)) for t in texts))
        firsts.append(second.again(heard, pcm, 8000).text == text)
    assert sum(firsts) >= 7


def test_together_they_are_as_probable_as_before(second: Rescorer) -> None:
    pcm, text = _calls(Language.MANDARIN, 1)[0]
    heard = _heard(("我要报警", 0.5), (text, 0.2), ("ABC", 0.1))
    found = second.again(heard, pcm, 8000)
    assert [h.text for h in found.hypotheses] == [text, "我要报警", "ABC"]
    assert [h.confidence for h in found.hypotheses][:2] == [
        pytest.approx(0.7, abs=0.01),
        pytest.approx(0, abs=0.01),
    ]
    assert found.hypotheses[2].confidence == 0.1  # has no sound that is known
    assert found.hypotheses[0].words[0].confidence == pytest.approx(0.7, abs=0.01)
    assert found.score == heard.score


def test_nothing_to_choose_from(second: Rescorer) -> None:
    heard = _heard(("查社保", 0.9))
    assert second.again(heard, bytes(32_000), 8000) is heard
    two = _heard(("查社保", 0.6), ("茶社保", 0.3))
    assert second.again(two, bytes(1000), 8000) is two  # too short for a word
    assert second.again(two, bytes(2000), 8000) is two  # four frames for six units
    nothing = Recognition((), duration_s=1.0)
    assert second.again(nothing, bytes(32_000), 8000) is nothing


def test_audio_at_another_rate(second: Rescorer) -> None:
    pcm, text = _calls(Language.MANDARIN, 1)[0]
    twice = np.repeat(np.frombuffer(pcm, "<i2"), 2).tobytes()
    heard = _heard(("我要报警", 0.6), (text, 0.3))
    assert second.again(heard, twice, 16_000).text == text


@given(length=st.integers(800, 8000))
@settings(max_examples=10, deadline=None)
def test_a_score_for_every_30_ms(second: Rescorer, length: int) -> None:
    scores = second.scores(np.zeros(length, np.float32))
    assert len(scores) == (length + 40) // 80 // 3
    assert np.isfinite(scores).all()


def test_real_calls_are_heard_again() -> None:
    engine = VoskEngine.load(ROOT / "models" / "yue", Language.CANTONESE)
    second = load_second_pass(SECOND, Language.CANTONESE)
    assert isinstance(second, Rescorer)
    pcm, _ = _calls(Language.CANTONESE, 1)[0]
    first = engine.recogniser(alternatives=30)
    first.accept(pcm)
    alone = first.finish()
    recogniser = TwoPassEngine(engine, second).recogniser(alternatives=3)
    recogniser.accept(pcm)
    both = recogniser.finish()
    assert 1 <= len(both.hypotheses) <= 3
    assert {h.text for h in both.hypotheses} <= {h.text for h in alone.hypotheses}
    confidences = [h.confidence for h in both.hypotheses]
    assert confidences == sorted(confidences, reverse=True)
    assert both.score == alone.score


def test_both_languages_share_one_network(second: Rescorer) -> None:
    other = Rescorer.load(SECOND, Language.CANTONESE)
    assert other._session is second._session


def test_a_network_that_is_none(tmp_path: Path) -> None:
    assert not is_rescorer(tmp_path)
    (tmp_path / NETWORK).write_bytes(b"nonsense")
    assert is_rescorer(tmp_path)
    with pytest.raises(ModelError, match="is no network that ONNX Runtime can load"):
        load_second_pass(tmp_path, Language.MANDARIN)


def test_another_network(tmp_path: Path) -> None:
    (tmp_path / NETWORK).write_bytes((ROOT / "models" / "language.onnx").read_bytes())
    with pytest.raises(ModelError, match="it was not written by training"):
        Rescorer.load(tmp_path, Language.MANDARIN)


def test_its_labels_are_those_of_the_first_pass(second: Rescorer) -> None:
    for language in Language:
        card = json.loads((ROOT / "models" / language / "model.json").read_text("utf-8"))
        assert len(Rescorer.load(SECOND, language)._index) == card["units"]
