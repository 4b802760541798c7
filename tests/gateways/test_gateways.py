"""Which gateway a connection is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr.gateways import GATEWAYS, choose, gateway_class
from ivr.gateways.gateway import Inbound, Message, Refused, Upgrade
from ivr.gateways.vosk import VoskGateway
from ivr.settings import load_settings
from tests.gateways.contract import obeys


@pytest.mark.parametrize(
    ("path", "offered", "name", "accepted"),
    [
        ("/", [], "vosk", None),
        ("/", ["ws"], "vosk", "ws"),
        ("/any/path", ["media"], "vosk", None),
        ("/twilio", [], "twilio", None),
        ("/twilio/", [], "twilio", None),
        ("/twilio/line-1", ["ws"], "twilio", None),
        ("/twilions", [], "vosk", None),
        ("/vonage", [], "vonage", None),
        ("/genesys", [], "genesys", None),
        ("/asterisk", ["media"], "asterisk", "media"),
        ("/", ["media"], "asterisk", "media"),
        ("/", ["other", "audio.drachtio.org"], "freeswitch", "audio.drachtio.org"),
        ("/", ["audio.jambonz.org"], "jambonz", "audio.jambonz.org"),
    ],
)
def test_path_first_then_subprotocol_then_vosk(
    path: str, offered: list[str], name: str, accepted: str | None
) -> None:
    kind, subprotocol = choose(path, offered)
    assert (kind.name, subprotocol) == (name, accepted)


def test_names_paths_and_subprotocols_are_one_gateways_alone() -> None:
    kinds = [gateway_class(name) for name in GATEWAYS]
    assert [kind.name for kind in kinds] == list(GATEWAYS)
    paths = [kind.path for kind in kinds if kind.path is not None]
    names = [name for kind in kinds for name in kind.subprotocols]
    assert len(set(paths)) == len(paths)
    assert len(set(names)) == len(names)


SETTINGS = load_settings(Path(__file__).parents[2] / "config" / "kapok.yaml")
#: Nested at about the depth that an interpreter reads and cannot write; half a character.
GARBAGE = [
    *("[" * depth + "]" * depth for depth in range(700, 1000, 12)),
    *('{"x":' * depth + "1" + "}" * depth for depth in range(700, 1000, 12)),
    '{"request": "get", "id": "\\ud800"}',
]


@pytest.mark.parametrize("name", [name for name in GATEWAYS if name != "audiosocket"])
def test_no_garbage_raises(name: str) -> None:
    gateway = gateway_class(name).open(Upgrade(), SETTINGS)
    refused = [item for item in obeys(gateway, GARBAGE) if isinstance(item, Refused)]
    lists = sum(text.startswith("[") for text in GARBAGE)
    assert len(refused) >= lists  # free text of any shape opens a call with some


def test_a_mistake_of_ours_is_logged_and_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(VoskGateway):
        def take(self, message: Message) -> list[Inbound]:
            raise KeyError(message)

    assert Wrong.open(Upgrade(), SETTINGS).receive("x") == [
        Refused(reason="the message could not be read (KeyError)")
    ]
    assert "vosk: a message could not be read" in caplog.text
