"""Both languages on one call, without I/O: audio goes in, what was heard comes out.

Every block of audio goes to the recogniser of each language. While the caller speaks, the partial
result of the leading language is shown; at the end of an utterance the language is decided from
both results and the call so far (:mod:`ivr.asr.language_decision`).

Hearing all in two languages costs twice as much as hearing it in one. With ``sure_score`` one
language goes on alone once the sound tells it (:mod:`ivr.asr.spoken_language`) or it leads, and the
other's audio is only kept. At the end of the utterance the language must fit what was heard so well
(:meth:`LanguageDecider.fits_alone`; less well where the sound is sure of it) that the other need
not be asked; else the other hears what was kept, and both are weighed as ever. So a caller may
switch at any time, and a wrong guess costs no more than the time it would have saved.

With a voice gate (:mod:`ivr.asr.voice_gate`) only speech is decoded, from a little before it begins
until the silence after it, and that silence ends the utterance; the decoders' own endpoints count
too, where a noise keeps the gate open.

There is no clock here: time is the audio taken. Not safe for several threads at once; a call runs
its jobs one after the other (:class:`ivr.asr.pool.Lane`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ivr.asr.engine import Recogniser, Recognition, SecondPassOutcome
from ivr.asr.language_decision import LanguageDecider, LanguageDecision
from ivr.asr.second_pass import TwoPassRecogniser
from ivr.asr.spoken_language import RATE_HZ as SOUND_RATE_HZ
from ivr.asr.spoken_language import SpokenLanguageStream
from ivr.asr.voice_gate import VoiceGate
from ivr.audio.level import LevelControl
from ivr.audio.resample import Resampler, check_rate
from ivr.errors import AudioError, ConfigError
from ivr.language import Language

__all__ = ["BilingualRecogniser", "EndpointRules", "Heard", "Utterance", "utterances"]


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """When an utterance is over. The silence that the engine itself asks for lies in its model.

    An endpoint counts only after words were recognised.
    """

    #: the longest utterance, s
    max_utterance_s: float = 20.0
    #: how long no word must have come before an engine's endpoint counts, s; raise it for callers
    #: who pause within a sentence
    min_trailing_silence_s: float = 0.0
    #: after so long without a new word in the leading language, an endpoint of the other
    #: language's engine counts too, s: noise may keep one engine busy for ever
    other_language_after_s: float = 1.0
    #: silence from which on :attr:`Heard.no_input` is set, s
    no_input_s: float = 5.0
    #: wordless audio after which the recognisers start anew, so that waiting costs no memory, s
    restart_s: float = 10.0
    #: audio before a restart that is heard again, so that no word is cut in two, s
    overlap_s: float = 0.5
    #: with a voice gate: the silence after words that ends the utterance, s;
    #: :attr:`min_trailing_silence_s` raises it
    end_silence_s: float = 0.5
    #: with a voice gate: so much silence after a voice is decoded at once, s; more waits until a
    #: voice follows, for most silence ends an utterance and tells nothing
    hold_s: float = 0.15
    #: with a voice gate: audio from before the voice that is decoded too, s
    lead_s: float = 0.6


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known after a block of audio."""

    partial: str  # of the leading language; empty before the first word
    language: Language  # the leading language
    language_confidence: float  # its probability, 0 to 1
    endpoint: bool  # the utterance is over: call finish()
    speech: bool  # words were recognised in this utterance
    since_word_s: float  # audio since the partial last changed, or since the utterance began
    no_input: bool  # no word for EndpointRules.no_input_s since the utterance began
    voice: bool = False  # somebody speaks now, with words or without; known with a voice gate only


