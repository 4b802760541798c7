"""Which gateway a connection is."""

from __future__ import annotations

import pytest

from ivr.gateways import GATEWAYS, choose, gateway_class


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
