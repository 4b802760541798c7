"""Real calls through a real Asterisk, with the very dialplan of docs/gateways/asterisk.md.

Every call runs at the same time, in real time, in one Asterisk with one server: real recordings,
real models, the real HTTP port. Where no Asterisk is here the tests are skipped.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import soundfile

from ivr.audio.files import read_audio
from ivr.server.access import Role, TokenFile, new_token
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from ivr.settings import AccessSettings, Settings, load_settings
from tests.gateways.asterisk import ROOT, needs_asterisk, running

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
#: Silence before the caller speaks: a loaded machine takes a moment to connect.
HEAD_S = 1.5


@dataclass(frozen=True)
class Way:
    """A call: the context that is rung, what the caller does, and the agent who must answer."""

    context: str
    queue: str
    fixture: str = ""
    key: str = ""
    lost: bool = False  # Kapok goes away while it listens

    @property
    def name(self) -> str:
        return f"{self.context}-{self.fixture or ('lost' if self.lost else f'key {self.key}')}"


WAYS = (
    Way("kapok-audiosocket", "urban_housing_fund", "yue_urban_housing_fund_002"),
    Way("kapok-audiosocket-16k", "public_security", "cmn_public_security_003"),
    Way("kapok-websocket", "social_security", "cmn_social_security_006"),
    Way("kapok-websocket-plain", "consumer_rights", "yue_consumer_rights_003"),
    Way("kapok-aeap", "enterprise_services", "yue_enterprise_services_006"),
    Way("kapok-audiosocket", "general", key="0"),
    Way("kapok-websocket", "general", key="0"),
    Way("kapok-aeap", "general", key="0"),
    # Kapok cannot be reached: an agent answers all the same.
    Way("kapok-audiosocket-down", "general", "cmn_social_security_006"),
    Way("kapok-websocket-down", "general", "cmn_social_security_006"),
    Way("kapok-aeap-down", "general", "cmn_social_security_006"),
    Way("kapok-audiosocket", "general", lost=True),
    Way("kapok-websocket", "general", lost=True),
    Way("kapok-aeap", "general", lost=True),
)


def numbered() -> dict[str, Way]:
    """Ways by the caller's number."""
    return {f"0208312{number:04}": way for number, way in enumerate(WAYS)}


def rounds() -> tuple[dict[str, Way], ...]:
    """What can be rung at the same time.

    AudioSocket that cannot connect comes by itself: Asterisk 22.10 then closes a descriptor twice,
    which may be another call's by then. Calls that lose their server come last.
    """
    kinds: tuple[dict[str, Way], ...] = ({}, {}, {})
    for number, way in numbered().items():
        alone = way.context == "kapok-audiosocket-down"
        kinds[2 if way.lost else 1 if alone else 0][number] = way
    return kinds


# --- the configuration, from the page --------------------------------------------------------


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


# --- the calls -------------------------------------------------------------------------------


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


async def ring_all(home: Path) -> dict[str, str]:
    """Make all the calls at once; the queue whose agent answered, by the caller's number."""
    settings, token = settings_for(home)
    services = Services.load(settings)
    convert_sounds(home / "sounds")
    answered: dict[str, str] = {}
    catalogue = services.catalogue
    operations = Operations(settings, catalogue=catalogue, host="127.0.0.1", http_port=0)
    async with KapokServer(
        services, settings, host="127.0.0.1", port=0, now=lambda: NOW, operations=operations
    ) as server:
        files = configuration(server, operations, token, home / "sounds")
        extensions = files.pop("extensions.conf")
        async with running(
            home, extensions=extensions, queues=QUEUES, configuration=files
        ) as asterisk:
            for ways in rounds():
                for number, way in ways.items():
                    asterisk.call(way.context, spoken(way), caller=number, key=way.key)
                if any(way.lost for way in ways.values()):
                    await all_heard(server, len(ways))
                    await server.close(drain_s=0.0)
                while not ways.keys() <= answered.keys():
                    line = await asterisk.until(r"agent of (\w+) answers (\d+)", within_s=60)
                    answered[line[2]] = line[1]
    return answered


async def all_heard(server: KapokServer, calls: int) -> None:
    """Wait until so many calls are there and have begun."""
    async with asyncio.timeout(30):
        while len(server.registry.calls()) < calls:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)


def spoken(way: Way) -> bytes:
    if way.lost:
        return bytes(30 * 16_000)
    if not way.fixture:
        return b""
    pcm = read_audio(ROOT / "audio_fixtures" / f"{way.fixture}.wav").pcm
    return bytes(round(HEAD_S * 16_000)) + pcm


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return asyncio.run(ring_all(tmp_path_factory.mktemp("asterisk")))


@needs_asterisk("app_audiosocket", "chan_websocket", "res_speech_aeap", "func_json", "func_curl")
@pytest.mark.parametrize("number", numbered(), ids=[way.name for way in WAYS])
def test_a_real_call_reaches_the_right_agent(number: str, answered: dict[str, str]) -> None:
    assert answered[number] == numbered()[number].queue


def test_the_page_has_what_asterisk_wants() -> None:
    """Runs without an Asterisk too: the contexts that the page's lines lead to are there."""
    shown = dialplan()
    for target in re.findall(r"Goto\(([a-z-]+),s,1\)", shown):
        assert f"\n[{target}]\n" in f"\n{shown}", target
    assert "type = websocket_client" in of_page("websocket_client.conf")
    assert "protocol = speech_to_text" in of_page("aeap.conf")