@dataclass(frozen=True, slots=True)
class Utterance:
    """A finished utterance."""

    language: Language
    language_confidence: float  # probability, 0 to 1
    #: of every language that was listened to; of one where it fits so well that the other was
    #: not asked
    recognitions: Mapping[Language, Recognition]
    start_s: float  # where it began, from the start of the call
    duration_s: float
    #: processor time that each language's model took for it, seconds
    computed_s: Mapping[Language, float] = field(default_factory=dict)
    #: whether the language decided on was heard again; None where it has no second pass
    second_pass: SecondPassOutcome | None = None

    @property
    def recognition(self) -> Recognition:
        """The result in the language decided on."""
        return self.recognitions[self.language]

    @property
    def text(self) -> str:
        """The best transcript in the language decided on; empty where nothing was said."""
        return self.recognition.text

    def weighed(self) -> dict[Language, list[tuple[str, float]]]:
        """Of each language, its hypotheses with their confidences, the best first."""
        return {
            language: [(h.text, h.confidence) for h in recognition.hypotheses]
            for language, recognition in self.recognitions.items()
        }

    def spoken_in(self, language: Language, confidence: float) -> Utterance:
        """The same utterance in the language that its meaning decided on."""
        return replace(self, language=language, language_confidence=confidence)


#: Both languages hear an utterance for so long, s: the lead of silence, and a word or two.
_BOTH_HEAR_S = 1.4
#: ... unless the call so far tells the language so surely, log-odds (0.77; after an utterance of
#: which the language was told with 0.88).
_KNOWN_LOG_ODDS = 1.2
#: Where the sound may tell the language, no language decodes before so much was heard, s: its
#: network, in blocks of 1.2 s that look 0.2 s ahead, would say nothing sooner.
_NONE_DECODES_S = 1.4
#: Log-odds from which on more of the sound is not heard: it would tell the same.
_SOUND_SETTLED = 5.0
#: The sound is heard in blocks of so much, s: half of that costs twice as much.
_SOUND_BLOCK_S = 0.4
#: Audio goes to the decoders in blocks of so much where a gate finds the end of speech, seconds.
_GATED_BLOCK_S = 0.2
_GATE_RATE_HZ = 8_000


