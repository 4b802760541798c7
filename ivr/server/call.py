"""One call's asyncio shell: it moves messages between a gateway, a conversation and a player.

A call has one reader, which parses what comes and fills a bounded
:class:`~ivr.server.inbox.Inbox`; one worker, which has one job at a time in the recognition
pool; and one :class:`~ivr.server.playout.Playout`. What the conversation decides is delivered
to the gateway once the prompt that announces it has been played: until then the caller may
object.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ivr.asr.pool import Lane
from ivr.call.decision import Decision, Decisions
from ivr.call.events import BargedIn, Prompt
from ivr.call.transitions import State
from ivr.call.turn import Final, Turn
from ivr.errors import ServerError
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Finished,
    Flow,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Outbound,
    Partial,
    Played,
    Refused,
    Reply,
    Started,
    StreamChanged,
    StreamConfig,
)
from ivr.server.call_files import CallFiles
from ivr.server.conversation import Conversation, Services
from ivr.server.inbox import Inbox
from ivr.server.metrics import Metrics
from ivr.server.playout import Playout, Voice
from ivr.server.registry import CallRecord, LiveCall, Registry
from ivr.server.tracing import CallTrace, Tracing
from ivr.server.transport import CloseCode, GoneError, Transport
from ivr.settings import CallLogSettings, ServerSettings

__all__ = ["Call", "Desk", "refuse"]

_log = logging.getLogger(__name__)

#: How long handing a call to a person may take as the server ends, seconds; a last word too.
_HAND_OVER_S = 2.0
#: Audio is gathered to so much before it is recognised, seconds: a job for each 20 ms frame
#: would cost more than the recognition.
_BLOCK_S = 0.1
#: ... and while a prompt plays, so that a voice cuts it in time.
_BLOCK_PLAYING_S = 0.04
#: A larger block takes long by itself, whatever the load.
_LOAD_BLOCK_S = 0.5
_DECIDED = frozenset({State.ROUTING, State.HANDING_OFF, State.ENDED})


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What all calls of a server share."""

    services: Services
    limits: ServerSettings
    now: Callable[[], datetime]
    new_call_id: Callable[[], str]
    registry: Registry
    voice: Voice | None = None
    #: told of each decision once the gateway has been, and of each call that ends without one
    decided: Callable[[Decision], None] = lambda decision: None
    metrics: Metrics = field(default_factory=Metrics)
    #: told how long a block of audio took to be recognised, seconds
    lagged: Callable[[float], None] = lambda lag_s: None
    tracing: Tracing = field(default_factory=Tracing)
    files: CallFiles = field(default_factory=lambda: CallFiles(CallLogSettings()))
    #: told of each record of each call's event log
    records: tuple[Callable[[Mapping[str, Any]], None], ...] = ()
    #: the wait of a caller who joins a queue (id) now, seconds; None: not known
    expected_wait_s: Callable[[str], float | None] = lambda queue: None


class _CallLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the call's id on each line."""

    def __init__(self, call: str) -> None:
        super().__init__(_log, {"call": call})

    def rename(self, call: str) -> None:
        self.extra = {"call": call}

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        call = (self.extra or {})["call"]
        kwargs["extra"] = {**kwargs.get("extra", {}), "call": call}  # for structured logs
        return f"call {call}: {msg}", kwargs


