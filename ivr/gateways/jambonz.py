"""jambonz' ``listen`` verb, without I/O, and the verbs that its webhooks are answered with.

jambonz streams by :mod:`ivr.gateways.freeswitch`'s module, subprotocol ``audio.jambonz.org``; the
first text frame has the call's attributes (``callSid``, ``from``, ``sampleRate``, ``mixType``, …),
``passDtmf`` brings keys, and what was played is reported by ``playDone``.

It moves a call by verbs alone: :func:`call_verbs` answers the webhook of a new call with
``listen``; once the decision is there we send ``disconnect``, ``listen`` ends, and its
``actionHook`` is answered by :func:`decision_verbs`: ``enqueue`` into the queue, ``dial`` to an
emergency number, or ``hangup``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ivr.call.decision import Action, Decision
from ivr.call.turn import Final
from ivr.gateways.freeswitch import FreeSwitchGateway
from ivr.gateways.gateway import Message, Outbound

__all__ = ["JambonzGateway", "call_verbs", "decision_verbs"]


class JambonzGateway(FreeSwitchGateway):
    """One connection of a ``listen`` verb."""

    name: ClassVar[str] = "jambonz"
    path: ClassVar[str | None] = "/jambonz"
    subprotocols: ClassVar[tuple[str, ...]] = ("audio.jambonz.org",)

    def send(self, outbound: Outbound) -> list[Message]:
        """``killAudio`` and ``disconnect``; the decision goes by the ``actionHook``."""
        if isinstance(outbound, Decision | Final):
            return []
        return super().send(outbound)


def call_verbs(
    *, stream_url: str, decision_url: str, sample_rate: int = 8_000
) -> list[dict[str, Any]]:
    """The answer to the webhook of a new call: let Kapok hear the caller.

    Args:
        stream_url: ``wss://HOST:PORT/jambonz``.
        decision_url: asked once Kapok has decided; answered by :func:`decision_verbs`.
    """
    return [
        {"verb": "answer"},
        {
            "verb": "listen",
            "url": stream_url,
            "mixType": "mono",
            "sampleRate": sample_rate,
            "passDtmf": True,
            "bidirectionalAudio": {"enabled": True, "streaming": False},
            "actionHook": decision_url,
        },
    ]


def decision_verbs(
    decision: Mapping[str, Any] | None, *, person_queue: str
) -> list[dict[str, Any]]:
    """The answer to the ``actionHook``: what to do with the call.

    Args:
        decision: :meth:`ivr.call.decision.Decision.as_json`; None where there is none, because
            the connection broke: the caller then goes to a person.
        person_queue: the queue of callers who go to a person.
    """
    action = (decision or {}).get("action", Action.PERSON)
    queue = (decision or {}).get("queue") or person_queue
    match action:
        case Action.HANG_UP | Action.CALLBACK:
            return [{"verb": "hangup"}]
        case Action.EMERGENCY:
            target = {"type": "phone", "number": str((decision or {}).get("number"))}
            return [{"verb": "dial", "target": [target]}]
        case _:
            return [{"verb": "enqueue", "name": queue}]