class _Channel:
    """One language: its recogniser, behind a resampler where the rates differ.

    Audio is gathered to ``block_s``: a decoder asked for less does as much work for nothing new.
    """

    def __init__(self, recogniser: Recogniser, rate_hz: int, *, block_s: float) -> None:
        self.recogniser = recogniser
        self.endpoint = False
        self._resampler = Resampler(rate_hz, recogniser.rate_hz)
        self._block = 2 * round(block_s * recogniser.rate_hz)
        self._gathered = b""
        self.computed_s = 0.0  # since the last utterance

    def accept(self, pcm: bytes, *, decode: bool = True) -> None:
        self._gathered += self._resampler.resample(pcm)
        if decode and len(self._gathered) >= self._block:
            with self._timed():
                self.endpoint = self.recogniser.accept(self._gathered)
            self._gathered = b""

    def finish(self, *, without_s: float = 0.0) -> Recognition:
        """Close the utterance; the last ``without_s`` of what was only gathered is left out."""
        rest = self._gathered + self._resampler.flush()
        left_out = min(len(rest), 2 * round(without_s * self.recogniser.rate_hz))
        with self._timed():
            self.recogniser.accept(rest[: len(rest) - left_out])
            if isinstance(self.recogniser, TwoPassRecogniser):
                recognition = self.recogniser.finish_first()
            else:
                recognition = self.recogniser.finish()
        self._gathered = b""
        self.endpoint = False
        return recognition

    def again(
        self, heard: Recognition, *, has_time: bool
    ) -> tuple[Recognition, SecondPassOutcome | None]:
        """What a second pass, where there is one and time for it, makes of what was heard."""
        if not isinstance(self.recogniser, TwoPassRecogniser):
            return heard, None
        if not self.recogniser.wants(heard):
            return heard, SecondPassOutcome.SURE
        if not has_time:
            return heard, SecondPassOutcome.BUSY
        with self._timed():
            return self.recogniser.again(heard), SecondPassOutcome.AGAIN

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Adds the processor time of this thread: how busy the machine is does not count."""
        begun_s = time.thread_time()
        try:
            yield
        finally:
            self.computed_s += time.thread_time() - begun_s

    def reset(self) -> None:
        self._gathered = b""
        self._resampler.reset()
        self.recogniser.reset()
        self.endpoint = False


class _Sound:
    """What the sound of an utterance tells of its language, behind a resampler."""

    def __init__(self, stream: SpokenLanguageStream, rate_hz: int) -> None:
        self._stream = stream
        self._resampler = Resampler(rate_hz, SOUND_RATE_HZ)
        self._held = b""

    @property
    def log_odds(self) -> float:
        """Of Cantonese, natural; 0 before much was heard."""
        return self._stream.log_odds

    def accept(self, pcm: bytes, *, decode: bool) -> None:
        """Silence that may end the utterance waits for a voice, as it does for the decoders."""
        self._held += self._resampler.resample(pcm)
        if decode and len(self._held) >= 2 * round(_SOUND_BLOCK_S * SOUND_RATE_HZ):
            self.finish()

    def finish(self) -> None:
        """Hear what waits, unless all has been told."""
        if abs(self._stream.log_odds) < _SOUND_SETTLED:
            self._stream.hear(self._held)
        self._held = b""

    def reset(self) -> None:
        self._held = b""
        self._resampler.reset()
        self._stream.reset()


class BilingualRecogniser:
    """The recognisers of a call, of one language or of both.

    Args:
        recognisers: one for each language to listen to.
        decider: decides the language and holds the weights.
        rate_hz: sample rate of the audio that will come, Hertz; resampled where a recogniser
            wants another.
        rules: when an utterance is over.
        gate: decides what is decoded; None decodes everything.
        sure_score: with a gate: one language is enough where it fits so many times as well as
            speech must; None asks both always.
        sound: tells the language by the sound alone; None leaves it to the recognisers.

    Raises:
        ConfigError: there is no recogniser, or one is filed under another language than its own.
        AudioError: ``rate_hz`` is absurd.
    """

    def __init__(
        self,
        recognisers: Mapping[Language, Recogniser],
        decider: LanguageDecider,
        *,
        rate_hz: int = 8000,
        rules: EndpointRules | None = None,
        gate: VoiceGate | None = None,
        sure_score: float | None = None,
        sound: SpokenLanguageStream | None = None,
    ) -> None:
        _check(recognisers)
        self._rate_hz = check_rate(rate_hz)
        self._decider = decider
        self._rules = rules or EndpointRules()
        self._channels = {
            language: _Channel(recogniser, rate_hz, block_s=_GATED_BLOCK_S if gate else 0.0)
            for language, recogniser in recognisers.items()
        }
        self._gate = gate
        self._sure_score = sure_score if gate is not None else None
        self._alone: Language | None = None  # decodes this utterance; the other waits
        two = len(self._channels) > 1
        self._sound = _Sound(sound, rate_hz) if sound is not None and two else None
        self._level = LevelControl(rate_hz)
        self._to_gate = Resampler(rate_hz, _GATE_RATE_HZ) if gate else None
        self._decoding = gate is None  # whether audio goes to the recognisers
        self._prior = 0.0  # log-odds of Cantonese, of the call so far
        self._kept: Language | None = None
        self._leading: Language | None = None
        self._listening = tuple(self._channels)  # the languages that hear this utterance
        self._partial = ""  # of the leading language
        self._closed: dict[Language, Recognition] | None = None  # of an utterance to be finished
        # Places on the call's own clock, in samples:
        self._now = 0
        self._start = 0  # of the utterance
        self._word_at = 0  # where the leading partial last changed, or the last utterance ended
        self._tail = b""  # the last EndpointRules.overlap_s of audio

    @property
    def rate_hz(self) -> int:
        """The rate of the audio taken, Hertz."""
        return self._rate_hz

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that can be recognised."""
        return tuple(self._channels)

    @property
    def log_odds(self) -> float:
        """The call so far: natural log-odds of Cantonese against Mandarin."""
        return self._prior

    @property
    def rules(self) -> EndpointRules:
        """When an utterance is over; may be replaced at any time."""
        return self._rules

    @rules.setter
    def rules(self, rules: EndpointRules) -> None:
        self._rules = rules

    def keep(self, language: Language | None) -> None:
        """Force the language of what follows, because the caller chose it; None decides again.

        From the next utterance on only that language is listened to.

        Raises:
            ConfigError: that language has no recogniser.
        """
        if language is not None and language not in self._channels:
            known = ", ".join(self._channels)
            raise ConfigError(f"no model for {language} is configured, only for {known}")
        self._kept = language
        if self._alone is not None and language is not None:
            self._alone = None  # what waits is heard now
        if self._now == self._start:
            self._listening = self._to_listen()

    def _to_listen(self) -> tuple[Language, ...]:
        return tuple(self._channels) if self._kept is None else (self._kept,)

    def take(self, pcm: bytes) -> None:
        """Take audio (s16le, one channel, :attr:`rate_hz`) to which more belongs that follows.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
        """
        if len(pcm) % 2:
            raise AudioError(
                f"{len(pcm)} bytes are no whole number of 16-bit samples: "
                "pass them through codecs.Decoder first"
            )
        if pcm:
            self._now += len(pcm) // 2
            self._hear(pcm)

    def accept(self, pcm: bytes) -> Heard:
        """:meth:`take` audio and say what is known by now.

        Raises:
            AudioError: ``pcm`` is not a whole number of samples.
        """
        self.take(pcm)
        if self._decoding and not any(self._partials().values()):
            self._let_go_of_wordless_audio()
        partials = self._partials()
        language, confidence = self._lead(partials)
        sure = self._sure()
        self._go_alone(sure or language, None if sure else partials)
        if partials[language] != self._partial:
            self._partial, self._word_at = partials[language], self._now
        speech = any(partials.values())
        since_word_s = self._seconds(self._now - self._word_at)
        return Heard(
            partial=self._partial,
            language=language,
            language_confidence=confidence,
            endpoint=speech and self._is_endpoint(language, since_word_s),
            speech=speech,
            since_word_s=since_word_s,
            no_input=not speech and since_word_s >= self._rules.no_input_s,
            voice=self._gate is not None and self._gate.voice,
        )

    def _seconds(self, samples: int) -> float:
        return samples / self._rate_hz

    def _hear(self, pcm: bytes) -> None:
        if self._gate is not None and self._to_gate is not None:
            self._gate.hear(self._to_gate.resample(pcm))
            if not self._decoding:
                if not self._gate.open:
                    self._remember(pcm, self._rules.lead_s)
                    return
                pcm = self._tail + pcm
                self._tail = b""
                self._start = self._now - len(pcm) // 2
                self._decoding = True
                if abs(self._prior) >= _KNOWN_LOG_ODDS:
                    self._go_alone(Language.CANTONESE if self._prior > 0 else Language.MANDARIN)
            pcm = self._level.apply(pcm)
        self._feed(pcm, decode=self._gate is None or self._gate.silence_s <= self._rules.hold_s)

    def _feed(self, pcm: bytes, *, decode: bool = True) -> None:
        if (sound := self._ear) is not None:
            sound.accept(pcm, decode=decode)
            if self._sure_score is not None and self._alone is None:
                decode = decode and self._seconds(self._now - self._start) >= _NONE_DECODES_S
        for language in self._listening:
            decodes = decode and self._alone in (None, language)
            self._channels[language].accept(pcm, decode=decodes)
        self._remember(pcm, self._rules.overlap_s)

    def _remember(self, pcm: bytes, seconds: float) -> None:
        kept = 2 * round(seconds * self._rate_hz)
        self._tail = (self._tail + pcm)[-kept:] if kept else b""

    def _let_go_of_wordless_audio(self) -> None:
        """Waiting costs no memory, and with a gate no decoding either.

        Words may be in what has been heard and not decoded yet: a short one, and silence.
        """
        if self._is_silent():
            closed = self._close()
            self._shut()
            self._closed = closed if any(r.best for r in closed.values()) else None
        elif self._seconds(self._now - self._start) >= self._rules.restart_s:
            self._restart()

    def _shut(self) -> None:
        """Decode nothing until there is a voice again."""
        if self._gate is not None:
            self._gate.shut()
            self._decoding = False

    def _is_silent(self) -> bool:
        """Whether the silence that ends an utterance has come; known with a gate only."""
        rules = self._rules
        return self._gate is not None and self._gate.silence_s >= max(
            rules.end_silence_s, rules.min_trailing_silence_s
        )

    def _close(self) -> dict[Language, Recognition]:
        """What each language makes of all that was heard; silence at the end tells nothing."""
        silence_s = self._gate.silence_s if self._gate is not None else 0.0
        without_s = max(0.0, silence_s - self._rules.hold_s)
        found: dict[Language, Recognition] = {}
        if (sound := self._ear) is not None:
            sound.finish()
        sure = self._sure()
        if sure is not None:
            self._go_alone(sure)
        if self._alone is not None and self._sure_score is not None:
            alone = self._channels[self._alone].finish(without_s=without_s)
            found[self._alone] = alone
            by_sound = sure is self._alone
            if self._decider.fits_alone(alone, self._sure_score, sound_is_sure=by_sound):
                self._channels[self._alone.other].reset()
                return found
        for language in self._listening:
            if language not in found:
                found[language] = self._channels[language].finish(without_s=without_s)
        return found

    def _partials(self) -> dict[Language, str]:
        if self._closed is not None:
            return {language: found.text for language, found in self._closed.items()}
        return {
            language: self._channels[language].recogniser.partial() for language in self._listening
        }

    @property
    def _ear(self) -> _Sound | None:
        """What hears the language in the sound, where it is to be told."""
        return self._sound if self._kept is None else None

    def _sure(self) -> Language | None:
        """The language that the sound tells surely, beside the call so far."""
        if self._ear is None:
            return None
        return self._decider.sure_by_sound(self._told(), prior=self._prior)

    def _go_alone(self, language: Language, partials: Mapping[Language, str] | None = None) -> None:
        """From now on only ``language`` decodes, where that is wanted and it is time for it.

        ``partials`` where it leads by what has been heard; without, the sound or the call so far
        tells it. The sound may find, later, that it is the other.
        """
        if self._sure_score is None or self._kept is not None:
            return
        if self._alone is not None and partials is not None:
            return
        if language not in self._listening or len(self._listening) == 1:
            return
        heard_s = self._seconds(self._now - self._start)
        if partials is None or (heard_s >= _BOTH_HEAR_S and any(partials.values())):
            self._alone = language

    def _lead(self, partials: Mapping[Language, str]) -> tuple[Language, float]:
        if self._kept is not None and self._kept in partials:
            return self._kept, 1.0
        language, confidence = self._decider.leading(
            partials, prior=self._prior + self._told(), current=self._leading
        )
        if self._alone is not None and language is not self._alone:
            language, confidence = self._alone, 1.0 - confidence
        self._leading = language
        return language, confidence

    def _told(self) -> float:
        """Log-odds of Cantonese that the sound of this utterance tells."""
        return self._ear.log_odds if self._ear is not None else 0.0

    def _is_endpoint(self, leading: Language, since_word_s: float) -> bool:
        if self._seconds(self._now - self._start) >= self._rules.max_utterance_s:
            return True
        if self._closed is not None or self._is_silent():
            return True
        if since_word_s < self._rules.min_trailing_silence_s:
            return False
        ended = [language for language in self._listening if self._channels[language].endpoint]
        late = since_word_s >= self._rules.other_language_after_s
        # Of a language that goes on alone it is not known yet whether it understands anything.
        return (leading in ended and self._alone is None) or (late and bool(ended))

    def _restart(self) -> None:
        """Let go of wordless audio; its last moments are heard again."""
        overlap = self._tail
        for language in self._listening:
            self._channels[language].reset()
        if self._sound is not None:
            self._sound.reset()
        self._start = self._now - len(overlap) // 2
        self._tail = b""
        self._feed(overlap)

    def finish(self, again: bool = True) -> Utterance:
        """Close the utterance, decide its language, and start the next one.

        Without ``again`` no second pass is asked. Where nothing was said, or noise alone was heard,
        the text is empty and the language is that of the call so far.
        """
        recognitions = self._closed if self._closed is not None else self._close()
        if self._decider.is_noise(recognitions):
            recognitions = {k: replace(r, hypotheses=()) for k, r in recognitions.items()}
        decision = self._decide(recognitions)
        second_pass = None
        if (heard := recognitions.get(decision.language)) is not None:
            channel = self._channels[decision.language]
            anew, second_pass = channel.again(heard, has_time=again)
            recognitions = {**recognitions, decision.language: anew}
        utterance = Utterance(
            language=decision.language,
            language_confidence=decision.confidence,
            recognitions=recognitions,
            start_s=self._seconds(self._start),
            duration_s=self._seconds(self._now - self._start),
            computed_s={code: self._channels[code].computed_s for code in self._listening},
            second_pass=second_pass,
        )
        for channel in self._channels.values():
            channel.computed_s = 0.0
        if any(recognition.best for recognition in recognitions.values()):
            self._prior = self._decider.next_prior(decision)
        self._next_utterance(leading=decision.language)
        return utterance

    def settle(self, language: Language, confidence: float) -> None:
        """What was meant showed the language of the last utterance: start the next one from it.

        ``confidence`` is the probability of ``language``, 0 to 1.
        """
        self._prior = self._decider.prior_of(language, confidence)
        self._leading = language

    def _decide(self, recognitions: Mapping[Language, Recognition]) -> LanguageDecision:
        if self._kept is not None and self._kept in recognitions:
            recognitions = {self._kept: recognitions[self._kept]}
        if self._alone is not None and len(recognitions) == 1:
            return self._decider.alone(self._alone)
        return self._decider.decide(recognitions, prior=self._prior, sound=self._told())

    def reset(self) -> None:
        """Throw the utterance in progress away; what is known of the call stays."""
        for language in self._listening:
            self._channels[language].reset()
        self._next_utterance(leading=self._leading)

    def _next_utterance(self, *, leading: Language | None) -> None:
        self._start = self._word_at = self._now
        self._partial, self._tail, self._closed = "", b"", None
        self._alone = None
        if self._sound is not None:
            self._sound.reset()
        self._shut()
        self._leading = leading
        self._listening = self._to_listen()


def utterances(
    call: BilingualRecogniser, pcm: bytes, *, block_s: float = 0.1
) -> Iterator[Utterance]:
    """The utterances of a whole recording, as a call would hear them; wordless ones are left out.

    ``pcm`` is s16le at the rate of ``call``; the last utterance ends with it.
    """
    block = 2 * max(1, round(block_s * call.rate_hz))
    for start in range(0, len(pcm), block):
        if call.accept(pcm[start : start + block]).endpoint:
            yield call.finish()
    last = call.finish()
    if last.text:
        yield last


def _check(recognisers: Mapping[Language, Recogniser]) -> None:
    if not recognisers:
        raise ConfigError("no language is configured: name a model for cmn, yue or both")
    for language, recogniser in recognisers.items():
        if recogniser.language is not language:
            raise ConfigError(
                f"the recogniser for {language} is one for {recogniser.language}: "
                "check the languages in config/kapok.yaml"
            )
