"""FreeSWITCH's ``mod_audio_fork``, without I/O.

``uuid_audio_fork UUID start ws://…/freeswitch mono 8000 METADATA`` connects (subprotocol
``audio.drachtio.org``).

* in: the metadata as the first text frame, where there is any; then binary L16 at the rate that
  was asked for, and whatever ``uuid_audio_fork UUID send_text`` sends:
  ``{"event":"dtmf","dtmf":"5"}``, ``{"type":"playDone","data":{"id":…}}``;
* out: ``playAudio`` (a prompt as base64), ``killAudio`` (barge-in), ``transcription`` (each final),
  ``transfer`` (the decision), ``disconnect``. FreeSWITCH makes an event of each
  (``mod_audio_fork::play_audio``, …), and leaves the rest to a script, which
  ``docs/gateways/freeswitch.md`` has.

The module tells neither rate nor channels: they are those of the metadata (JSON with
``sampleRate``, ``mixType``, ``call_id``, ``caller``, ``language``, ``prompts``) or of the URL's
query (``rate``, ``mix``, ``call_id``, …), else 8 kHz and one channel. Of ``stereo`` the left
channel is the caller.
"""

from __future__ import annotations

import audioop
import base64
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ivr.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from ivr.call.decision import Decision
from ivr.call.turn import Final
from ivr.errors import ProtocolError
from ivr.gateways.gateway import (
    PROMPT_RATE_HZ,
    Audio,
    Close,
    Digit,
    Gateway,
    Inbound,
    Message,
    Outbound,
    Packet,
    Played,
    Refused,
    Say,
    Started,
    StopPlaying,
    StreamConfig,
    Upgrade,
)
from ivr.gateways.messages import (
    asked_language,
    asked_prompts,
    digit,
    faults,
    json_object,
    printable,
    shown,
)

if TYPE_CHECKING:
    from ivr.settings import Settings

__all__ = ["MAX_PLAY_S", "FreeSwitchGateway", "message", "play_audio"]

#: ``audio_pipe.cpp`` takes messages of 650 kB; in base64 that is 30 s.
MAX_PLAY_S = 20.0
_MAX_FRAME_BYTES = 1 << 20
#: Names of what is known about a call, as metadata and queries write them: the first counts.
_CALL_ID = ("call_id", "callSid", "call_sid", "uuid")
_CALLER = ("caller", "from", "callerId")
_RATE = ("rate", "sampleRate", "sample_rate")
_MIX = ("mix", "mixType", "mix_type")
_MIXES = frozenset({"mono", "mixed", "stereo"})


def message(kind: str, data: Mapping[str, Any] | None = None) -> str:
    """A message to the module: ``{"type": kind, "data": …}``."""
    return json.dumps(
        {"type": kind} | ({"data": dict(data)} if data is not None else {}), ensure_ascii=False
    )


def play_audio(pcm: bytes, *, play_id: str) -> str:
    """Play PCM, s16le at 8 kHz."""
    return message(
        "playAudio",
        {
            "audioContentType": "raw",
            "sampleRate": PROMPT_RATE_HZ,
            "audioContent": base64.b64encode(pcm).decode("ascii"),
            "id": play_id,
        },
    )


