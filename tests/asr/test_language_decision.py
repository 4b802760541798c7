from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.asr.engine import Hypothesis, Recognition, Word
from ivr.asr.language_decision import FEATURES, LanguageDecider, Weights, features
from ivr.errors import ModelError
from ivr.language import Language

CMN, YUE = Language.MANDARIN, Language.CANTONESE
SILENCE = Recognition(hypotheses=(), duration_s=2.0, score=-5.0)


def heard(text: str, *, score: float = -20.0, confidence: float = 0.9) -> Recognition:
    """A recognition of one word a character, a quarter of a second each."""
    words = tuple(
        Word(text=char, start_s=i / 4, end_s=(i + 1) / 4, confidence=confidence)
        for i, char in enumerate(text)
    )
    hypothesis = Hypothesis(text=text, words=words, score=score, confidence=confidence)
    return Recognition(hypotheses=(hypothesis,), duration_s=2.0, score=score)


MANDARIN = {CMN: heard("我想查一下社保"), YUE: heard("我", score=-90.0, confidence=0.2)}
CANTONESE = {CMN: heard("我", score=-90.0, confidence=0.2), YUE: heard("我想查吓社保")}
EITHER = {CMN: heard("好"), YUE: heard("好")}


def named(cmn: Recognition, yue: Recognition) -> dict[str, float]:
    return dict(zip(FEATURES, features(cmn, yue).tolist(), strict=True))


def test_features_are_differences_cantonese_minus_mandarin() -> None:
    values = named(heard("我的", score=-40.0, confidence=0.4), heard("我嘅嘢", score=-20.0))
    assert values == pytest.approx(
        {
            "score": 2.0,
            "score_per_second": 10.0,
            "score_per_syllable": 10.0,  # 20 - 6.7, clipped
            "word_confidence": 0.5,
            "hypothesis_confidence": 0.5,
            "syllables_per_second": 0.0,
            "heard": 0.0,
            "written": 2 / 3 - 1 / 2,
            "sound": 0.0,
        }
    )


def test_who_alone_heard_words_is_a_feature() -> None:
    assert named(SILENCE, heard("好"))["heard"] == 1.0
    assert named(heard("好"), SILENCE)["heard"] == -1.0
    assert named(SILENCE, heard("好", score=-15.0))["score"] == pytest.approx(-1.0)


recognitions = st.one_of(
    st.just(SILENCE),
    st.builds(
        heard,
        st.text(alphabet="我想查吓社保嘅的了ab1", min_size=1, max_size=9),
        score=st.floats(-1e6, 1e3),
        confidence=st.floats(0, 1),
    ),
)


@given(recognitions, recognitions)
def test_swapping_the_results_turns_every_score_around(a: Recognition, b: Recognition) -> None:
    there, back = named(a, b), named(b, a)
    assert np.isfinite(list(there.values())).all()
    for name in set(FEATURES) - {"written"}:  # each language has its own characters
        assert there[name] == pytest.approx(-back[name])


@given(recognitions, recognitions, st.floats(-3, 3))
def test_any_pair_gives_a_probability(a: Recognition, b: Recognition, prior: float) -> None:
    decider = LanguageDecider()
    decision = decider.decide({CMN: a, YUE: b}, prior=prior)
    assert 0.5 <= decision.confidence < 1
    assert (decision.log_odds > 0) == (decision.language is YUE)
    assert abs(decider.next_prior(decision)) <= decider.weights.prior_cap


def test_clear_utterances_are_told_apart() -> None:
    decider = LanguageDecider()
    for recognitions, language in ((MANDARIN, CMN), (CANTONESE, YUE)):
        decision = decider.decide(recognitions)
        assert decision.language is language
        assert decision.confidence > 0.9


def test_silence_tells_nothing_and_leaves_the_call_as_it_was() -> None:
    decision = LanguageDecider().decide({CMN: SILENCE, YUE: SILENCE}, prior=1.0)
    assert (decision.evidence, decision.log_odds) == (0.0, 1.0)
    assert decision.language is YUE


def test_a_call_keeps_its_language_once_sure() -> None:
    decider = LanguageDecider()
    prior = decider.next_prior(decider.decide(CANTONESE))
    assert decider.decide(EITHER).confidence == pytest.approx(0.5)
    after = decider.decide(EITHER, prior=prior)
    assert after.language is YUE
    assert after.confidence > 0.7


