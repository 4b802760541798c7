from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tone_model import MANDARIN_WORDS, RATE_HZ, say, tone

from ivr.asr.engine import Engine, Recogniser, Recognition
from ivr.asr.n_best import join_words
from ivr.asr.vosk_engine import VoskEngine, VoskRecogniser, parse_answer
from ivr.errors import AudioError
from ivr.language import Language

BLOCK = 2 * RATE_HZ // 50  # 20 ms


def hear(recogniser: VoskRecogniser, pcm: bytes, block: int = BLOCK) -> list[bool]:
    return [recogniser.accept(pcm[i : i + block]) for i in range(0, len(pcm), block)]


def test_it_is_an_engine(mandarin: VoskEngine) -> None:
    engine: Engine = mandarin
    recogniser: Recogniser = engine.recogniser()
    assert (engine.language, engine.rate_hz) == (Language.MANDARIN, RATE_HZ)
    assert (recogniser.language, recogniser.rate_hz) == (Language.MANDARIN, RATE_HZ)


def test_words_partials_and_times(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    pcm = say(MANDARIN_WORDS, "我", "要", "社保", after_s=0.4)  # tones from 0.3, 0.75 and 1.2 s
    hear(recogniser, pcm[: 2 * round(0.7 * RATE_HZ)])
    assert recogniser.partial() == "我"
    hear(recogniser, pcm[2 * round(0.7 * RATE_HZ) :])
    assert recogniser.partial() == "我要社保"
    recognition = recogniser.finish()
    assert recognition.text == "我要社保"
    assert recognition.duration_s == pytest.approx(len(pcm) / 2 / RATE_HZ)
    assert recognition.best is not None
    assert [word.text for word in recognition.best.words] == ["我", "要", "社保"]
    ends = [word.end_s for word in recognition.best.words]
    assert ends == sorted(ends)
    # The onset of each next tone closes a word; the last ends where its partial result came.
    assert ends[:2] == pytest.approx([0.33, 0.78], abs=0.05)
    assert 1.2 < ends[2] < 1.5
    assert recogniser.partial() == ""


def test_n_best_lists_have_posteriors(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser(alternatives=10)
    recogniser.accept(say(MANDARIN_WORDS, "我"))
    recognition = recogniser.finish()
    by_text = {hypothesis.text: hypothesis for hypothesis in recognition.hypotheses}
    # 我 and 窝 sound alike and cost 1 and 2; Vosk scales graph costs by 0.9.
    ratio = by_text["我"].confidence / by_text["窝"].confidence
    assert math.log(ratio) == pytest.approx(0.9, abs=0.01)
    assert recognition.text == "我"
    assert recognition.score == by_text["我"].score
    assert 0.5 < sum(hypothesis.confidence for hypothesis in recognition.hypotheses) <= 1.0001
    word = by_text["我"].words[0]
    assert by_text["我"].confidence <= word.confidence <= 1.0


def test_the_length_of_the_list_is_kept(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser(alternatives=1)
    recogniser.accept(say(MANDARIN_WORDS, "我"))
    (only,) = recogniser.finish().hypotheses
    assert only.confidence == 1.0
    with pytest.raises(ValueError, match="alternatives is 0"):
        mandarin.recogniser(alternatives=0)


def test_the_endpoint_comes_after_silence_and_is_advice(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    ends = hear(recogniser, say(MANDARIN_WORDS, "我", after_s=1.0))
    assert ends[-1]
    first = ends.index(True) * 0.02
    assert 0.6 + 0.4 < first < 0.6 + 0.9  # 0.5 s of silence, in blocks
    hear(recogniser, say(MANDARIN_WORDS, "要", before_s=0))
    assert recogniser.finish().text == "我要"


def test_times_of_every_utterance_count_from_its_own_start(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    pcm = say(MANDARIN_WORDS, "我", "要")
    results = []
    for _ in range(3):
        hear(recogniser, pcm)
        results.append(recogniser.finish())
        hear(recogniser, pcm[: len(pcm) // 3 // 2 * 2])
        recogniser.reset()
    assert all(words_of(result) == words_of(results[0]) for result in results)


def words_of(recognition: Recognition) -> list[tuple[str, float, float]]:
    best = recognition.best
    assert best is not None
    return [(word.text, word.start_s, word.end_s) for word in best.words]


def test_silence_is_heard_as_nothing(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    assert not any(hear(recogniser, tone(0, 2.0)))
    recognition = recogniser.finish()
    assert recognition.best is None
    assert recognition.text == ""
    assert recognition.duration_s == 2.0
    assert recognition.score is not None


def test_an_empty_utterance_and_empty_blocks(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    assert recogniser.accept(b"") is False
    assert recogniser.finish() == Recognition(hypotheses=(), duration_s=0.0)
    recogniser.reset()
    recogniser.accept(b"\0\0")  # one sample: no frame
    assert recogniser.finish().text == ""


def test_half_a_sample_is_refused(mandarin: VoskEngine) -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        mandarin.recogniser().accept(b"abc")


def test_unknown_words_are_dropped(mandarin: VoskEngine) -> None:
    recogniser = mandarin.recogniser()
    hear(recogniser, say(MANDARIN_WORDS, "我", "[unk]", "要"))
    assert recogniser.partial() == "我要"
    assert recogniser.finish().text == "我要"


def test_recognisers_of_one_engine_do_not_disturb_each_other(mandarin: VoskEngine) -> None:
    one, two = mandarin.recogniser(), mandarin.recogniser()
    first, second = say(MANDARIN_WORDS, "我"), say(MANDARIN_WORDS, "社保")
    for i in range(0, len(first), BLOCK):
        one.accept(first[i : i + BLOCK])
        two.accept(second[i : i + BLOCK])
    assert (one.finish().text, two.finish().text) == ("我", "社保")


@pytest.mark.parametrize("block", [2, 90, 1600, 10**6])
def test_framing_does_not_change_the_words(mandarin: VoskEngine, block: int) -> None:
    recogniser = mandarin.recogniser()
    hear(recogniser, say(MANDARIN_WORDS, "我", "社保"), block)
    assert recogniser.finish().text == "我社保"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], ""),
        (["我", "想", "查"], "我想查"),
        (["wi", "fi", "坏", "了"], "wi fi坏了"),
        (["打", "12345", "ok"], "打12345 ok"),
    ],
)
def test_join_words(words: list[str], text: str) -> None:
    assert join_words(words) == text


def alternative(
    text: str, score: float, *, each_s: float = 0.5, at_s: float = 0.0
) -> dict[str, Any]:
    return {
        "confidence": score,
        "text": text,
        "result": [
            {"word": word, "start": at_s + i * each_s, "end": at_s + (i + 1) * each_s}
            for i, word in enumerate(text.split())
        ],
    }


def test_equal_texts_are_added_up() -> None:
    answer = {
        "alternatives": [
            alternative("我 要", 0.0),
            alternative("我 [unk] 要", 0.0),
            alternative("窝 要", math.log(0.5)),
        ]
    }
    first, second = parse_answer(answer, duration_s=3.0).hypotheses
    assert (first.text, first.confidence) == ("我要", pytest.approx(0.8))
    assert (second.text, second.confidence) == ("窝要", pytest.approx(0.2))
    assert [word.confidence for word in first.words] == pytest.approx([0.8, 1.0])


def test_a_word_counts_where_it_overlaps_in_time_only() -> None:
    answer = {
        "alternatives": [
            alternative("我", 0.0),
            alternative("我", math.log(0.25), at_s=2.0),
            alternative("我 要", math.log(0.25)),
        ]
    }
    recognition = parse_answer(answer, duration_s=3.0)
    assert recognition.best is not None
    assert recognition.best.confidence == pytest.approx(1.25 / 1.5)
    assert recognition.hypotheses[1].words[0].confidence == pytest.approx(1.0)
    assert recognition.hypotheses[1].words[1].confidence == pytest.approx(0.25 / 1.5)


def test_nothing_said_counts_among_the_hypotheses() -> None:
    nothing = {"confidence": 0.0, "text": ""}
    sure = parse_answer({"alternatives": [nothing, alternative("我", -2.0)]}, duration_s=1.0)
    assert (sure.best, sure.score) == (None, 0.0)
    unsure = parse_answer({"alternatives": [nothing, alternative("我", 0.5)]}, duration_s=1.0)
    assert unsure.text == "我"
    assert unsure.hypotheses[0].confidence == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_times_are_moved_and_kept_within_the_speech() -> None:
    answer = {"alternatives": [alternative("我 要", -1.0, at_s=9.9)]}
    best = parse_answer(answer, start_s=10.0, duration_s=2.0, speech_end_s=0.7).best
    assert best is not None
    assert [(word.start_s, word.end_s) for word in best.words] == [(0.0, 0.4), (0.4, 0.7)]


words = st.lists(st.sampled_from(["我", "要", "社保", "[unk]", "ok"]), max_size=4)
scores = st.floats(-500, 10) | st.just(math.inf) | st.just(math.nan)


@given(
    alternatives=st.lists(st.tuples(words, scores), max_size=8),
    duration_s=st.floats(0, 20),
)
def test_any_list_gives_ordered_posteriors(
    alternatives: list[tuple[list[str], float]], duration_s: float
) -> None:
    answer = {"alternatives": [alternative(" ".join(w), score) for w, score in alternatives]}
    hypotheses = parse_answer(answer, duration_s=duration_s).hypotheses
    posteriors = [hypothesis.confidence for hypothesis in hypotheses]
    assert posteriors == sorted(posteriors, reverse=True)
    assert sum(posteriors) <= 1 + 1e-9
    assert len({hypothesis.text for hypothesis in hypotheses}) == len(hypotheses)
    for hypothesis in hypotheses:
        assert hypothesis.text
        for word in hypothesis.words:
            assert hypothesis.confidence <= word.confidence + 1e-9 <= 1 + 2e-9
            assert 0 <= word.start_s <= word.end_s <= duration_s + 5e-4
