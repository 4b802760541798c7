"""The call, without I/O: speech, digits and clock ticks in; events out.

    session = CallSession(matcher=matcher, catalogue=catalogue, limits=Limits())
    events = session.receive(CallStarted(now_s=0.0, local_time=datetime.now(zone)))
    events = session.receive(UtteranceMatched(now_s=6.2, match=match, language=language))

Whoever drives the session plays each :class:`~ivr.call.events.Prompt`, moves the call on
:class:`~ivr.call.events.Routed`, :class:`~ivr.call.events.EmergencyRouted` and
:class:`~ivr.call.events.HandedOff`, and gives a :class:`~ivr.call.events.Tick` at least every
half second. The session holds no socket, thread or clock; it may be given inputs from any
thread, one at a time.

No-match, no-input and denied questions are counted apart and never reset within a call, so that
every call comes to an end. An answer that is neither yes, no nor a sure request is a no-match.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from ivr.call.answers import Answer, AnswerKind, read_answer
from ivr.call.events import (
    BargedIn,
    CallBackAccepted,
    CallBackOffered,
    CallStarted,
    ConfirmationAsked,
    DigitPressed,
    EmergencyOffered,
    EmergencyRouted,
    Ended,
    EndReason,
    Event,
    HandedOff,
    HandOffReason,
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
from ivr.call.prompts import PromptTexts, rounded_minutes, spoken_s
from ivr.call.transitions import State, Trigger, next_state
from ivr.call.wishes import Wish, read_wish
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.settings import Settings

__all__ = ["CallSession", "Limits", "Matching"]


class Matching(Protocol):
    """What the session needs of the intent matcher (:class:`ivr.intent.matcher.Matcher`)."""

    def match(self, said: str, language: Language, /) -> Match:
        """The reading of ``said``."""
        ...


_LAST_WORDS_S = 60.0
#: A voice that no words follow within this time was none, s.
_VOICE_S = 2.0
#: So much longer than for silence the call waits where there is a voice and no words, s.
_VOICE_PATIENCE_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient a call is."""

    no_input_s: float = 5.0  # silence after a prompt before the caller is asked again
    max_no_match: int = 2  # one more goes to a person
    max_no_input: int = 2
    max_denied: int = 2  # questions answered by no
    utterance_s: float = 20.0  # longest utterance; no speech counts as going on after it
    call_s: float = 600.0  # longest dialogue; then a person
    wait_told_s: float | None = None  # expected wait from which a call-back is offered
    barge_in: bool = True  # whether speech cuts a prompt

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        """The limits that ``config/kapok.yaml`` sets."""
        dialogue, longest_s = settings.dialogue, settings.server.max_call_s
        return cls(
            no_input_s=dialogue.no_input_s,
            max_no_match=dialogue.max_no_match,
            max_no_input=dialogue.max_no_input,
            max_denied=dialogue.max_confirmations,
            utterance_s=settings.recognition.max_utterance_s,
            # A person takes the call before the server would close it.
            call_s=max(longest_s - _LAST_WORDS_S, longest_s / 2),
            wait_told_s=dialogue.wait_told_s,
            barge_in=dialogue.barge_in != "off",
        )

    @classmethod
    def for_elders(cls, settings: Settings) -> Limits:
        """The limits for callers who need more time, and a person sooner."""
        elders = settings.dialogue.elders
        return replace(
            cls.from_settings(settings),
            no_input_s=elders.no_input_s,
            max_no_match=elders.max_no_match,
            max_no_input=elders.max_no_input,
            max_denied=elders.max_confirmations,
        )


_WAITING = frozenset(
    {
        State.GREETING,
        State.LISTENING,
        State.ASKING_AGAIN,
        State.NO_INPUT,
        State.CONFIRMING,
        State.OFFERING_EMERGENCY,
        State.OFFERING_CALL_BACK,
    }
)
_ASKED = frozenset({State.CONFIRMING, State.OFFERING_EMERGENCY, State.OFFERING_CALL_BACK})
#: Keys that answer a question, and the one that changes the language.
_YES_KEY, _NO_KEY, _LANGUAGE_KEY = "1", "2", "*"
_LIMIT_REASONS = {
    Trigger.NO_MATCH_LIMIT: HandOffReason.NO_MATCH,
    Trigger.NO_INPUT_LIMIT: HandOffReason.NO_INPUT,
    Trigger.NO_LIMIT: HandOffReason.DENIED,
}
# A short answer is often second in the n-best list, seldom lower.
_ANSWERS_TRIED = 3


