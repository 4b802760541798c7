from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tone_model import CANTONESE_WORDS, MANDARIN_WORDS, RATE_HZ, say, tone

from ivr.asr import language_decision
from ivr.asr.bilingual import BilingualRecogniser, EndpointRules, Heard
from ivr.asr.engine import Recogniser, Recognition, SecondPassOutcome
from ivr.asr.language_decision import LanguageDecider, Weights
from ivr.asr.second_pass import TwoPassEngine
from ivr.asr.voice_gate import VoiceGate
from ivr.asr.vosk_engine import VoskEngine
from ivr.errors import AudioError, ConfigError
from ivr.language import Language

CMN, YUE = Language.MANDARIN, Language.CANTONESE
MANDARIN = say(MANDARIN_WORDS, "我", "要", "社保", after_s=1.2)
CANTONESE = say(CANTONESE_WORDS, "我", "想", "查吓", "社保", after_s=1.2)


@pytest.fixture
def call(mandarin: VoskEngine, cantonese: VoskEngine) -> BilingualRecogniser:
    return make(mandarin, cantonese)


def make(
    *engines: VoskEngine,
    recognisers: Mapping[Language, Recogniser] | None = None,
    weights: Weights | None = None,
    rate_hz: int = RATE_HZ,
    **options: Any,
) -> BilingualRecogniser:
    of_engines = {engine.language: engine.recogniser() for engine in engines}
    decider = LanguageDecider(weights or Weights())
    return BilingualRecogniser(recognisers or of_engines, decider, rate_hz=rate_hz, **options)


def feed(
    call: BilingualRecogniser, pcm: bytes, *, block_s: float = 0.1, until_endpoint: bool = True
) -> list[Heard]:
    """Blocks of audio until the endpoint."""
    block = 2 * round(block_s * call.rate_hz)
    heard = []
    for i in range(0, len(pcm), block):
        heard.append(call.accept(pcm[i : i + block]))
        if until_endpoint and heard[-1].endpoint:
            break
    return heard


def test_each_language_is_heard_and_told(call: BilingualRecogniser) -> None:
    for pcm, language, text in ((MANDARIN, CMN, "我要社保"), (CANTONESE, YUE, "我想查吓社保")) * 2:
        heard = feed(call, pcm)
        assert heard[-1].endpoint
        assert (heard[-1].partial, heard[-1].language) == (text, language)
        utterance = call.finish()
        assert (utterance.text, utterance.language) == (text, language)
        assert utterance.language_confidence > 0.9
        assert set(utterance.recognitions) == {CMN, YUE}
        assert utterance.recognitions[language.other].text == ""


def test_nothing_is_heard_before_the_first_word(call: BilingualRecogniser) -> None:
    first, *_ = feed(call, MANDARIN)
    assert (first.partial, first.speech, first.endpoint) == ("", False, False)
    assert first.language_confidence == pytest.approx(0.5)


def test_utterances_know_their_place_in_the_call(call: BilingualRecogniser) -> None:
    taken_s = 0.0
    for pcm in (MANDARIN, CANTONESE):
        taken = len(feed(call, pcm)) * 0.1
        utterance = call.finish()
        assert utterance.start_s == pytest.approx(taken_s)
        assert utterance.duration_s == pytest.approx(taken)
        taken_s += taken


def test_the_endpoint_waits_for_words(call: BilingualRecogniser) -> None:
    heard = feed(call, tone(0, 9.0))
    assert len(heard) == 90
    assert not any(h.speech for h in heard)
    assert [h.no_input for h in heard] == [False] * 49 + [True] * 41
    assert heard[-1].since_word_s == pytest.approx(9.0)


def test_no_input_is_counted_anew_after_an_utterance(call: BilingualRecogniser) -> None:
    feed(call, tone(0, 5.5))
    call.finish()
    assert not call.accept(tone(0, 1.0)).no_input


