"""The gateways that the server speaks, and which of them a connection is.

A known path decides: ``/twilio`` is Twilio's, and ``/twilio/anything`` too. At ``/`` a subprotocol
that only one gateway offers decides. Everything else is a Vosk client, as it ever was.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivr.gateways.gateway import Gateway

__all__ = ["GATEWAYS", "choose", "gateway_class"]

#: gateway -> its class, imported when it is asked for; one more line makes one more gateway.
GATEWAYS: Mapping[str, str] = MappingProxyType(
    {
        "vosk": "ivr.gateways.vosk:VoskGateway",
        "twilio": "ivr.gateways.twilio:TwilioGateway",
        "vonage": "ivr.gateways.vonage:VonageGateway",
        "genesys": "ivr.gateways.genesys:GenesysGateway",
        "audiosocket": "ivr.gateways.audiosocket:AudioSocketGateway",
        "asterisk": "ivr.gateways.chan_websocket:ChanWebSocketGateway",
        "aeap": "ivr.gateways.aeap:AeapGateway",
        "freeswitch": "ivr.gateways.freeswitch:FreeSwitchGateway",
        "jambonz": "ivr.gateways.jambonz:JambonzGateway",
    }
)


def gateway_class(name: str) -> type[Gateway]:
    """The class of a gateway.

    Raises:
        KeyError: there is none of that name.
    """
    module, _, kind = GATEWAYS[name].partition(":")
    found: type[Gateway] = getattr(importlib.import_module(module), kind)
    return found


@lru_cache(maxsize=1)
def _classes() -> tuple[type[Gateway], ...]:
    return tuple(gateway_class(name) for name in GATEWAYS)


def choose(path: str, offered: Sequence[str] = ()) -> tuple[type[Gateway], str | None]:
    """The gateway of a WebSocket connection, and the subprotocol to accept.

    Args:
        path: of the request, without its query.
        offered: subprotocols, in the client's order.
    """
    kind = _by_path(path) or (_by_subprotocol(offered) if path in ("", "/") else None)
    kind = kind or gateway_class("vosk")
    accepted = next((name for name in kind.subprotocols if name in offered), None)
    return kind, accepted


def _by_path(path: str) -> type[Gateway] | None:
    parts = path.rstrip("/")
    for kind in _classes():
        own = kind.path
        if own not in (None, "/") and (parts == own or parts.startswith(f"{own}/")):
            return kind
    return None


def _by_subprotocol(offered: Sequence[str]) -> type[Gateway] | None:
    for name in offered:
        kinds = [kind for kind in _classes() if name in kind.subprotocols]
        if len(kinds) == 1:
            return kinds[0]
    return None