class CallSession:
    """One call; see the module's docstring."""

    def __init__(
        self,
        *,
        matcher: Matching,
        catalogue: Catalogue,
        limits: Limits | None = None,
        language: Language = Language.MANDARIN,
        texts: PromptTexts | None = None,
        duration_s: Callable[[Prompt], float] = lambda said: spoken_s(said.text),
        elder_limits: Limits | None = None,
        expected_wait_s: Callable[[str], float | None] = lambda queue: None,
    ) -> None:
        """Set up a call.

        Args:
            language: that of prompts until the caller has spoken.
            texts: what the prompts say.
            duration_s: how long a prompt plays, seconds, where the gateway does not report it.
            elder_limits: instead of ``limits`` for a caller who needs more time.
            expected_wait_s: the wait of a caller who joins a queue (id) now; None: not known.
        """
        self._matcher = matcher
        self._catalogue = catalogue
        self._texts = texts or PromptTexts()
        self._duration_s = duration_s
        self._limits = limits or Limits()
        self._language = language
        self._state = State.NEW
        self._local_time = datetime.min
        self._started_s = self._now_s = 0.0
        self._prompt_ends_s = self._quiet_since_s = 0.0
        self._speech_until_s: float | None = None
        self._words = False  # in that speech
        self._no_matches = self._no_inputs = self._denials = 0
        self._queue: str | None = None  # asked about in confirming, decided in routing
        self._number: str | None = None  # offered, or routed to
        self._confidence = 0.0
        self._confirmed = False
        self._closed_queue: str | None = None
        self._needs: tuple[str, ...] = ()  # queues also asked for, not yet decided on
        self._elder_limits = elder_limits or self._limits
        self._expected_wait_s = expected_wait_s
        self._slow = False
        self._chosen = False  # the caller asked for the language
        self._can_call_back = False
        self._wait_s = 0.0  # expected, as told with the offer of a call-back
        self._wait_told = False

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self._state

    @property
    def language(self) -> Language:
        """The language of the prompts: that asked for, or that of the last utterance."""
        return self._language

    @property
    def slow(self) -> bool:
        """Whether the caller gets more time: slower prompts, and pauses within a sentence."""
        return self._slow

    @property
    def no_matches(self) -> int:
        """No-matches so far."""
        return self._no_matches

    @property
    def no_inputs(self) -> int:
        """No-inputs so far."""
        return self._no_inputs

    @property
    def denials(self) -> int:
        """Questions, and announced transfers, that the caller answered by no."""
        return self._denials

    def snapshot(self) -> tuple[object, ...]:
        """All that an input may change but the clock; the state first. To be compared alone."""
        fields = {name: value for name, value in vars(self).items() if name != "_now_s"}
        return (fields.pop("_state"), *fields.values())

    def receive(self, given: Input) -> tuple[Event, ...]:
        """Take one input; the events it causes, in order.

        Raises:
            ProtocolError: the input is not allowed in this state (``docs/call.md``).
        """
        self._now_s = max(self._now_s, given.now_s)
        return tuple(self._dispatch(given))

    def _dispatch(self, given: Input) -> list[Event]:
        match given:
            case CallStarted():
                return self._start(given)
            case PromptPlayed():
                return self._prompt_played()
            case SpeechStarted():
                return self._speech(given)
            case UtteranceMatched():
                return self._utterance(given)
            case DigitPressed():
                return self._digit(given.digit)
            case Tick():
                return self._tick()
            case RecogniserFailed():
                return self._hand_off(Trigger.RECOGNISER_FAILED, HandOffReason.RECOGNISER_FAILED)
            case Transferred():
                return self._end(Trigger.TRANSFERRED, EndReason.TRANSFERRED)
            case HungUp():
                return self._end(Trigger.HANG_UP, EndReason.HANG_UP)

    def _move(self, trigger: Trigger) -> bool:
        """Move by the table; False where the table ignores the trigger and nothing may follow."""
        before = self._state
        self._state = next_state(before, trigger)
        return self._state is not before or before not in (
            State.ROUTING,
            State.HANDING_OFF,
            State.ENDED,
        )

    # --- beginning, time and end ---------------------------------------------------------

    def _start(self, given: CallStarted) -> list[Event]:
        self._move(Trigger.CALL_STARTED)
        self._started_s = self._now_s = given.now_s
        self._local_time = given.local_time
        self._can_call_back = given.can_call_back
        slowed = self._slow_down() if given.elder else []
        languages = (self._language, self._language.other)
        greeting = [event for language in languages for event in self._say("greeting", language)]
        return [*slowed, *greeting]

    def _slow_down(self) -> list[Event]:
        if self._slow:
            return []
        self._slow, self._limits = True, self._elder_limits
        return [SlowedDown()]

    def _say(
        self,
        id_: str,
        language: Language | None = None,
        *,
        queue: str | None = None,
        number: str | None = None,
        minutes: int | None = None,
    ) -> list[Event]:
        language = language or self._language
        named = (queue, self._catalogue.queue(queue).name[language]) if queue else None
        said = self._texts.prompt(
            id_, language, queue=named, number=number, minutes=minutes, slow=self._slow
        )
        self._prompt_ends_s = max(self._prompt_ends_s, self._now_s) + self._duration_s(said)
        self._quiet_since_s = self._prompt_ends_s
        return [said]

    def _prompt_played(self) -> list[Event]:
        self._move(Trigger.PROMPT_PLAYED)
        self._prompt_ends_s = self._quiet_since_s = self._now_s
        return []

    def _speech(self, given: SpeechStarted) -> list[Event]:
        speaking = self._speech_until_s is not None
        until_s = self._speech_lasts_until_s(given)
        if until_s <= self._now_s:
            return []
        self._words = given.words or (speaking and self._words)
        self._speech_until_s = max(until_s, self._speech_until_s or 0.0)
        self._move(Trigger.SPEECH)
        estimated = given.words and self._now_s < self._prompt_ends_s and not speaking
        plays = given.over_prompt or estimated
        barged = self._state in _WAITING and plays and self._limits.barge_in
        if barged:
            self._prompt_ends_s = self._quiet_since_s = self._now_s
        return [BargedIn()] if barged else []

    def _speech_lasts_until_s(self, given: SpeechStarted) -> float:
        """How long the caller is taken to speak on; a voice without words is not waited for long.

        It may be a television that nobody talks over.
        """
        if given.words:
            return self._now_s + self._limits.utterance_s
        if given.over_prompt:
            return self._now_s + _VOICE_S
        patience_s = self._limits.no_input_s + _VOICE_PATIENCE_S
        return min(self._now_s + _VOICE_S, self._quiet_since_s + patience_s)

    def _tick(self) -> list[Event]:
        if self._state not in _WAITING:
            return []
        if self._now_s - self._started_s >= self._limits.call_s:
            return self._hand_off(Trigger.CALL_TOO_LONG, HandOffReason.CALL_TOO_LONG)
        if self._speech_until_s is not None:
            if self._now_s < self._speech_until_s:
                return []
            self._speech_over()
        if self._now_s >= self._prompt_ends_s and self._state is not State.LISTENING:
            self._move(Trigger.PROMPT_PLAYED)
        if self._now_s - self._quiet_since_s >= self._limits.no_input_s:
            return self._no_input()
        return []

    def _speech_over(self) -> None:
        self._speech_until_s = None
        if self._words:
            self._quiet_since_s = max(self._quiet_since_s, self._now_s)

    def _no_input(self) -> list[Event]:
        self._no_inputs += 1
        if self._state is State.OFFERING_EMERGENCY:
            return self._hand_off(Trigger.NO_INPUT, HandOffReason.EMERGENCY_UNCLEAR)
        if self._state is State.OFFERING_CALL_BACK:
            return self._wait_instead(Trigger.NO_INPUT)
        if self._no_inputs > self._limits.max_no_input:
            return self._limit(Trigger.NO_INPUT_LIMIT)
        self._move(Trigger.NO_INPUT)
        if self._state is State.CONFIRMING:
            return self._say("confirm_again", queue=self._queue)
        return self._say("no_input" if self._no_inputs == 1 else "no_input_short")

    def _end(self, trigger: Trigger, reason: EndReason) -> list[Event]:
        return [Ended(reason)] if self._move(trigger) else []

    def _digit(self, digit: str) -> list[Event]:
        if digit == self._catalogue.person.key:
            return self._hand_off(Trigger.PERSON, HandOffReason.ASKED)
        if digit == _LANGUAGE_KEY and self._state in _WAITING:
            self._quiet_since_s = self._prompt_ends_s = self._now_s
            return self._grant(Wish(language=self._language.other))
        if self._state in _ASKED and digit in (_YES_KEY, _NO_KEY):
            self._quiet_since_s = self._prompt_ends_s = self._now_s
            return self._accepted() if digit == _YES_KEY else self._no()
        self._move(Trigger.DIGIT)
        if self._state in _WAITING:  # the caller is there, if not talking
            self._quiet_since_s = max(self._quiet_since_s, self._now_s)
        return []

    # --- what was said -------------------------------------------------------------------

    def _utterance(self, given: UtteranceMatched) -> list[Event]:
        self._speech_until_s = None
        if self._state not in _WAITING and self._state is not State.ROUTING:
            self._move(Trigger.SPEECH)
            return []
        if not given.match.text.strip():
            # Noise, or an empty recognition, is neither a no-match nor an answer.
            return []
        if not self._chosen:
            self._language = given.language
        self._quiet_since_s = self._prompt_ends_s = self._now_s
        if self._state is State.ROUTING:
            return self._objection(given)
        wish = self._wish(given)
        if wish is not None and (wish.alone or given.match.decision is Decision.ASK_AGAIN):
            return self._grant(wish)
        granted = self._grant(wish, ask=False) if wish is not None else []
        return granted + self._asked_or_open(given)

    def _wish(self, given: UtteranceMatched) -> Wish | None:
        wish = read_wish(given.match.text)
        if wish is None and given.match.decision is Decision.ASK_AGAIN:
            others = map(read_wish, given.alternatives[:_ANSWERS_TRIED])
            wish = next((other for other in others if other is not None and other.alone), None)
        return wish

    def _asked_or_open(self, given: UtteranceMatched) -> list[Event]:
        return self._answered(given) if self._state in _ASKED else self._request(given.match)

    def _grant(self, wish: Wish, *, ask: bool = True) -> list[Event]:
        """Do what the caller wishes of the call; then ``ask`` again what was asked."""
        events: list[Event] = self._slow_down() if wish.slower else []
        if wish.language is not None:
            self._language, self._chosen = wish.language, True
            events.append(LanguageChosen(wish.language))
        if ask:
            self._move(Trigger.WISH)
            events += self._ask_once_more("slower" if wish.slower else "language")
        return events

    def _ask_once_more(self, otherwise: str) -> list[Event]:
        match self._state:
            case State.CONFIRMING:
                return self._say("confirm", queue=self._queue)
            case State.OFFERING_EMERGENCY:
                return self._say("emergency_offer", number=self._number)
            case State.OFFERING_CALL_BACK:
                return self._tell_wait()
            case _:
                return self._say(otherwise)

    def _request(self, match: Match) -> list[Event]:
        decision, queue = match.decision, match.queue
        if decision in (Decision.ROUTE, Decision.CONFIRM):
            self._needs = tuple(need for need in match.needs if need != queue)
        if decision is Decision.PERSON:
            return self._hand_off(Trigger.PERSON, HandOffReason.ASKED)
        if decision is Decision.EMERGENCY and match.emergency:
            return self._offer(match.emergency)
        if decision is Decision.ROUTE and queue:
            return self._route(Trigger.REQUEST_SURE, queue, match.confidence)
        if decision is Decision.CONFIRM and queue:
            return self._confirm(queue, match.confidence)
        return self._no_match()

    def _answered(self, given: UtteranceMatched) -> list[Event]:
        answer = self._answer(given)
        if answer.kind is AnswerKind.NO:
            return self._denied(answer, given.language)
        if answer.kind is AnswerKind.YES or self._repeats(given.match):
            return self._accepted()
        return self._request(given.match)

    def _answer(self, given: UtteranceMatched) -> Answer:
        for text in (given.match.text, *given.alternatives[:_ANSWERS_TRIED]):
            answer = read_answer(text, given.language)
            if answer.kind is not AnswerKind.NEITHER:
                return answer
            if given.match.decision is not Decision.ASK_AGAIN:
                break  # the best reading is a request, not a misheard answer
        return answer

    def _repeats(self, match: Match) -> bool:
        """Whether the caller names once more what they were asked about."""
        if self._state is State.OFFERING_EMERGENCY:
            return match.decision is Decision.EMERGENCY and match.emergency == self._number
        if self._state is State.OFFERING_CALL_BACK:
            return False
        likely = match.decision in (Decision.ROUTE, Decision.CONFIRM)
        return likely and match.queue == self._queue

    def _accepted(self) -> list[Event]:
        if self._state is State.OFFERING_EMERGENCY and self._number:
            number = self._number
            self._move(Trigger.YES)
            return [*self._say("emergency_route", number=number), EmergencyRouted(number)]
        if self._state is State.OFFERING_CALL_BACK:
            return self._call_back()
        assert self._queue is not None
        return self._route(Trigger.YES, self._queue, self._confidence, confirmed=True)

    def _denied(self, answer: Answer, language: Language) -> list[Event]:
        correction = self._correction(answer, language)
        if correction is None:
            return self._no()
        if correction.decision is Decision.CONFIRM:
            self._denials += 1
            if self._denials > self._limits.max_denied:
                return self._limit(Trigger.NO_LIMIT)
        if self._state is not State.OFFERING_CALL_BACK:
            self._move(Trigger.NO)
        return self._request(correction)

    def _correction(self, answer: Answer, language: Language) -> Match | None:
        for text in answer.rest:
            match = self._matcher.match(text, language)
            if match.decision is not Decision.ASK_AGAIN and not self._denies(match):
                return match
        return None

    def _denies(self, match: Match) -> bool:
        """Whether ``match`` is just what the caller has denied."""
        if match.decision is Decision.EMERGENCY:
            return match.emergency == self._number
        return match.queue is not None and match.queue == self._queue

    def _objection(self, given: UtteranceMatched) -> list[Event]:
        """Speech while the call is about to be moved: an objection counts, chatter does not."""
        answer = self._answer(given)
        if answer.kind is AnswerKind.NO:
            return self._denied(answer, given.language)
        match = given.match
        if match.decision in (Decision.PERSON, Decision.EMERGENCY):
            return [] if self._denies(match) and match.emergency else self._request(match)
        if match.decision is Decision.ROUTE and match.queue != self._queue:
            return self._request(match)
        return []

    # --- what follows --------------------------------------------------------------------

    def _route(
        self, trigger: Trigger, queue: str, confidence: float, *, confirmed: bool = False
    ) -> list[Event]:
        at = self._local_time + timedelta(seconds=self._now_s - self._started_s)
        target = queue if self._is_open(queue, at) else self._catalogue.default_queue
        if not self._is_open(target, at):
            self._move(Trigger.CLOSED)
            return [*self._say("closed"), Ended(EndReason.CLOSED)]
        self._queue, self._number, self._confidence = target, None, confidence
        self._confirmed, self._closed_queue = confirmed, queue if target != queue else None
        wait_s = self._long_wait_s(target)
        if wait_s is not None:
            self._wait_s, self._wait_told = wait_s, True
            self._move(Trigger.WAIT_LONG)
            return [*self._tell_wait(), CallBackOffered(target, wait_s)]
        self._move(trigger)
        return self._routed()

    def _routed(self) -> list[Event]:
        assert self._queue is not None
        closed = self._closed_queue
        said = self._say("route_closed" if closed else "route", queue=self._queue)
        return [
            *said,
            Routed(self._queue, self._confidence, self._confirmed, closed, self._needs),
        ]

    # --- a long wait ---------------------------------------------------------------------

    def _long_wait_s(self, queue: str) -> float | None:
        """The expected wait, where it is to be told and the caller could be called back."""
        told_s = self._limits.wait_told_s
        if told_s is None or self._wait_told or not self._can_call_back:
            return None
        wait_s = self._expected_wait_s(queue)
        return wait_s if wait_s is not None and wait_s >= told_s else None

    def _tell_wait(self) -> list[Event]:
        minutes = rounded_minutes(self._wait_s)
        if minutes is None:
            return self._say("wait_offer_long")
        return self._say("wait_offer", minutes=minutes)

    def _call_back(self) -> list[Event]:
        assert self._queue is not None
        self._move(Trigger.CALL_BACK)
        accepted = CallBackAccepted(self._queue, self._wait_s, self._needs)
        return [*self._say("callback"), accepted, Ended(EndReason.CALL_BACK)]

    def _wait_instead(self, trigger: Trigger) -> list[Event]:
        """No call-back: the caller waits in the queue."""
        self._move(trigger)
        return self._routed()

    def _is_open(self, queue: str, at: datetime) -> bool:
        return self._catalogue.queue(queue).hours.is_open(at)

    def _confirm(self, queue: str, confidence: float) -> list[Event]:
        if self._state is State.OFFERING_CALL_BACK and queue == self._queue:
            return self._wait_instead(Trigger.NO_MATCH)
        if self._state in _ASKED:  # an answer that is neither yes nor no
            self._no_matches += 1
            if self._no_matches > self._limits.max_no_match:
                return self._limit(Trigger.NO_MATCH_LIMIT)
        self._move(Trigger.REQUEST_LIKELY)
        self._queue, self._number, self._confidence = queue, None, confidence
        said = self._say("confirm_first" if self._needs else "confirm", queue=queue)
        return [*said, ConfirmationAsked(queue, confidence, self._needs)]

    def _offer(self, number: str) -> list[Event]:
        if not self._move(Trigger.EMERGENCY):
            return []
        self._queue, self._number = None, number
        return [*self._say("emergency_offer", number=number), EmergencyOffered(number)]

    def _no_match(self) -> list[Event]:
        self._no_matches += 1
        if self._state is State.OFFERING_EMERGENCY:
            return self._hand_off(Trigger.NO_MATCH, HandOffReason.EMERGENCY_UNCLEAR)
        if self._state is State.OFFERING_CALL_BACK:
            return self._wait_instead(Trigger.NO_MATCH)
        if self._no_matches > self._limits.max_no_match:
            return self._limit(Trigger.NO_MATCH_LIMIT)
        self._move(Trigger.NO_MATCH)
        if self._state is State.CONFIRMING:
            return self._say("confirm_again", queue=self._queue)
        return self._ask_again()

    def _no(self) -> list[Event]:
        if self._state is State.OFFERING_CALL_BACK:
            return self._wait_instead(Trigger.NO)
        self._denials += 1
        if self._denials > self._limits.max_denied:
            return self._limit(Trigger.NO_LIMIT)
        self._move(Trigger.NO)
        self._queue = self._number = None
        if self._needs:
            following, self._needs = self._needs[0], self._needs[1:]
            return self._confirm(following, self._confidence)
        return self._ask_again()

    def _ask_again(self) -> list[Event]:
        first = self._no_matches + self._denials == 1
        return self._say("ask_again" if first else "ask_again_short")

    def _limit(self, trigger: Trigger) -> list[Event]:
        return self._hand_off(trigger, _LIMIT_REASONS[trigger])

    def _hand_off(self, trigger: Trigger, reason: HandOffReason) -> list[Event]:
        if not self._move(trigger):
            return []
        asked = reason is HandOffReason.ASKED
        return [*self._say("person" if asked else "person_limit"), HandedOff(reason)]
