"""One call, without I/O and free of any gateway's protocol: audio and keys in, turns out.

    conversation = Conversation(services, local_time=datetime.now(zone), stream=StreamConfig())
    play(conversation.opening.events)     # the greeting
    turn = conversation.hear(audio)       # recognises, matches and moves the call

:meth:`Conversation.hear` computes for as long as recognition takes, so a server runs it off its
event loop, one input of a call at a time.

The clock of the call is its audio: a gateway sends silence too, and a file streamed as fast as
it goes meets the same time-outs as one at real-time pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ivr.asr.bilingual import BilingualRecogniser, Heard, Utterance
from ivr.asr.factory import Speech, load_speech
from ivr.asr.workers import RemoteRecogniser, SpeechWorkers
from ivr.audio.codecs import Decoder
from ivr.audio.resample import Resampler
from ivr.call.barge_in import BargeIn
from ivr.call.caller_list import CallerList
from ivr.call.event_log import EventLog, masked
from ivr.call.events import (
    BargedIn,
    CallStarted,
    ConfirmationAsked,
    DigitPressed,
    EmergencyOffered,
    EmergencyRouted,
    Ended,
    Event,
    HandedOff,
    HungUp,
    Input,
    LanguageChosen,
    Prompt,
    PromptPlayed,
    RecogniserFailed,
    Routed,
    SlowedDown,
    SpeechStarted,
    Tick,
    Transferred,
    UtteranceMatched,
)
from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import PromptTexts, load_prompts
from ivr.call.session import Limits
from ivr.call.transitions import State
from ivr.call.turn import Final, Turn
from ivr.call.voice import RATE_HZ as BARGE_IN_RATE_HZ
from ivr.call.voice import SILENCE_DBFS, VoiceModel, level_dbfs
from ivr.errors import ConfigError, IvrError
from ivr.gateways.gateway import StreamConfig
from ivr.intent.languages import read
from ivr.intent.matcher import Matcher
from ivr.intent.slots import find, mask, mask_partial
from ivr.intent.types import Decision, Match
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.reload import installed_version
from ivr.server.call_files import CallKeeping
from ivr.settings import Settings

__all__ = ["Conversation", "Listening", "Services", "version_now"]

_log = logging.getLogger(__name__)

#: Prompts that may be under way at once; more than any turn says.
_PROMPTS_KEPT = 32
#: So much of a voice over a prompt, seconds in all, makes words over it the caller's.
_VOICED_S = 0.2
#: Speech that is nowhere louder than this is a television or somebody else in the room: the nominal
#: level of a caller is -20 dBFS, that of a quiet one -40, with peaks 8 dB above.
_BACKGROUND_DBFS = -42.0
#: How often the session is told that the caller goes on speaking, s.
_SPEAKING_TOLD_S = 1.0
#: How probable the language is that a caller has asked for.
_CHOSEN = 0.8


@dataclass(frozen=True, slots=True)
class Listening:
    """A block of audio on its way to a recogniser: :meth:`Conversation.take`."""

    recogniser: RemoteRecogniser
    pcm: bytes
    events: tuple[Event, ...]  # that it has caused by now


@dataclass(frozen=True)
class Services:
    """What all calls share; loaded once, before listening."""

    speech: Speech | SpeechWorkers
    catalogue: Catalogue
    matcher: Matcher
    limits: Limits
    max_message_bytes: int
    settings: Settings
    prompts: PromptTexts
    prompt_audio: PromptAudio
    voice_model: VoiceModel
    elders: CallerList
    version: str  # of queues, phrases and prompts

    @classmethod
    def load(cls, settings: Settings, *, isolated: bool = False) -> Services:
        """Load models and queues as the settings name them.

        Args:
            isolated: recognition goes on in processes of its own; :meth:`close` ends them.

        Raises:
            ConfigError: the catalogue of queues, or the prompts, are not valid.
            ModelError: a model is missing, incomplete or cannot be loaded.
        """
        catalogue = load_catalogue(settings.queues)
        return cls(
            version=version_now(settings, catalogue),
            catalogue=catalogue,
            matcher=Matcher(catalogue),
            limits=Limits.from_settings(settings),
            max_message_bytes=settings.server.max_message_bytes,
            settings=settings,
            prompts=load_prompts(settings.prompts),
            prompt_audio=PromptAudio(settings.prompts),
            voice_model=VoiceModel.load(),
            elders=CallerList.load(settings.dialogue.elders.callers),
            # Last: where anything else fails, no process was started.
            speech=SpeechWorkers.start(settings, hot_words=catalogue.hot_words)
            if isolated
            else load_speech(settings, hot_words=catalogue.hot_words),
        )

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Processes that recognise are read and written on this loop, until :meth:`detach`."""
        if isinstance(self.speech, SpeechWorkers):
            self.speech.attach(loop)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop ends."""
        if isinstance(self.speech, SpeechWorkers):
            self.speech.detach(loop)

    @property
    def workers(self) -> tuple[int, int] | None:
        """Processes that recognise and are alive, and how many died; None where there are none."""
        if not isinstance(self.speech, SpeechWorkers):
            return None
        return len(self.speech.pids), self.speech.restarts

    def close(self) -> None:
        """End the processes that recognise, where there are any; those of successors too."""
        if isinstance(self.speech, SpeechWorkers):
            self.speech.close()

    def with_catalogue(self, catalogue: Catalogue, *, version: str) -> Services:
        """Other queues and prompts; where the hot words are others, the speech models too.

        Takes seconds where there are many phrases. These serve on, also where this fails, until
        :meth:`retire`.

        Args:
            version: of the files that the catalogue was read from, and the prompts.

        Raises:
            ConfigError: the texts of the prompts are not valid.
            ModelError: hot words are others, and a model cannot be loaded any more.
        """
        settings = self.settings
        fresh = replace(
            self,
            catalogue=catalogue,
            matcher=Matcher(catalogue),
            prompts=load_prompts(settings.prompts),
            prompt_audio=PromptAudio(settings.prompts),
            elders=self._elders_now(),
            version=version,
        )
        # Last: where anything else fails, no process was started.
        return replace(fresh, speech=self._speech_with(catalogue.hot_words))

    def _speech_with(self, hot_words: Sequence[str]) -> Speech | SpeechWorkers:
        if hot_words == self.catalogue.hot_words:
            return self.speech
        if isinstance(self.speech, SpeechWorkers):
            return self.speech.with_hot_words(hot_words)
        return load_speech(self.settings, hot_words=hot_words)

    def retire(self, successor: Services) -> None:
        """Calls that began with these are served to the end, and new calls by the successor.

        Processes of the successor end where :meth:`close` of these is called.
        """
        mine, others = self.speech, successor.speech
        if mine is others:
            return
        if isinstance(mine, SpeechWorkers) and isinstance(others, SpeechWorkers):
            mine.retire(others)

    def _elders_now(self) -> CallerList:
        """The list as it is now; as it was, where an edit of it is no good."""
        try:
            return CallerList.load(self.settings.dialogue.elders.callers)
        except ConfigError as error:
            _log.error("the edit of the list of elders is refused, the old one serves:\n%s", error)
            return self.elders


def version_now(settings: Settings, catalogue: Catalogue) -> str:
    """The version of what a call goes by: queues, phrases, prompts, the list of elders."""
    return installed_version(
        settings.queues,
        catalogue,
        prompts=settings.prompts,
        also=(settings.dialogue.elders.callers,),
    )


class Conversation:
    """One call; used from one thread at a time. No method raises on account of audio.

    Args:
        services: what calls share.
        local_time: the clock on the wall as the call begins, with its time zone.
        stream: the caller's audio, as the gateway sends it.
        log: where the call logs; a logger that puts the call's id on each line.
        call_id: the call, as the gateway or the server names it.
        caller: the caller's number, where it is told.
        plays_prompts: the gateway plays the prompts that it is sent: then a voice over one is told
            from its echo and from noise, and only such a voice cuts it.
        expected_wait_s: the wait of a caller who joins a queue (id) now; None: not known.
        keep: where the call's event log and, if wanted, its audio go; nowhere without.
    """

    def __init__(
        self,
        services: Services,
        *,
        local_time: datetime,
        stream: StreamConfig,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger] = _log,
        call_id: str | None = None,
        caller: str | None = None,
        plays_prompts: bool = False,
        expected_wait_s: Callable[[str], float | None] = lambda queue: None,
        keep: CallKeeping | None = None,
    ) -> None:
        self._services = services
        self._log = log
        self._call_id, self._caller = call_id, caller
        self._stream = stream
        self._decoder = Decoder(stream.encoding)
        self._bytes = 0
        self._recogniser: BilingualRecogniser | RemoteRecogniser | None = None
        by_voice = plays_prompts and services.settings.dialogue.barge_in == "voice"
        self._over_prompt = BargeIn(services.voice_model.stream()) if by_voice else None
        self._to_barge_in = Resampler(stream.rate_hz, BARGE_IN_RATE_HZ)
        #: when the session was last told that the caller speaks, and whether of words
        self._spoke_s, self._words_told = -_SPEAKING_TOLD_S, False
        self._loudest_dbfs = SILENCE_DBFS  # of the utterance
        self._voice_now = False  # or words, in the last block
        self._voice_before = False  # a voice or words, as the prompt that is being played began
        self._barged = False  # into the prompt that is being played
        self._in_words = False  # the utterance in progress has some
        self._keep = keep or CallKeeping()
        self._book = EventLog(
            self._keep.record,
            call_id=call_id or "",
            began=local_time,
            version=services.version,
        )
        self._session = self._book.session(
            matcher=services.matcher,
            catalogue=services.catalogue,
            limits=services.limits,
            texts=services.prompts,
            duration_s=services.prompt_audio.duration_s,
            elder_limits=Limits.for_elders(services.settings),
            expected_wait_s=expected_wait_s,
        )
        self._today = local_time.date()
        self._failed = False
        self._unplayed: deque[str] = deque(maxlen=_PROMPTS_KEPT)  # ids of prompts under way
        self._opening = Turn(
            events=self._give(
                CallStarted(
                    0.0,
                    local_time,
                    elder=services.elders.has(caller),
                    can_call_back=bool(caller),
                )
            )
        )

    @property
    def opening(self) -> Turn:
        """What the call says first: the greeting."""
        return self._opening

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self._session.state

    @property
    def heard_s(self) -> float:
        """Audio taken so far, seconds: the clock of the call."""
        samples = self._bytes // self._stream.encoding.bytes_per_sample
        return samples / self._stream.rate_hz

    def configure(self, stream: StreamConfig) -> None:
        """The audio, of which none has come yet, will be otherwise."""
        self._stream = stream
        self._decoder = Decoder(stream.encoding)
        self._to_barge_in = Resampler(stream.rate_hz, BARGE_IN_RATE_HZ)

    def hear(self, audio: bytes) -> Turn:
        """Take audio in the encoding of the stream; it may split a sample."""
        self._bytes += len(audio)
        return self._safely(lambda: self._hear(audio))

    @property
    def waits_on_loop(self) -> bool:
        """Whether the next audio may go :meth:`take`, :meth:`understand`, on the event loop.

        So it is where a worker recognises and nothing else computes or writes files meanwhile.
        """
        return (
            isinstance(self._recogniser, RemoteRecogniser)
            and not self._failed
            and not self._keep.records_audio
            and not (self._over_prompt is not None and self._over_prompt.playing)
            and self._recogniser.waits_on_loop
        )

    def take(self, audio: bytes) -> Listening | Turn:
        """The first half of :meth:`hear`: audio as the recogniser wants it.

        Only where :attr:`waits_on_loop`. The second half is :meth:`understand`.
        """
        self._bytes += len(audio)
        taken: list[Listening] = []

        def prepare() -> Turn:
            pcm, events = self._prepare(audio)
            assert isinstance(self._recogniser, RemoteRecogniser)
            taken.append(Listening(self._recogniser, pcm, events))
            return Turn()

        failed = self._safely(prepare)
        return taken[0] if taken else failed

    def understand(self, listening: Listening, heard: Heard) -> Turn:
        """The second half of :meth:`hear`. It computes where ``heard`` is an endpoint."""
        if self._failed or self._recogniser is not listening.recogniser:
            return Turn(partial="")
        return self._safely(lambda: self._understand(heard, listening.events))

    def press(self, digit: str) -> Turn:
        """A DTMF key: one of ``0123456789*#ABCD``."""
        return self._safely(
            lambda: self._without_words(self._give(DigitPressed(self.heard_s, digit)))
        )

    def finish(self) -> Turn:
        """The gateway closes the utterance."""
        return self._safely(self._final)

    def played(self, prompt_id: str) -> Turn:
        """The gateway has played this prompt, and those before it, to the end."""
        if prompt_id in self._unplayed:
            while self._unplayed.popleft() != prompt_id:
                pass
            if not self._unplayed:
                if self._over_prompt is not None:
                    self._over_prompt.finish()
                return Turn(events=self._give(PromptPlayed(self.heard_s)))
        return Turn()

    def transferred(self) -> Turn:
        """The gateway has moved the call to where it was routed."""
        if self.state in (State.ROUTING, State.HANDING_OFF, State.ENDED):
            return Turn(events=self._give(Transferred(self.heard_s)))
        return Turn()

    def hang_up(self) -> Turn:
        """The connection is gone: end the call and let go of its recognisers."""
        self._recogniser = None
        events = self._give(HungUp(self.heard_s))
        self._keep.close()
        return Turn(events=events)

    def fail(self, reason: str) -> Turn:
        """Recognition of this call cannot go on: a person takes it."""
        self._log.error("recognition failed: %s", reason)
        self._failed, self._recogniser = True, None
        events = self._give(RecogniserFailed(self.heard_s, reason))
        added = self._added(_NOTHING, events, None) | {"error": reason}
        return Turn(final=Final(added=added), events=events)

    def _safely(self, step: Callable[[], Turn]) -> Turn:
        try:
            return step()
        except Exception as error:
            return self.recognition_failed(error)

    def recognition_failed(self, error: Exception) -> Turn:
        """What was to be heard came to this error, while it is handled: a person takes the call."""
        if isinstance(error, IvrError):
            return self.fail(str(error))
        self._log.error("recognition failed", exc_info=error)
        return self.fail("internal error; the server's log has it")

    def _give(self, given: Input) -> tuple[Event, ...]:
        before = self._session.state
        events = self._book.receive(given)
        if self._session.state is not before and not isinstance(given, CallStarted):
            self._log.info("%s -> %s", before, self._session.state)
        self._note_prompts(events, cuts=_cuts(given))
        return events

    def _note_prompts(self, events: Iterable[Event], *, cuts: bool) -> None:
        """Keep track of what is being played; ``cuts``: a new prompt takes the place of others."""
        for event in events:
            if isinstance(event, BargedIn) or (isinstance(event, Prompt) and cuts):
                self._unplayed.clear()
                if self._over_prompt is not None:
                    self._over_prompt.stop()
                cuts = False
            if isinstance(event, SlowedDown):
                self._slow_down()
            if isinstance(event, LanguageChosen) and self._recogniser is not None:
                self._recogniser.settle(event.language, _CHOSEN)
            if isinstance(event, Prompt):
                self._unplayed.append(event.id)
                if self._over_prompt is not None:
                    if not self._over_prompt.playing:
                        self._barged, self._voice_before = False, self._voice_now
                    self._over_prompt.play(self._services.prompt_audio.pcm(event))

    def _slow_down(self) -> None:
        """The caller may pause longer within a sentence."""
        silence_s = self._services.settings.dialogue.elders.end_of_speech_s
        if self._recogniser is not None:
            rules = self._recogniser.rules
            self._recogniser.rules = replace(rules, min_trailing_silence_s=silence_s)

    # --- audio ---------------------------------------------------------------------------

    def _hear(self, data: bytes) -> Turn:
        if self._failed:
            return Turn(partial="")
        if self._recogniser is None:
            self._recogniser = self._new_recogniser()
            if self._session.slow:
                self._slow_down()
        pcm, events = self._prepare(data)
        return self._understand(self._recogniser.accept(pcm), events)

    def _prepare(self, data: bytes) -> tuple[bytes, tuple[Event, ...]]:
        pcm = self._decoder.decode(data)
        self._keep.audio(pcm, self._stream.rate_hz)
        self._loudest_dbfs = max(self._loudest_dbfs, level_dbfs(pcm))
        events = self._listen_over_prompt(pcm)
        if self._over_prompt is not None and self._over_prompt.echo:
            pcm = bytes(len(pcm))  # the recogniser would understand it
        return pcm, events

    def _understand(self, heard: Heard, events: tuple[Event, ...]) -> Turn:
        self._in_words = bool(heard.partial)
        events += self._time_passed(heard)
        if heard.endpoint:
            return self._over(events)
        if _says(events):
            return self._without_words(events)
        return Turn(partial=mask_partial(heard.partial), events=events)

    def _listen_over_prompt(self, pcm: bytes) -> tuple[Event, ...]:
        """A voice over a prompt; at the end of a prompt without one, what was heard is dropped."""
        listener = self._over_prompt
        if listener is None:
            return ()
        played = listener.playing
        voice = listener.hear(self._to_barge_in.resample(pcm))
        if voice and not self._barged:
            self._barged = True
            return self._give(SpeechStarted(self.heard_s, words=False, over_prompt=True))
        over = played and not listener.playing
        # Without words there is nothing to drop, and a caller may have just begun.
        if over and self._in_words and not self._words_counted():
            assert self._recogniser is not None
            self._recogniser.reset()  # noise and echo
            self._loudest_dbfs = SILENCE_DBFS
        return ()

    def _words_counted(self) -> bool:
        return self._barged or self._voice_before or self._spoken_over()

    def _spoken_over(self) -> bool:
        return self._over_prompt is not None and self._over_prompt.voiced_s >= _VOICED_S

    def _words_count(self) -> bool:
        """Whether words are the caller's: loud enough, and over a prompt only with a voice."""
        listener = self._over_prompt
        if self._loudest_dbfs < _BACKGROUND_DBFS:
            return False
        if listener is None or not listener.playing:
            return True
        return self._words_counted()

    def _over(self, events: tuple[Event, ...]) -> Turn:
        """The end of an utterance."""
        if self._words_count():
            return self._final(events)
        assert self._recogniser is not None
        self._recogniser.finish(again=False)  # talk in the background, or an echo
        self._loudest_dbfs = SILENCE_DBFS
        return self._without_words(events) if _says(events) else Turn(partial="", events=events)

    def _new_recogniser(self) -> BilingualRecogniser | RemoteRecogniser:
        stream = self._stream
        alternatives = max(stream.alternatives, self._services.speech.alternatives)
        recogniser = self._services.speech.call(rate_hz=stream.rate_hz, alternatives=alternatives)
        if stream.language is not None:
            recogniser.keep(stream.language)
        return recogniser

    def _time_passed(self, heard: Heard) -> tuple[Event, ...]:
        now_s = self.heard_s
        self._voice_now = heard.voice or heard.speech
        speaks = self._voice_now and self._words_count()
        barged: tuple[Event, ...] = ()
        first_words = heard.speech and not self._words_told
        if speaks and (first_words or now_s - self._spoke_s >= _SPEAKING_TOLD_S):
            self._spoke_s, self._words_told = now_s, heard.speech
            barged = self._give(SpeechStarted(now_s, words=heard.speech))
        return (*barged, *self._give(Tick(now_s)))

    # --- finals --------------------------------------------------------------------------

    def _final(self, events: tuple[Event, ...] = ()) -> Turn:
        """Close the utterance: match it, move the call, and say what came of it."""
        if self._recogniser is None:
            return self._without_words(events)
        utterance = self._recogniser.finish()
        reading = read(
            self._services.matcher,
            utterance.weighed(),
            utterance.language,
            utterance.language_confidence,
        )
        if reading.language is not utterance.language:
            self._recogniser.settle(reading.language, reading.language_confidence)
        found, utterance = (
            reading.match,
            utterance.spoken_in(reading.language, reading.language_confidence),
        )
        hypotheses = utterance.recognition.hypotheses
        texts = tuple(hypothesis.text for hypothesis in hypotheses)
        self._spoke_s, self._words_told = -_SPEAKING_TOLD_S, False
        self._loudest_dbfs = SILENCE_DBFS
        # The call goes by the words as they may be kept, so that its log runs the same again.
        kept = tuple(map(mask, texts))
        events += self._give(
            UtteranceMatched(self.heard_s, masked(found), utterance.language, kept)
        )
        added = self._added(found, events, utterance if texts else None)
        self._log_decision(utterance, added)
        final = Final(
            hypotheses=tuple(hypotheses),
            offset_s=utterance.start_s,
            added=added,
            audio_s=utterance.duration_s,
            computed_s=utterance.computed_s,
            second_pass=utterance.second_pass,
        )
        return Turn(final=final, events=events)

    def _without_words(self, events: tuple[Event, ...]) -> Turn:
        return Turn(final=Final(added=self._added(_NOTHING, events, None)), events=events)

    def _added(
        self, found: Match, events: Iterable[Event], utterance: Utterance | None
    ) -> dict[str, Any]:
        outcome = _outcome(found, events)
        return {
            "language": utterance.language if utterance else None,
            "language_confidence": round(utterance.language_confidence, 4) if utterance else None,
            **outcome,
            "candidates": [
                {"queue": c.queue, "confidence": round(c.confidence, 4), "phrase": c.phrase}
                for c in found.candidates
            ],
            "needs": [
                need
                for event in events
                if isinstance(event, Routed | ConfirmationAsked)
                for need in event.needs
            ],
            "slots": self._slots(utterance),
            "call": self._call(events),
        }

    def _slots(self, utterance: Utterance | None) -> list[dict[str, str]]:
        if utterance is None:
            return []
        found = find(utterance.text, today=self._today, language=utterance.language)
        return [{"kind": s.kind, "value": s.value, "text": s.text} for s in found]

    def _call(self, events: Iterable[Event]) -> dict[str, Any]:
        prompts = [event for event in events if isinstance(event, Prompt)]
        reasons = [event.reason for event in events if isinstance(event, HandedOff | Ended)]
        return {
            "state": self._session.state,
            "prompt": prompts[-1].text if prompts else None,
            "prompt_id": prompts[-1].id if prompts else None,
            "prompt_files": [name for prompt in prompts for name in _files(prompt)],
            "reason": reasons[-1] if reasons else None,
        }

    def _log_decision(self, utterance: Utterance, added: dict[str, Any]) -> None:
        self._log.info(
            "utterance %.2f s at %.2f s: %s %s, decision %s, queue %s, confidence %.2f",
            utterance.duration_s,
            utterance.start_s,
            utterance.language,
            f"{utterance.language_confidence:.2f}",
            added["decision"],
            added["queue"],
            added["confidence"],
        )
        self._log.debug("transcript %s", mask(utterance.text))


