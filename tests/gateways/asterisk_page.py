"""docs/gateways/asterisk.md as a real Asterisk's configuration, with a real server's ports."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import soundfile

from ivr.server.access import Role, TokenFile, new_token
from ivr.server.app import KapokServer
from ivr.server.operations import Operations
from ivr.settings import AccessSettings, Settings, load_settings
from tests.gateways.asterisk import ROOT

__all__ = [
    "NOW",
    "QUEUES",
    "configuration",
    "convert_sounds",
    "dialplan",
    "of_page",
    "settings_for",
]

PAGE = ROOT / "docs" / "gateways" / "asterisk.md"
NOW = datetime(2026, 11, 25, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
QUEUES = (
    "consumer_rights",
    "social_security",
    "urban_housing_fund",
    "public_security",
    "general",
    "enterprise_services",
)
#: A context that the page does not show: the AudioSocket channel instead of the application.
CHANNEL = """
[kapok-audiosocket-16k]
exten => s,1,Answer()
 same => n,Set(KAPOK_ID=${UUID()})
 same => n,Dial(AudioSocket/127.0.0.1:9092/${KAPOK_ID}/c(slin16),20,g)
 same => n,Goto(kapok-decision,s,1)
"""
#: Nobody listens there: port 9, discard.
NOBODY = "127.0.0.1:9"


def of_page(file: str) -> str:
    """What docs/gateways/asterisk.md has for a file of Asterisk's configuration."""
    blocks = re.findall(rf"^```ini\n; {re.escape(file)}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert blocks, f"the page shows no {file}"
    return "\n".join(blocks)


def dialplan() -> str:
    """The page's contexts, and the same for plain text and for a Kapok that is down."""
    shown = of_page("extensions.conf") + CHANNEL
    shown += _also(shown, "kapok-websocket", "kapok-websocket-plain", "f(json)", "f(plain-text)")
    shown += _also(shown, "kapok-audiosocket", "kapok-audiosocket-down", "127.0.0.1:9092", NOBODY)
    shown += _also(
        shown, "kapok-websocket", "kapok-websocket-down", "WebSocket/kapok/", "WebSocket/down/"
    )
    shown += _also(
        shown, "kapok-aeap", "kapok-aeap-down", "SpeechCreate(kapok)", "SpeechCreate(down)"
    )
    return shown


def _also(shown: str, context: str, name: str, old: str, new: str) -> str:
    """A context once more, under another name and with something replaced."""
    found = re.search(rf"^\[{context}\]\n(.*?)(?=^\[|\Z)", shown, re.M | re.S)
    assert found
    assert old in found[1]
    return f"\n[{name}]\n{found[1].replace(old, new)}"


def twice(text: str) -> str:
    """A client's section, and one more whose server is down."""
    return text + re.sub(
        r"ws://127\.0\.0\.1:2700", f"ws://{NOBODY}", text.replace("[kapok]", "[down]")
    )


def configuration(
    server: KapokServer, operations: Operations, token: str, sounds: Path
) -> dict[str, str]:
    """The page's files with these ports, this token and this folder of sounds."""
    audiosocket, http = (
        str(url).rpartition(":")[2] for url in (server.audiosocket_url, operations.http_url)
    )
    files = {
        "extensions.conf": dialplan(),
        "websocket_client.conf": twice(of_page("websocket_client.conf")),
        "aeap.conf": twice(of_page("aeap.conf")).replace("@sounds = kapok", f"@sounds = {sounds}"),
    }
    ports = {"9092": audiosocket, "2700": str(server.port), "2701": http}
    return {
        name: re.sub(r"(127\.0\.0\.1:)(9092|2700|2701)", lambda m: m[1] + ports[m[2]], text)
        .replace("KAPOK_TOKEN", token)
        .replace("/asterisk\n", f"/asterisk?token={token}\n")
        .replace("/aeap\n", f"/aeap?token={token}\n")
        for name, text in files.items()
    }


def convert_sounds(to: Path) -> None:
    """As the page's lines with sox do."""
    for file in (ROOT / "config" / "prompts").glob("*/*.wav"):
        (to / file.parent.name).mkdir(parents=True, exist_ok=True)
        samples, rate_hz = soundfile.read(file, dtype="int16")
        soundfile.write(to / file.parent.name / file.name, samples, rate_hz, subtype="PCM_16")


def settings_for(home: Path) -> tuple[Settings, str]:
    """The real settings on free ports, and a token that the gateways have to show."""
    settings = load_settings(None)
    text, token = new_token("Asterisk", Role.GATEWAY, now=datetime.now(UTC))
    access = AccessSettings(tokens=home / "tokens.yaml")
    TokenFile(access.tokens).add(token)
    # However busy the machine is with other things: no call is refused because of it.
    server = settings.server.model_copy(
        update={"access": access, "audit_log": home / "audit", "shed_lag_s": 60.0}
    )
    gateways = settings.gateways.model_copy(update={"audiosocket_port": 0})
    return settings.model_copy(update={"server": server, "gateways": gateways}), text