def test_a_caller_can_switch_however_long_the_call_was() -> None:
    decider, prior = LanguageDecider(), 0.0
    for _ in range(50):
        prior = decider.next_prior(decider.decide(CANTONESE, prior=prior))
    switched = decider.decide(MANDARIN, prior=prior)
    assert switched.language is CMN
    assert switched.confidence > 0.7
    assert decider.next_prior(switched) < 0


def test_one_language_is_decided_for_sure() -> None:
    decision = LanguageDecider().decide({CMN: SILENCE}, prior=3.0)
    assert (decision.language, decision.confidence) == (CMN, 1.0)


def test_the_leading_partial_result() -> None:
    decider = LanguageDecider()
    assert decider.leading({CMN: "", YUE: ""})[1] == pytest.approx(0.5)
    assert decider.leading({CMN: "我", YUE: "我想查吓"})[0] is YUE
    assert decider.leading({CMN: "我想查一下", YUE: "我"})[0] is CMN
    assert decider.leading({CMN: "", YUE: ""}, prior=1.5)[0] is YUE
    assert decider.leading({YUE: ""}) == (YUE, 1.0)


def test_the_leading_language_does_not_flicker() -> None:
    decider = LanguageDecider()
    for current in Language:
        assert decider.leading({CMN: "我", YUE: "我想"}, current=current)[0] is current
    assert decider.leading({CMN: "", YUE: "我想查社保"}, current=CMN)[0] is YUE


def test_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "language.json"
    decider = LanguageDecider(
        Weights(bias=0.25, weights={"score": 1.5}, models={CMN: "kapok-cmn 1"}, fitted={"n": 223})
    )
    decider.save(path)
    assert LanguageDecider.load(path) == decider
    assert decider.fits({CMN: "kapok-cmn 1", YUE: "whatever"})
    assert not decider.fits({CMN: "vosk-model-small-cn-0.22"})


def test_weights_weigh() -> None:
    decider = LanguageDecider(Weights(bias=0.25, weights={"score": 1.5}))
    assert decider.evidence({CMN: heard("好", score=-30.0), YUE: heard("好")}) == 0.25 + 1.5
    capped = LanguageDecider(Weights(bias=100.0)).decide(EITHER)
    assert math.isclose(capped.evidence, 8.0)


def test_without_a_file_the_built_in_weights_serve(tmp_path: Path) -> None:
    assert LanguageDecider.load(tmp_path / "none.json") == LanguageDecider()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        (json.dumps({"weights": {"loudness": 1.0}}), "unknown feature 'loudness'"),
        (json.dumps({"bias": "much"}), "bias: "),
        (json.dumps({"prior_share": 7}), "prior_share: "),
    ],
)
def test_bad_weights_say_what_and_how_to_mend(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "language.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        LanguageDecider.load(path)
    assert str(path) in str(caught.value)
    assert "fit it again or delete it" in str(caught.value)


@pytest.mark.parametrize(
    ("least", "scores", "noise"),
    [
        (15.0, (20.0, 10.0), True),  # over two seconds: 10 and 5 a second
        (15.0, (20.0, 40.0), False),  # one language that fits is enough
        (None, (-90.0, -90.0), False),  # models of which nothing is known
    ],
)
def test_what_no_language_fits_is_noise(
    least: float | None, scores: tuple[float, float], noise: bool
) -> None:
    decider = LanguageDecider(Weights(least_score_per_s=least))
    recognitions = {CMN: heard("好", score=scores[0]), YUE: heard("好", score=scores[1])}
    assert decider.is_noise(recognitions) is noise


def test_a_language_fits_alone_by_its_score_and_its_posterior() -> None:
    decider = LanguageDecider(Weights(least_score_per_s=10.0))

    def heard(score: float | None, confidence: float) -> Recognition:
        best = Hypothesis("好", (), score=0.0, confidence=confidence)
        return Recognition((best,), duration_s=2.0, score=score)

    assert decider.fits_alone(heard(70.0, 0.5), 3.5)
    assert not decider.fits_alone(heard(69.0, 0.5), 3.5)
    assert not decider.fits_alone(heard(70.0, 0.2), 3.5)
    assert not decider.fits_alone(heard(None, 0.5), 3.5)
    assert not decider.fits_alone(Recognition((), duration_s=2.0, score=70.0), 3.5)
    unknown = LanguageDecider(Weights(least_score_per_s=None))
    assert not unknown.fits_alone(heard(70.0, 0.5), 1.0)
    for language in Language:
        decision = decider.alone(language)
        assert decision.language is language
        assert decision.confidence == 0.99
        assert (decision.log_odds > 0) is (language is Language.CANTONESE)
