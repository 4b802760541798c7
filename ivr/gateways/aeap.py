"""Asterisk's external application protocol (AEAP) for speech, without I/O.

Asterisk's ``res_speech_aeap`` connects for each ``SpeechCreate()`` (subprotocol
``speech_to_text``) and sends the caller's audio while ``SpeechBackground()`` runs. Asterisk plays
the prompts and collects the keys; we hear, and lead the dialogue.

* in: request ``setup`` (its codec), then binary audio; request ``set``: ``dtmf`` (keys),
  ``call_id``, ``caller`` and ``language`` (before audio; ``SPEECH_ENGINE(call_id)=…``), and
  ``results_type``; request ``get`` (``${SPEECH_ENGINE(action)}``): ``results`` and
  :data:`SETTINGS`;
* out: a response to each, and the request ``set`` with ``results`` where an utterance is over, or
  the call has something to say: ``SpeechBackground()`` then returns.

A result has the transcript as ``text``, its confidence in percent as ``score``, and what to do as
``grammar`` (:func:`grammar`): the queue's id, or ``confirm:QUEUE``, ``ask_again``, ``person``,
``offer:119``, ``emergency:119``, ``hang_up``. Asterisk turns a list of results round, so that we
send the best last.

The response to ``dtmf`` waits for what the key did, so that the dialplan may ask right after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ivr.call.turn import Final
from ivr.errors import ProtocolError
from ivr.gateways.chan_websocket import CODECS
from ivr.gateways.gateway import (
    Audio,
    Digit,
    Gateway,
    Inbound,
    Message,
    Outbound,
    Refused,
    Reply,
    Started,
    StreamConfig,
)
from ivr.gateways.messages import digit, json_object, printable, shown
from ivr.language import Language

__all__ = ["SETTINGS", "VERSION", "AeapGateway", "grammar"]

#: ``SPEECH_AEAP_VERSION``.
VERSION = "0.1.0"
#: A second of silence, of Asterisk's own sounds.
_SILENCE = "silence/1"
#: What ``${SPEECH_ENGINE(…)}`` can ask for, and what it answers before anything was said.
SETTINGS: Mapping[str, str] = {
    "action": "",  # queue, person, emergency, hang_up; empty: go on listening
    "queue": "",
    "number": "",  # 110, 119, 120, 122
    "confidence": "0",  # percent
    "decision": "",  # route, confirm, ask_again, person, emergency
    "language": "",  # cmn, yue
    "text": "",
    "state": "new",
    "prompt": "greeting",  # id of what to play next; empty: nothing
    "prompt_text": "",
    "sounds": _SILENCE,  # its files, as Playback() and SpeechBackground() take them
    "call_id": "",
}
_GREETING = tuple(f"{language}/greeting" for language in Language)
_MAX_FRAME_BYTES = 1 << 20
_MAX_DIGITS = 64
_NBEST = 5


def grammar(decision: str, *, queue: str | None, emergency: str | None, state: str) -> str:
    """What a result says in its ``grammar``."""
    if state == "ended":
        return "hang_up"
    match decision:
        case "route":
            return queue or "person"
        case "confirm":
            return f"confirm:{queue}"
        case "emergency":
            return f"{'emergency' if state == 'routing' else 'offer'}:{emergency}"
        case _:
            return decision


def _action(decision: str, state: str) -> str:
    """As :class:`ivr.call.decision.Action`; empty while the call goes on."""
    match state:
        case "routing":
            return "emergency" if decision == "emergency" else "queue"
        case "handing_off":
            return "person"
        case "ended":
            return "hang_up"
        case _:
            return ""


class AeapGateway(Gateway):
    """One connection of Asterisk's speech engine; one call."""

    name: ClassVar[str] = "aeap"
    path: ClassVar[str | None] = "/aeap"
    subprotocols: ClassVar[tuple[str, ...]] = ("speech_to_text",)
    plays_prompts: ClassVar[bool] = False
    closes_on_decision: ClassVar[bool] = False

    def __init__(self) -> None:
        self._stream: StreamConfig | None = None
        self._begun = False
        self._parameters: dict[str, str] = {}
        self._settings = dict(SETTINGS)
        self._results: list[dict[str, Any]] = []
        self._nbest = False
        self._requests = 0
        self._keyed: str | None = None  # id of the ``set dtmf`` that is not answered
        self._keys_left = 0

    # --- in ------------------------------------------------------------------------------

    def take(self, message: Message) -> list[Inbound]:
        """As the base class."""
        if isinstance(message, bytes):
            return self._audio(message)
        got = json_object(message)
        if "response" in got:
            return self._response(got)
        request, request_id = got.get("request"), got.get("id")
        if not isinstance(request, str) or not isinstance(request_id, str) or not request_id:
            raise ProtocolError(f"neither a request nor a response with an id: {shown(message)}")
        return self._request(request, request_id, got)

    def _audio(self, data: bytes) -> list[Inbound]:
        if self._stream is None:
            raise ProtocolError("audio before the request setup, which says its codec")
        if len(data) > _MAX_FRAME_BYTES:
            raise ProtocolError(f"audio message of {len(data)} bytes; Asterisk sends 20 ms")
        return [*self._begin(), Audio(data)] if data else []

    def _begin(self) -> list[Inbound]:
        """The call begins with its first audio or key: what is ``set`` before counts for it."""
        if self._begun or self._stream is None:
            return []
        self._begun = True
        known = self._parameters
        return [
            Started(
                stream=self._stream,
                call_id=known.get("call_id"),
                caller=known.get("caller"),
                parameters=dict(known),
            )
        ]

    def _response(self, got: Mapping[str, Any]) -> list[Inbound]:
        if got.get("error_msg"):
            raise ProtocolError(f"Asterisk reports: {printable(got['error_msg'])}")
        return []

    def _request(self, name: str, request_id: str, got: Mapping[str, Any]) -> list[Inbound]:
        try:
            match name:
                case "setup":
                    return self._setup(request_id, got)
                case "get":
                    return [Reply((self._got(request_id, got.get("params")),))]
                case "set":
                    return self._set(request_id, got.get("params"))
            raise ProtocolError(f"request {shown(name)}; setup, get and set are known")
        except ProtocolError as error:
            reason = str(error)
            # Asterisk drops the connection of a setup that failed.
            refused = Refused(reason=reason, closes=name == "setup" and self._stream is None)
            return [Reply((_error(name, request_id, reason),)), refused]

    def _setup(self, request_id: str, got: Mapping[str, Any]) -> list[Inbound]:
        if self._stream is not None:
            raise ProtocolError("a second setup; a connection is one call")
        name = _codec(got.get("codecs"))
        parameters = got.get("params")
        self._parameters = _texts(parameters if isinstance(parameters, dict) else {})
        language = self._parameters.pop("language", None)
        encoding, rate_hz = CODECS[name]
        self._stream = StreamConfig(
            encoding=encoding,
            rate_hz=rate_hz,
            language=_language(language) if language else None,
            prompts=False,
        )
        self._settings["sounds"] = self._sounds(_GREETING)
        return [Reply((_response("setup", request_id, codecs=[{"name": name}]),))]

    def _got(self, request_id: str, params: Any) -> str:
        if not (isinstance(params, list) and len(params) == 1 and isinstance(params[0], str)):
            raise ProtocolError(f"get: params must be a list of one name, not {shown(params)}")
        name = params[0]
        if name == "results":
            return _response("get", request_id, params={"results": self._results})
        if name not in self._settings:
            raise ProtocolError(f"get: {shown(name)} is none of {', '.join(SETTINGS)}")
        return _response("get", request_id, params={name: self._settings[name]})

    def _set(self, request_id: str, params: Any) -> list[Inbound]:
        if self._stream is None:
            raise ProtocolError("set before setup")
        if not (isinstance(params, dict) and len(params) == 1):
            raise ProtocolError(f"set: params must be an object of one key, not {shown(params)}")
        ((name, value),) = params.items()
        if name == "dtmf":
            return self._keys(request_id, str(value))
        self._change(name, printable(value))
        return [Reply((_response("set", request_id),))]

    def _keys(self, request_id: str, keys: str) -> list[Inbound]:
        if not 0 < len(keys) <= _MAX_DIGITS:
            raise ProtocolError(f"set: dtmf {shown(keys)} is not 1 to {_MAX_DIGITS} keys")
        digits = [Digit(digit(key, "dtmf")) for key in keys]
        overdue = [Reply((_response("set", self._keyed),))] if self._keyed else []
        self._keyed, self._keys_left = request_id, len(digits)
        return [*overdue, *self._begin(), *digits]

    def _change(self, name: str, value: str) -> None:
        assert self._stream is not None
        if name == "results_type":
            self._nbest = value == "nbest"
            alternatives = _NBEST if self._nbest else 0
        elif name not in ("call_id", "caller", "language"):
            raise ProtocolError(
                f"set: {shown(name)} is none of call_id, caller, language, results_type, dtmf"
            )
        else:
            alternatives = self._stream.alternatives
        if self._begun:
            raise ProtocolError(f"set: {name} counts before the first SpeechBackground() alone")
        language = _language(value) if name == "language" else self._stream.language
        self._stream = StreamConfig(
            encoding=self._stream.encoding,
            rate_hz=self._stream.rate_hz,
            language=language,
            alternatives=alternatives,
            prompts=False,
        )
        if name in ("call_id", "caller") and value:
            self._parameters[name] = value
            self._settings["call_id"] = self._parameters.get("call_id", "")

    # --- out -----------------------------------------------------------------------------

    def send(self, outbound: Outbound) -> list[Message]:
        """Results for a Final that says something, or the response to the key it answers."""
        return self._final(outbound) if isinstance(outbound, Final) else []

    def _final(self, final: Final) -> list[Message]:
        call = final.added.get("call") or {}
        decision, state = str(final.added.get("decision") or ""), str(call.get("state") or "")
        queue, emergency = final.added.get("queue"), final.added.get("emergency")
        means = grammar(decision, queue=queue, emergency=emergency, state=state)
        says = bool(final.text or call.get("prompt_id"))
        if says:
            self._settings |= self._settings_of(final, decision, state)
            self._results = self._results_of(final, means)
        if self._keyed is None:
            return [self._request_set()] if says else []
        self._keys_left -= 1
        if self._keys_left:
            return []
        answer, self._keyed = _response("set", self._keyed), None
        return [answer]

    def _settings_of(self, final: Final, decision: str, state: str) -> dict[str, str]:
        call, added = final.added.get("call") or {}, final.added
        return {
            "action": _action(decision, state),
            "queue": str(added.get("queue") or ""),
            "number": str(added.get("emergency") or ""),
            "confidence": str(_percent(added.get("confidence"))),
            "decision": decision,
            "language": str(added.get("language") or self._settings["language"]),
            "text": final.text,
            "state": state,
            "prompt": str(call.get("prompt_id") or ""),
            "prompt_text": str(call.get("prompt") or ""),
            "sounds": self._sounds(call.get("prompt_files") or ()),
        }

    def _sounds(self, files: Sequence[str]) -> str:
        """Never empty: without a file SpeechBackground() knows no time-out."""
        folder = self._parameters.get("sounds", "kapok").rstrip("/")
        return "&".join(f"{folder}/{name}" for name in files) or _SILENCE

    def _results_of(self, final: Final, means: str) -> list[dict[str, Any]]:
        best = _result(final.text, _percent(final.added.get("confidence")), means, 0)
        others = final.hypotheses[1:_NBEST] if self._nbest else ()
        rest = [
            _result(h.text, _percent(h.confidence), "", number)
            for number, h in enumerate(others, 1)
        ]
        return [best, *rest][::-1]

    def _request_set(self) -> str:
        self._requests += 1
        return _dump(
            {
                "request": "set",
                "id": f"kapok-{self._requests}",
                "params": {"results": self._results},
            }
        )