class Call:
    """One connection, from its first message to its end."""

    def __init__(self, transport: Transport, gateway: Gateway, lane: Lane, desk: Desk) -> None:
        self._transport, self._gateway, self._lane, self._desk = transport, gateway, lane, desk
        self._id = desk.new_call_id()
        self._log = _CallLog(self._id)
        self._inbox: Inbox[Inbound] = Inbox(
            high_water_s=desk.limits.high_water_s, low_water_s=desk.limits.low_water_s
        )
        self._stream = StreamConfig()
        self._gathered = bytearray()
        self._arrived_s: deque[float] = deque()  # when each audio in the inbox came, loop's clock
        self._began: datetime | None = None  # by the clock on the wall
        self._began_s: float | None = None
        self._trace = CallTrace()
        self._conversation: Conversation | None = None
        self._decisions: Decisions | None = None
        self._live: LiveCall | None = None
        self._hung_up = False  # by the caller or the gateway, not that the line was lost
        self._delivery: asyncio.Task[None] | None = None
        self._delivered: Decision | None = None
        self._playout = Playout(gateway, transport.send, played=self._self_report, voice=desk.voice)

    @property
    def waiting_s(self) -> float:
        """Audio received and not yet recognised, seconds."""
        return self._inbox.waiting_s

    def _now(self) -> datetime:
        """The clock on the wall as it has run since the call began.

        Where somebody sets it meanwhile, a later decision is still later than the one before.
        """
        if self._began is None or self._began_s is None:
            return self._desk.now()
        return self._began + timedelta(seconds=_clock_s() - self._began_s)

    async def run(self) -> None:
        """Serve the call until either side ends it; returns once everything is let go of."""
        self._log.info("connected from %s over %s", self._transport.peer, self._gateway.name)
        reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(self._desk.limits.max_call_s):
                await self._work()
            await self._close(CloseCode.NORMAL_CLOSURE)
        except TimeoutError:
            await self._close(CloseCode.POLICY_VIOLATION, "the call is too long")
        except GoneError as error:
            self._hung_up |= error.closed
        except ServerError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, str(error))
        finally:
            self._inbox.close()
            await self._cancel(reader, self._delivery)
            await self._playout.cancel()
            await self._end()

    async def shut_down(self, reason: str) -> None:
        """The server ends: a person takes a call that was not sent anywhere yet; close it."""
        with suppress(GoneError, ServerError, TimeoutError):
            async with asyncio.timeout(_HAND_OVER_S):
                await self._hand_over(reason)
        await self._close(CloseCode.GOING_AWAY, reason)

    async def _close(self, code: CloseCode, reason: str = "") -> None:
        error = code is not CloseCode.NORMAL_CLOSURE
        with suppress(GoneError, TimeoutError):
            async with asyncio.timeout(_HAND_OVER_S):
                await self._send(Close(reason=reason, error=error))
        await self._transport.close(code, reason)

    async def _hand_over(self, reason: str) -> None:
        """Tell the gateway at once where the call goes: nobody is left to play a prompt."""
        if self._conversation is None or self._decisions is None or self._delivered is not None:
            return
        await self._cancel(self._delivery)
        await self._playout.stop()
        decision = self._decisions.last
        if decision is None:
            turn = await self._lane.run(self._conversation.fail, reason)
            if turn.final is not None:
                await self._send(turn.final)
            decision = self._decisions.take(turn, at=self._now())
        if decision is not None:
            await self._send(decision)
            self._delivered = decision
            self._told(decision)

    @staticmethod
    async def _cancel(*tasks: asyncio.Task[None] | None) -> None:
        started = [task for task in tasks if task is not None]
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)

    async def _end(self) -> None:
        if self._conversation and self._decisions and self._live:
            self._desk.metrics.call_ended(
                self._gateway.name,
                str(self._conversation.state),
                duration_s=_clock_s() - (self._began_s or 0.0),
            )
            with suppress(ServerError):  # the pool is closed: nothing to let go of
                await self._lane.run(self._conversation.hang_up)
            now = self._now()
            last = self._decisions.at_end(at=now, hung_up=self._hung_up)
            self._live.update(state=self._conversation.state, decision=last)
            self._live.end(at=now)
            if last is not self._delivered:
                self._told(last)
        self._trace.end()
        self._log.info("ended")

    def _told(self, decision: Decision) -> None:
        self._trace.decided(decision)
        if self._live is None or self._live.superseded:
            self._log.warning("a later call has this id: nobody is told %s", decision.action)
        else:
            self._desk.decided(decision)

    # --- reading -------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                message = await self._receive()
                for inbound in self._gateway.receive(message):
                    await self._take_in(inbound)
        except TimeoutError:
            reason = f"nothing came for {self._desk.limits.idle_timeout_s:g} s"
            await self._close(CloseCode.POLICY_VIOLATION, reason)
        except GoneError as error:
            self._hung_up |= error.closed
        except Exception:
            self._log.exception("reading what the gateway sends failed")
            await self._close(CloseCode.INTERNAL_ERROR, "the server failed")
        finally:
            self._inbox.close()

    async def _receive(self) -> Message:
        """The next message. TimeoutError where none comes although all before it are answered.

        A gateway may well wait for answers before it says more.
        """
        while True:
            try:
                async with asyncio.timeout(self._desk.limits.idle_timeout_s):
                    return await self._transport.receive()
            except TimeoutError:
                if not self._inbox.busy:
                    raise

    async def _take_in(self, inbound: Inbound) -> None:
        match inbound:
            case Reply(messages):
                for message in messages:
                    await self._transport.send(message)
            case Flow():
                self._playout.flow(is_open=inbound.open)
            case Audio(data) if not self._gateway.answers_each:
                await self._gather(data)
            case _:
                await self._flush()
                await self._put(inbound)

    async def _gather(self, data: bytes) -> None:
        self._gathered += data
        block_s = _BLOCK_PLAYING_S if self._playout.playing else _BLOCK_S
        if self._stream.seconds(self._gathered) >= block_s:
            await self._flush()

    async def _flush(self) -> None:
        if self._gathered:
            data = bytes(self._gathered)
            self._gathered.clear()
            await self._put(Audio(data))

    async def _put(self, inbound: Inbound) -> None:
        if isinstance(inbound, Started | StreamChanged):
            self._stream = inbound.stream
        audio_s = self._stream.seconds(inbound.data) if isinstance(inbound, Audio) else 0.0
        if isinstance(inbound, Audio):
            self._arrived_s.append(_clock_s())
            self._desk.metrics.audio(self._gateway.name, audio_s)
        await self._inbox.put(inbound, audio_s)

    async def _self_report(self, played: Played) -> None:
        await self._inbox.put(played, 0.0)

    # --- working -------------------------------------------------------------------------

    async def _work(self) -> None:
        while (inbound := await self._inbox.get()) is not None:
            came_s = self._came_s(inbound)
            if await self._do(inbound, came_s):
                return

    def _came_s(self, inbound: Inbound) -> float:
        if isinstance(inbound, Audio) and self._arrived_s:
            return self._arrived_s.popleft()
        return _clock_s()

    async def _do(self, inbound: Inbound, came_s: float) -> bool:
        """Do what came at ``came_s``; True where the call is over with it."""
        match inbound:
            case Started():
                await self._start(inbound)
            case Refused():
                self._log.warning("refused: %s", inbound.reason)
                await self._send(inbound)
                return inbound.closes
            case HungUp():
                self._hung_up = True
                return True
            case _ if self._conversation is None:
                self._log.warning("refused: %s before the call has begun", type(inbound).__name__)
            case _:
                asked_s = _clock_s()
                turn = await self._ask(self._conversation, inbound)
                self._lag(inbound, _clock_s() - asked_s)
                await self._turn(turn, inbound)
                self._measure(turn, _clock_s() - came_s)
                if isinstance(inbound, Finished) and inbound.closes:
                    self._hung_up = True
                    return True
        return False

    async def _start(self, started: Started) -> None:
        stream, desk = started.stream, self._desk
        self._id = started.call_id or self._id
        self._log.rename(self._id)
        self._log.info(
            "%d Hz %s, language %s", stream.rate_hz, stream.encoding, stream.language or "auto"
        )
        now = self._began = desk.now()
        self._began_s = _clock_s()
        desk.metrics.call_started(self._gateway.name)
        self._trace = desk.tracing.call(self._id, self._gateway.name)
        self._conversation = Conversation(
            desk.services,
            local_time=now,
            stream=stream,
            log=self._log,
            call_id=self._id,
            caller=started.caller,
            plays_prompts=self._gateway.plays_prompts and stream.prompts,
            expected_wait_s=desk.expected_wait_s,
            keep=desk.files.keep(self._id, began=now, listeners=desk.records),
        )
        self._decisions = Decisions(
            call_id=self._id, gateway=self._gateway.name, caller=started.caller
        )
        self._live = desk.registry.begin(
            CallRecord(
                call_id=self._id, gateway=self._gateway.name, began=now, caller=started.caller
            )
        )
        await self._turn(self._conversation.opening, started)

    def _lag(self, inbound: Inbound, took_s: float) -> None:
        """What shows the load: not how long audio waits that came faster than real time."""
        if isinstance(inbound, Audio) and self._stream.seconds(inbound.data) <= _LOAD_BLOCK_S:
            self._desk.lagged(took_s)

    def _measure(self, turn: Turn, latency_s: float) -> None:
        if turn.partial is not None:
            self._desk.metrics.partial(latency_s)
        if turn.final is not None:
            language = turn.final.added.get("language") if turn.final.text else None
            self._desk.metrics.utterance(language, latency_s=latency_s)
            for code, computed_s in turn.final.computed_s.items():
                audio_s = turn.final.audio_s
                self._desk.metrics.real_time_factor(code, computed_s=computed_s, audio_s=audio_s)
            if turn.final.second_pass is not None:
                self._desk.metrics.second_pass(turn.final.second_pass)
            decision = turn.final.added.get("decision")
            self._trace.utterance(latency_s=latency_s, language=language, decision=decision)
            if "error" in turn.final.added:
                self._desk.metrics.recognition_failed()
                self._trace.failed()

    async def _ask(self, conversation: Conversation, inbound: Inbound) -> Turn:
        run = self._lane.run
        match inbound:
            case Audio(data):
                return await self._hear(conversation, data)
            case Digit(digit):
                return await run(conversation.press, digit)
            case Finished():
                return await run(conversation.finish)
            case Played(play_id):
                prompt_id = self._playout.played(play_id)
                return await run(conversation.played, prompt_id) if prompt_id else Turn()
            case StreamChanged(stream):
                await run(conversation.configure, stream)
        return Turn()

    async def _hear(self, conversation: Conversation, data: bytes) -> Turn:
        """Where a worker recognises, no thread waits for it; the end of an utterance computes."""
        if not conversation.waits_on_loop:
            return await self._lane.run(conversation.hear, data)
        async with self._lane.turn():
            taken = conversation.take(data)
            if isinstance(taken, Turn):
                return taken
            try:
                heard = await taken.recogniser.accept_soon(taken.pcm)
            except Exception as error:
                return conversation.recognition_failed(error)
            if not heard.endpoint:
                return conversation.understand(taken, heard)
        return await self._lane.run(conversation.understand, taken, heard)

    async def _turn(self, turn: Turn, inbound: Inbound) -> None:
        """What the conversation wants done: text first, for a gateway that waits for it."""
        if turn.partial is not None:
            await self._send(Partial(turn.partial))
        if turn.final is not None:
            await self._send(turn.final)
            if turn.final.text:
                assert self._live is not None
                self._live.understood(_understood(turn.final))
        await self._say(turn, cuts=_cuts(turn, inbound))
        await self._decide(turn)

    async def _say(self, turn: Turn, *, cuts: bool) -> None:
        plays = self._gateway.plays_prompts and self._stream.prompts
        for event in turn.events:
            if isinstance(event, BargedIn) or (isinstance(event, Prompt) and cuts):
                await self._playout.stop()
                cuts = False
            if isinstance(event, Prompt) and plays:
                self._playout.say(event)

    # --- deciding ------------------------------------------------------------------------

    async def _decide(self, turn: Turn) -> None:
        assert self._conversation is not None
        assert self._decisions is not None
        assert self._live is not None
        if self._delivered is not None and self._gateway.takes_decision:
            return  # too late to object: the gateway moves the call
        decision = self._decisions.take(turn, at=self._now())
        state = self._conversation.state
        if decision is not None or state not in _DECIDED:
            await self._cancel(self._delivery)
            self._delivery = None
        if state not in _DECIDED:
            self._decisions.withdraw()
        self._live.update(state=state, decision=self._decisions.last)
        if decision is not None:
            self._delivery = asyncio.create_task(self._deliver(decision))

    async def _deliver(self, decision: Decision) -> None:
        """Tell the gateway, once the caller has heard where the call goes."""
        await self._playout.wait_idle()
        self._delivered = decision
        with suppress(GoneError):
            await self._send(decision)
        self._told(decision)
        self._log.info("decided: %s %s", decision.action, decision.queue or decision.number or "")
        if self._gateway.takes_decision and self._conversation is not None:
            with suppress(ServerError):
                await self._lane.run(self._conversation.transferred)
        if self._gateway.closes_on_decision:
            self._inbox.close()

    async def _send(self, outbound: Outbound) -> None:
        for message in self._gateway.send(outbound):
            await self._transport.send(message)


def _cuts(turn: Turn, inbound: Inbound) -> bool:
    """Whether a prompt that is being played gives way: to a key, and to an answer to words."""
    return isinstance(inbound, Digit) or (turn.final is not None and bool(turn.final.text))


def _understood(final: Final) -> dict[str, Any]:
    keys = ("language", "decision", "queue", "confidence", "emergency")
    return {key: final.added.get(key) for key in keys}


async def refuse(transport: Transport, gateway: Gateway, reason: str) -> None:
    """Turn a connection away that was taken already, with what its gateway wants to hear."""
    with suppress(GoneError):
        for message in gateway.send(Close(reason=reason, error=True)):
            await transport.send(message)
    await transport.close(CloseCode.TRY_AGAIN_LATER, reason)


def _clock_s() -> float:
    return asyncio.get_running_loop().time()
