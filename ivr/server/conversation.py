"""One call over the Vosk protocol, without I/O: a message in, at most one reply out.

    conversation = Conversation(services, local_time=datetime.now(zone))
    reply = conversation.step(message)  # recognises, matches and moves the call

:meth:`Conversation.step` computes for as long as recognition takes, so a server runs it off its
event loop, one step of a call at a time.

The clock of the call is its audio: a gateway sends silence too, and a file streamed as fast as
it goes meets the same time-outs as one at real-time pace.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ivr.asr.bilingual import BilingualRecogniser, Heard, Utterance
from ivr.asr.engine import Hypothesis
from ivr.asr.factory import Speech, load_speech
from ivr.audio.codecs import Decoder
from ivr.call.events import (
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
    Prompt,
    RecogniserFailed,
    Routed,
    SpeechStarted,
    Tick,
    UtteranceMatched,
)
from ivr.call.session import CallSession, Limits
from ivr.call.transitions import State
from ivr.errors import IvrError
from ivr.intent.languages import read
from ivr.intent.matcher import Matcher
from ivr.intent.slots import find, mask
from ivr.intent.types import Decision, Match
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.server.vosk_protocol import (
    Action,
    Audio,
    Configured,
    Digit,
    Finish,
    Refused,
    StreamConfig,
    VoskProtocol,
    error_message,
    final_message,
    partial_message,
)
from ivr.settings import Settings

__all__ = ["Conversation", "Reply", "Services"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What all calls share; loaded once, before listening."""

    speech: Speech
    catalogue: Catalogue
    matcher: Matcher
    limits: Limits
    max_message_bytes: int
    settings: Settings

    @classmethod
    def load(cls, settings: Settings) -> Services:
        """Load models and queues as the settings name them.

        Raises:
            ConfigError: the catalogue of queues is not valid.
            ModelError: a model is missing, incomplete or cannot be loaded.
        """
        catalogue = load_catalogue(settings.queues)
        return cls(
            speech=load_speech(settings, hot_words=catalogue.hot_words),
            catalogue=catalogue,
            matcher=Matcher(catalogue),
            limits=Limits.from_settings(settings),
            max_message_bytes=settings.server.max_message_bytes,
            settings=settings,
        )

    def with_catalogue(self, catalogue: Catalogue) -> Services:
        """Other queues, and where the hot words are others, the speech models with these.

        Takes seconds where there are many phrases.

        Raises:
            ModelError: hot words are others, and a model cannot be loaded any more.
        """
        speech = self.speech
        if catalogue.hot_words != self.catalogue.hot_words:
            speech = load_speech(self.settings, hot_words=catalogue.hot_words)
        return replace(self, speech=speech, catalogue=catalogue, matcher=Matcher(catalogue))


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send back: ``text`` where there is something, then close where ``closes``."""

    text: str | None
    closes: bool = False


class Conversation:
    """One call; used from one thread at a time.

    Args:
        services: what calls share.
        local_time: the clock on the wall as the call begins, with its time zone.
        log: where the call logs; a logger that puts the call's id on each line.
    """

    def __init__(
        self,
        services: Services,
        *,
        local_time: datetime,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger] = _log,
    ) -> None:
        self._services = services
        self._log = log
        self._protocol = VoskProtocol(max_frame_bytes=services.max_message_bytes)
        self._decoder = Decoder(self._protocol.config.encoding)
        self._recogniser: BilingualRecogniser | None = None
        self._session = CallSession(
            matcher=services.matcher, catalogue=services.catalogue, limits=services.limits
        )
        self._today = local_time.date()
        self._session.receive(CallStarted(0.0, local_time))
        self._failed = False

    @property
    def config(self) -> StreamConfig:
        """The stream's configuration; safe to read from any thread."""
        return self._protocol.config

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self._session.state

    def seconds(self, message: str | bytes) -> float:
        """How much audio a message holds, seconds; safe to call from any thread."""
        if isinstance(message, str):
            return 0.0
        config = self._protocol.config
        return len(message) / config.encoding.bytes_per_sample / config.rate_hz

    def step(self, message: str | bytes) -> Reply:
        """Take one message; never raises on account of the message or of recognition."""
        action = self._protocol.receive(message)
        try:
            return self._do(action)
        except IvrError as error:
            return self._fail(str(error), closes=_closes(action))
        except Exception:
            self._log.exception("recognition failed")
            return self._fail("internal error; the server's log has it", closes=_closes(action))

    def hang_up(self) -> None:
        """The connection is gone: end the call and let go of its recognisers."""
        self._give(HungUp(self._protocol.received_s))
        self._recogniser = None

    def _do(self, action: Action) -> Reply:
        match action:
            case Audio(data):
                return Reply(self._hear(data))
            case Finish(closes):
                return Reply(self._final(), closes)
            case Digit(digit):
                return Reply(self._final_without_words(self._press(digit)))
            case Configured(config):
                self._log.info(
                    "%d Hz %s, language %s",
                    config.rate_hz,
                    config.encoding,
                    config.language or "auto",
                )
                return Reply(None)
            case Refused(reason):
                self._log.warning("refused: %s", reason)
                return Reply(error_message(reason))

    def _give(self, given: Input) -> tuple[Event, ...]:
        before = self._session.state
        events = self._session.receive(given)
        if self._session.state is not before:
            self._log.info("%s -> %s", before, self._session.state)
        return events

    def _press(self, digit: str) -> tuple[Event, ...]:
        return self._give(DigitPressed(self._protocol.received_s, digit))

    # --- audio ---------------------------------------------------------------------------

    def _hear(self, data: bytes) -> str:
        if self._failed:
            return partial_message("")
        if self._recogniser is None:
            self._recogniser = self._new_recogniser()
        heard = self._recogniser.accept(self._decoder.decode(data))
        events = self._time_passed(heard)
        if heard.endpoint:
            return self._final(events)
        if any(isinstance(event, Prompt) for event in events):
            return self._final_without_words(events)
        return partial_message(heard.partial)

    def _new_recogniser(self) -> BilingualRecogniser:
        config = self._protocol.config
        self._decoder = Decoder(config.encoding)
        alternatives = max(config.max_alternatives, self._services.speech.alternatives)
        recogniser = self._services.speech.call(rate_hz=config.rate_hz, alternatives=alternatives)
        if config.language is not None:
            recogniser.keep(config.language)
        return recogniser

    def _time_passed(self, heard: Heard) -> tuple[Event, ...]:
        now_s = self._protocol.received_s
        barged = self._give(SpeechStarted(now_s)) if heard.speech else ()
        return (*barged, *self._give(Tick(now_s)))

    # --- finals --------------------------------------------------------------------------

    def _final(self, events: tuple[Event, ...] = ()) -> str:
        """Close the utterance: match it, move the call, and say what came of it."""
        if self._recogniser is None:
            return self._final_without_words(events)
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
        now_s = self._protocol.received_s
        events += self._give(UtteranceMatched(now_s, found, utterance.language, texts))
        added = self._added(found, events, utterance if texts else None)
        self._log_decision(utterance, added)
        return self._message(hypotheses, added, offset_s=utterance.start_s)

    def _final_without_words(self, events: tuple[Event, ...]) -> str:
        return self._message((), self._added(_NOTHING, events, None))

    def _message(
        self, hypotheses: tuple[Hypothesis, ...], added: dict[str, Any], *, offset_s: float = 0.0
    ) -> str:
        return final_message(
            hypotheses, config=self._protocol.config, offset_s=offset_s, added=added
        )

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

    def _fail(self, reason: str, *, closes: bool) -> Reply:
        self._log.error("recognition failed: %s", reason)
        self._failed, self._recogniser = True, None
        events = self._give(RecogniserFailed(self._protocol.received_s, reason))
        added = self._added(_NOTHING, events, None) | {"error": reason}
        return Reply(self._message((), added), closes)


_NOTHING = Match(
    text="",
    normalised="",
    decision=Decision.ASK_AGAIN,
    queue=None,
    confidence=0.0,
    candidates=(),
)


def _closes(action: Action) -> bool:
    return isinstance(action, Finish) and action.closes


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