class FreeSwitchGateway(Gateway):
    """One connection of ``mod_audio_fork``.

    Args:
        query: the URL's.
    """

    name: ClassVar[str] = "freeswitch"
    path: ClassVar[str | None] = "/freeswitch"
    subprotocols: ClassVar[tuple[str, ...]] = ("audio.drachtio.org",)
    #: A prompt is one message; the next follows once it is over, so that killAudio leaves nothing.
    paced: ClassVar[bool] = True
    reports_played: ClassVar[bool] = True

    def __init__(self, query: Mapping[str, str] | None = None) -> None:
        self._query = dict(query or {})
        self._begun = False
        self._stereo = False
        self._carry = b""

    @classmethod
    def open(cls, upgrade: Upgrade, settings: Settings) -> Self:
        """With the query of the URL that the fork was started with."""
        return cls(upgrade.query)

    @property
    def frame_s(self) -> float:
        """The longest piece of a prompt in one message."""
        return MAX_PLAY_S

    # --- in ------------------------------------------------------------------------------

    def take(self, message: Message) -> list[Inbound]:
        """As the base class."""
        if isinstance(message, bytes):
            return [*([] if self._begun else self._start({})), *self._audio(message)]
        if not self._begun:
            return self._start(_metadata(message))
        return self._event(json_object(message))

    def _start(self, metadata: Mapping[str, Any]) -> list[Inbound]:
        self._begun = True
        known = _texts(metadata) | _texts(self._query)
        refusals: list[str] = []
        stream = StreamConfig(
            rate_hz=_rate(known, refusals),
            language=asked_language(known),
            prompts=asked_prompts(known),
        )
        mix = _first(known, _MIX) or "mono"
        self._stereo = mix == "stereo"
        if mix not in _MIXES:
            refusals.append(f"mixType {shown(mix)} is none of mono, stereo; mono is taken")
        elif mix == "mixed":
            refusals.append("mixType mixed has our own prompts in it; start the fork with mono")
        started = Started(
            stream=stream,
            call_id=_first(known, _CALL_ID),
            caller=_first(known, _CALLER),
            parameters=known,
        )
        return [started, *(Refused(reason=reason) for reason in refusals), *faults(known)]

    def _audio(self, data: bytes) -> list[Inbound]:
        if len(data) > _MAX_FRAME_BYTES:
            raise ProtocolError(f"audio message of {len(data)} bytes; the module sends 20 ms")
        if self._stereo:
            data = self._carry + data
            whole = len(data) - len(data) % 4
            data, self._carry = data[:whole], data[whole:]
            data = audioop.tomono(data, 2, 1.0, 0.0)
        return [Audio(data)] if data else []

    def _event(self, got: Mapping[str, Any]) -> list[Inbound]:
        if got.get("event") == "dtmf" or got.get("type") == "dtmf":
            return [Digit(digit(got.get("dtmf", got.get("digit")), "dtmf"))]
        if got.get("type") == "playDone":
            data = got.get("data")
            play_id = data.get("id") if isinstance(data, dict) else None
            if not isinstance(play_id, str) or not printable(play_id):
                raise ProtocolError(f"playDone without the id of what was played: {shown(got)}")
            return [Played(printable(play_id))]
        return []  # whatever else a script sends is not for us

    # --- out -----------------------------------------------------------------------------

    def send(self, outbound: Outbound) -> list[Message]:
        """``killAudio``, ``transcription``, ``transfer``, ``disconnect``."""
        match outbound:
            case StopPlaying():
                return [message("killAudio")]
            case Final() if outbound.text:
                return [message("transcription", _transcription(outbound))]
            case Decision():
                return [message("transfer", outbound.as_json())]
            case Close():
                return [message("disconnect", {"reason": outbound.reason})]
            case _:
                return []

    def play(self, say: Say) -> Iterator[Packet]:
        """The prompt in one message; in several where it is longer than :data:`MAX_PLAY_S`."""
        size = self.frame_bytes
        pieces = [say.pcm[i : i + size] for i in range(0, len(say.pcm), size)]
        for number, piece in enumerate(pieces, 1):
            play_id = say.play_id if number == len(pieces) else f"{say.play_id}/{number}"
            yield Packet(play_audio(piece, play_id=play_id), len(piece) / 2 / PROMPT_RATE_HZ)


def _transcription(final: Final) -> dict[str, Any]:
    added = final.added
    keys = ("language", "decision", "queue", "confidence", "emergency")
    return {"text": final.text, "is_final": True} | {key: added.get(key) for key in keys}


def _metadata(text: str) -> dict[str, Any]:
    """The first text frame: JSON, or anything else, which is then kept as it is."""
    try:
        return json_object(text)
    except ProtocolError:
        return {"metadata": text}


def _rate(known: Mapping[str, str], refusals: list[str]) -> int:
    """The rate as it was told; one that makes no sense gives way to the default, and is told."""
    rate = _first(known, _RATE)
    rate_hz = int(rate) if rate and rate.isdecimal() and len(rate) < 7 else 0
    if MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return rate_hz
    if rate:
        refusals.append(f"sampleRate {shown(rate)} is no rate of speech; 8000 is taken")
    return 8_000


def _first(known: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((known[name] for name in names if name in known), None)


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """What of ``given`` is a text or a number, fit for a line of the log."""
    kept = {
        printable(key): printable(value)
        for key, value in given.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    return {key: value for key, value in kept.items() if key and value}