def _says(events: Iterable[Event]) -> bool:
    return any(isinstance(event, Prompt) for event in events)


def _cuts(given: Input) -> bool:
    """Whether a prompt in answer to this takes the place of one that is being played."""
    words = isinstance(given, UtteranceMatched) and bool(given.match.text)
    return words or isinstance(given, DigitPressed)


def _files(prompt: Prompt) -> list[str]:
    """The prompt's files in order, for a gateway that plays them itself: ``yue/confirm_1``, …"""
    names = [piece.name for piece in prompt.pieces] or [prompt.id]
    return [f"{prompt.language}/{name}" for name in names]


_NOTHING = Match(
    text="",
    normalised="",
    decision=Decision.ASK_AGAIN,
    queue=None,
    confidence=0.0,
    candidates=(),
)


def _outcome(found: Match, events: Iterable[Event]) -> dict[str, Any]:
    """What the call decided; where it decided nothing, what the matcher read."""
    decision, queue, confidence = found.decision, found.queue, found.confidence
    emergency = found.emergency
    for event in events:
        match event:
            case Routed():
                decision, queue = Decision.ROUTE, event.queue
                confidence, emergency = event.confidence, None
            case ConfirmationAsked():
                decision, queue = Decision.CONFIRM, event.queue
                confidence, emergency = event.confidence, None
            case EmergencyOffered() | EmergencyRouted():
                decision, queue, emergency = Decision.EMERGENCY, None, event.number
            case HandedOff():
                decision, queue, emergency = Decision.PERSON, None, None
            case Prompt() if event.id in _ASKS_AGAIN:
                decision, queue, emergency = Decision.ASK_AGAIN, None, None
            case _:
                pass
    return {
        "queue": queue if decision in (Decision.ROUTE, Decision.CONFIRM) else None,
        "confidence": round(confidence, 4),
        "decision": decision,
        "emergency": emergency,
    }


_ASKS_AGAIN = frozenset(
    {"ask_again", "ask_again_short", "no_input", "no_input_short", "confirm_again"}
)
