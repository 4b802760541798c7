"""The Vosk server's WebSocket protocol, without I/O.

As vosk-server's ``websocket/asr_server.py`` speaks it, and as the Asterisk and FreeSWITCH
modules, which read only ``text`` and ``partial``, rely on:

* text ``{"config": {...}}``: optional, before audio, **not answered**;
* binary: audio, answered by exactly one message, a partial or a final;
* text ``{"reset": 1}``: ends the utterance, answered by a final, the stream goes on;
* text ``{"eof": 1}``: ends the stream, answered by a final, then the server closes.

Keys that Kapok adds to ``config``: ``encoding`` (``pcm_s16le``, ``mulaw``, ``alaw``, or another
name that :meth:`ivr.audio.codecs.Encoding.parse` knows), ``language`` (``cmn``, ``yue`` or
``auto``), ``call_id`` and ``caller``, which count before audio alone. One message is added,
``{"dtmf": "5"}``, answered by a final with empty text. ``phrase_list`` and ``model`` are
accepted and not used: what Kapok listens for stands in ``config/queues.yaml``. Unknown keys are
passed over, as vosk-server does.

What is not allowed is answered by ``{"error": "..."}``, and the stream goes on.

The gateway plays the prompts and moves the call itself: both stand in the finals
(``docs/design.md``).

FreeSWITCH's mod_vosk takes a reply that holds ``""`` for an empty one and a reply that holds
``"partial"`` for a partial one, both by searching the raw text. So a final with text never
holds an empty string anywhere (null stands for it), and an empty one always does, as Vosk's.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from ivr.asr.engine import Hypothesis, Word
from ivr.audio.codecs import Encoding
from ivr.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from ivr.call.turn import Final
from ivr.errors import AudioError, ProtocolError
from ivr.gateways.gateway import (
    Audio,
    Digit,
    Finished,
    Gateway,
    Inbound,
    Message,
    Outbound,
    Partial,
    Refused,
    Started,
    StreamChanged,
    StreamConfig,
    Upgrade,
)
from ivr.gateways.messages import digit, json_object, printable, shown
from ivr.language import Language
from ivr.settings import Settings

__all__ = [
    "MAX_FRAME_BYTES",
    "VoskConfig",
    "VoskGateway",
    "error_message",
    "final_message",
    "partial_message",
]

#: A minute of 8 kHz s16le; gateways send 20 to 400 ms at a time.
MAX_FRAME_BYTES = 960_000

_MAX_ALTERNATIVES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VoskConfig:
    """What the gateway has said about its stream; the defaults are vosk-server's."""

    rate_hz: int = 8_000
    encoding: Encoding = Encoding.S16LE
    language: Language | None = None  # None: find out
    words: bool = True
    max_alternatives: int = 0
    call_id: str | None = None
    caller: str | None = None

    @property
    def stream(self) -> StreamConfig:
        """The caller's audio, as every gateway describes it."""
        return StreamConfig(
            rate_hz=self.rate_hz,
            encoding=self.encoding,
            language=self.language,
            alternatives=self.max_alternatives,
        )


class VoskGateway(Gateway):
    """One stream."""

    name: ClassVar[str] = "vosk"
    path: ClassVar[str | None] = "/"
    subprotocols: ClassVar[tuple[str, ...]] = ("ws",)  # vosk-asterisk offers it
    plays_prompts: ClassVar[bool] = False
    answers_each: ClassVar[bool] = True
    takes_decision: ClassVar[bool] = False
    closes_on_decision: ClassVar[bool] = False

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._config = VoskConfig()
        self._started = self._heard = False
        # A message is answered by the configuration in force when it came, and messages are read
        # before those ahead of them are answered. One entry an answer due; the server's inbox
        # bounds them.
        self._due: deque[VoskConfig] = deque()

    @classmethod
    def open(cls, upgrade: Upgrade, settings: Settings) -> Self:
        """See :meth:`ivr.gateways.gateway.Gateway.open`."""
        return cls(max_frame_bytes=settings.server.max_message_bytes)

    @property
    def config(self) -> VoskConfig:
        """The configuration in force."""
        return self._config

    def receive(self, message: Message) -> list[Inbound]:
        """See :meth:`ivr.gateways.gateway.Gateway.receive`."""
        items = super().receive(message)
        if any(isinstance(item, Audio | Digit | Finished | Refused) for item in items):
            self._due.append(self._config)
        return items

    def take(self, message: Message) -> list[Inbound]:
        """See :meth:`ivr.gateways.gateway.Gateway.take`."""
        item = self._text(message) if isinstance(message, str) else self._audio(message)
        if item is None or isinstance(item, StreamChanged):
            return [item] if item else []
        begins = [] if self._started else [self._begins()]
        return [*begins, item]

    def _begins(self) -> Started:
        self._started = True
        config = self._config
        return Started(stream=config.stream, call_id=config.call_id, caller=config.caller)

    def _audio(self, data: bytes) -> Audio:
        if len(data) > self._max_frame_bytes:
            raise ProtocolError(
                f"audio message of {len(data)} bytes; send at most {self._max_frame_bytes} "
                "bytes at a time (100 ms is best)"
            )
        self._heard = self._heard or bool(data)
        return Audio(data)

    def _text(self, text: str) -> Inbound | None:
        message = json_object(text)
        if "config" in message:
            return self._configure(message["config"])
        if message.get("eof"):
            return Finished(closes=True)
        if message.get("reset"):
            return Finished(closes=False)
        if "dtmf" in message:
            return Digit(digit(message["dtmf"], "dtmf"))
        raise ProtocolError(
            "text message with none of config, eof, reset or dtmf; audio is due as binary messages"
        )

    def _configure(self, given: Any) -> StreamChanged | None:
        if not isinstance(given, dict):
            raise ProtocolError(f"config: an object is due, not {shown(given)}")
        config = replace(self._config, **_options(given))
        stream = ("rate_hz", "encoding", "language")
        late = [name for name in stream if getattr(config, name) != getattr(self._config, name)]
        if self._heard and late:
            raise ProtocolError(
                f"config: {' and '.join(late).replace('rate_hz', 'sample_rate')} cannot change "
                "after audio has been sent; open a new connection"
            )
        changed = self._started and config.stream != self._config.stream
        self._config = config
        return StreamChanged(config.stream) if changed and not self._heard else None

    def send(self, outbound: Outbound) -> list[Message]:
        """See :meth:`ivr.gateways.gateway.Gateway.send`."""
        match outbound:
            case Partial(text):
                self._answered()
                return [partial_message(text)]
            case Final():
                config = self._answered()
                return [
                    final_message(
                        outbound.hypotheses,
                        config=config,
                        offset_s=outbound.offset_s,
                        added=outbound.added,
                    )
                ]
            case Refused():
                self._answered()
                return [error_message(outbound.reason)]
            case _:
                return []

    def _answered(self) -> VoskConfig:
        return self._due.popleft() if self._due else self._config


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "sample_rate": ("rate_hz", _rate),
        "encoding": ("encoding", _encoding),
        "language": ("language", _language),
        "words": ("words", bool),
        "max_alternatives": ("max_alternatives", _alternatives),
        "call_id": ("call_id", _call_id),
        "caller": ("caller", _caller),
    }
    return {
        name: read(given[key])
        for key, (name, read) in readers.items()
        if given.get(key) is not None
    }


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError(f"config: {key} {shown(value)} is not a number") from None


