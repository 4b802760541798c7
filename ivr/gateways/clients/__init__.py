"""Clients that ring the server as each gateway does; ``ivr call --gateway NAME``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivr.gateways.clients.client import GatewayClient

__all__ = ["CLIENTS", "client_class"]

#: gateway -> class of its client, imported when it is asked for.
CLIENTS: Mapping[str, str] = MappingProxyType(
    {
        "vosk": "ivr.gateways.clients.vosk:VoskClient",
        "twilio": "ivr.gateways.clients.twilio:TwilioClient",
        "vonage": "ivr.gateways.clients.vonage:VonageClient",
        "genesys": "ivr.gateways.clients.genesys:GenesysClient",
        "audiosocket": "ivr.gateways.clients.audiosocket:AudioSocketClient",
        "asterisk": "ivr.gateways.clients.chan_websocket:ChanWebSocketClient",
        "aeap": "ivr.gateways.clients.aeap:AeapClient",
        "freeswitch": "ivr.gateways.clients.freeswitch:FreeSwitchClient",
        "jambonz": "ivr.gateways.clients.jambonz:JambonzClient",
    }
)


def client_class(name: str) -> type[GatewayClient]:
    """The client of a gateway.

    Raises:
        KeyError: there is none of that name.
    """
    module, _, kind = CLIENTS[name].partition(":")
    found: type[GatewayClient] = getattr(importlib.import_module(module), kind)
    return found