def test_silence_for_ever_is_let_go_of_and_speech_after_it_is_whole(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    call = make(mandarin, cantonese, rules=EndpointRules(restart_s=2.0))
    silent = feed(call, tone(0, 8.9))
    assert silent[-1].no_input
    # the word starts 0.1 s before the restart at 9.5 s and must not be lost
    heard = feed(call, say(CANTONESE_WORDS, "查吓", "想", before_s=0.1, after_s=1.2))
    assert heard[-1].endpoint
    utterance = call.finish()
    assert utterance.text == "查吓想"
    assert utterance.duration_s < 5.0
    assert 7.0 < utterance.start_s < 9.0


def test_an_utterance_without_end_is_cut(mandarin: VoskEngine, cantonese: VoskEngine) -> None:
    call = make(mandarin, cantonese, rules=EndpointRules(max_utterance_s=3.0))
    heard = feed(call, say(MANDARIN_WORDS, *["我", "要"] * 10, after_s=0))
    assert len(heard) == 30
    assert heard[-1].endpoint
    assert call.finish().duration_s == pytest.approx(3.0)


def test_slow_speakers_may_pause_longer(mandarin: VoskEngine, cantonese: VoskEngine) -> None:
    pause = MANDARIN + say(MANDARIN_WORDS, "我", before_s=0, after_s=2.0)
    quick = feed(make(mandarin, cantonese), pause)
    call = make(mandarin, cantonese, rules=EndpointRules(min_trailing_silence_s=1.5))
    slow = feed(call, pause)
    assert len(quick) < len(MANDARIN) / 2 / RATE_HZ * 10
    assert len(slow) > len(MANDARIN) / 2 / RATE_HZ * 10
    assert call.finish().text == "我要社保我"
    call.rules = replace(call.rules, min_trailing_silence_s=0.0)
    assert len(feed(call, pause)) == len(quick)


def test_the_other_engine_may_end_what_noise_keeps_open(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    # A tone goes on in the Mandarin band without a new word; Cantonese heard 想 and then silence.
    rules = EndpointRules(other_language_after_s=1.0)
    call = make(mandarin, cantonese, rules=rules)
    heard = feed(call, say(CANTONESE_WORDS, "想", after_s=0) + tone(700, 3.0))
    assert heard[-1].endpoint
    assert heard[-1].since_word_s >= 1.0 or heard[-1].language is YUE


def test_a_caller_may_switch_languages(call: BilingualRecogniser) -> None:
    for _ in range(5):
        feed(call, CANTONESE)
        call.finish()
    assert call.log_odds > 1
    feed(call, MANDARIN)
    assert call.finish().language is CMN
    assert call.log_odds < 0


def test_the_language_can_be_forced(call: BilingualRecogniser) -> None:
    call.keep(YUE)
    heard = feed(call, MANDARIN + tone(0, 1.0))
    assert {(h.language, h.language_confidence) for h in heard} == {(YUE, 1.0)}
    utterance = call.finish()
    assert (utterance.language, utterance.language_confidence) == (YUE, 1.0)
    assert set(utterance.recognitions) == {YUE}
    call.keep(None)
    feed(call, MANDARIN)
    assert call.finish().language is CMN


def test_forcing_in_the_middle_decides_at_once_and_listens_alike(
    call: BilingualRecogniser,
) -> None:
    feed(call, MANDARIN[: len(MANDARIN) // 4 * 2])
    call.keep(CMN)
    assert call.accept(b"").language_confidence == 1.0
    first = call.finish()
    assert (first.language, set(first.recognitions)) == (CMN, {CMN, YUE})
    feed(call, MANDARIN)
    call.keep(YUE)  # too late for this utterance: Cantonese has not listened to it
    assert call.finish().language is CMN


def test_one_language_alone(mandarin: VoskEngine) -> None:
    call = make(mandarin)
    feed(call, MANDARIN)
    utterance = call.finish()
    assert (utterance.text, utterance.language_confidence) == ("我要社保", 1.0)
    assert call.languages == (CMN,)
    with pytest.raises(ConfigError, match="no model for yue is configured, only for cmn"):
        call.keep(YUE)


def test_other_rates_are_resampled(mandarin: VoskEngine, cantonese: VoskEngine) -> None:
    call = make(mandarin, cantonese, rate_hz=16000)
    heard = feed(call, say(CANTONESE_WORDS, "我", "查吓", rate_hz=16000, after_s=1.2))
    assert heard[-1].endpoint
    utterance = call.finish()
    assert utterance.text == "我查吓"
    assert utterance.duration_s == pytest.approx(len(heard) * 0.1)


def test_finishing_without_audio_is_an_empty_utterance(call: BilingualRecogniser) -> None:
    utterance = call.finish()
    assert (utterance.text, utterance.duration_s) == ("", 0.0)
    assert call.log_odds == 0.0


def test_reset_throws_the_utterance_away_but_not_the_call(call: BilingualRecogniser) -> None:
    feed(call, CANTONESE)
    call.finish()
    before = call.log_odds
    feed(call, MANDARIN[: len(MANDARIN) // 4 * 2])
    call.reset()
    assert call.accept(b"").speech is False
    assert call.log_odds == before
    feed(call, CANTONESE)
    assert call.finish().text == "我想查吓社保"


def test_what_is_wrong_is_said(mandarin: VoskEngine, call: BilingualRecogniser) -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        call.accept(b"abc")
    with pytest.raises(ConfigError, match="no language is configured"):
        BilingualRecogniser({}, LanguageDecider())
    with pytest.raises(ConfigError, match="the recogniser for yue is one for cmn"):
        BilingualRecogniser({YUE: mandarin.recogniser()}, LanguageDecider())
    with pytest.raises(AudioError, match="11 Hz"):
        make(mandarin, rate_hz=11)


@settings(max_examples=15, deadline=None)
@given(
    blocks=st.lists(st.binary(max_size=4000).map(lambda b: b[: len(b) // 2 * 2]), max_size=8),
    finish_at=st.integers(0, 8),
)
def test_any_audio_is_answered(
    mandarin: VoskEngine, cantonese: VoskEngine, blocks: list[bytes], finish_at: int
) -> None:
    call = make(mandarin, cantonese)
    for number, block in enumerate(blocks):
        heard = call.accept(block)
        assert 0 <= heard.language_confidence <= 1
        assert heard.speech or not heard.endpoint
        if number == finish_at:
            call.finish()
    feed(call, CANTONESE)
    assert call.finish().text.endswith("社保")


def test_noise_is_no_words(mandarin: VoskEngine, cantonese: VoskEngine) -> None:
    recognisers = {engine.language: engine.recogniser() for engine in (mandarin, cantonese)}
    deaf = LanguageDecider(Weights(least_score_per_s=1e6))
    call = BilingualRecogniser(recognisers, deaf, rate_hz=RATE_HZ)
    feed(call, MANDARIN)
    utterance = call.finish()
    assert utterance.text == ""
    assert all(r.best is None for r in utterance.recognitions.values())
    assert call.log_odds == 0.0


# --- with a voice gate --------------------------------------------------------------------------


class LoudGate(VoiceGate):
    """A gate to which whatever is loud is a voice."""

    def __init__(self) -> None:
        super().__init__(Loudness())

    def _take(self, chunk: bytes) -> None:
        voiced = float(np.abs(np.frombuffer(chunk, "<i2")).max()) > 1000
        self.open = self.open or voiced
        self._silent_chunks = 0 if voiced else self._silent_chunks + 1


class Loudness:
    def probability(self, chunk: npt.NDArray[np.float32]) -> float:
        return 0.0

    def reset(self) -> None:
        pass


class Counting:
    """A recogniser that knows how much it was given to decode, and sees no endpoints."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.language, self.rate_hz = recogniser.language, recogniser.rate_hz
        self.decoded_s = 0.0

    def accept(self, pcm: bytes) -> bool:
        self.decoded_s += len(pcm) / 2 / RATE_HZ
        self._recogniser.accept(pcm)
        return False

    def partial(self) -> str:
        return self._recogniser.partial()

    def finish(self) -> Recognition:
        return self._recogniser.finish()

    def reset(self) -> None:
        self._recogniser.reset()


class Late(Counting):
    """... whose words are known only once it is finished, as those of a large block are."""

    def partial(self) -> str:
        return ""


class Deaf(Late):
    """... and that never hears a word."""

    def finish(self) -> Recognition:
        return replace(super().finish(), hypotheses=())


class Shouting:
    """A second pass that says all louder but what is sure, and counts how often it was asked."""

    def __init__(self, *sure: str) -> None:
        self.heard: list[tuple[str, int]] = []
        self._sure = sure

    def wants(self, heard: Recognition) -> bool:
        return heard.best is not None and heard.text not in self._sure

    def again(
        self, heard: Recognition, pcm: bytes, rate_hz: int, *, count: int, scores: object = None
    ) -> Recognition:
        self.heard.append((heard.text, len(pcm)))
        louder = (replace(h, text=f"{h.text}!") for h in heard.hypotheses)
        return replace(heard, hypotheses=tuple(louder))


def test_only_the_language_decided_on_is_heard_again(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    second = Shouting()
    engines = [TwoPassEngine(engine, second) for engine in (mandarin, cantonese)]
    call = make(recognisers={engine.language: engine.recogniser() for engine in engines})
    for pcm, language, text in ((MANDARIN, CMN, "我要社保"), (CANTONESE, YUE, "我想查吓社保")):
        feed(call, pcm)
        utterance = call.finish()
        assert (utterance.language, utterance.text) == (language, f"{text}!")
        other = utterance.recognitions[language.other]
        assert not other.text.endswith("!")
    assert [text for text, _ in second.heard] == ["我要社保", "我想查吓社保"]
    # The audio of each utterance, not of the call.
    assert all(
        length <= len(pcm)
        for (_, length), pcm in zip(second.heard, (MANDARIN, CANTONESE), strict=True)
    )
    call.accept(bytes(RATE_HZ))
    assert call.finish().text == ""
    assert len(second.heard) == 2


def test_what_became_of_an_utterance_is_told_with_it(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    second = Shouting("我想查吓社保")
    engines = [TwoPassEngine(engine, second) for engine in (mandarin, cantonese)]
    call = make(recognisers={engine.language: engine.recogniser() for engine in engines})
    found = []
    for pcm, has_time in (
        (MANDARIN, True),
        (MANDARIN, False),
        (CANTONESE, True),
        (CANTONESE, False),
        (bytes(RATE_HZ), False),
    ):
        feed(call, pcm)
        utterance = call.finish(has_time)
        found.append((utterance.text, utterance.second_pass))
    again, sure, busy = SecondPassOutcome
    assert found == [
        ("我要社保!", again),
        ("我要社保", busy),
        ("我想查吓社保", sure),
        ("我想查吓社保", sure),
        ("", sure),
    ]
    assert len(second.heard) == 1


def test_only_a_language_with_a_second_pass_tells_of_one(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    two_passes = TwoPassEngine(mandarin, Shouting())
    call = make(recognisers={CMN: two_passes.recogniser(), YUE: cantonese.recogniser()})
    for pcm, outcome in ((MANDARIN, SecondPassOutcome.AGAIN), (CANTONESE, None)):
        feed(call, pcm)
        assert call.finish().second_pass is outcome


def test_silence_is_decoded_once_a_voice_follows_it(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    counted = Counting(mandarin.recogniser())
    call = make(
        mandarin,
        cantonese,
        recognisers={CMN: counted, YUE: Counting(cantonese.recogniser())},
        rules=EndpointRules(end_silence_s=0.9, hold_s=0.2, lead_s=0.5),
        gate=LoudGate(),
    )
    speech = say(MANDARIN_WORDS, "我", "要", before_s=0.5, after_s=0.7)
    pause_and_more = say(MANDARIN_WORDS, "社保", before_s=0.0, after_s=0.0)
    heard = feed(call, speech + pause_and_more)
    assert not any(h.endpoint for h in heard)
    whole_s = len(speech + pause_and_more) / 2 / RATE_HZ
    assert counted.decoded_s == pytest.approx(whole_s, abs=0.35)  # the pause too
    assert feed(call, bytes(2 * RATE_HZ))[-1].endpoint
    utterance = call.finish()
    assert utterance.text == "我要社保"
    assert counted.decoded_s == pytest.approx(whole_s + 0.2, abs=0.15)  # and no more silence


def test_a_word_that_is_not_decoded_when_silence_comes_ends_the_utterance_too(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    call = make(
        mandarin,
        cantonese,
        recognisers={CMN: Late(mandarin.recogniser()), YUE: Late(cantonese.recogniser())},
        gate=LoudGate(),
    )
    *before, last = feed(call, say(MANDARIN_WORDS, "我", before_s=1.0, after_s=2.0))
    assert last.endpoint
    assert last.speech
    assert last.partial == "我"
    assert not any(h.speech for h in before)
    assert call.finish().text == "我"


def test_noise_without_words_ends_nothing_and_is_let_go_of(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    recognisers = {CMN: Deaf(mandarin.recogniser()), YUE: Deaf(cantonese.recogniser())}
    call = make(recognisers=recognisers, gate=LoudGate(), rules=EndpointRules(no_input_s=2.0))
    heard = feed(call, tone(2500, 0.3) + bytes(6 * RATE_HZ))
    assert not any(h.endpoint or h.speech for h in heard)
    assert heard[-1].no_input
    assert recognisers[CMN].decoded_s < 1.0


@pytest.fixture
def any_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tone model several readings are about as likely."""
    monkeypatch.setattr(language_decision, "_LEAST_POSTERIOR", 0.0)


LONG_MANDARIN = say(MANDARIN_WORDS, *["我", "要", "社保"] * 3, after_s=1.2)
LONG_CANTONESE = say(CANTONESE_WORDS, *["我", "想", "查吓", "社保"] * 2, after_s=1.2)
#: Under these whatever is found likely enough fits alone.
SURE = Weights(least_score_per_s=-1e9)
#: Under these nothing does: nobody knows what speech scores.
UNSURE = Weights(least_score_per_s=None)


def counting(mandarin: VoskEngine, cantonese: VoskEngine) -> dict[Language, Counting]:
    return {CMN: Counting(mandarin.recogniser()), YUE: Counting(cantonese.recogniser())}


@pytest.mark.usefixtures("any_posterior")
@pytest.mark.parametrize(("pcm", "language"), [(LONG_MANDARIN, CMN), (LONG_CANTONESE, YUE)])
def test_a_language_that_fits_alone_spares_the_other(
    mandarin: VoskEngine, cantonese: VoskEngine, pcm: bytes, language: Language
) -> None:
    counted = counting(mandarin, cantonese)
    call = make(recognisers=counted, weights=SURE, gate=LoudGate(), sure_score=1.0)
    assert feed(call, pcm)[-1].endpoint
    utterance = call.finish()
    assert utterance.language is language
    assert list(utterance.recognitions) == [language]
    assert 0.95 < utterance.language_confidence < 1.0
    assert counted[language.other].decoded_s < counted[language].decoded_s - 0.5
    assert set(utterance.computed_s) == set(Language)
    # What the call has told is enough for the next one; nothing is left over from the first.
    before_s = counted[language.other].decoded_s
    assert feed(call, pcm)[-1].endpoint
    assert call.finish().text == utterance.text
    assert counted[language.other].decoded_s == before_s


@pytest.mark.parametrize(("pcm", "language"), [(LONG_MANDARIN, CMN), (LONG_CANTONESE, YUE)])
def test_where_none_fits_alone_all_is_as_if_both_had_heard_all(
    mandarin: VoskEngine, cantonese: VoskEngine, pcm: bytes, language: Language
) -> None:
    both = make(recognisers=counting(mandarin, cantonese), gate=LoudGate())
    alone = make(
        recognisers=counting(mandarin, cantonese), weights=UNSURE, gate=LoudGate(), sure_score=1.0
    )
    for call in (both, alone):
        assert feed(call, pcm)[-1].endpoint
    assert replace(both.finish(), computed_s={}) == replace(alone.finish(), computed_s={})


def test_a_caller_may_switch_languages_though_one_goes_on_alone(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    call = make(mandarin, cantonese, weights=SURE, gate=LoudGate(), sure_score=1.0)
    for _ in range(3):
        feed(call, CANTONESE)
        call.finish()
    assert call.log_odds > 1
    feed(call, MANDARIN)
    utterance = call.finish()
    assert utterance.language is CMN
    assert utterance.text == "我要社保"


def test_a_language_that_is_asked_for_hears_what_waited(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    counted = counting(mandarin, cantonese)
    call = make(recognisers=counted, weights=SURE, gate=LoudGate(), sure_score=1.0)
    feed(call, LONG_CANTONESE[: -2 * RATE_HZ], until_endpoint=False)
    call.keep(CMN)
    feed(call, bytes(2 * RATE_HZ))
    assert call.finish().language is CMN
    assert counted[CMN].decoded_s == pytest.approx(counted[YUE].decoded_s, abs=0.25)


class Ear:
    """A spoken-language network that is told what to find, so many seconds into an utterance."""

    def __init__(self, log_odds: float, *, after_s: float = 0.5) -> None:
        self.finds, self.after_s = log_odds, after_s
        self.reset()

    def reset(self) -> None:
        self.heard_s = 0.0

    def hear(self, pcm: bytes) -> None:
        self.heard_s += len(pcm) / 2 / 8000

    @property
    def log_odds(self) -> float:
        return self.finds if self.heard_s >= self.after_s else 0.0


@pytest.mark.usefixtures("any_posterior")
@pytest.mark.parametrize(("pcm", "language"), [(LONG_MANDARIN, CMN), (LONG_CANTONESE, YUE)])
def test_a_sound_that_tells_the_language_spares_the_other_from_the_beginning(
    mandarin: VoskEngine, cantonese: VoskEngine, pcm: bytes, language: Language
) -> None:
    counted = counting(mandarin, cantonese)
    ear = Ear(6.0 if language is YUE else -6.0)
    call = make(recognisers=counted, weights=SURE, gate=LoudGate(), sure_score=1.0, sound=ear)
    for _ in range(2):
        assert feed(call, pcm)[-1].endpoint
        utterance = call.finish()
        assert list(utterance.recognitions) == [language]
        assert utterance.language is language
    assert counted[language.other].decoded_s == 0.0


@pytest.mark.usefixtures("any_posterior")
def test_a_sound_that_tells_it_late_turns_a_guess_around(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    counted = counting(mandarin, cantonese)
    ear = Ear(-7.0, after_s=2.0)
    call = make(recognisers=counted, weights=SURE, gate=LoudGate(), sure_score=1.0, sound=ear)
    call.settle(YUE, 0.97)
    feed(call, LONG_MANDARIN)
    utterance = call.finish()
    assert list(utterance.recognitions) == [CMN]
    assert utterance.text == "我要社保" * 3
    assert 1.5 < counted[YUE].decoded_s < 2.5
    assert call.log_odds < 0


def test_where_the_sound_is_sure_and_the_language_does_not_fit_both_are_asked(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    call = make(
        recognisers=counting(mandarin, cantonese),
        weights=UNSURE,
        gate=LoudGate(),
        sure_score=1.0,
        sound=Ear(4.5),
    )
    assert feed(call, LONG_MANDARIN)[-1].endpoint
    utterance = call.finish()
    assert set(utterance.recognitions) == {CMN, YUE}
    assert utterance.recognitions[CMN].text == "我要社保" * 3


def test_the_sound_is_evidence_where_both_are_heard(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    told = []
    for log_odds in (-3.0, 0.0, 3.0):
        call = make(mandarin, cantonese, weights=UNSURE, gate=LoudGate(), sound=Ear(log_odds))
        feed(call, CANTONESE)
        told.append(call.finish())
    assert [u.language for u in told] == [YUE] * 3
    odds = [math.log(u.language_confidence / (1 - u.language_confidence)) for u in told]
    assert odds[0] < odds[1] < odds[2] + 1e-9


def test_of_a_language_that_is_kept_the_sound_is_not_asked(
    mandarin: VoskEngine, cantonese: VoskEngine
) -> None:
    ear = Ear(8.0)
    call = make(mandarin, cantonese, weights=SURE, gate=LoudGate(), sure_score=1.0, sound=ear)
    call.keep(CMN)
    feed(call, MANDARIN)
    assert call.finish().language is CMN
    assert ear.heard_s == 0.0