def _rate(value: Any) -> int:
    rate_hz = _number("sample_rate", value)
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ProtocolError(
            f"config: sample_rate {shown(value)} is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; "
            "telephone audio is 8000"
        )
    return round(rate_hz)


def _alternatives(value: Any) -> int:
    count = _number("max_alternatives", value)
    if not 0 <= count < float("inf"):
        raise ProtocolError(f"config: max_alternatives {shown(value)} is not a count")
    return min(int(count), _MAX_ALTERNATIVES)


def _encoding(value: Any) -> Encoding:
    try:
        return Encoding.parse(str(value))
    except AudioError as error:
        raise ProtocolError(f"config: {error}") from error


def _language(value: Any) -> Language | None:
    if value == "auto":
        return None
    try:
        return Language(value)
    except ValueError:
        raise ProtocolError(
            f"config: language {shown(value)} is not known; use cmn, yue or auto"
        ) from None


def _call_id(value: Any) -> str:
    kept = printable(value)
    if not kept:
        raise ProtocolError("config: call_id is empty")
    return kept


def _caller(value: Any) -> str | None:
    return printable(value) or None


# --- replies -----------------------------------------------------------------------------


def _dump(message: Mapping[str, Any]) -> str:
    # Vosk's own spacing: some clients search the raw text.
    return json.dumps(message, ensure_ascii=False, separators=(", ", " : "))


def partial_message(text: str) -> str:
    """``{"partial": ...}``; ``text`` with spaces between words, empty before the first."""
    return _dump({"partial": text})


def error_message(reason: str) -> str:
    """``{"error": ...}``: what was wrong with the message, and how to mend it."""
    return _dump({"error": reason})


def final_message(
    hypotheses: Sequence[Hypothesis],
    *,
    config: VoskConfig,
    offset_s: float = 0.0,
    added: Mapping[str, Any] | None = None,
) -> str:
    """The final message of an utterance.

    Args:
        hypotheses: the n-best list, best first; empty where nothing was recognised.
        offset_s: where the utterance begins on the stream's clock; added to word times.
        added: Kapok's own keys (``docs/design.md``); they never displace Vosk's.
    """
    best = hypotheses[0] if hypotheses else None
    message: dict[str, Any] = {}
    if config.max_alternatives:
        message["alternatives"] = _alternatives_of(hypotheses, config, offset_s)
    elif config.words and best and best.words:
        message["result"] = [_word(word, offset_s, conf=True) for word in best.words]
    message["text"] = _spaced(best) if best else ""
    extra = {key: value for key, value in (added or {}).items() if key not in message}
    return _dump(message | _without_empty(extra))


def _alternatives_of(
    hypotheses: Sequence[Hypothesis], config: VoskConfig, offset_s: float
) -> list[dict[str, Any]]:
    said = [h for h in hypotheses if h.text][: config.max_alternatives]
    return [_alternative(h, config.words, offset_s) for h in said] or [
        {"confidence": 1.0, "text": ""}
    ]


def _alternative(hypothesis: Hypothesis, words: bool, offset_s: float) -> dict[str, Any]:
    alternative: dict[str, Any] = {"confidence": round(hypothesis.score, 6)}
    if words and hypothesis.words:
        alternative["result"] = [_word(w, offset_s, conf=False) for w in hypothesis.words]
    return alternative | {"text": _spaced(hypothesis)}


def _word(word: Word, offset_s: float, *, conf: bool) -> dict[str, Any]:
    times = {
        "end": round(offset_s + word.end_s, 6),
        "start": round(offset_s + word.start_s, 6),
        "word": word.text,
    }
    return ({"conf": round(word.confidence, 6)} if conf else {}) | times


def _spaced(hypothesis: Hypothesis) -> str:
    return " ".join(word.text for word in hypothesis.words) or hypothesis.text


def _without_empty(value: Any) -> Any:
    """``value`` with None for every empty string (see the module's docstring)."""
    if isinstance(value, Mapping):
        return {key: _without_empty(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_empty(inner) for inner in value]
    return None if value == "" else value
