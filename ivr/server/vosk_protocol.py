"""The Vosk server's WebSocket protocol, without I/O: messages in, actions out.

As vosk-server's ``websocket/asr_server.py`` speaks it, and as the Asterisk and FreeSWITCH
modules, which read only ``text`` and ``partial``, rely on:

* text ``{"config": {...}}``: optional, before audio, **not answered**;
* binary: audio, answered by exactly one message, a partial or a final;
* text ``{"reset": 1}``: ends the utterance, answered by a final, the stream goes on;
* text ``{"eof": 1}``: ends the stream, answered by a final, then the server closes.

Keys that Kapok adds to ``config``: ``encoding`` (``pcm_s16le``, ``mulaw``, ``alaw``, or another
name that :meth:`ivr.audio.codecs.Encoding.parse` knows), ``language`` (``cmn``, ``yue`` or
``auto``) and ``call_id``. One message is added,
``{"dtmf": "5"}``, answered by a final with empty text. ``phrase_list`` and ``model`` are
accepted and not used: what Kapok listens for stands in ``config/queues.yaml``. Unknown keys are
passed over, as vosk-server does.

What is not allowed is answered by ``{"error": "..."}``, and the stream goes on.

FreeSWITCH's mod_vosk takes a reply that holds ``""`` for an empty one and a reply that holds
``"partial"`` for a partial one, both by searching the raw text. So a final with text never
holds an empty string anywhere (null stands for it), and an empty one always does, as Vosk's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ivr.asr.engine import Hypothesis, Word
from ivr.audio.codecs import Encoding
from ivr.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from ivr.errors import AudioError, ProtocolError
from ivr.language import Language

__all__ = [
    "MAX_FRAME_BYTES",
    "Action",
    "Audio",
    "Configured",
    "Digit",
    "Finish",
    "Refused",
    "StreamConfig",
    "VoskProtocol",
    "error_message",
    "final_message",
    "partial_message",
]

#: A minute of 8 kHz s16le; gateways send 20 to 400 ms at a time.
MAX_FRAME_BYTES = 960_000

_MAX_ALTERNATIVES = 20
_MAX_TEXT_CHARS = 64 * 1024
_DIGITS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What the gateway has said about its stream; the defaults are vosk-server's."""

    rate_hz: int = 8_000
    encoding: Encoding = Encoding.S16LE
    language: Language | None = None  # None: find out
    words: bool = True
    max_alternatives: int = 0
    call_id: str | None = None


# --- actions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configured:
    """The stream's configuration changed; nothing is answered."""

    config: StreamConfig


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio to recognise, in the encoding of the configuration; it may split a sample."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """End the utterance and answer a final message; close after it where ``closes``."""

    closes: bool


@dataclass(frozen=True, slots=True)
class Digit:
    """A DTMF key; answer a final message."""

    digit: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The message is not allowed: answer :func:`error_message`, and go on."""

    reason: str


Action = Configured | Audio | Finish | Digit | Refused


class VoskProtocol:
    """One stream. Give each message to :meth:`receive` and do what the action says."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._config = StreamConfig()
        self._bytes = 0

    @property
    def config(self) -> StreamConfig:
        """The configuration in force."""
        return self._config

    @property
    def received_s(self) -> float:
        """Audio received so far, seconds: the stream's clock."""
        samples = self._bytes // self._config.encoding.bytes_per_sample
        return samples / self._config.rate_hz

    def receive(self, message: str | bytes) -> Action:
        """The action that ``message`` asks for; never raises."""
        try:
            return self._text(message) if isinstance(message, str) else self._audio(message)
        except ProtocolError as error:
            return Refused(str(error))

    def _audio(self, data: bytes) -> Audio:
        if len(data) > self._max_frame_bytes:
            raise ProtocolError(
                f"audio message of {len(data)} bytes; send at most {self._max_frame_bytes} "
                "bytes at a time (100 ms is best)"
            )
        self._bytes += len(data)
        return Audio(data)

    def _text(self, text: str) -> Action:
        message = _json_object(text)
        if "config" in message:
            return self._configure(message["config"])
        if message.get("eof"):
            return Finish(closes=True)
        if message.get("reset"):
            return Finish(closes=False)
        if "dtmf" in message:
            return Digit(_digit(message["dtmf"]))
        raise ProtocolError(
            "text message with none of config, eof, reset or dtmf; audio is due as binary messages"
        )

    def _configure(self, given: Any) -> Configured:
        if not isinstance(given, dict):
            raise ProtocolError(f"config: an object is due, not {_shown(given)}")
        config = replace(self._config, **_options(given))
        stream = ("rate_hz", "encoding", "language")
        late = [name for name in stream if getattr(config, name) != getattr(self._config, name)]
        if self._bytes and late:
            raise ProtocolError(
                f"config: {' and '.join(late).replace('rate_hz', 'sample_rate')} cannot change "
                "after audio has been sent; open a new connection"
            )
        self._config = config
        return Configured(config)


def _json_object(text: str) -> dict[str, Any]:
    if len(text) > _MAX_TEXT_CHARS:
        raise ProtocolError(
            f"text message of {len(text)} characters; audio is due as binary messages"
        )
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError(
            f"text message is not JSON: {_shown(text)}; audio is due as binary messages"
        ) from None
    if not isinstance(message, dict):
        raise ProtocolError(f"text message is not a JSON object: {_shown(message)}")
    return message


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "sample_rate": ("rate_hz", _rate),
        "encoding": ("encoding", _encoding),
        "language": ("language", _language),
        "words": ("words", bool),
        "max_alternatives": ("max_alternatives", _alternatives),
        "call_id": ("call_id", _call_id),
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
        raise ProtocolError(f"config: {key} {_shown(value)} is not a number") from None


def _rate(value: Any) -> int:
    rate_hz = _number("sample_rate", value)
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ProtocolError(
            f"config: sample_rate {_shown(value)} is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; "
            "telephone audio is 8000"
        )
    return round(rate_hz)


def _alternatives(value: Any) -> int:
    count = _number("max_alternatives", value)
    if not 0 <= count < float("inf"):
        raise ProtocolError(f"config: max_alternatives {_shown(value)} is not a count")
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
            f"config: language {_shown(value)} is not known; use cmn, yue or auto"
        ) from None


def _call_id(value: Any) -> str:
    # It goes into log lines: nothing in it may break one.
    kept = "".join(c for c in str(value) if c.isprintable())[:128].strip()
    if not kept:
        raise ProtocolError("config: call_id is empty")
    return kept


def _digit(value: Any) -> str:
    digit = str(value).upper()
    if digit not in _DIGITS:
        raise ProtocolError(f"dtmf: {_shown(value)} is not one of 0-9, *, #, A-D")
    return digit


def _shown(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(shown if len(shown) <= 40 else shown[:40] + "…")


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
    config: StreamConfig,
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
    hypotheses: Sequence[Hypothesis], config: StreamConfig, offset_s: float
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