def _result(text: str, score: int, means: str, best: int) -> dict[str, Any]:
    return {"text": text, "score": score, "grammar": means, "best": best}


def _percent(share: Any) -> int:
    return round(100 * float(share or 0.0))


def _codec(offered: Any) -> str:
    names = [
        codec["name"]
        for codec in (offered if isinstance(offered, list) else ())
        if isinstance(codec, dict) and isinstance(codec.get("name"), str)
    ]
    known = [name for name in names if name in CODECS]
    if not known:
        raise ProtocolError(
            f"setup: none of the codecs {shown(names)} can be taken; "
            "write codecs=!all,ulaw,alaw,slin into aeap.conf"
        )
    return str(known[0])


def _language(value: str) -> Language | None:
    if value == "auto":
        return None
    try:
        return Language(value)
    except ValueError:
        raise ProtocolError(f"language {shown(value)} is not known; use cmn, yue or auto") from None


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    texts = {printable(key): printable(value) for key, value in given.items()}
    return {key: value for key, value in texts.items() if key and value}


def _response(name: str, request_id: str, **rest: Any) -> str:
    return _dump({"response": name, "id": request_id} | rest)


def _error(name: str, request_id: str, reason: str) -> str:
    return _dump({"response": name, "id": request_id, "error_msg": reason})


def _dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)
